//! Letting devices in by a token, and what operators see and decide of accounts.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use respite_protocol::Role;
use respite_tests::{
    practice::Practice,
    raw::{self, Raw, text_at},
};
use serde_json::{Value, json};

use super::{together, two};

async fn operator(practice: &Practice) -> Result<Raw> {
    let code = practice.code(Role::Operator).await?;
    Raw::register(practice.url(), "operator", &code).await
}

/// A token that lets one other device in.
async fn login_token(who: &Raw) -> Result<String> {
    let answer = who
        .with_password(Method::POST, "v1/login/get_token", json!({}))
        .await?
        .ok()?;
    ensure!(answer["expires_in_ms"] == 120_000, "{answer}");
    text_at(&answer, "login_token")
}

fn with_token(token: &str) -> Value {
    json!({ "type": "m.login.token", "token": token })
}

#[tokio::test]
async fn a_device_lets_another_one_in_once() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let nobody = Raw::nobody(practice.url())?;
    let flows = nobody.get("v3/login").await?.ok()?;
    ensure!(
        flows["flows"]
            .as_array()
            .is_some_and(|flows| flows
                .contains(&json!({ "type": "m.login.token", "get_login_token": true }))),
        "{flows}"
    );
    let can = nurse.get("v3/capabilities").await?.ok()?;
    ensure!(
        can["capabilities"]["m.get_login_token"]["enabled"] == true,
        "{can}"
    );
    nobody
        .post("v1/login/get_token", json!({}))
        .await?
        .refused(401, "M_MISSING_TOKEN")?;
    let token = login_token(&nurse).await?;
    let mut body = with_token(&token);
    body["device_id"] = json!("TABLET");
    body["refresh_token"] = json!(true);
    let session = nobody.post("v3/login", body).await?.ok()?;
    ensure!(
        session["user_id"] == nurse.user
            && session["device_id"] == "TABLET"
            && session["refresh_token"].is_string(),
        "{session}"
    );
    let tablet = nurse.with_token(session["access_token"].as_str());
    ensure!(tablet.get("v3/account/whoami").await?.ok()?["device_id"] == "TABLET");
    nobody
        .post("v3/login", with_token(&token))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    for wrong in ["", "x", "rsl_99999999999999_x", "rsl__"] {
        nobody
            .post("v3/login", with_token(wrong))
            .await?
            .refused(403, "M_FORBIDDEN")?;
    }
    nobody
        .post("v3/login", json!({ "type": "m.login.token" }))
        .await?
        .refused(400, "M_MISSING_PARAM")?;
    Ok(())
}

#[tokio::test]
async fn of_many_who_come_with_one_token_one_comes_in() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let nobody = Raw::nobody(practice.url())?;
    let token = login_token(&nurse).await?;
    let all = (0..8).map(|_| nobody.post("v3/login", with_token(&token)));
    let answers = futures_util::future::try_join_all(all).await?;
    let came_in = answers.iter().filter(|answer| answer.status == 200).count();
    ensure!(came_in == 1, "{came_in} came in");
    ensure!(
        nurse.get("v3/devices").await?.ok()?["devices"]
            .as_array()
            .map(Vec::len)
            == Some(2)
    );
    Ok(())
}

#[tokio::test]
async fn a_token_ends_with_the_device_that_made_it_and_nobody_makes_many() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let nobody = Raw::nobody(practice.url())?;
    let token = login_token(&nurse).await?;
    for _ in 0..4 {
        login_token(&nurse).await?;
    }
    nurse
        .with_password(Method::POST, "v1/login/get_token", json!({}))
        .await?
        .refused(429, "M_LIMIT_EXCEEDED")?;
    // Each one is asked for with the password anew.
    let asked = nurse.post("v1/login/get_token", json!({})).await?;
    ensure!(
        asked.status == 401 && asked.body["flows"].is_array(),
        "{asked}"
    );
    nurse.post("v3/logout", json!({})).await?.ok()?;
    nobody
        .post("v3/login", with_token(&token))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    Ok(())
}

#[tokio::test]
async fn one_gets_an_openid_token_for_oneself() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let path = |user: &str| format!("v3/user/{user}/openid/request_token");
    let token = nurse.post(&path(&nurse.user), json!({})).await?.ok()?;
    ensure!(
        token["token_type"] == "Bearer"
            && token["matrix_server_name"] == "localhost"
            && token["expires_in"] == 3600
            && token["access_token"]
                .as_str()
                .is_some_and(|token| token.len() >= 20),
        "{token}"
    );
    nurse
        .with_token(token["access_token"].as_str())
        .get("v3/account/whoami")
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    nurse
        .post(&path(&doctor.user), json!({}))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    nurse
        .with_token(None)
        .post(&path(&nurse.user), json!({}))
        .await?
        .refused(401, "M_MISSING_TOKEN")?;
    Ok(())
}

