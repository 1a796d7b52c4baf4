//! A device that waits on the server while its owner is logged out, and hands over what came.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use respite_tests::{
    keys::Keys,
    practice::Practice,
    raw::{Raw, encrypted_base64, olm},
};
use serde_json::{Value, json};

use super::together;

const DEVICE: &str = "unstable/org.matrix.msc3814.v1/dehydrated_device";

/// What a client uploads when it makes a dehydrated device of this id.
fn dehydrated(who: &Raw, id: &str) -> Result<(Raw, Value)> {
    let mut waiting = who.clone();
    id.clone_into(&mut waiting.device);
    let mut keys = Keys::of(&waiting)?;
    let body = json!({
        "device_id": id, "initial_device_display_name": "Night nurse's spare phone",
        "device_data": {
            "algorithm": "org.matrix.msc3814.v2",
            "device_pickle": encrypted_base64(3_000), "nonce": encrypted_base64(24),
        },
        "device_keys": keys.device,
        "one_time_keys": keys.one_time(3)?,
        "fallback_keys": keys.fallback()?,
    });
    Ok((waiting, body))
}

#[tokio::test]
async fn who_has_logged_out_everywhere_is_still_written_to_and_takes_over_what_came() -> Result<()>
{
    let practice = Practice::open().await?;
    let (nurse, doctor, _) = together(&practice, "11").await?;
    let (waiting, body) = dehydrated(&nurse, "SPARE")?;
    let made = nurse.put(DEVICE, body.clone()).await?.ok()?;
    ensure!(made == json!({ "device_id": "SPARE" }), "{made}");
    nurse.post("v3/logout/all", json!({})).await?.ok()?;

    let asked = json!({ "device_keys": { (&nurse.user): [] } });
    let found = doctor.post("v3/keys/query", asked).await?.ok()?;
    let mut keys = found["device_keys"][&nurse.user]["SPARE"].clone();
    keys.as_object_mut().context("no keys")?.remove("unsigned");
    ensure!(keys == body["device_keys"], "{found}");
    let claim = json!({ "one_time_keys": { (&nurse.user): { "SPARE": "signed_curve25519" } } });
    let claimed = doctor.post("v3/keys/claim", claim).await?.ok()?;
    ensure!(
        claimed["one_time_keys"][&nurse.user]["SPARE"].is_object(),
        "{claimed}"
    );
    let mut sent = Vec::new();
    for number in 0..3 {
        let (to, content) = (if number == 0 { "*" } else { "SPARE" }, olm("a key")?);
        let messages = json!({ "messages": { (&nurse.user): { (to): content.clone() } } });
        let path = format!("v3/sendToDevice/m.room.encrypted/t{number}");
        doctor.put(&path, messages).await?.ok()?;
        sent.push(content);
    }

    let phone = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    let found = phone.get(DEVICE).await?.ok()?;
    ensure!(found["device_id"] == "SPARE", "{found}");
    ensure!(found["device_data"] == body["device_data"], "{found}");
    let events = format!("{DEVICE}/{}/events", waiting.device);
    // An interrupted client begins anew.
    for _ in 0..2 {
        let came = phone.post(&events, json!({})).await?.ok()?;
        let contents: Vec<Value> = came["events"]
            .as_array()
            .context("no events")?
            .iter()
            .map(|event| event["content"].clone())
            .collect();
        ensure!(contents == sent, "{came}");
        ensure!(
            came["events"][0]["sender"] == doctor.user.as_str(),
            "{came}"
        );
        let next = json!({ "next_batch": came["next_batch"] });
        let rest = phone.post(&events, next).await?.ok()?;
        ensure!(rest["events"] == json!([]), "{rest}");
    }
    let gone = phone.ask(Method::DELETE, DEVICE, None).await?.ok()?;
    ensure!(gone == json!({ "device_id": "SPARE" }), "{gone}");
    phone.get(DEVICE).await?.refused(404, "M_NOT_FOUND")?;
    phone
        .post(&events, json!({}))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    let asked = json!({ "device_keys": { (&nurse.user): [] } });
    let found = doctor.post("v3/keys/query", asked).await?.ok()?;
    ensure!(
        found["device_keys"][&nurse.user].get("SPARE").is_none(),
        "{found}"
    );
    Ok(())
}

#[tokio::test]
async fn there_is_one_and_the_next_takes_its_place() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, _) = together(&practice, "11").await?;
    nurse.get(DEVICE).await?.refused(404, "M_NOT_FOUND")?;
    nurse
        .ask(Method::DELETE, DEVICE, None)
        .await?
        .refused(404, "M_NOT_FOUND")?;
    let (_, first) = dehydrated(&nurse, "FIRST")?;
    nurse.put(DEVICE, first).await?.ok()?;
    let messages = json!({ "messages": { (&nurse.user): { "FIRST": olm("a key")? } } });
    doctor
        .put("v3/sendToDevice/m.room.encrypted/t", messages)
        .await?
        .ok()?;
    for id in ["SECOND", "SECOND"] {
        let (_, next) = dehydrated(&nurse, id)?;
        nurse.put(DEVICE, next).await?.ok()?;
        let asked = json!({ "device_keys": { (&nurse.user): [] } });
        let found = doctor.post("v3/keys/query", asked).await?.ok()?;
        let keys = &found["device_keys"][&nurse.user];
        ensure!(
            keys.get("FIRST").is_none() && keys["SECOND"].is_object(),
            "{found}"
        );
        let came = nurse
            .post(&format!("{DEVICE}/{id}/events"), json!({}))
            .await?
            .ok()?;
        ensure!(came["events"] == json!([]), "{came}");
    }
    // It is none of the devices that are logged in, and may be removed like one.
    let listed = nurse.get("v3/devices").await?.ok()?;
    ensure!(
        listed["devices"].as_array().context("no list")?.len() == 1,
        "{listed}"
    );
    nurse
        .with_password(Method::DELETE, "v3/devices/SECOND", json!({}))
        .await?
        .ok()?;
    nurse.get(DEVICE).await?.refused(404, "M_NOT_FOUND")?;
    Ok(())
}

#[tokio::test]
async fn what_is_not_encrypted_not_signed_or_somebody_elses_is_refused() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, _) = together(&practice, "11").await?;
    let (_, good) = dehydrated(&nurse, "SPARE")?;
    for (field, bad) in [
        (
            "device_pickle",
            json!("I cannot sleep and this is why it is so hard to say ".repeat(20)),
        ),
        ("device_pickle", json!(encrypted_base64(20))),
        ("algorithm", json!("org.example.plain")),
        ("nonce", json!("words")),
        ("note", json!("words")),
    ] {
        let mut body = good.clone();
        body["device_data"][field] = bad;
        let answer = nurse.put(DEVICE, body).await?;
        ensure!(
            answer.status == 400 || answer.status == 403,
            "{field}: {answer}"
        );
    }
    let (_, of_another) = dehydrated(&doctor, "SPARE")?;
    nurse
        .put(DEVICE, of_another)
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    let (_, used) = dehydrated(&nurse, &nurse.device)?;
    nurse
        .put(DEVICE, used)
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    nurse.put(DEVICE, good.clone()).await?.ok()?;
    let events = format!("{DEVICE}/SPARE/events");
    doctor
        .post(&events, json!({}))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    let odd = json!({ "next_batch": "yesterday" });
    nurse
        .post(&events, odd)
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    let nobody = nurse.with_token(None);
    nobody
        .put(DEVICE, good)
        .await?
        .refused(401, "M_MISSING_TOKEN")?;
    Ok(())
}
