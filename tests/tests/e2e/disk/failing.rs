//! A disk that returns errors: `strace` makes the real program's system calls fail.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use respite_outside::part::STRACE;
use respite_tests::{
    person::PATIENCE,
    place::{Place, Program},
    raw::{Raw, encrypted_bytes, text_at},
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::history;
use crate::directory::everything;

/// From now on, these system calls of the server's fail as `strace` is told; until this is dropped or ended.
struct Failing(Child);

impl Failing {
    /// `what` is what `strace -e inject=` takes; `only` is the file that is meant, if not all are.
    async fn begin(server: &Program, what: &str, only: Option<&str>) -> Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e", &format!("inject={what}")]);
        command.args(["-p", &server.id()?.to_string()]);
        command.args(only.iter().flat_map(|path| ["-P", path]));
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("no output")?).lines();
        while let Some(line) = timeout(PATIENCE, lines.next_line()).await?? {
            if line.contains("attached") {
                // What it says later has to go somewhere.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(Self(child));
            }
        }
        anyhow::bail!("strace could not be attached to the server")
    }

    /// The disk is well again.
    async fn end(mut self) -> Result<()> {
        let id = self.0.id().context("strace has ended")?.to_string();
        Command::new("kill").args(["-INT", &id]).status().await?;
        timeout(PATIENCE, self.0.wait()).await??;
        Ok(())
    }
}

/// A therapist in a room of her own, with one message in it.
async fn therapist(server: &Program) -> Result<(Raw, String, Vec<String>)> {
    let code = server.first_code.as_deref().context("no code")?;
    let therapist = Raw::register(&server.url, "therapist", code).await?;
    let room = therapist.makes_a_room(json!({})).await?;
    let first = therapist.says(&room, "before").await?;
    Ok((therapist, room, vec![first]))
}

/// After a restart, what was acknowledged is there, and nothing that may not be.
async fn is_whole(place: &Place, who: &Raw, room: &str, acknowledged: &[String]) -> Result<()> {
    let server = place.serve().await?;
    let who = Raw::nobody(&server.url)?.with_token(who.token.as_deref());
    let found = history(&who, room).await?;
    let known = |id: &&String| acknowledged.contains(id);
    ensure!(
        found.iter().filter(known).eq(acknowledged),
        "lost or out of order"
    );
    who.says(room, "after it all").await?;
    server.stop().await?;
    place.run(&["scan"]).await?.well().map(drop)
}

#[tokio::test]
async fn a_failed_sync_of_the_store_stops_the_server_and_loses_nothing() -> Result<()> {
    if !STRACE.is_there() {
        return Ok(());
    }
    let place = Place::new("")?;
    let mut server = place.serve().await?;
    let (therapist, room, mut acknowledged) = therapist(&server).await?;
    acknowledged.push(therapist.says(&room, "once more").await?);

    let _failing = Failing::begin(&server, "fdatasync:error=EIO:when=1", None).await?;
    let answer = therapist.says(&room, "into the void").await;
    ensure!(answer.is_err(), "it was acknowledged: {answer:?}");
    ensure!(server.ended().await? == Some(1));
    let log = place.log()?;
    ensure!(
        log.contains("The disk failed to sync the store (Input/output error"),
        "{log}"
    );
    ensure!(!log.contains("panic"), "{log}");
    is_whole(&place, &therapist, &room, &acknowledged).await
}

#[tokio::test]
async fn while_writes_return_errors_reading_goes_on_and_nothing_is_half_written() -> Result<()> {
    if !STRACE.is_there() {
        return Ok(());
    }
    let place = Place::new("")?;
    let server = place.serve().await?;
    let (therapist, room, mut acknowledged) = therapist(&server).await?;
    let store = place.data().join("store.redb");
    let store = store.to_str().context("no name")?;

    let failing = Failing::begin(&server, "pwrite64:error=EIO", Some(store)).await?;
    for round in 0..3 {
        let refused = therapist.says(&room, "not now").await;
        ensure!(
            refused.is_err_and(|error| error.to_string().contains("503")),
            "round {round}"
        );
        let found = history(&therapist, &room).await?;
        ensure!(found.starts_with(&acknowledged), "round {round}: {found:?}");
        therapist.syncs(None).await?;
    }
    failing.end().await?;
    // The server looks at a disk that has failed again after a while, most of which it gives to those who read.
    let again = async {
        loop {
            match therapist.says(&room, "the disk is well again").await {
                Ok(id) => break id,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    acknowledged.push(timeout(PATIENCE, again).await?);
    server.stop().await?;
    is_whole(&place, &therapist, &room, &acknowledged).await
}

#[tokio::test]
async fn an_upload_that_cannot_be_synced_is_refused_and_not_kept() -> Result<()> {
    if !STRACE.is_there() {
        return Ok(());
    }
    let place = Place::new("")?;
    let server = place.serve().await?;
    let (therapist, room, acknowledged) = therapist(&server).await?;
    let upload = || {
        let bytes = Some(encrypted_bytes(10_000));
        therapist.ask(Method::POST, "/_matrix/media/v3/upload", bytes)
    };
    // The file, the directory of directories, and the directory that the file was linked into.
    for sync in 1..=3 {
        let what = format!("fsync:error=EIO:when={sync}");
        let failing = Failing::begin(&server, &what, None).await?;
        let refused = upload().await?;
        refused
            .refused(503, "M_UNKNOWN")
            .with_context(|| format!("sync {sync}"))?;
        let left = everything(&place.data().join("blobs"))?;
        ensure!(
            left.is_empty(),
            "sync {sync}: {} files are left",
            left.len()
        );
        failing.end().await?;
    }
    let kept = text_at(&upload().await?.ok()?, "content_uri")?;
    let path = format!("v1/media/download/{}", kept.replace("mxc://", ""));
    ensure!(therapist.get(&path).await?.bytes.len() == 10_000);
    server.stop().await?;
    is_whole(&place, &therapist, &room, &acknowledged).await
}