#[tokio::test]
async fn there_are_no_guests() -> Result<()> {
    let practice = Practice::open().await?;
    Raw::nobody(practice.url())?
        .post("v3/register?kind=guest", json!({}))
        .await?
        .refused(403, "M_GUEST_ACCESS_FORBIDDEN")?;
    Ok(())
}

#[tokio::test]
async fn one_sees_ones_own_devices_and_the_operator_everybodys() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let operator = operator(&practice).await?;
    let path = |user: &str| format!("v3/admin/whois/{user}");
    for who in [&nurse, &operator] {
        let seen = who.get(&path(&nurse.user)).await?.ok()?;
        let devices = seen["devices"].as_object().context("no devices")?;
        ensure!(
            seen["user_id"] == nurse.user && devices.keys().eq([&nurse.device]),
            "{seen}"
        );
        ensure!(!seen.to_string().contains("127.0.0.1"), "{seen}");
    }
    for user in [doctor.user.as_str(), "@nobody:localhost"] {
        nurse.get(&path(user)).await?.refused(403, "M_FORBIDDEN")?;
    }
    operator
        .get(&path("@nobody:localhost"))
        .await?
        .refused(404, "M_NOT_FOUND")?;
    Ok(())
}

#[tokio::test]
async fn only_operators_lock_and_suspend_and_not_each_other() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let operator = operator(&practice).await?;
    let can = |who: Value| who["capabilities"]["m.account_moderation"].clone();
    let all = json!({ "lock": true, "suspend": true });
    ensure!(can(operator.get("v3/capabilities").await?.ok()?) == all);
    ensure!(can(nurse.get("v3/capabilities").await?.ok()?) == Value::Null);
    for (what, field) in [("lock", "locked"), ("suspend", "suspended")] {
        let path = |user: &str| format!("v1/admin/{what}/{user}");
        let yes = json!({ field: true });
        for user in [doctor.user.as_str(), "@nobody:localhost"] {
            nurse.get(&path(user)).await?.refused(403, "M_FORBIDDEN")?;
            nurse
                .put(&path(user), yes.clone())
                .await?
                .refused(403, "M_FORBIDDEN")?;
        }
        for (user, status, errcode) in [
            ("@nobody:localhost", 404, "M_NOT_FOUND"),
            ("@doctor:elsewhere.example", 400, "M_INVALID_PARAM"),
            (operator.user.as_str(), 403, "M_FORBIDDEN"),
        ] {
            operator.get(&path(user)).await?.refused(status, errcode)?;
            operator
                .put(&path(user), yes.clone())
                .await?
                .refused(status, errcode)?;
        }
        operator
            .put(&path(&doctor.user), json!({}))
            .await?
            .refused(400, "M_BAD_JSON")?;
        for is in [false, true, true, false] {
            let body = json!({ field: is });
            ensure!(
                operator
                    .put(&path(&doctor.user), body.clone())
                    .await?
                    .ok()?
                    == body
            );
            ensure!(operator.get(&path(&doctor.user)).await?.ok()? == body);
        }
        // What was said to the doctor holds no longer.
        doctor.makes_a_room(json!({})).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_locked_account_can_do_nothing_but_log_out_until_it_is_unlocked() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let operator = operator(&practice).await?;
    let tablet = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    let token = login_token(&nurse).await?;
    let path = format!("v1/admin/lock/{}", nurse.user);
    let login = json!({ "type": "m.login.password", "password": nurse.password, "identifier": { "type": "m.id.user", "user": "nurse" } });
    operator.put(&path, json!({ "locked": true })).await?.ok()?;
    let nobody = nurse.with_token(None);
    for answer in [
        nurse.get("v3/account/whoami").await?,
        nurse.get("v3/sync?timeout=0").await?,
        nurse
            .send(&room, "m.room.encrypted", raw::megolm(&room, "x")?)
            .await?,
        nobody.post("v3/login", login).await?,
        nobody.post("v3/login", with_token(&token)).await?,
    ] {
        answer.refused(401, "M_USER_LOCKED")?;
        ensure!(answer.body["soft_logout"] == true, "{answer}");
    }
    tablet.post("v3/logout", json!({})).await?.ok()?;
    // The others hear of nothing: the account is still in its rooms.
    let members = doctor
        .get(&format!("v3/rooms/{room}/joined_members"))
        .await?
        .ok()?;
    ensure!(members["joined"].get(&nurse.user).is_some(), "{members}");
    operator
        .put(&path, json!({ "locked": false }))
        .await?
        .ok()?;
    nurse.says(&room, "x").await?;
    tablet
        .get("v3/account/whoami")
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    operator.put(&path, json!({ "locked": true })).await?.ok()?;
    nurse.post("v3/logout/all", json!({})).await?.ok()?;
    operator
        .put(&path, json!({ "locked": false }))
        .await?
        .ok()?;
    nurse
        .get("v3/account/whoami")
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    Ok(())
}

