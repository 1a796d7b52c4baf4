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
