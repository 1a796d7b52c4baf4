//! Making rooms: presets, versions, invitations.

use anyhow::{Result, ensure};
use respite_tests::{
    practice::Practice,
    raw::{self, Raw},
};
use serde_json::{Value, json};

use super::{kinds, of_kind, two};

async fn content(who: &Raw, room: &str, kind: &str) -> Result<Value> {
    who.get(&format!("v3/rooms/{room}/state/{kind}"))
        .await?
        .ok()
}

#[tokio::test]
async fn presets_say_who_may_come_and_what_they_may_read() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    for (preset, join_rule, history, guests) in [
        ("private_chat", "invite", "shared", "can_join"),
        ("trusted_private_chat", "invite", "shared", "can_join"),
        ("public_chat", "public", "shared", "forbidden"),
    ] {
        let room = nurse
            .makes_a_room(json!({ "preset": preset, "invite": [doctor.user], "is_direct": true }))
            .await?;
        ensure!(
            content(&nurse, &room, "m.room.join_rules").await?["join_rule"] == join_rule,
            "{preset}"
        );
        ensure!(
            content(&nurse, &room, "m.room.history_visibility").await?["history_visibility"]
                == history,
            "{preset}"
        );
        ensure!(
            content(&nurse, &room, "m.room.guest_access").await?["guest_access"] == guests,
            "{preset}"
        );
        let levels = content(&nurse, &room, "m.room.power_levels").await?;
        let trusted = preset == "trusted_private_chat";
        ensure!(
            (levels["users"][&doctor.user] == 100) == trusted
                && levels["users"][&nurse.user] == 100,
            "{preset}: {levels}"
        );
        let invited = content(&nurse, &room, &format!("m.room.member/{}", doctor.user)).await?;
        ensure!(
            invited["membership"] == "invite" && invited["is_direct"] == true,
            "{invited}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_room_begins_in_the_order_that_the_specification_asks_for() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let body = json!({
        "invite": [doctor.user],
        "power_level_content_override": { "invite": 75 },
        "initial_state": [{ "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": "joined" } }],
        "creation_content": { "type": "m.space" },
    });
    let room = nurse.makes_a_room(body).await?;
    let page = nurse
        .get(&format!("v3/rooms/{room}/messages?dir=f&limit=100"))
        .await?
        .ok()?;
    let kinds = kinds(&page["chunk"]);
    ensure!(
        kinds.first().is_some_and(|kind| kind == "m.room.create"),
        "{kinds:?}"
    );
    ensure!(
        kinds.get(1).is_some_and(|kind| kind == "m.room.member")
            && kinds
                .get(2)
                .is_some_and(|kind| kind == "m.room.power_levels"),
        "{kinds:?}"
    );
    ensure!(
        kinds.last().is_some_and(|kind| kind == "m.room.member"),
        "{kinds:?}"
    );
    let create = of_kind(&page["chunk"], "m.room.create")?;
    ensure!(
        create["content"]["type"] == "m.space"
            && create["content"]["room_version"] == "11"
            && create["content"]["m.federate"] == false,
        "{create}"
    );
    ensure!(content(&nurse, &room, "m.room.power_levels").await?["invite"] == 75);
    ensure!(
        content(&nurse, &room, "m.room.history_visibility").await?["history_visibility"]
            == "joined"
    );
    Ok(())
}

#[tokio::test]
async fn rooms_of_every_version_work_from_the_first_event_to_the_last() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    for version in ["10", "11", "12"] {
        let room = nurse
            .makes_a_room(json!({ "room_version": version, "invite": [doctor.user] }))
            .await?;
        ensure!(room.contains(':') == (version != "12"), "{room}");
        let create = content(&nurse, &room, "m.room.create").await?;
        ensure!(
            create["room_version"] == version
                && (create.get("creator").is_some()) == (version == "10"),
            "{create}"
        );
        doctor.joins(&room).await?;
        let first = doctor.says(&room, "x").await?;
        nurse.says(&room, "x").await?;
        let sent = nurse
            .put(&format!("v3/rooms/{room}/redact/{first}/r1"), json!({}))
            .await?
            .ok()?;
        let redaction = nurse
            .get(&format!(
                "v3/rooms/{room}/event/{}",
                raw::text_at(&sent, "event_id")?
            ))
            .await?
            .ok()?;
        // Clients of every age look for the id in one of two places.
        ensure!(
            redaction["redacts"] == first.as_str()
                && (version == "10" || redaction["content"]["redacts"] == first.as_str()),
            "{version}: {redaction}"
        );
        let redacted = doctor
            .get(&format!("v3/rooms/{room}/event/{first}"))
            .await?
            .ok()?;
        ensure!(
            redacted["content"] == json!({})
                && redacted["unsigned"]["redacted_because"]["sender"] == nurse.user,
            "{redacted}"
        );
        doctor
            .put(
                &format!("v3/rooms/{room}/state/m.room.power_levels"),
                json!({ "users": { doctor.user.as_str(): 100 } }),
            )
            .await?
            .refused(403, "M_FORBIDDEN")?;
        doctor
            .post(
                &format!("v3/rooms/{room}/kick"),
                json!({ "user_id": nurse.user }),
            )
            .await?
            .refused(403, "M_FORBIDDEN")?;
        nurse
            .post(
                &format!("v3/rooms/{room}/kick"),
                json!({ "user_id": doctor.user }),
            )
            .await?
            .ok()?;
        doctor
            .send(&room, "m.room.encrypted", raw::megolm(&room, "x")?)
            .await?
            .refused(403, "M_FORBIDDEN")?;
        let news = nurse.syncs(None).await?;
        ensure!(news["rooms"]["join"].get(&room).is_some(), "{version}");
    }
    Ok(())
}