#[tokio::test]
async fn who_is_suspended_reads_and_leaves_and_takes_back_and_says_nothing_more() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let operator = operator(&practice).await?;
    let open = doctor
        .makes_a_room(json!({ "preset": "public_chat" }))
        .await?;
    let apart = doctor
        .makes_a_room(json!({ "invite": [nurse.user] }))
        .await?;
    let said = nurse.says(&room, "x").await?;
    let heard = doctor.says(&room, "x").await?;
    let path = format!("v1/admin/suspend/{}", nurse.user);
    operator
        .put(&path, json!({ "suspended": true }))
        .await?
        .ok()?;
    let redact = |event: &str, txn: &str| format!("v3/rooms/{room}/redact/{event}/{txn}");
    for answer in [
        nurse
            .send(&room, "m.room.encrypted", raw::megolm(&room, "x")?)
            .await?,
        nurse
            .post(&format!("v3/rooms/{apart}/join"), json!({}))
            .await?,
        nurse.post(&format!("v3/join/{open}"), json!({})).await?,
        nurse.post(&format!("v3/knock/{open}"), json!({})).await?,
        nurse.post("v3/createRoom", json!({})).await?,
        nurse
            .post(
                &format!("v3/rooms/{room}/upgrade"),
                json!({ "new_version": "12" }),
            )
            .await?,
        nurse
            .post(
                &format!("v3/rooms/{room}/invite"),
                json!({ "user_id": operator.user }),
            )
            .await?,
        nurse
            .put(
                &format!("v3/profile/{}/displayname", nurse.user),
                json!({ "displayname": "x" }),
            )
            .await?,
        nurse.put(&redact(&heard, "t1"), json!({})).await?,
    ] {
        answer.refused(403, "M_USER_SUSPENDED")?;
    }
    let again = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    again
        .post("v3/createRoom", json!({}))
        .await?
        .refused(403, "M_USER_SUSPENDED")?;
    doctor.says(&room, "are you there").await?;
    let news = nurse.syncs(None).await?;
    ensure!(news["rooms"]["join"].get(&room).is_some(), "{news}");
    nurse.put(&redact(&said, "t2"), json!({})).await?.ok()?;
    for left in [&apart, &room] {
        nurse
            .post(&format!("v3/rooms/{left}/leave"), json!({}))
            .await?
            .ok()?;
    }
    operator
        .put(&path, json!({ "suspended": false }))
        .await?
        .ok()?;
    again.makes_a_room(json!({})).await?;
    nurse.joins(&open).await
}

/// What somebody who comes later, and somebody who was there, are shown of an event of an account that is ended.
async fn shown_afterwards(erase: bool) -> Result<[Value; 4]> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let room = doctor
        .makes_a_room(json!({ "preset": "public_chat" }))
        .await?;
    nurse.joins(&room).await?;
    let said = nurse.says(&room, "x").await?;
    nurse
        .with_password(
            Method::POST,
            "v3/account/deactivate",
            json!({ "erase": erase }),
        )
        .await?
        .ok()?;
    let later = raw::stranger(&practice, "later").await?;
    later.joins(&room).await?;
    let event = format!("v3/rooms/{room}/event/{said}");
    let in_list = |list: &Value| {
        let events = list.as_array().map(Vec::as_slice).unwrap_or_default();
        let found = events.iter().find(|event| event["event_id"] == said);
        found.cloned().context("the event is not there")
    };
    let back = later
        .get(&format!("v3/rooms/{room}/messages?dir=b&limit=100"))
        .await?
        .ok()?;
    let first = later.syncs(None).await?;
    let content = |event: Value| event["content"].clone();
    Ok([
        content(doctor.get(&event).await?.ok()?),
        content(later.get(&event).await?.ok()?),
        content(in_list(&back["chunk"])?),
        content(in_list(
            &first["rooms"]["join"][&room]["timeline"]["events"],
        )?),
    ])
}

#[tokio::test]
async fn what_an_erased_person_said_is_left_to_those_who_heard_it() -> Result<()> {
    let [there, later @ ..] = shown_afterwards(true).await?;
    ensure!(there["ciphertext"].is_string(), "{there}");
    ensure!(
        later.iter().all(|content| *content == json!({})),
        "{later:?}"
    );
    let all = shown_afterwards(false).await?;
    ensure!(
        all.iter().all(|content| content["ciphertext"].is_string()),
        "{all:?}"
    );
    Ok(())
}
