//! An operator who runs plain Matrix beside: the gate guards therapy rooms only, and those always.

use anyhow::{Result, ensure};
use respite_server::config::Scope;
use respite_tests::{practice::Practice, raw};
use serde_json::json;

use super::Scene;

#[tokio::test]
async fn an_ordinary_room_is_plain_matrix_and_a_therapy_room_is_not() -> Result<()> {
    let practice = Practice::open_with(|config| config.gate.scope = Scope::TherapyRooms).await?;
    let scene = Scene::open(&practice).await?;
    let nurse = &scene.nurse;
    let message = json!({ "msgtype": "m.text", "body": "Shall we swap Sunday?" });
    let room = nurse.makes_a_room(json!({ "name": "Rota swaps", "topic": "Who takes which shift", "invite": [scene.therapist.user] })).await?;
    scene.therapist.joins(&room).await?;
    let sent = nurse
        .send(&room, "m.room.message", message.clone())
        .await?
        .ok()?;
    let seen = scene
        .therapist
        .get(&format!(
            "v3/rooms/{room}/event/{}",
            raw::text_at(&sent, "event_id")?
        ))
        .await?
        .ok()?;
    ensure!(seen["content"] == message, "{seen}");
    let name = scene
        .therapist
        .get(&format!("v3/rooms/{room}/state/m.room.name"))
        .await?
        .ok()?;
    ensure!(name == json!({ "name": "Rota swaps" }), "{name}");
    nurse
        .put(
            &format!("v3/rooms/{room}/state/m.room.topic"),
            json!({ "topic": "Swaps" }),
        )
        .await?
        .ok()?;
    let reaction = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": sent["event_id"], "key": "+1" } });
    scene
        .therapist
        .send(&room, "m.reaction", reaction.clone())
        .await?
        .ok()?;

    let therapy = &scene.room;
    nurse
        .send(therapy, "m.room.message", message)
        .await?
        .refused(403, "M_FORBIDDEN")?;
    nurse
        .send(therapy, "m.reaction", reaction)
        .await?
        .refused(403, "M_FORBIDDEN")?;
    let name = json!({ "name": "Thursdays" });
    scene
        .therapist
        .put(&format!("v3/rooms/{therapy}/state/m.room.name"), name)
        .await?
        .refused(403, "M_FORBIDDEN")?;
    nurse.says(therapy, "x").await?;
    Ok(())
}

#[tokio::test]
async fn in_a_therapy_room_the_whole_gate_holds_all_the_same() -> Result<()> {
    let mut practice =
        Practice::open_with(|config| config.gate.scope = Scope::TherapyRooms).await?;
    let scene = Scene::open(&practice).await?;
    scene.try_all(super::messages::plain(&scene)).await?;
    scene.try_all(super::messages::pretended(&scene)?).await?;
    scene.try_all(super::messages::beside(&scene)?).await?;
    scene.try_all(super::messages::along(&scene)).await?;
    scene.try_all(super::rooms::settings(&scene)).await?;
    scene.try_all(super::media::prompts(&scene)?).await?;
    scene.try_all(super::rooms::along(&scene)).await?;
    practice.stop().await?;
    ensure!(
        scene.canary.search(practice.data())?.is_empty(),
        "the words were kept"
    );
    Ok(())
}

#[tokio::test]
async fn where_plain_matrix_is_allowed_a_therapist_still_makes_encrypted_rooms() -> Result<()> {
    let practice = Practice::open_with(|config| config.gate.scope = Scope::TherapyRooms).await?;
    let therapist = raw::therapist(&practice, "therapist").await?;
    let body = json!({ "kind": "group" });
    let room = raw::text_at(
        &therapist
            .post(&format!("{}/rooms", raw::THERAPY), body)
            .await?
            .ok()?,
        "room_id",
    )?;
    therapist
        .send(
            &room,
            "m.room.message",
            json!({ "msgtype": "m.text", "body": "x" }),
        )
        .await?
        .refused(403, "M_FORBIDDEN")?;
    let path = format!("v3/rooms/{room}/state/m.room.encryption");
    let encryption = therapist.get(&path).await?.ok()?;
    ensure!(
        encryption["algorithm"] == "m.megolm.v1.aes-sha2",
        "{encryption}"
    );
    therapist
        .put(&path, json!({ "algorithm": "none" }))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    // A room that a client calls a therapy room itself would be one in name only.
    let own = json!({ "creation_content": { "type": "chat.respite.therapy", "chat.respite.kind": "individual" } });
    let answer = therapist.post("v3/createRoom", own).await?;
    if answer.status == 200 {
        let room = raw::text_at(&answer.body, "room_id")?;
        therapist
            .send(
                &room,
                "m.room.message",
                json!({ "msgtype": "m.text", "body": "x" }),
            )
            .await?
            .refused(403, "M_FORBIDDEN")?;
    } else {
        answer.refused(403, "M_FORBIDDEN")?;
    }
    Ok(())
}

#[tokio::test]
async fn plain_matrix_that_is_allowed_is_no_violation_in_the_scan() -> Result<()> {
    let practice = Practice::open_with(|config| config.gate.scope = Scope::TherapyRooms).await?;
    let scene = Scene::open(&practice).await?;
    let (nurse, therapy) = (&scene.nurse, &scene.room);
    let user = &nurse.user;
    let plain = nurse
        .makes_a_room(json!({ "name": "Rota swaps", "topic": "Who takes which shift" }))
        .await?;
    let text = json!({ "msgtype": "m.text", "body": "Shall we swap Sunday?" });
    let sent = nurse.send(&plain, "m.room.message", text).await?.ok()?;
    let redacted = format!(
        "v3/rooms/{plain}/redact/{}/r1",
        raw::text_at(&sent, "event_id")?
    );
    let data = json!({ "body": "my own" });
    for (path, body) in [
        (
            format!("v3/user/{user}/account_data/chat.example"),
            data.clone(),
        ),
        (
            format!("v3/user/{user}/rooms/{plain}/account_data/chat.example"),
            data.clone(),
        ),
        (
            format!("v3/user/{user}/rooms/{plain}/tags/u.swaps"),
            json!({ "order": 0.5 }),
        ),
        (
            format!("v3/user/{user}/rooms/{therapy}/tags/m.favourite"),
            json!({ "order": 0.5 }),
        ),
        (format!("v3/rooms/{plain}/state/chat.example"), data.clone()),
        (redacted, json!({ "reason": "a mistake" })),
    ] {
        nurse.put(&path, body).await?.ok()?;
    }
    let image = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR and so on".to_vec();
    nurse
        .ask(
            reqwest::Method::POST,
            "/_matrix/media/v3/upload",
            Some(image.clone()),
        )
        .await?
        .ok()?;
    let own = format!("v3/user/{user}/rooms/{therapy}/account_data/chat.example");
    nurse.put(&own, data).await?.refused(403, "M_FORBIDDEN")?;
    let document = format!("{}/rooms/{therapy}/documents", raw::THERAPY);
    nurse
        .ask(reqwest::Method::POST, &document, Some(image))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    let report = respite_server::scan::scan(practice.app()?).await?;
    ensure!(report.is_clean(), "{:?}", report.violations);
    Ok(())
}
