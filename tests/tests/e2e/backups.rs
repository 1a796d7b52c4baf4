//! Keeping, bringing back, moving: with the real program, while real clients write.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use matrix_sdk::{
    attachment::AttachmentConfig,
    media::{MediaFormat, MediaRequestParameters},
    ruma::events::room::{MediaSource, message::RoomMessageEventContent},
};
use respite::accounts;
use respite_outside::postgres::Cluster;
use respite_tests::{
    binaries,
    canary::Canary,
    person::{Person, pair_at},
    place::{Ended, Place, free_address},
};
use ruma::RoomId;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// Where else a store can be: another file, a directory, and an empty database where PostgreSQL is installed.
fn others() -> Result<Vec<String>> {
    let mut others = vec![
        "redb:elsewhere.redb".to_owned(),
        "sled:elsewhere.sled".to_owned(),
    ];
    if let Some(cluster) = Cluster::shared() {
        others.push(cluster.fresh()?);
    }
    Ok(others)
}

/// A place, a directory for backups, and the key to them.
struct Safe {
    place: Place,
    key: PathBuf,
    public: String,
}

impl Safe {
    async fn new() -> Result<Self> {
        let place = Place::new("")?;
        let made = program(&["backup", "keygen"]).await?.well()?;
        let key = place.path("key.txt");
        fs::write(&key, &made)?;
        let public = made
            .lines()
            .find_map(|line| line.strip_prefix("# public key: "));
        Ok(Self {
            public: public.context("no public key")?.to_owned(),
            key,
            place,
        })
    }

    fn shelf(&self) -> String {
        self.place.path("backups").display().to_string()
    }

    async fn backup(&self) -> Result<serde_json::Value> {
        let made = [
            "backup",
            &self.shelf(),
            "--recipient",
            &self.public,
            "--json",
        ];
        Ok(serde_json::from_str(&self.place.run(&made).await?.well()?)?)
    }

    /// A configuration of a server beside the first one, with this engine.
    fn elsewhere(&self, store: &str) -> Result<Elsewhere> {
        let engine = store.split(':').next().unwrap_or_default();
        let home = self.place.path(engine);
        fs::create_dir_all(&home)?;
        let store = match store.split_once(':') {
            Some((engine @ ("redb" | "sled"), name)) => {
                format!("{engine}:{}", home.join(name).display())
            }
            _ => store.to_owned(),
        };
        let config = home.join("respite.toml");
        let data = home.join("data");
        fs::write(
            &config,
            format!(
                "store = {store:?}\n[server]\ndata = {data:?}\nlisten = \"127.0.0.1:0\"\n[operations]\nenabled = false\n"
            ),
        )?;
        Ok(Elsewhere {
            config: config.display().to_string(),
            data,
            store,
        })
    }

    async fn restore(&self, to: &Elsewhere) -> Result<Ended> {
        let key = self.key.display().to_string();
        let shelf = self.shelf();
        program(&[
            "restore",
            &shelf,
            "--identity",
            &key,
            "--config",
            &to.config,
        ])
        .await
    }
}

struct Elsewhere {
    config: String,
    data: PathBuf,
    store: String,
}

impl Elsewhere {
    fn serve(&self, address: &str) -> Result<Command> {
        let mut command = Command::new(binaries::program("respite-server")?);
        command.args(["serve", "--config", &self.config, "--listen", address]);
        command.kill_on_drop(true);
        Ok(command)
    }

    async fn is_clean(&self) -> Result<()> {
        program(&["scan", "--config", &self.config])
            .await?
            .well()
            .map(drop)
    }
}

