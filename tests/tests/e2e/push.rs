//! Push notifications: a real push gateway on a port of its own, and what it is told.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use respite_tests::{
    gateway::{Gateway, Mood},
    practice::Practice,
    raw::{Raw, text_at},
};
use serde_json::{Value, json};

use crate::conformance::together;

const MINUTE: Duration = Duration::from_secs(60);

/// What a phone asks for.
fn pusher(gateway: &str, pushkey: &str) -> Value {
    json!({
        "kind": "http", "app_id": "chat.example.android", "pushkey": pushkey, "lang": "en",
        "app_display_name": "Chat", "device_display_name": "Phone",
        "data": {
            "url": gateway, "format": "event_id_only", "default_payload": { "cs": "6a1f" },
        },
    })
}

/// A practice with a gateway that its operator trusts.
async fn practice_with_gateway() -> Result<(Practice, Gateway)> {
    let gateway = Gateway::open().await?;
    let trusted = vec![gateway.base.clone()];
    let practice = Practice::open_with(|config| config.push.trusted_gateways = trusted).await?;
    Ok((practice, gateway))
}

/// A nurse and a doctor in a room, and the doctor's phone rings.
async fn with_phone() -> Result<(Practice, Gateway, Raw, Raw, String)> {
    let (practice, gateway) = practice_with_gateway().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let set = pusher(&gateway.url(), "doctors-phone");
    doctor.post("v3/pushers/set", set).await?.ok()?;
    Ok((practice, gateway, nurse, doctor, room))
}

async fn reads(who: &Raw, room: &str, event: &str) -> Result<()> {
    let path = format!("v3/rooms/{room}/receipt/m.read/{event}");
    who.post(&path, json!({})).await?.ok().map(drop)
}

#[tokio::test]
async fn a_phone_is_told_ids_and_a_number_and_nothing_else() -> Result<()> {
    let (_practice, gateway, nurse, doctor, room) = with_phone().await?;
    let first = nurse.says(&room, "I cannot sleep").await?;
    let told = gateway.hears_of(&first).await?;
    let device = &told["devices"][0];
    ensure!(device["pushkey_ts"].is_u64(), "{told}");
    let expected = json!({
        "event_id": first, "room_id": room, "prio": "high", "counts": { "unread": 1 },
        "devices": [{
            "app_id": "chat.example.android", "pushkey": "doctors-phone", "pushkey_ts": device["pushkey_ts"],
            "data": { "format": "event_id_only", "default_payload": { "cs": "6a1f" } },
        }],
    });
    ensure!(told == expected, "{told}");
    let second = nurse.says(&room, "still not").await?;
    let told = gateway.hears_of(&second).await?;
    ensure!(told["counts"]["unread"] == 2, "{told}");
    let own = doctor.says(&room, "try to read").await?;
    reads(&doctor, &room, &own).await?;
    let told = gateway.takes(|told| told["counts"]["unread"] == 0).await?;
    ensure!(told.get("event_id").is_none(), "{told}");
    ensure!(gateway.events() == [first, second]);
    Ok(())
}

#[tokio::test]
async fn the_number_at_the_symbol_is_that_of_all_rooms_and_of_invitations() -> Result<()> {
    let (practice, gateway) = practice_with_gateway().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    // Unread before there is a phone.
    nurse.says(&room, "x").await?;
    let set = pusher(&gateway.url(), "doctors-phone");
    doctor.post("v3/pushers/set", set).await?.ok()?;
    let invitation = json!({ "invite": [doctor.user] });
    let other = nurse.makes_a_room(invitation).await?;
    let told = gateway
        .takes(|told| told["room_id"] == other.as_str())
        .await?;
    ensure!(told["counts"]["unread"] == 2, "{told}");
    doctor.joins(&other).await?;
    let event = nurse.says(&other, "x").await?;
    let told = gateway.hears_of(&event).await?;
    ensure!(told["counts"]["unread"] == 2, "{told}");
    doctor
        .post(&format!("v3/rooms/{other}/leave"), json!({}))
        .await?
        .ok()?;
    let event = nurse.says(&room, "x").await?;
    let told = gateway.hears_of(&event).await?;
    ensure!(told["counts"]["unread"] == 2, "{told}");
    Ok(())
}

