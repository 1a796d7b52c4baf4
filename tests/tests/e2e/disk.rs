//! A disk that is full: nothing more is taken, nothing is lost, and all goes on when there is space again.

mod failing;

use std::{fs, os::unix::fs::MetadataExt};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use respite_tests::raw::{Answer, Raw, THERAPY, encrypted_bytes, megolm, text_at};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::directory::{Place, Program, everything};

/// How many messages must fit at most into the space that the store has taken already.
const MANY: usize = 400;

/// The program's own files may grow to this size; what is beyond fails as on a full disk.
async fn limit(server: &Program, bytes: Option<u64>) -> Result<()> {
    let most = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
    let set = Command::new("prlimit")
        .arg(format!("--pid={}", server.id()?))
        .arg(format!("--fsize={most}:unlimited"))
        .status()
        .await?;
    ensure!(set.success(), "no limit could be set");
    Ok(())
}

/// The command that serves, such that a file beyond its limit is an error and not a signal.
fn command(place: &Place, limit: Option<u64>) -> Result<Command> {
    let serve = place.command(&["serve"])?;
    let serve = serve.as_std();
    let mut command = Command::new("sh");
    let limit = limit
        .map(|bytes| format!("ulimit -f {}; ", bytes / 512))
        .unwrap_or_default();
    command
        .arg("-c")
        .arg(format!("trap '' XFSZ; {limit}exec \"$0\" \"$@\""))
        .arg(serve.get_program())
        .args(serve.get_args());
    command.kill_on_drop(true);
    Ok(command)
}

/// Everything in the room, oldest first.
async fn history(who: &Raw, room: &str) -> Result<Vec<String>> {
    let (mut ids, mut from) = (Vec::new(), String::new());
    loop {
        let page = who
            .get(&format!("v3/rooms/{room}/messages?dir=b&limit=100{from}"))
            .await?
            .ok()?;
        let chunk = page["chunk"].as_array().context("no chunk")?;
        let messages = chunk
            .iter()
            .filter(|event| event["type"] == "m.room.encrypted");
        ids.extend(
            messages
                .filter_map(|event| event["event_id"].as_str())
                .map(str::to_owned),
        );
        match page["end"].as_str() {
            Some(end) => from = format!("&from={end}"),
            None => break,
        }
    }
    ids.reverse();
    Ok(ids)
}

/// What sliding sync tells of all rooms.
async fn slides(who: &Raw, pos: Option<&str>, limit: u32) -> Result<Answer> {
    let pos = pos.map_or(String::new(), |pos| format!("&pos={pos}"));
    let path = format!("unstable/org.matrix.simplified_msc3575/sync?timeout=0{pos}");
    let all = json!({ "ranges": [[0, 9]], "timeline_limit": limit, "required_state": [] });
    who.post(&path, json!({ "lists": { "all": all } })).await
}

