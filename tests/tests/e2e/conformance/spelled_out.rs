//! What is the default and could be left out, and what clients and those who test servers look for all the same.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use respite_server::config::Scope;
use respite_tests::{
    practice::Practice,
    raw::{self, text_at},
};
use serde_json::{Value, json};

use super::{of_kind, together, two};

#[tokio::test]
async fn that_one_may_change_ones_password_is_said() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let can = nurse.get("v3/capabilities").await?.ok()?;
    ensure!(
        can["capabilities"]["m.change_password"] == json!({ "enabled": true }),
        "{can}"
    );
    Ok(())
}

#[tokio::test]
async fn the_directory_says_of_each_room_who_may_join() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let knock = json!({ "type": "m.room.join_rules", "content": { "join_rule": "knock" } });
    nurse
        .makes_a_room(json!({ "visibility": "public" }))
        .await?;
    nurse
        .makes_a_room(json!({ "visibility": "public", "initial_state": [knock] }))
        .await?;
    for listed in [
        nurse.get("v3/publicRooms").await?.ok()?,
        nurse.post("v3/publicRooms", json!({})).await?.ok()?,
    ] {
        let rooms = listed["chunk"].as_array().context("no rooms")?;
        let mut rules: Vec<&str> = rooms
            .iter()
            .filter_map(|room| room["join_rule"].as_str())
            .collect();
        rules.sort_unstable();
        ensure!(rules == ["knock", "public"], "{listed}");
    }
    Ok(())
}

#[tokio::test]
async fn members_without_a_name_are_said_to_have_none() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let name = format!("v3/profile/{}/displayname", doctor.user);
    doctor
        .put(&name, json!({ "displayname": "Owl" }))
        .await?
        .ok()?;
    let members = nurse
        .get(&format!("v3/rooms/{room}/joined_members"))
        .await?
        .ok()?;
    let expected = json!({
        (nurse.user.as_str()): { "display_name": null, "avatar_url": null },
        (doctor.user.as_str()): { "display_name": "Owl", "avatar_url": null },
    });
    ensure!(members["joined"] == expected, "{members}");
    Ok(())
}

#[tokio::test]
async fn who_is_asked_for_a_proof_is_told_that_nothing_is_proved_yet() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let asked = nurse.post("v3/account/deactivate", json!({})).await?;
    ensure!(
        asked.status == 401 && asked.body["completed"] == json!([]),
        "{asked}"
    );
    Ok(())
}

#[tokio::test]
async fn each_room_of_a_sync_says_whether_something_is_left_out() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let whole = nurse.syncs(None).await?;
    ensure!(
        whole["rooms"]["join"][&room]["timeline"]["limited"].is_boolean(),
        "{whole}"
    );
    let since = text_at(&whole, "next_batch")?;
    doctor.says(&room, "x").await?;
    let news = nurse.syncs(Some(&since)).await?;
    ensure!(
        news["rooms"]["join"][&room]["timeline"]["limited"] == false,
        "{news}"
    );
    nurse
        .post(&format!("v3/rooms/{room}/leave"), json!({}))
        .await?
        .ok()?;
    let since = text_at(&news, "next_batch")?;
    let gone = nurse.syncs(Some(&since)).await?;
    let left = &gone["rooms"]["leave"][&room];
    ensure!(
        left["timeline"]["limited"] == false && left["state"]["events"] == json!([]),
        "{gone}"
    );
    Ok(())
}

#[tokio::test]
async fn a_topic_is_said_in_both_forms() -> Result<()> {
    let practice = Practice::open_with(|config| config.gate.scope = Scope::TherapyRooms).await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let room = nurse
        .makes_a_room(json!({ "topic": "The night shift of ward seven" }))
        .await?;
    let topic = nurse
        .get(&format!("v3/rooms/{room}/state/m.room.topic/"))
        .await?
        .ok()?;
    let text = "The night shift of ward seven";
    let expected = json!({
        "topic": text, "m.topic": { "m.text": [{ "body": text, "mimetype": "text/plain" }] },
    });
    ensure!(topic == expected, "{topic}");
    Ok(())
}

#[tokio::test]
async fn one_is_told_how_those_are_whom_one_meets() -> Result<()> {
    let practice = Practice::open_with(|config| config.presence.enabled = true).await?;
    let (nurse, doctor) = two(&practice).await?;
    let room = nurse
        .makes_a_room(json!({ "preset": "public_chat" }))
        .await?;
    let before_nurse = text_at(&nurse.syncs(None).await?, "next_batch")?;
    let before = text_at(&doctor.syncs(None).await?, "next_batch")?;
    // Who is only asked in is told nothing, and nothing of them.
    nurse
        .post(
            &format!("v3/rooms/{room}/invite"),
            json!({ "user_id": doctor.user }),
        )
        .await?
        .ok()?;
    let asked = doctor.syncs(Some(&before)).await?;
    let news = nurse.syncs(Some(&before_nurse)).await?;
    ensure!(
        asked["presence"].is_null() && news["presence"].is_null(),
        "{asked}\n{news}"
    );
    doctor.joins(&room).await?;
    let is_online = |news: &Value, who: &str| -> Result<bool> {
        let event = of_kind(&news["presence"]["events"], "m.presence")?;
        Ok(event["sender"] == who && event["content"]["presence"] == "online")
    };
    let came = doctor.syncs(Some(&text_at(&asked, "next_batch")?)).await?;
    ensure!(is_online(&came, &nurse.user)?, "{came}");
    let met = nurse.syncs(Some(&text_at(&news, "next_batch")?)).await?;
    ensure!(is_online(&met, &doctor.user)?, "{met}");
    // Once is enough.
    let again = nurse.syncs(Some(&text_at(&met, "next_batch")?)).await?;
    ensure!(again["presence"].is_null(), "{again}");
    Ok(())
}

#[tokio::test]
async fn a_delayed_event_knows_three_things_that_may_become_of_it() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let path = |action: &str| format!("unstable/org.matrix.msc4140/delayed_events/abc/{action}");
    for action in ["restart", "send", "cancel"] {
        nurse
            .post(&path(action), json!({}))
            .await?
            .refused(404, "M_NOT_FOUND")?;
    }
    nurse
        .ask(Method::POST, &path("postpone"), Some(b"{}".to_vec()))
        .await?
        .refused(404, "M_UNRECOGNIZED")?;
    Ok(())
}
