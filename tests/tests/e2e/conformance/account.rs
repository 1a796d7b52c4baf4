//! Logging in and out, devices, passwords, profiles.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use respite_tests::{
    practice::Practice,
    raw::{self, Raw, text_at},
};
use serde_json::{Value, json};

use super::two;

fn login(user: &str, password: &str) -> Value {
    json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": user }, "password": password })
}

#[tokio::test]
async fn one_logs_in_by_name_or_id_and_the_device_is_ones_choice() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let nobody = Raw::nobody(practice.url())?;
    let flows = nobody.get("v3/login").await?.ok()?;
    ensure!(
        flows["flows"]
            .as_array()
            .is_some_and(|flows| flows.iter().any(|flow| flow["type"] == "m.login.password")),
        "{flows}"
    );
    for name in ["nurse", "@nurse:localhost", "NURSE"] {
        let session = nobody
            .post("v3/login", login(name, &nurse.password))
            .await?
            .ok()?;
        ensure!(session["user_id"] == "@nurse:localhost", "{session}");
        text_at(&session, "device_id")?;
    }
    let mut chosen = login("nurse", &nurse.password);
    chosen["device_id"] = json!("NIGHTSHIFT");
    let first = nobody.post("v3/login", chosen.clone()).await?.ok()?;
    let second = nobody.post("v3/login", chosen).await?.ok()?;
    ensure!(first["device_id"] == "NIGHTSHIFT" && second["device_id"] == "NIGHTSHIFT");
    let token = |session: &Value| session["access_token"].as_str().map(str::to_owned);
    nurse
        .with_token(token(&first).as_deref())
        .get("v3/account/whoami")
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    let me = nurse
        .with_token(token(&second).as_deref())
        .get("v3/account/whoami")
        .await?
        .ok()?;
    ensure!(
        me["user_id"] == "@nurse:localhost"
            && me["device_id"] == "NIGHTSHIFT"
            && me["is_guest"] != true,
        "{me}"
    );
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_are_not_told_apart_and_slow_down() -> Result<()> {
    let practice = Practice::open_with(|config| config.limits.failed_logins = 3).await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let nobody = Raw::nobody(practice.url())?;
    for name in ["nurse", "nobody"] {
        for _ in 0..3 {
            let answer = nobody.post("v3/login", login(name, "guessed")).await?;
            answer.refused(403, "M_FORBIDDEN")?;
        }
        let answer = nobody.post("v3/login", login(name, "guessed")).await?;
        answer.refused(429, "M_LIMIT_EXCEEDED")?;
        ensure!(
            answer.body["retry_after_ms"].is_u64() && answer.headers.contains_key("retry-after"),
            "{answer}"
        );
    }
    // Guessing locks nobody out who is logged in.
    nurse.get("v3/account/whoami").await?.ok()?;
    Ok(())
}

#[tokio::test]
async fn a_token_is_refreshed_and_logging_out_ends_it() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let nobody = Raw::nobody(practice.url())?;
    let mut refreshable = login("nurse", &nurse.password);
    refreshable["refresh_token"] = json!(true);
    let first = nobody.post("v3/login", refreshable).await?.ok()?;
    let second = nobody
        .post(
            "v3/refresh",
            json!({ "refresh_token": first["refresh_token"] }),
        )
        .await?
        .ok()?;
    ensure!(
        second["access_token"] != first["access_token"] && second["refresh_token"].is_string(),
        "{second}"
    );
    let tablet = nurse.with_token(second["access_token"].as_str());
    ensure!(tablet.get("v3/account/whoami").await?.ok()?["device_id"] == first["device_id"]);
    tablet.post("v3/logout", json!({})).await?.ok()?;
    tablet
        .get("v3/account/whoami")
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    nobody
        .post(
            "v3/refresh",
            json!({ "refresh_token": second["refresh_token"] }),
        )
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    nurse.post("v3/logout/all", json!({})).await?.ok()?;
    nurse
        .get("v3/account/whoami")
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    let again = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    ensure!(
        again.get("v3/devices").await?.ok()?["devices"]
            .as_array()
            .map(Vec::len)
            == Some(1)
    );
    Ok(())
}

