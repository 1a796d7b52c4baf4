//! A room that ends: for its members, for the operator, and on the disk. With the real program.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use respite_tests::{
    person::PATIENCE,
    place::Place,
    raw::{self, Raw, encrypted_bytes, megolm, text_at},
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::directory::everything;

/// A therapist and a nurse in their room, as [`raw::therapist_and_nurse`] makes them, at the real program.
async fn in_therapy(url: &str, code: &str) -> Result<(Raw, Raw, String)> {
    let therapist = Raw::register(url, "therapist", code).await?;
    let nurse = client_of(url, &therapist, "nurse").await?;
    let room = nurse.rooms().await?.first().context("no room")?.clone();
    Ok((therapist, nurse, room))
}

async fn client_of(url: &str, therapist: &Raw, name: &str) -> Result<Raw> {
    let invites = format!("{}/invites", raw::THERAPY);
    let made = therapist
        .post(&invites, json!({ "kind": "individual" }))
        .await?
        .ok()?;
    Raw::register(url, name, &text_at(&made, "code")?).await
}

/// Sends ciphertext to a room and returns a piece of it that is found wherever it is kept.
async fn says(person: &Raw, room: &str, text: &str) -> Result<String> {
    let content = megolm(room, text)?;
    let ciphertext = text_at(&content, "ciphertext")?;
    person.send(room, "m.room.encrypted", content).await?.ok()?;
    Ok(ciphertext)
}

/// The files below a directory in which these bytes are.
fn files_with(directory: &Path, bytes: &[u8]) -> Result<Vec<String>> {
    let found = everything(directory)?.into_iter();
    Ok(found
        .filter(|(_, content)| content.windows(bytes.len()).any(|window| window == bytes))
        .map(|(path, _)| path.display().to_string())
        .collect())
}

async fn listed(place: &Place) -> Result<Vec<String>> {
    let listed = place.run(&["room", "list", "--json"]).await?;
    let listed: Value = serde_json::from_str(&listed.out)?;
    let rooms = listed["rooms"].as_array().context("no rooms")?;
    rooms.iter().map(|room| text_at(room, "room")).collect()
}

#[tokio::test]
async fn a_room_that_the_operator_deletes_is_gone_from_the_disk_and_left_by_its_members()
-> Result<()> {
    let place = Place::new("")?;
    let server = place.serve().await?;
    let code = server.first_code.clone().context("no code")?;
    let (therapist, nurse, room) = in_therapy(&server.url, &code).await?;
    let doctor = client_of(&server.url, &therapist, "doctor").await?;
    let kept = doctor.rooms().await?.first().context("no room")?.clone();
    let mut gone = Vec::new();
    for number in 0..40 {
        gone.push(says(&nurse, &room, &format!("night {number}")).await?);
    }
    let stays = says(&doctor, &kept, "a quiet night").await?;
    let document = encrypted_bytes(3_000);
    let path = format!("{}/rooms/{room}/documents", raw::THERAPY);
    nurse
        .ask(reqwest::Method::POST, &path, Some(document.clone()))
        .await?
        .ok()?;
    let since = text_at(&nurse.syncs(None).await?, "next_batch")?;

    let rooms = listed(&place).await?;
    ensure!(rooms.contains(&room) && rooms.contains(&kept), "{rooms:?}");
    let told = place.run(&["room", "list"]).await?.out;
    ensure!(
        told.contains("individual") && told.contains("@doctor:localhost"),
        "{told}"
    );
    let deleted = place.run(&["room", "delete", &room]).await?;
    ensure!(deleted.code == Some(0), "{deleted:?}");
    ensure!(listed(&place).await? == std::slice::from_ref(&kept));
    let again = place.run(&["room", "delete", &room]).await?;
    ensure!(
        again.code == Some(1) && again.err.contains("no such room"),
        "{again:?}"
    );

    let news = nurse.syncs(Some(&since)).await?;
    ensure!(!news["rooms"]["leave"][&room].is_null(), "{news}");
    let events = &news["rooms"]["leave"][&room]["timeline"]["events"];
    ensure!(events[0]["content"]["membership"] == "leave", "{news}");
    ensure!(events[0]["state_key"] == "@nurse:localhost", "{news}");
    let since = text_at(&news, "next_batch")?;
    let after = nurse.syncs(Some(&since)).await?;
    ensure!(after["rooms"]["leave"].is_null(), "{after}");
    let whole = nurse.syncs(None).await?;
    ensure!(whole["rooms"]["join"][&room].is_null(), "{whole}");
    nurse
        .get(&format!("v3/rooms/{room}/messages?dir=b"))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    nurse
        .send(&room, "m.room.encrypted", megolm(&room, "anybody there?")?)
        .await?
        .refused(403, "M_FORBIDDEN")?;
    nurse
        .post(&format!("v3/rooms/{room}/join"), json!({}))
        .await?
        .refused(403, "M_FORBIDDEN")?;

    ensure!(
        files_with(&place.data(), &document)?.is_empty(),
        "the document is there"
    );
    let busy = place.run(&["compact"]).await?;
    ensure!(
        busy.code == Some(1) && busy.err.contains("in use"),
        "{busy:?}"
    );
    server.stop().await?;
    let compacted = place.run(&["compact"]).await?;
    ensure!(compacted.code == Some(0), "{compacted:?}");
    for ciphertext in gone {
        let found = files_with(&place.data(), ciphertext.as_bytes())?;
        ensure!(found.is_empty(), "ciphertext is still in {found:?}");
        let found = files_with(&place.data(), &packed(&ciphertext)?)?;
        ensure!(found.is_empty(), "packed ciphertext is still in {found:?}");
    }
    ensure!(!files_with(&place.data(), &packed(&stays)?)?.is_empty());
    let scan = place.run(&["scan"]).await?;
    ensure!(scan.code == Some(0), "{scan:?}");

    let server = place.serve().await?;
    let doctor = Raw::log_in(&server.url, "doctor", &doctor.password).await?;
    let messages = doctor
        .get(&format!("v3/rooms/{kept}/messages?dir=b"))
        .await?
        .ok()?;
    ensure!(messages["chunk"][0]["content"]["ciphertext"] == stays.as_str());
    server.stop().await
}