#[tokio::test]
async fn a_room_that_is_muted_does_not_ring_and_an_ignored_person_neither() -> Result<()> {
    let (practice, gateway, nurse, doctor, room) = with_phone().await?;
    let rule = format!("v3/pushrules/global/room/{room}");
    doctor.put(&rule, json!({ "actions": [] })).await?.ok()?;
    nurse.says(&room, "x").await?;
    doctor.delete(&rule).await?.ok()?;
    let heard = nurse.says(&room, "x").await?;
    gateway.hears_of(&heard).await?;
    let ignored = json!({ "ignored_users": { (&nurse.user): {} } });
    let path = format!("v3/user/{}/account_data/m.ignored_user_list", doctor.user);
    doctor.put(&path, ignored).await?.ok()?;
    nurse.says(&room, "x").await?;
    let midwife = respite_tests::raw::stranger(&practice, "midwife").await?;
    let invitation = json!({ "user_id": midwife.user });
    nurse
        .post(&format!("v3/rooms/{room}/invite"), invitation)
        .await?
        .ok()?;
    midwife.joins(&room).await?;
    let hers = midwife.says(&room, "x").await?;
    gateway.hears_of(&hers).await?;
    ensure!(gateway.events() == [heard, hers]);
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_fails_is_asked_less_and_less_often_and_told_everything_when_it_recovers()
-> Result<()> {
    let (mut practice, gateway, nurse, _, room) = with_phone().await?;
    gateway.is(Mood::Failing);
    let mut sent = vec![nurse.says(&room, "x").await?];
    gateway.is_asked(1).await?;
    sent.push(nurse.says(&room, "x").await?);
    for failures in 2..6 {
        practice.wait(MINUTE);
        gateway.is_asked(failures).await?;
    }
    practice.stop().await?;
    gateway.is(Mood::Willing);
    practice.start().await?;
    sent.push(nurse.says(&room, "x").await?);
    practice.wait(MINUTE);
    let told = gateway.hears_of(&sent[2]).await?;
    ensure!(told["counts"]["unread"] == 3, "{told}");
    ensure!(gateway.events() == sent);
    Ok(())
}

#[tokio::test]
async fn what_was_to_be_pushed_yesterday_is_given_up() -> Result<()> {
    let (practice, gateway, nurse, _, room) = with_phone().await?;
    gateway.is(Mood::Failing);
    nurse.says(&room, "x").await?;
    gateway.is_asked(1).await?;
    practice.wait(25 * 60 * MINUTE);
    gateway.is_asked(2).await?;
    gateway.is(Mood::Willing);
    practice.wait(60 * MINUTE);
    let today = nurse.says(&room, "x").await?;
    gateway.hears_of(&today).await?;
    ensure!(gateway.events() == [today]);
    Ok(())
}

#[tokio::test]
async fn what_is_read_elsewhere_before_the_gateway_recovers_does_not_ring() -> Result<()> {
    let (practice, gateway, nurse, doctor, room) = with_phone().await?;
    gateway.is(Mood::Failing);
    let first = nurse.says(&room, "x").await?;
    gateway.is_asked(1).await?;
    reads(&doctor, &room, &first).await?;
    let second = nurse.says(&room, "x").await?;
    gateway.is(Mood::Willing);
    practice.wait(MINUTE);
    let told = gateway.hears_of(&second).await?;
    ensure!(told["counts"]["unread"] == 1, "{told}");
    ensure!(gateway.events() == [second]);
    Ok(())
}

#[tokio::test]
async fn a_phone_that_the_gateway_does_not_know_any_more_is_forgotten() -> Result<()> {
    let (_practice, gateway, nurse, doctor, room) = with_phone().await?;
    let tablet = pusher(&gateway.url(), "doctors-tablet");
    doctor.post("v3/pushers/set", tablet).await?.ok()?;
    gateway.rejects("doctors-phone");
    let event = nurse.says(&room, "x").await?;
    let of = |told: &Value, key: &str| told["devices"][0]["pushkey"] == key;
    gateway.takes(|told| of(told, "doctors-phone")).await?;
    gateway
        .takes(|told| told["event_id"] == event.as_str() && of(told, "doctors-tablet"))
        .await?;
    let keys = async || -> Result<Vec<String>> {
        let listed = doctor.get("v3/pushers").await?.ok()?;
        let listed = listed["pushers"].as_array().cloned().unwrap_or_default();
        listed.iter().map(|it| text_at(it, "pushkey")).collect()
    };
    for _ in 0..500 {
        if keys().await?.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure!(keys().await? == ["doctors-tablet"]);
    let event = nurse.says(&room, "x").await?;
    gateway.hears_of(&event).await?;
    let calls = gateway.taken();
    let to_phone = calls.iter().filter(|told| of(told, "doctors-phone"));
    ensure!(to_phone.count() == 1, "{calls:?}");
    Ok(())
}

#[tokio::test]
async fn who_logs_out_is_not_called_any_more() -> Result<()> {
    let (practice, gateway, nurse, doctor, room) = with_phone().await?;
    let tablet = Raw::log_in(practice.url(), "doctor", &doctor.password).await?;
    doctor.post("v3/logout", json!({})).await?.ok()?;
    let listed = tablet.get("v3/pushers").await?.ok()?;
    ensure!(listed["pushers"] == json!([]), "{listed}");
    nurse.says(&room, "x").await?;
    let set = pusher(&gateway.url(), "doctors-tablet");
    tablet.post("v3/pushers/set", set).await?.ok()?;
    let event = nurse.says(&room, "x").await?;
    gateway.hears_of(&event).await?;
    ensure!(gateway.events() == [event]);
    Ok(())
}

#[tokio::test]
async fn a_phone_that_changes_hands_rings_for_its_new_owner() -> Result<()> {
    let (_practice, gateway, nurse, doctor, room) = with_phone().await?;
    let mut set = pusher(&gateway.url(), "doctors-phone");
    set["append"] = json!(true);
    nurse.post("v3/pushers/set", set.clone()).await?.ok()?;
    let has = async |who: &Raw| -> Result<usize> {
        let listed = who.get("v3/pushers").await?.ok()?;
        Ok(listed["pushers"].as_array().context("no list")?.len())
    };
    ensure!(has(&doctor).await? == 1 && has(&nurse).await? == 1);
    set["append"] = json!(false);
    nurse.post("v3/pushers/set", set).await?.ok()?;
    ensure!(has(&doctor).await? == 0 && has(&nurse).await? == 1);
    let event = doctor.says(&room, "x").await?;
    gateway.hears_of(&event).await?;
    Ok(())
}

#[tokio::test]
async fn a_gateway_sends_nobody_elsewhere_and_its_answers_end() -> Result<()> {
    let (practice, gateway, nurse, _, room) = with_phone().await?;
    let elsewhere = Gateway::open().await?;
    gateway.is(Mood::Redirecting(elsewhere.url()));
    let event = nurse.says(&room, "x").await?;
    gateway.is_asked(1).await?;
    gateway.is(Mood::Talkative);
    practice.wait(MINUTE);
    gateway.is_asked(2).await?;
    gateway.is(Mood::Willing);
    practice.wait(MINUTE);
    gateway.hears_of(&event).await?;
    ensure!(
        elsewhere.asked() == 0,
        "the server let itself be sent elsewhere"
    );
    Ok(())
}

#[tokio::test]
async fn nobody_has_the_server_call_its_own_network() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, _, _) = together(&practice, "11").await?;
    let gateway = Gateway::open().await?;
    let notify = "/_matrix/push/v1/notify";
    for (url, errcode) in [
        (gateway.url(), "M_INVALID_PARAM"),
        (gateway.url().replace("http:", "https:"), "M_INVALID_PARAM"),
        (format!("https://10.0.0.1{notify}"), "M_INVALID_PARAM"),
        (format!("https://[::1]{notify}"), "M_INVALID_PARAM"),
        (
            format!("http://push.example.org{notify}"),
            "M_INVALID_PARAM",
        ),
        (
            "https://push.example.org/elsewhere".to_owned(),
            "M_INVALID_PARAM",
        ),
    ] {
        let set = pusher(&url, "phone");
        let answer = nurse.post("v3/pushers/set", set).await?;
        answer.refused(400, errcode)?;
    }
    ensure!(gateway.asked() == 0);
    Ok(())
}

