//! The real program and its data directory: what it makes, and what it says when the directory cannot be used.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
pub(crate) use respite_tests::place::{Place, Program};
use respite_tests::raw::{self, Raw};
use serde_json::json;

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
    ensure!(
        second.err.contains("in use by another process"),
        "{second:?}"
    );
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
            ensure!(
                ended.code == Some(1),
                "{command:?} of {kept} bytes: {ended:?}"
            );
            ensure!(
                ended.err.starts_with("respite-server: ") && !ended.err.contains("panic"),
                "{command:?} of {kept} bytes: {ended:?}"
            );
            ensure!(
                ended.err.contains("store.redb") || ended.err.contains("damaged"),
                "{command:?} of {kept} bytes: {ended:?}"
            );
        }
        ensure!(
            before == everything(&place.data())?,
            "the data was changed when {kept} bytes were left"
        );
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
    fs::write(
        &store,
        "this is no store, but it may be dear to somebody".repeat(1_000),
    )?;
    let before = fs::read(&store)?;
    let ended = place.run(&["serve"]).await?;
    ensure!(
        ended.code == Some(1) && !ended.err.contains("panic"),
        "{ended:?}"
    );
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
    ensure!(
        everything(&place.data())?.len() == 1,
        "something was put there"
    );
    Ok(())
}

#[tokio::test]
async fn a_file_in_the_directorys_place_is_named() -> Result<()> {
    let place = Place::new("")?;
    fs::write(place.data(), "a file")?;
    let ended = place.run(&["serve"]).await?;
    ensure!(ended.code == Some(1), "{ended:?}");
    ensure!(
        ended.err.contains(&place.data().display().to_string()),
        "{ended:?}"
    );
    ensure!(fs::read_to_string(place.data())? == "a file");
    Ok(())
}

#[tokio::test]
async fn another_servers_data_is_not_served_under_a_new_name() -> Result<()> {
    let place = Place::new("")?;
    place.serve().await?.stop().await?;
    let ended = place
        .run(&["serve", "--server-name", "respite.example.org"])
        .await?;
    ensure!(ended.code == Some(1), "{ended:?}");
    ensure!(
        ended.err.contains("server.name = \"localhost\""),
        "{ended:?}"
    );
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
    let seen = again
        .get(&format!("v3/rooms/{room}/event/{event}"))
        .await?
        .ok()?;
    ensure!(raw::text_at(&seen, "event_id")? == event);
    server.stop().await
}
