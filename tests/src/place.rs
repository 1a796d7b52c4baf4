//! The real program `respite-server`, in a directory of its own: started, stopped, killed and started again.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use respite_server::config::Config;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{binaries, engine::Engine, person::PATIENCE};

/// The program `respite-server` as it serves, in a directory of its own.
pub struct Program {
    /// The address that clients are given.
    pub url: String,
    /// The first therapist's code, if it printed one.
    pub first_code: Option<String>,
    /// How long it took until it served.
    pub started_in: Duration,
    child: Child,
}

/// A directory with a configuration, the data and the log.
pub struct Place {
    directory: TempDir,
    /// Which engine keeps the store, as the setting says it.
    store: String,
    config: String,
}

impl Place {
    /// A place whose configuration is this beside what tests need.
    pub fn new(config: &str) -> Result<Self> {
        Ok(Self {
            directory: tempfile::tempdir()?,
            store: String::new(),
            config: config.to_owned(),
        })
    }

    /// A place whose store this engine keeps.
    pub fn on(engine: Engine) -> Result<Self> {
        Self::new("")?.kept_by(engine)
    }

    /// The same place with a store of this engine's.
    pub fn kept_by(mut self, engine: Engine) -> Result<Self> {
        self.store = engine.setting(self.directory.path())?;
        Ok(self)
    }

    /// The configuration, as the program reads it.
    pub fn config(&self) -> Result<Config> {
        Ok(Config::load(&self.written()?)?)
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A file or directory beside the data.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What the server has said on standard error, in all of its runs.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.path("log"))?)
    }

    /// A command of the program with the place's configuration.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binaries::program("respite-server")?);
        command.args(arguments).arg("--config").arg(self.written()?);
        command.stdin(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }

    /// What a command of the program's said and how it ended.
    pub async fn run(&self, arguments: &[&str]) -> Result<Ended> {
        let output = timeout(PATIENCE, self.command(arguments)?.output()).await??;
        Ok(Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// Serves, until it is stopped or dropped.
    pub async fn serve(&self) -> Result<Program> {
        self.serve_with(self.command(&["serve"])?).await
    }

    /// Serves at this address, so that clients find the server again after a restart.
    pub async fn serve_at(&self, address: &str) -> Result<Program> {
        self.serve_with(self.command(&["serve", "--listen", address])?)
            .await
    }

    /// Serves by a command that is not quite the ordinary one.
    pub async fn serve_with(&self, mut command: Command) -> Result<Program> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))?;
        let begun = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let first = timeout(PATIENCE, lines.next_line()).await??;
        let started_in = begun.elapsed();
        let Some(first) = first else {
            bail!("the server ended: {}", self.log()?)
        };
        let url = first
            .split_whitespace()
            .find(|word| word.starts_with("http"))
            .context("no address")?
            .to_owned();
        // What it says after the address is there at once; the code stands alone on its line.
        let mut first_code = None;
        while let Ok(Ok(Some(line))) = timeout(Duration::from_millis(200), lines.next_line()).await
        {
            if line.starts_with("    ") {
                first_code = Some(line.trim().to_owned());
            }
        }
        Ok(Program {
            url,
            first_code,
            started_in,
            child,
        })
    }

    fn written(&self) -> Result<PathBuf> {
        let path = self.path("respite.toml");
        let operations = if self.config.contains("[operations]") {
            ""
        } else {
            "[operations]\nenabled = false\n"
        };
        let data = self.data();
        // What stands before the first section stands at the top.
        let begin = self.config.find('[').unwrap_or_default();
        let (top, sections) = self.config.split_at(begin);
        let own = format!(
            "{}{top}[server]\ndata = {data:?}\nlisten = \"127.0.0.1:0\"\n{operations}{sections}",
            self.store
        );
        fs::write(&path, own)?;
        Ok(path)
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it said on standard error.
    pub err: String,
}

impl Ended {
    /// What it printed.
    ///
    /// # Errors
    /// It did not end with 0.
    pub fn well(self) -> Result<String> {
        ensure!(self.code == Some(0), "{self:?}");
        Ok(self.out)
    }
}

impl Program {
    /// The process's id.
    pub fn id(&self) -> Result<u32> {
        self.child.id().context("the server has ended")
    }

    /// Asks it to stop, as an init system does.
    pub async fn terminate(&self) -> Result<()> {
        let killed = Command::new("kill")
            .arg("-TERM")
            .arg(self.id()?.to_string())
            .status()
            .await?;
        ensure!(killed.success(), "no signal could be sent");
        Ok(())
    }

    /// Waits until it has ended. Returns its exit code.
    pub async fn ended(&mut self) -> Result<Option<i32>> {
        Ok(timeout(PATIENCE, self.child.wait()).await??.code())
    }

    /// Stops it in order.
    pub async fn stop(mut self) -> Result<()> {
        self.terminate().await?;
        let code = self.ended().await?;
        ensure!(code == Some(0), "the server ended with {code:?}");
        Ok(())
    }

    /// Kills it at once.
    pub async fn kill(mut self) -> Result<()> {
        self.strike().await
    }

    /// The same, for somebody who keeps what is known of it.
    pub async fn strike(&mut self) -> Result<()> {
        self.child.kill().await?;
        Ok(())
    }
}

/// An address of this machine that is free, and that no outgoing connection takes while its server is down.
pub fn free_address() -> Result<String> {
    const BELOW_EPHEMERAL: std::ops::Range<u16> = 20_000..32_000;
    let span = BELOW_EPHEMERAL.end - BELOW_EPHEMERAL.start;
    for _ in 0..100 {
        let address = format!(
            "127.0.0.1:{}",
            BELOW_EPHEMERAL.start + rand::random::<u16>() % span
        );
        if std::net::TcpListener::bind(&address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free address")
}
