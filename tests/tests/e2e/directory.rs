//! The real program and its data directory: what it makes, and what it says when the directory cannot be used.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use respite_tests::{
    binaries,
    person::PATIENCE,
    raw::{self, Raw},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// The program `respite-server` as it serves, in a directory of its own.
pub(crate) struct Program {
    pub(crate) url: String,
    /// The first therapist's code, if it printed one.
    pub(crate) first_code: Option<String>,
    child: Child,
}

/// A directory with a configuration, the data and the log.
pub(crate) struct Place {
    directory: TempDir,
    config: String,
}

impl Place {
    /// A place whose configuration is this beside what tests need.
    pub(crate) fn new(config: &str) -> Result<Self> {
        Ok(Self { directory: tempfile::tempdir()?, config: config.to_owned() })
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What the server has said on standard error, in all of its runs.
    pub(crate) fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.path("log"))?)
    }

    /// A command of the program with the place's configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binaries::program("respite-server")?);
        command.args(arguments).arg("--config").arg(self.written()?);
        command.stdin(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }

    /// What a command of the program's said and how it ended.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<Ended> {
        let output = timeout(PATIENCE, self.command(arguments)?.output()).await??;
        Ok(Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// Serves, until it is stopped or dropped.
    pub(crate) async fn serve(&self) -> Result<Program> {
        self.serve_with(self.command(&["serve"])?).await
    }

    /// Serves by a command that is not quite the ordinary one.
    pub(crate) async fn serve_with(&self, mut command: Command) -> Result<Program> {
        let log = File::options().create(true).append(true).open(self.path("log"))?;
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let first = timeout(PATIENCE, lines.next_line()).await??;
        let Some(first) = first else { bail!("the server ended: {}", self.log()?) };
        let url = first.split_whitespace().find(|word| word.starts_with("http")).context("no address")?.to_owned();
        // What it says after the address is there at once; the code stands alone on its line.
        let mut first_code = None;
        while let Ok(Ok(Some(line))) = timeout(Duration::from_millis(200), lines.next_line()).await {
            if line.starts_with("    ") {
                first_code = Some(line.trim().to_owned());
            }
        }
        Ok(Program { url, first_code, child })
    }

    fn written(&self) -> Result<PathBuf> {
        let path = self.path("respite.toml");
        let operations = if self.config.contains("[operations]") { "" } else { "[operations]\nenabled = false\n" };
        let data = self.data();
        let own = format!("[server]\ndata = {:?}\nlisten = \"127.0.0.1:0\"\n{operations}{}", data, self.config);
        fs::write(&path, own)?;
        Ok(path)
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Program {
    pub(crate) fn id(&self) -> Result<u32> {
        self.child.id().context("the server has ended")
    }

    /// Asks it to stop, as an init system does.
    pub(crate) async fn terminate(&self) -> Result<()> {
        let killed = Command::new("kill").arg("-TERM").arg(self.id()?.to_string()).status().await?;
        ensure!(killed.success(), "no signal could be sent");
        Ok(())
    }

    /// Waits until it has ended. Returns its exit code.
    pub(crate) async fn ended(&mut self) -> Result<Option<i32>> {
        Ok(timeout(PATIENCE, self.child.wait()).await??.code())
    }

    /// Stops it in order.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.terminate().await?;
        let code = self.ended().await?;
        ensure!(code == Some(0), "the server ended with {code:?}");
        Ok(())
    }

    /// Kills it at once.
    pub(crate) async fn kill(mut self) -> Result<()> {
        self.child.kill().await?;
        Ok(())
    }
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

/// Every file below a directory, with its bytes.
pub(crate) fn everything(directory: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => open.push(entry.path()),
                kind if kind.is_file() => found.push((entry.path(), fs::read(entry.path())?)),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

#[tokio::test]
async fn nobody_else_can_look_into_the_data_directory() -> Result<()> {
    let place = Place::new("")?;
    let server = place.serve().await?;
    ensure!(mode(&place.data())? == 0o700);
    ensure!(mode(&place.data().join("admin.sock"))? == 0o600);
    ensure!(mode(&place.data().join("store.redb"))? == 0o600);
    server.stop().await
}

#[tokio::test]
async fn a_second_server_on_the_same_data_says_that_one_is_running() -> Result<()> {
    let place = Place::new("")?;
    let server = place.serve().await?;
    let second = place.run(&["serve"]).await?;
    ensure!(second.code == Some(1), "{second:?}");
    ensure!(second.err.contains("in use by another process"), "{second:?}");
    ensure!(!second.err.contains("panic"), "{second:?}");
    let nobody = Raw::nobody(&server.url)?;
    nobody.get("versions").await?.ok()?;
    server.stop().await
}

#[tokio::test]
async fn a_store_that_was_cut_off_is_named_and_left_as_it_is() -> Result<()> {
    let place = Place::new("")?;
    let server = place.serve().await?;
    let code = server.first_code.clone().context("no code")?;
    let therapist = Raw::register(&server.url, "therapist", &code).await?;
    therapist.makes_a_room(json!({})).await?;
    server.stop().await?;
    let store = place.data().join("store.redb");
    let whole = fs::read(&store)?;
    for kept in [0, 7, 100, 4_096, whole.len() / 2, whole.len() - 1] {
        fs::write(&store, whole.get(..kept).context("shorter than that")?)?;
        let before = everything(&place.data())?;
        for command in [vec!["serve"], vec!["scan"], vec!["user", "list"]] {
            let ended = place.run(&command).await?;
            ensure!(ended.code == Some(1), "{command:?} of {kept} bytes: {ended:?}");
            ensure!(ended.err.starts_with("respite-server: ") && !ended.err.contains("panic"), "{command:?} of {kept} bytes: {ended:?}");
            ensure!(ended.err.contains("store.redb") || ended.err.contains("damaged"), "{command:?} of {kept} bytes: {ended:?}");
        }
        ensure!(before == everything(&place.data())?, "the data was changed when {kept} bytes were left");
    }
    fs::write(&store, &whole)?;
    let server = place.serve().await?;
    Raw::log_in(&server.url, "therapist", &therapist.password).await?;
    server.stop().await
}

#[tokio::test]
async fn a_store_of_something_else_is_named_and_left_as_it_is() -> Result<()> {
    let place = Place::new("")?;
    fs::create_dir(place.data())?;
    let store = place.data().join("store.redb");
    fs::write(&store, "this is no store, but it may be dear to somebody".repeat(1_000))?;
    let before = fs::read(&store)?;
    let ended = place.run(&["serve"]).await?;
    ensure!(ended.code == Some(1) && !ended.err.contains("panic"), "{ended:?}");
    ensure!(fs::read(&store)? == before, "the file was changed");
    Ok(())
}

#[tokio::test]
async fn a_directory_that_belongs_to_somebody_else_is_left_alone() -> Result<()> {
    let place = Place::new("")?;
    fs::create_dir(place.data())?;
    fs::write(place.data().join("holiday.jpg"), "sand")?;
    let ended = place.run(&["serve"]).await?;
    ensure!(ended.code == Some(1), "{ended:?}");
    ensure!(ended.err.contains("not empty"), "{ended:?}");
    ensure!(everything(&place.data())?.len() == 1, "something was put there");
    Ok(())
}

#[tokio::test]
async fn a_file_in_the_directorys_place_is_named() -> Result<()> {
    let place = Place::new("")?;
    fs::write(place.data(), "a file")?;
    let ended = place.run(&["serve"]).await?;
    ensure!(ended.code == Some(1), "{ended:?}");
    ensure!(ended.err.contains(&place.data().display().to_string()), "{ended:?}");
    ensure!(fs::read_to_string(place.data())? == "a file");
    Ok(())
}

#[tokio::test]
async fn another_servers_data_is_not_served_under_a_new_name() -> Result<()> {
    let place = Place::new("")?;
    place.serve().await?.stop().await?;
    let ended = place.run(&["serve", "--server-name", "respite.example.org"]).await?;
    ensure!(ended.code == Some(1), "{ended:?}");
    ensure!(ended.err.contains("server.name = \"localhost\""), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_power_went() -> Result<()> {
    let place = Place::new("")?;
    let server = place.serve().await?;
    let code = server.first_code.clone().context("no code")?;
    let therapist = Raw::register(&server.url, "therapist", &code).await?;
    let room = therapist.makes_a_room(json!({})).await?;
    let event = therapist.says(&room, "x").await?;
    server.kill().await?;
    let server = place.serve().await?;
    ensure!(server.first_code.is_none(), "the code was printed twice");
    let again = Raw::log_in(&server.url, "therapist", &therapist.password).await?;
    let seen = again.get(&format!("v3/rooms/{room}/event/{event}")).await?.ok()?;
    ensure!(raw::text_at(&seen, "event_id")? == event);
    server.stop().await
}
