//! Cases that are rare, and that clients come upon all the same.

use anyhow::{Result, ensure};
use reqwest::Method;
use respite_server::config::Scope;
use respite_tests::{
    practice::Practice,
    raw::{self, Raw, in_query, text_at},
};
use serde_json::{Value, json};

use super::{ids, kinds, together, two};

/// A practice whose ordinary rooms are plain Matrix.
async fn plain() -> Result<Practice> {
    Practice::open_with(|config| config.gate.scope = Scope::TherapyRooms).await
}

fn proof(of: &Raw, session: &Value) -> Value {
    json!({ "auth": {
        "type": "m.login.password", "password": of.password, "session": session,
        "identifier": { "type": "m.id.user", "user": of.user },
    } })
}

#[tokio::test]
async fn a_proof_that_was_begun_for_one_device_removes_no_other() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let phone = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    let tablet = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    let delete = async |device: &str, body: Value| {
        let path = format!("v3/devices/{device}");
        let body = Some(body.to_string().into_bytes());
        nurse.ask(Method::DELETE, &path, body).await
    };
    let asked = delete(&phone.device, json!({})).await?;
    let session = &asked.body["session"];
    delete(&tablet.device, proof(&nurse, session))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    delete(&phone.device, proof(&doctor, session))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    for still_there in [&phone, &tablet] {
        still_there.get("v3/account/whoami").await?.ok()?;
    }
    delete(&phone.device, proof(&nurse, session)).await?.ok()?;
    phone
        .get("v3/account/whoami")
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    // A session that is over is no obstacle.
    practice.wait(respite_server::uia::SESSION_LIFETIME);
    delete(&tablet.device, proof(&nurse, session)).await?.ok()?;
    Ok(())
}

#[tokio::test]
async fn what_was_set_for_a_device_goes_with_it() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let phone = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    let path = format!(
        "v3/user/{}/account_data/org.matrix.msc3890.local_notification_settings.{}",
        nurse.user, phone.device
    );
    nurse
        .put(&path, json!({ "is_silenced": true }))
        .await?
        .ok()?;
    nurse.get(&path).await?.ok()?;
    phone.post("v3/logout", json!({})).await?.ok()?;
    nurse.get(&path).await?.refused(404, "M_NOT_FOUND")?;
    Ok(())
}

#[tokio::test]
async fn what_no_power_allows_is_a_wrong_request() -> Result<()> {
    let practice = plain().await?;
    let (nurse, doctor) = two(&practice).await?;
    let room = nurse
        .makes_a_room(json!({
            "room_version": "12",
            "creation_content": { "additional_creators": [doctor.user] },
        }))
        .await?;
    for creator in [&nurse, &doctor] {
        let levels = json!({ "users": { (creator.user.as_str()): 100 } });
        nurse
            .put(
                &format!("v3/rooms/{room}/state/m.room.power_levels/"),
                levels,
            )
            .await?
            .refused(400, "M_INVALID_PARAM")?;
    }
    nurse
        .put(
            &format!("v3/rooms/{room}/state/m.room.create/"),
            json!({ "room_version": "12" }),
        )
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    for creators in [
        json!("@doctor:localhost"),
        json!([17]),
        json!(["doctor"]),
        json!(["@doctor:lo$cal$host"]),
    ] {
        let body = json!({
            "room_version": "12", "creation_content": { "additional_creators": creators },
        });
        nurse
            .post("v3/createRoom", body)
            .await?
            .refused(400, "M_INVALID_PARAM")?;
    }
    Ok(())
}

#[tokio::test]
async fn an_event_that_one_may_not_read_is_none() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, _, room) = together(&practice, "11").await?;
    let event = nurse.says(&room, "x").await?;
    let stranger = raw::stranger(&practice, "stranger").await?;
    for of in [room.as_str(), "!AbCdEfGhIjKlMnOpQr:localhost"] {
        stranger
            .get(&format!("v3/rooms/{of}/event/{event}"))
            .await?
            .refused(404, "M_NOT_FOUND")?;
    }
    Ok(())
}