#[tokio::test]
async fn devices_are_listed_and_deleted_with_the_password() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let tablet = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    let desk = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    let listed = nurse.get("v3/devices").await?.ok()?;
    let devices: Vec<&str> = listed["devices"]
        .as_array()
        .context("no devices")?
        .iter()
        .filter_map(|device| device["device_id"].as_str())
        .collect();
    ensure!(
        devices.len() == 3
            && [&nurse, &tablet, &desk]
                .iter()
                .all(|who| devices.contains(&who.device.as_str())),
        "{listed}"
    );
    nurse
        .get("v3/devices/NOTHING")
        .await?
        .refused(404, "M_NOT_FOUND")?;

    let path = format!("v3/devices/{}", tablet.device);
    let asked = nurse.delete(&path).await?;
    ensure!(
        asked.status == 401 && asked.body["flows"] == json!([{ "stages": ["m.login.password"] }]),
        "{asked}"
    );
    let auth = |password: &str, session: &Value| json!({ "auth": { "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "nurse" }, "password": password, "session": session } });
    let wrong = auth("guessed", &asked.body["session"])
        .to_string()
        .into_bytes();
    let refused = nurse.ask(Method::DELETE, &path, Some(wrong)).await?;
    ensure!(
        refused.status == 401
            && refused.errcode() == "M_FORBIDDEN"
            && refused.body["flows"].is_array(),
        "{refused}"
    );
    tablet.get("v3/account/whoami").await?.ok()?;
    let right = auth(&nurse.password, &refused.body["session"])
        .to_string()
        .into_bytes();
    nurse.ask(Method::DELETE, &path, Some(right)).await?.ok()?;
    tablet
        .get("v3/account/whoami")
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    nurse
        .with_password(
            Method::POST,
            "v3/delete_devices",
            json!({ "devices": [desk.device] }),
        )
        .await?
        .ok()?;
    desk.get("v3/account/whoami")
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    Ok(())
}

#[tokio::test]
async fn a_proof_given_for_one_thing_opens_no_other() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let body = json!({ "new_password": "a better one than before" });
    let asked = nurse.post("v3/account/password", body.clone()).await?;
    ensure!(asked.status == 401, "{asked}");
    let mut others = body;
    others["auth"] = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "doctor" }, "password": doctor.password, "session": asked.body["session"] });
    let refused = nurse.post("v3/account/password", others).await?;
    refused.refused(403, "M_FORBIDDEN")?;
    Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    Ok(())
}

#[tokio::test]
async fn a_new_password_logs_the_other_devices_out_unless_told_not_to() -> Result<()> {
    let practice = Practice::open().await?;
    let mut nurse = raw::stranger(&practice, "nurse").await?;
    let tablet = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    let kept = json!({ "new_password": "the second one of them", "logout_devices": false });
    nurse
        .with_password(Method::POST, "v3/account/password", kept)
        .await?
        .ok()?;
    tablet.get("v3/account/whoami").await?.ok()?;
    ensure!(
        Raw::log_in(practice.url(), "nurse", &nurse.password)
            .await
            .is_err()
    );
    nurse.password = "the second one of them".to_owned();
    nurse
        .post("v3/account/password", json!({ "new_password": "x" }))
        .await?
        .refused(400, "M_WEAK_PASSWORD")?;
    nurse
        .with_password(
            Method::POST,
            "v3/account/password",
            json!({ "new_password": "the third one of them" }),
        )
        .await?
        .ok()?;
    tablet
        .get("v3/account/whoami")
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    nurse.get("v3/account/whoami").await?.ok()?;
    Raw::log_in(practice.url(), "nurse", "the third one of them").await?;
    Ok(())
}

#[tokio::test]
async fn names_are_free_until_they_are_taken() -> Result<()> {
    let practice = Practice::open().await?;
    raw::stranger(&practice, "nurse").await?;
    let nobody = Raw::nobody(practice.url())?;
    ensure!(
        nobody
            .get("v3/register/available?username=doctor")
            .await?
            .ok()?["available"]
            == true
    );
    nobody
        .get("v3/register/available?username=nurse")
        .await?
        .refused(400, "M_USER_IN_USE")?;
    nobody
        .get("v3/register/available?username=two%20words")
        .await?
        .refused(400, "M_INVALID_USERNAME")?;
    Ok(())
}

#[tokio::test]
async fn people_in_the_same_room_see_each_others_pseudonyms_change() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = super::together(&practice, "11").await?;
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    let path = format!("v3/profile/{}/displayname", nurse.user);
    nurse
        .put(&path, json!({ "displayname": "Night owl" }))
        .await?
        .ok()?;
    ensure!(doctor.get(&path).await?.ok()? == json!({ "displayname": "Night owl" }));
    ensure!(
        doctor
            .get(&format!("v3/profile/{}", nurse.user))
            .await?
            .ok()?["displayname"]
            == "Night owl"
    );
    let news = doctor.syncs(Some(&since)).await?;
    let events = &news["rooms"]["join"][&room]["timeline"]["events"];
    let member = super::of_kind(events, "m.room.member")?;
    ensure!(
        member["content"]["displayname"] == "Night owl" && member["state_key"] == nurse.user,
        "{member}"
    );
    nurse.delete(&path).await?.ok()?;
    ensure!(
        doctor
            .get(&format!("v3/profile/{}", nurse.user))
            .await?
            .ok()?
            .get("displayname")
            .is_none()
    );
    Ok(())
}

#[tokio::test]
async fn a_proof_that_proves_nothing_is_as_good_as_none() -> Result<()> {
    let practice = Practice::open().await?;
    let nobody = Raw::nobody(practice.url())?;
    for proof in [
        json!(null),
        json!({}),
        json!({ "initial_device_display_name": "matrix-nio" }),
    ] {
        let body = json!({ "username": "nurse", "password": "sleeps by day", "auth": proof });
        let asked = nobody.post("v3/register", body).await?;
        ensure!(
            asked.status == 401
                && asked.body["flows"].is_array()
                && asked.body["session"].is_string(),
            "with {proof} {asked}"
        );
    }
    Ok(())
}