#[tokio::test]
async fn a_room_that_both_have_left_and_forgotten_goes_away_by_itself() -> Result<()> {
    let place = Place::new("")?;
    let server = place.serve().await?;
    let code = server.first_code.clone().context("no code")?;
    let (therapist, nurse, room) = in_therapy(&server.url, &code).await?;
    let ciphertext = says(&nurse, &room, "thank you").await?;
    ensure!(!files_with(&place.data(), &packed(&ciphertext)?)?.is_empty());
    for person in [&nurse, &therapist] {
        for act in ["leave", "forget"] {
            let path = format!("v3/rooms/{room}/{act}");
            person.post(&path, json!({})).await?.ok()?;
        }
    }
    ensure!(listed(&place).await?.is_empty());
    timeout(PATIENCE, async {
        while place.run(&["scan"]).await?.well()?.contains(" events\n") {
            sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    })
    .await
    .context("its events are still there")??;
    server.stop().await?;
    ensure!(place.run(&["compact"]).await?.code == Some(0));
    for bytes in [ciphertext.as_bytes(), &packed(&ciphertext)?] {
        let found = files_with(&place.data(), bytes)?;
        ensure!(found.is_empty(), "ciphertext is still in {found:?}");
    }
    Ok(())
}

#[tokio::test]
async fn of_an_account_that_its_owner_ends_the_disk_keeps_the_name_only() -> Result<()> {
    let place = Place::new("")?;
    let server = place.serve().await?;
    let code = server.first_code.clone().context("no code")?;
    let therapist = Raw::register(&server.url, "therapist", &code).await?;
    let nurse = client_of(&server.url, &therapist, "nurse").await?;
    let pseudonym = format!("Owl {:x}", rand::random::<u64>());
    let profile = format!("v3/profile/{}/displayname", nurse.user);
    nurse
        .put(&profile, json!({ "displayname": pseudonym }))
        .await?
        .ok()?;
    let key = raw::encrypted_base64(32);
    let kept = json!({ "encrypted": { "key": {
        "iv": raw::encrypted_base64(16), "ciphertext": key, "mac": raw::encrypted_base64(32),
    } } });
    let path = format!("v3/user/{}/account_data/m.cross_signing.master", nurse.user);
    nurse.put(&path, kept).await?.ok()?;
    ensure!(!files_with(&place.data(), pseudonym.as_bytes())?.is_empty());
    let ended = nurse
        .with_password(
            reqwest::Method::POST,
            "v3/account/deactivate",
            json!({ "erase": true }),
        )
        .await?;
    ended.ok()?;
    ensure!(
        therapist.rooms().await?.len() == 1,
        "the therapist keeps the room"
    );
    server.stop().await?;
    // What the server had no time for is finished by whoever comes next.
    let again = place.run(&["user", "deactivate", "nurse"]).await?;
    ensure!(again.code == Some(0), "{again:?}");
    ensure!(place.run(&["compact"]).await?.code == Some(0));
    for words in [pseudonym, key] {
        let found = files_with(&place.data(), words.as_bytes())?;
        ensure!(found.is_empty(), "{words} is still in {found:?}");
    }
    ensure!(place.run(&["scan"]).await?.code == Some(0));
    let listed = place.run(&["user", "list"]).await?;
    ensure!(listed.out.contains("@nurse:localhost  client  deactivated"));
    Ok(())
}

/// What the store keeps of a text in base64: its bits.
fn packed(ciphertext: &str) -> Result<Vec<u8>> {
    Ok(STANDARD_NO_PAD.decode(ciphertext)?)
}