#[tokio::test]
async fn pushers_are_listed_changed_and_removed_and_are_not_too_many() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, _) = together(&practice, "11").await?;
    let url = "https://push.example.org/_matrix/push/v1/notify";
    let listed = async |who: &Raw| -> Result<Value> {
        Ok(who.get("v3/pushers").await?.ok()?["pushers"].clone())
    };
    ensure!(listed(&nurse).await? == json!([]));
    let mut set = pusher(url, "phone");
    nurse.post("v3/pushers/set", set.clone()).await?.ok()?;
    set["lang"] = json!("de");
    nurse.post("v3/pushers/set", set).await?.ok()?;
    let expected = json!([{
        "kind": "http", "app_id": "chat.example.android", "pushkey": "phone", "lang": "de",
        "app_display_name": "", "device_display_name": "",
        "data": { "url": url, "format": "event_id_only", "default_payload": { "cs": "6a1f" } },
    }]);
    ensure!(
        listed(&nurse).await? == expected,
        "{}",
        listed(&nurse).await?
    );
    ensure!(listed(&doctor).await? == json!([]), "pushers are one's own");
    let gone = json!({ "kind": null, "app_id": "chat.example.android", "pushkey": "phone" });
    nurse.post("v3/pushers/set", gone.clone()).await?.ok()?;
    nurse.post("v3/pushers/set", gone).await?.ok()?;
    ensure!(listed(&nurse).await? == json!([]));

    let mut email = pusher(url, "nurse@example.org");
    (email["kind"], email["app_id"]) = (json!("email"), json!("m.email"));
    let answer = nurse.post("v3/pushers/set", email).await?;
    answer.refused(400, "M_INVALID_PARAM")?;
    let mut without = pusher(url, "phone");
    without["data"] = json!({});
    let answer = nurse.post("v3/pushers/set", without).await?;
    ensure!(answer.status == 400, "{answer}");
    let nobody = nurse
        .with_token(None)
        .post("v3/pushers/set", pusher(url, "phone"))
        .await?;
    nobody.refused(401, "M_MISSING_TOKEN")?;
    for number in 0..20 {
        let set = pusher(url, &format!("phone{number}"));
        nurse.post("v3/pushers/set", set).await?.ok()?;
    }
    let answer = nurse
        .post("v3/pushers/set", pusher(url, "one-more"))
        .await?;
    answer.refused(400, "M_INVALID_PARAM")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_servers_each_event_is_pushed_by_one() -> Result<()> {
    let gateway = Gateway::open().await?;
    let trusted = vec![gateway.base.clone()];
    let practice =
        Practice::open_several_with(3, |config| config.push.trusted_gateways = trusted).await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let set = pusher(&gateway.url(), "doctors-phone");
    doctor.post("v3/pushers/set", set).await?.ok()?;
    let mut sent = Vec::new();
    for _ in 0..20 {
        sent.push(nurse.says(&room, "x").await?);
    }
    gateway.hears_of(&sent[19]).await?;
    ensure!(gateway.events() == sent, "{:?}", gateway.events());
    Ok(())
}