#[tokio::test]
async fn in_version_12_the_creator_stands_above_all_numbers() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let room = nurse.makes_a_room(json!({ "room_version": "12", "preset": "trusted_private_chat", "invite": [doctor.user] })).await?;
    let create = content(&nurse, &room, "m.room.create").await?;
    ensure!(
        create["additional_creators"] == json!([doctor.user]),
        "{create}"
    );
    let levels = content(&nurse, &room, "m.room.power_levels").await?;
    ensure!(
        levels["users"].get(&nurse.user).is_none() && levels["users"].get(&doctor.user).is_none(),
        "{levels}"
    );
    doctor.joins(&room).await?;
    // Neither of two creators can send the other away.
    for (one, other) in [(&nurse, &doctor), (&doctor, &nurse)] {
        one.post(
            &format!("v3/rooms/{room}/kick"),
            json!({ "user_id": other.user }),
        )
        .await?
        .refused(403, "M_FORBIDDEN")?;
    }
    let path = format!("v3/rooms/{room}/state/m.room.power_levels");
    let answer = nurse
        .put(&path, json!({ "users": { nurse.user.as_str(): 50 } }))
        .await?;
    ensure!(answer.status == 400 || answer.status == 403, "{answer}");
    Ok(())
}

#[tokio::test]
async fn the_operator_chooses_the_version_of_new_rooms() -> Result<()> {
    for version in ["10", "12"] {
        let practice = Practice::open_with(|config| {
            config.rooms.default_version =
                ruma::RoomVersionId::try_from(version).unwrap_or(ruma::RoomVersionId::V11)
        })
        .await?;
        let nurse = raw::stranger(&practice, "nurse").await?;
        let room = nurse.makes_a_room(json!({})).await?;
        ensure!(content(&nurse, &room, "m.room.create").await?["room_version"] == version);
        let can = nurse.get("v3/capabilities").await?.ok()?;
        ensure!(
            can["capabilities"]["m.room_versions"]["default"] == version,
            "{can}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn therapy_rooms_are_what_they_say() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let create = content(&nurse, &room, "m.room.create").await?;
    ensure!(
        create["type"] == "chat.respite.therapy"
            && create["chat.respite.kind"] == "individual"
            && create["m.federate"] == false,
        "{create}"
    );
    ensure!(content(&nurse, &room, "m.room.join_rules").await?["join_rule"] == "invite");
    ensure!(
        content(&nurse, &room, "m.room.history_visibility").await?["history_visibility"]
            == "invited"
    );
    let encryption = content(&nurse, &room, "m.room.encryption").await?;
    ensure!(
        encryption["rotation_period_msgs"]
            .as_u64()
            .is_some_and(|messages| messages <= 50),
        "{encryption}"
    );
    let levels = content(&nurse, &room, "m.room.power_levels").await?;
    ensure!(
        levels["users"][&therapist.user] == 100 && levels["users"][&nurse.user] == 50,
        "{levels}"
    );
    nurse
        .post(
            &format!("v3/rooms/{room}/kick"),
            json!({ "user_id": therapist.user }),
        )
        .await?
        .refused(403, "M_FORBIDDEN")?;
    Ok(())
}

#[tokio::test]
async fn people_who_are_not_there_cannot_be_invited() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, _) = two(&practice).await?;
    for nobody in ["@nobody:localhost", "@somebody:elsewhere.example"] {
        let answer = nurse
            .post("v3/createRoom", json!({ "invite": [nobody] }))
            .await?;
        ensure!(
            (400..500).contains(&answer.status) && !answer.sentence().contains(nobody),
            "{answer}"
        );
    }
    ensure!(
        nurse.rooms().await?.is_empty(),
        "a room was made all the same"
    );
    Ok(())
}