pub(crate) async fn program(arguments: &[&str]) -> Result<Ended> {
    let output = Command::new(binaries::program("respite-server")?)
        .args(arguments)
        .output()
        .await?;
    Ok(Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

/// Writes until told to stop; what was acknowledged.
async fn chatter(who: &Person, room: &RoomId, stop: &CancellationToken) -> Result<Vec<String>> {
    let mut said = Vec::new();
    while !stop.is_cancelled() {
        let text = format!("chatter {}", said.len());
        who.says(room, &text).await?;
        said.push(text);
    }
    Ok(said)
}

async fn recovery_key(person: &Person) -> Result<String> {
    accounts::bootstrap_cross_signing(&person.client, || Ok(person.password.clone().into()))
        .await?;
    let recovery = person.client.encryption().recovery();
    Ok(recovery.enable().wait_for_backups_to_upload().await?)
}

/// The texts that somebody can read in the room, oldest first.
async fn texts(who: &Person, room: &RoomId) -> Result<Vec<String>> {
    let seen = who.reads(room).await?;
    Ok(seen.iter().map(|seen| seen.body().to_owned()).collect())
}

/// The one attachment of the room, decrypted.
async fn attachment(who: &Person, room: &RoomId) -> Result<Vec<u8>> {
    let seen = who.reads(room).await?;
    let file = seen.iter().find_map(|seen| seen.content.get("file"));
    let file = serde_json::from_value(file.context("no attachment")?.clone())?;
    let request = MediaRequestParameters {
        source: MediaSource::Encrypted(Box::new(file)),
        format: MediaFormat::File,
    };
    Ok(who
        .client
        .media()
        .get_media_content(&request, false)
        .await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_backed_up_while_people_wrote_comes_back_under_another_engine() -> Result<()> {
    let safe = Safe::new().await?;
    let address = free_address()?;
    let server = safe.place.serve_at(&address).await?;
    let code = server.first_code.clone().context("no code")?;
    let (therapist, nurse, room) = pair_at(&server.url, &code).await?;
    let key = recovery_key(&nurse).await?;
    let canary = Canary::new();
    let word = |what: &str| format!("{} {what}", canary.text());
    let before: Vec<String> = (0..5).map(|n| word(&format!("night {n}"))).collect();
    for text in &before {
        nurse.says(&room, text).await?;
    }
    let diary = word("diary").repeat(5_000).into_bytes();
    nurse
        .room(&room)?
        .send_attachment(
            "diary.txt",
            &"text/plain".parse()?,
            diary.clone(),
            AttachmentConfig::new(),
        )
        .await?;
    let backups = nurse.client.encryption().backups();
    backups.wait_for_steady_state().await?;

    // The key in the configuration: of the command, as the server that runs does not know it yet.
    let config = safe.place.path("newer.toml");
    let (data, public) = (safe.place.data(), &safe.public);
    fs::write(
        &config,
        format!("[server]\ndata = {data:?}\n[backup]\nrecipients = [{public:?}]\n"),
    )?;
    let config = config.display().to_string();
    let made = ["backup", &safe.shelf(), "--config", &config, "--json"];
    let first: serde_json::Value = serde_json::from_str(&program(&made).await?.well()?)?;
    ensure!(first["blobs"] == 1 && first["copied"] == 1, "{first}");
    let stop = CancellationToken::new();
    let backup = async {
        let made = safe.backup().await;
        stop.cancel();
        made
    };
    let (said, second) = tokio::join!(chatter(&therapist, &room, &stop), backup);
    let (said, second) = (said?, second?);
    ensure!(
        !said.is_empty() && second["copied"] == 0,
        "{said:?} {second}"
    );
    // Both are ahead of the backup now.
    therapist.says(&room, "lost with the machine").await?;
    nurse.hears(&room, "lost with the machine").await?;
    therapist.sync().await?;
    server.stop().await?;

    ensure!(
        canary.search(&safe.place.path("backups"))?.is_empty(),
        "the backups are readable"
    );
    let shelf = safe.shelf();
    let identity = safe.key.display().to_string();
    let verified = program(&["backup", "verify", &shelf, "--identity", &identity]).await?;
    ensure!(verified.well()?.contains("2 backups with 3 files"));

    for engine in others()? {
        let elsewhere = safe.elsewhere(&engine)?;
        safe.restore(&elsewhere).await?.well()?;
        elsewhere.is_clean().await?;
        let refused = safe.restore(&elsewhere).await?;
        ensure!(
            refused.code == Some(1) && refused.err.contains("not empty"),
            "{refused:?}"
        );
        let server = safe.place.serve_with(elsewhere.serve(&address)?).await?;
        ensure!(server.first_code.is_none(), "it is another server");

        let phone = Person::log_in(&server.url, "nurse", &nurse.password).await?;
        phone.enters(&room).await?;
        phone.client.encryption().recovery().recover(&key).await?;
        let backups = phone.client.encryption().backups();
        backups.download_room_keys_for_room(&room).await?;
        let read = texts(&phone, &room).await?;
        for text in &before {
            ensure!(read.contains(text), "{engine}: {text:?} is not in {read:?}");
        }
        ensure!(
            attachment(&phone, &room).await? == diary,
            "{engine}: the diary"
        );
        ensure!(
            !read.iter().any(|text| text == "lost with the machine"),
            "what came after the backup is in it"
        );
        goes_on(&therapist, &nurse, &phone, &room).await?;
        phone.client.matrix_auth().logout().await?;
        server.stop().await?;
        ensure!(canary.search(&elsewhere.data)?.is_empty(), "{engine}");
    }
    Ok(())
}

/// Devices that had seen more than the backup holds go on, and miss nothing of what comes now.
async fn goes_on(therapist: &Person, nurse: &Person, phone: &Person, room: &RoomId) -> Result<()> {
    // More than was lost, so that the new entries reach beyond what the old ones' tokens say.
    let new: Vec<String> = (0..20).map(|n| format!("new day {n}")).collect();
    for text in &new {
        phone
            .room(room)?
            .send(RoomMessageEventContent::text_plain(text))
            .await?;
    }
    for who in [therapist, nurse] {
        who.hears(room, "new day 19").await?;
        let read = texts(who, room).await?;
        ensure!(
            new.iter().all(|text| read.contains(text)),
            "{} {read:?}",
            who.id()
        );
    }
    therapist.says(room, "good to have you back").await?;
    phone.hears(room, "good to have you back").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_practice_moves_to_another_engine_and_nobody_notices() -> Result<()> {
    let safe = Safe::new().await?;
    let address = free_address()?;
    let server = safe.place.serve_at(&address).await?;
    let code = server.first_code.clone().context("no code")?;
    let (therapist, nurse, room) = pair_at(&server.url, &code).await?;
    nurse.says(&room, "before the move").await?;
    therapist.hears(&room, "before the move").await?;
    let mut from = "redb".to_owned();
    let mut from_blobs = safe.place.data().join("blobs");
    let mut running = Some(server);
    for (n, store) in others()?.iter().enumerate() {
        let to = safe.elsewhere(store)?;
        fs::create_dir_all(&to.data)?;
        let to_blobs = to.data.join("blobs");
        let arguments = [
            "migrate",
            "--from",
            &from,
            "--to",
            &to.store,
            "--blobs-from",
            &format!("directory:{}", from_blobs.display()),
            "--blobs-to",
            &format!("directory:{}", to_blobs.display()),
        ];
        let refused = safe.place.run(&arguments).await?;
        ensure!(
            refused.code == Some(1) && refused.err.contains("in use by another process"),
            "{refused:?}"
        );
        if let Some(server) = running.take() {
            server.stop().await?;
        }
        let moved = safe.place.run(&arguments).await?;
        ensure!(
            !moved.err.contains('\u{1b}'),
            "a bar, and no terminal: {moved:?}"
        );
        ensure!(moved.well()?.contains("the same as in the source"));
        to.is_clean().await?;
        running = Some(safe.place.serve_with(to.serve(&address)?).await?);
        let text = format!("after move {n}");
        therapist.says(&room, &text).await?;
        nurse.hears(&room, &text).await?;
        ensure!(
            texts(&nurse, &room)
                .await?
                .contains(&"before the move".to_owned())
        );
        (from, from_blobs) = (to.store, to_blobs);
    }
    running.context("no server")?.stop().await
}

#[tokio::test]
async fn a_backup_without_keys_is_refused_with_the_way_to_make_one() -> Result<()> {
    let safe = Safe::new().await?;
    let shelf = safe.shelf();
    safe.place.serve().await?.stop().await?;
    let refused = safe.place.run(&["backup", &shelf]).await?;
    ensure!(
        refused.code == Some(1) && refused.err.contains("backup keygen"),
        "{refused:?}"
    );
    ensure!(
        !safe.place.path("backups").exists(),
        "something was written"
    );
    let nothing = program(&["backup", "verify", &shelf]).await?;
    ensure!(
        nothing.code == Some(1) && nothing.err.contains("no finished backup"),
        "{nothing:?}"
    );
    // The server is stopped: the command opens the store itself.
    let made = safe.backup().await?;
    ensure!(
        made["entries"].as_u64() > Some(1) && made["blobs"] == 0,
        "{made}"
    );
    let elsewhere = safe.elsewhere("redb:elsewhere.redb")?;
    let other = program(&["backup", "keygen"]).await?.well()?;
    fs::write(&safe.key, other)?;
    let refused = safe.restore(&elsewhere).await?;
    ensure!(
        refused.code == Some(1) && refused.err.contains("encrypted to other keys"),
        "{refused:?}"
    );
    Ok(())
}