#[tokio::test]
async fn news_of_which_nothing_is_wanted_are_none() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let filter = json!({
        "presence": { "types": [] }, "account_data": { "types": [] },
        "room": {
            "timeline": { "types": ["m.room.encrypted"] }, "state": { "types": ["m.room.topic"] },
            "ephemeral": { "types": [] }, "account_data": { "types": [] },
        },
    });
    let sync = async |since: &str| {
        let filter = in_query(&filter.to_string());
        let path = format!("v3/sync?timeout=0&filter={filter}&since={since}");
        nurse.get(&path).await?.ok()
    };
    let since = text_at(&nurse.syncs(None).await?, "next_batch")?;
    let name = format!("v3/profile/{}/displayname", doctor.user);
    doctor
        .put(&name, json!({ "displayname": "Owl" }))
        .await?
        .ok()?;
    let news = sync(&since).await?;
    ensure!(news["rooms"].is_null(), "{news}");
    doctor.says(&room, "x").await?;
    let news = sync(&text_at(&news, "next_batch")?).await?;
    let events = &news["rooms"]["join"][&room]["timeline"]["events"];
    ensure!(kinds(events) == ["m.room.encrypted"], "{news}");
    Ok(())
}

#[tokio::test]
async fn what_an_ignored_person_says_wakes_nobody() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let ignored = json!({ "ignored_users": { (doctor.user.as_str()): {} } });
    let path = format!("v3/user/{}/account_data/m.ignored_user_list", nurse.user);
    nurse.put(&path, ignored).await?.ok()?;
    let since = text_at(&nurse.syncs(None).await?, "next_batch")?;
    doctor.says(&room, "x").await?;
    let news = nurse.syncs(Some(&since)).await?;
    ensure!(news["rooms"].is_null(), "{news}");
    // What one has read on another device changes how much is unread, and is told.
    let tablet = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    let event = nurse.says(&room, "y").await?;
    let since = text_at(&tablet.syncs(None).await?, "next_batch")?;
    nurse
        .post(
            &format!("v3/rooms/{room}/receipt/m.read.private/{event}"),
            json!({}),
        )
        .await?
        .ok()?;
    let news = tablet.syncs(Some(&since)).await?;
    ensure!(news["rooms"]["join"][&room].is_object(), "{news}");
    Ok(())
}

#[tokio::test]
async fn who_comes_back_knows_who_came_meanwhile() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let porter = raw::stranger(&practice, "porter").await?;
    let visibility = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } });
    let room = nurse
        .makes_a_room(json!({ "preset": "public_chat", "initial_state": [visibility] }))
        .await?;
    doctor.joins(&room).await?;
    nurse
        .post(
            &format!("v3/rooms/{room}/invite"),
            json!({ "user_id": porter.user }),
        )
        .await?
        .ok()?;
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    doctor
        .post(&format!("v3/rooms/{room}/leave"), json!({}))
        .await?
        .ok()?;
    porter.joins(&room).await?;
    doctor.joins(&room).await?;
    let news = doctor.syncs(Some(&since)).await?;
    let told = &news["rooms"]["join"][&room];
    // As a client does it: the state first, then the timeline.
    let events = [&told["state"]["events"], &told["timeline"]["events"]];
    let mut events = events.into_iter().filter_map(Value::as_array).flatten();
    let last =
        events.rfind(|event| event["type"] == "m.room.member" && event["state_key"] == porter.user);
    ensure!(
        last.is_some_and(|event| event["content"]["membership"] == "join"),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
async fn at_its_beginning_there_is_a_rooms_creator() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, _, room) = together(&practice, "11").await?;
    let members = nurse
        .get(&format!("v3/rooms/{room}/members?at=t0"))
        .await?
        .ok()?;
    let members = members["chunk"].as_array().map(Vec::as_slice);
    let members = members.unwrap_or_default();
    ensure!(
        members.len() == 1 && members[0]["state_key"] == nurse.user,
        "{members:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_room_that_all_may_read_is_paged_from_a_sync_token_too() -> Result<()> {
    let practice = plain().await?;
    let (nurse, doctor) = two(&practice).await?;
    let readable = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": "world_readable" } });
    let room = nurse
        .makes_a_room(json!({ "initial_state": [readable] }))
        .await?;
    let event = nurse.says(&room, "x").await?;
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    let page = doctor
        .get(&format!("v3/rooms/{room}/messages?dir=b&from={since}"))
        .await?
        .ok()?;
    ensure!(ids(&page["chunk"]).contains(&event), "{page}");
    Ok(())
}