#[tokio::test]
async fn when_the_disk_is_full_reading_goes_on_and_nothing_is_half_written() -> Result<()> {
    let place = Place::new("")?;
    let server = place.serve_with(command(&place, None)?).await?;
    let code = server.first_code.clone().context("no code")?;
    let therapist = Raw::register(&server.url, "therapist", &code).await?;
    let invited = therapist
        .post(
            &format!("{THERAPY}/invites"),
            json!({ "kind": "individual" }),
        )
        .await?
        .ok()?;
    let code = text_at(&invited, "code")?;
    let room = therapist.makes_a_room(json!({})).await?;
    let mut acknowledged = vec![therapist.says(&room, "x").await?];
    let kept = therapist
        .ask(
            Method::POST,
            "/_matrix/media/v3/upload",
            Some(encrypted_bytes(10_000)),
        )
        .await?
        .ok()?;
    let blob = text_at(&kept, "content_uri")?.replace("mxc://", "");

    let store = fs::metadata(place.data().join("store.redb"))?.size();
    limit(&server, Some(store)).await?;
    let mut refused = None;
    for _ in 0..MANY {
        let answer = therapist
            .send(
                &room,
                "m.room.encrypted",
                megolm(&room, &"x".repeat(30_000))?,
            )
            .await?;
        if answer.status == 200 {
            acknowledged.push(text_at(&answer.body, "event_id")?);
        } else {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.context("the disk did not fill")?;
    ensure!(
        refused
            .refused(503, "M_UNKNOWN")?
            .contains("try again later"),
        "{refused}"
    );

    // Whatever writes fails in the same way, again and again; whatever reads goes on.
    let nobody = Raw::nobody(&server.url)?;
    let mut on_screen = String::new();
    for round in 0..3 {
        let large = megolm(&room, &"x".repeat(30_000))?;
        therapist
            .send(&room, "m.room.encrypted", large)
            .await?
            .refused(503, "M_UNKNOWN")?;
        therapist
            .post("v3/createRoom", json!({}))
            .await?
            .refused(503, "M_UNKNOWN")?;
        let body = json!({ "username": "nurse", "password": "between two shifts", "auth": { "type": "m.login.registration_token", "token": code } });
        nobody
            .post("v3/register", body)
            .await?
            .refused(503, "M_UNKNOWN")?;
        let upload = therapist
            .ask(
                Method::POST,
                "/_matrix/media/v3/upload",
                Some(encrypted_bytes(usize::try_from(store)? + 1_000_000)),
            )
            .await?;
        ensure!(upload.status >= 500, "{upload}");
        upload.refused(upload.status, "M_UNKNOWN")?;
        ensure!(
            history(&therapist, &room).await?.starts_with(&acknowledged),
            "round {round}: something is missing"
        );
        therapist.syncs(None).await?;
        // Also a client with rooms on its screen starts, goes on, and opens a room.
        let begun = slides(&therapist, None, 1).await?.ok()?;
        ensure!(begun["rooms"][&room]["initial"] == true, "{begun}");
        let pos = text_at(&begun, "pos")?;
        let quiet = slides(&therapist, Some(&pos), 1).await?.ok()?;
        ensure!(quiet["rooms"] == json!({}), "{quiet}");
        let opened = slides(&therapist, Some(&pos), 5).await?.ok()?;
        ensure!(opened["rooms"][&room]["timeline"].is_array(), "{opened}");
        on_screen = text_at(&opened, "pos")?;
        ensure!(
            therapist
                .get(&format!("v1/media/download/{blob}"))
                .await?
                .bytes
                .len()
                == 10_000
        );
    }
    let blobs = everything(&place.data().join("blobs"))?;
    ensure!(
        blobs.len() == 1,
        "beside the one blob there is something of the others: {}",
        blobs.len()
    );
    let log = place.log()?;
    ensure!(log.contains("the store does not take writes"), "{log}");
    ensure!(log.lines().count() < 60, "the log is flooded: {log}");

    limit(&server, None).await?;
    acknowledged.push(therapist.says(&room, "there is space again").await?);
    // What the client with rooms on its screen was told could not be kept: it begins anew, once.
    slides(&therapist, Some(&on_screen), 1)
        .await?
        .refused(400, "M_UNKNOWN_POS")?;
    let pos = text_at(&slides(&therapist, None, 1).await?.ok()?, "pos")?;
    slides(&therapist, Some(&pos), 1).await?.ok()?;
    let nurse = Raw::register(&server.url, "nurse", &code).await?;
    ensure!(nurse.rooms().await?.len() == 1);
    ensure!(place.log()?.contains("the store takes writes again"));
    let complete = history(&therapist, &room).await?;
    // What was refused may have reached the disk nevertheless, but nothing that was acknowledged is missing or out of order.
    let known: Vec<&String> = complete
        .iter()
        .filter(|id| acknowledged.contains(id))
        .collect();
    ensure!(known == acknowledged.iter().collect::<Vec<_>>());
    server.stop().await?;

    let server = place.serve().await?;
    let again = Raw::log_in(&server.url, "therapist", &therapist.password).await?;
    ensure!(
        history(&again, &room).await? == complete,
        "after a restart the room is another"
    );
    let scan = place.run(&["scan"]).await?;
    ensure!(scan.code == Some(0), "{scan:?}");
    server.stop().await
}

#[tokio::test]
async fn a_first_start_on_a_full_disk_says_so_and_can_be_tried_again() -> Result<()> {
    let place = Place::new("")?;
    // The configuration and the log fit; a store does not.
    let output = command(&place, Some(64 * 1024))?.output().await?;
    let err = String::from_utf8(output.stderr)?;
    ensure!(
        output.status.code() == Some(1),
        "{:?}: {err}",
        output.status
    );
    ensure!(
        err.contains("respite-server: ") && !err.contains("panic"),
        "{err}"
    );
    ensure!(
        !place.data().join("store.redb").exists(),
        "half a store was left"
    );
    let server = place.serve().await?;
    let code = server.first_code.clone().context("no code")?;
    Raw::register(&server.url, "therapist", &code).await?;
    server.stop().await
}

#[tokio::test]
async fn a_disk_that_is_full_when_the_server_starts_again_does_not_keep_people_from_reading()
-> Result<()> {
    let place = Place::new("")?;
    let server = place.serve().await?;
    let code = server.first_code.clone().context("no code")?;
    let therapist = Raw::register(&server.url, "therapist", &code).await?;
    let room = therapist.makes_a_room(json!({})).await?;
    let event = therapist.says(&room, "x").await?;
    server.stop().await?;
    let size = fs::metadata(place.data().join("store.redb"))?.size();
    let server = place.serve_with(command(&place, Some(size))?).await?;
    let who = Raw::nobody(&server.url)?.with_token(therapist.token.as_deref());
    let seen: Value = who
        .get(&format!("v3/rooms/{room}/event/{event}"))
        .await?
        .ok()?;
    ensure!(seen["event_id"] == event.as_str(), "{seen}");
    server.stop().await
}
