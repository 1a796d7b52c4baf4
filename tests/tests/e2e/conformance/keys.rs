//! End-to-end encryption's post office: device keys, one-time keys, cross-signing, messages between devices.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use reqwest::Method;
use respite_tests::{
    keys::{Keys, sign},
    practice::Practice,
    raw::{Raw, olm, text_at},
};
use serde_json::{Value, json};
use vodozemac::Ed25519Keypair;

use super::together;

fn claim(who: &Raw) -> Value {
    json!({ "one_time_keys": { who.user.as_str(): { who.device.as_str(): "signed_curve25519" } } })
}

fn claimed<'a>(answer: &'a Value, who: &Raw) -> Option<(&'a String, &'a Value)> {
    answer["one_time_keys"][&who.user][&who.device]
        .as_object()?
        .iter()
        .next()
}

#[tokio::test]
async fn keys_are_uploaded_counted_asked_for_and_claimed() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, _) = together(&practice, "11").await?;
    let mut keys = Keys::of(&nurse)?;
    let one_time = keys.one_time(2)?;
    let upload = json!({ "device_keys": keys.device, "one_time_keys": one_time, "fallback_keys": keys.fallback()? });
    let counts = nurse.post("v3/keys/upload", upload).await?.ok()?;
    ensure!(
        counts["one_time_key_counts"]["signed_curve25519"] == 2,
        "{counts}"
    );

    let found = doctor
        .post(
            "v3/keys/query",
            json!({ "device_keys": { nurse.user.as_str(): [] } }),
        )
        .await?
        .ok()?;
    let mut device = found["device_keys"][&nurse.user][&nurse.device].clone();
    device
        .as_object_mut()
        .context("no keys")?
        .remove("unsigned");
    ensure!(device == keys.device, "{found}");
    let news = nurse.syncs(None).await?;
    ensure!(
        news["device_one_time_keys_count"]["signed_curve25519"] == 2,
        "{news}"
    );
    ensure!(
        news["device_unused_fallback_key_types"] == json!(["signed_curve25519"]),
        "{news}"
    );

    let mut seen = BTreeSet::new();
    for n in 0..4 {
        let answer = doctor.post("v3/keys/claim", claim(&nurse)).await?.ok()?;
        let (id, key) = claimed(&answer, &nurse).with_context(|| format!("no key in {answer}"))?;
        ensure!(key["signatures"][&nurse.user].is_object(), "{key}");
        if n < 2 {
            ensure!(
                one_time[id] == *key && seen.insert(id.clone()),
                "{id} was handed out twice"
            );
        } else {
            ensure!(key["fallback"] == true, "{key}");
        }
    }
    let news = nurse.syncs(None).await?;
    ensure!(
        news["device_one_time_keys_count"]["signed_curve25519"]
            .as_u64()
            .unwrap_or_default()
            == 0,
        "{news}"
    );
    ensure!(
        news["device_unused_fallback_key_types"] == json!([]),
        "{news}"
    );
    Ok(())
}

#[tokio::test]
async fn a_hundred_claims_at_the_same_time_never_get_the_same_key() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, _) = together(&practice, "11").await?;
    let mut keys = Keys::of(&nurse)?;
    let mut one_time = keys.one_time(50)?;
    one_time
        .as_object_mut()
        .context("no keys")?
        .extend(keys.one_time(30)?.as_object().cloned().unwrap_or_default());
    let count = one_time.as_object().map_or(0, serde_json::Map::len);
    nurse
        .post(
            "v3/keys/upload",
            json!({ "device_keys": keys.device, "one_time_keys": one_time }),
        )
        .await?
        .ok()?;
    let claims = (0..100).map(|_| doctor.post("v3/keys/claim", claim(&nurse)));
    let mut seen = BTreeSet::new();
    for answer in join_all(claims).await {
        let answer = answer?.ok()?;
        if let Some((id, _)) = claimed(&answer, &nurse) {
            ensure!(seen.insert(id.clone()), "{id} was handed out twice");
        }
    }
    ensure!(
        seen.len() == count,
        "{} of {count} keys were handed out",
        seen.len()
    );
    Ok(())
}

#[tokio::test]
async fn an_uploaded_key_cannot_be_replaced() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, ..) = together(&practice, "11").await?;
    let mut keys = Keys::of(&nurse)?;
    let one_time = keys.one_time(1)?;
    nurse
        .post(
            "v3/keys/upload",
            json!({ "device_keys": keys.device, "one_time_keys": one_time }),
        )
        .await?
        .ok()?;
    nurse
        .post("v3/keys/upload", json!({ "one_time_keys": one_time }))
        .await?
        .ok()?;
    let id = one_time
        .as_object()
        .and_then(|keys| keys.keys().next())
        .context("no key")?;
    let other = keys.one_time(1)?;
    let other = other
        .as_object()
        .and_then(|keys| keys.values().next())
        .context("no key")?;
    let answer = nurse
        .post(
            "v3/keys/upload",
            json!({ "one_time_keys": { id.as_str(): other } }),
        )
        .await?;
    ensure!(answer.status == 400, "{answer}");
    Ok(())
}

#[tokio::test]
async fn keys_of_another_device_or_with_a_wrong_signature_are_refused() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, _) = together(&practice, "11").await?;
    let theirs = Keys::of(&doctor)?;
    let answer = nurse
        .post("v3/keys/upload", json!({ "device_keys": theirs.device }))
        .await?;
    ensure!((400..404).contains(&answer.status), "{answer}");
    Ok(())
}

#[tokio::test]
async fn who_shares_a_room_hears_of_new_devices_and_of_who_came_and_went() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    let keys = Keys::of(&nurse)?;
    nurse
        .post("v3/keys/upload", json!({ "device_keys": keys.device }))
        .await?
        .ok()?;
    let news = doctor.syncs(Some(&since)).await?;
    ensure!(
        news["device_lists"]["changed"] == json!([nurse.user]),
        "{news}"
    );
    let next = text_at(&news, "next_batch")?;
    let changes = doctor
        .get(&format!("v3/keys/changes?from={since}&to={next}"))
        .await?
        .ok()?;
    ensure!(changes["changed"] == json!([nurse.user]), "{changes}");

    nurse
        .post(&format!("v3/rooms/{room}/leave"), json!({}))
        .await?
        .ok()?;
    let news = doctor.syncs(Some(&next)).await?;
    ensure!(
        news["device_lists"]["left"] == json!([nurse.user]),
        "{news}"
    );
    let next = text_at(&news, "next_batch")?;
    // Without a room in common, nothing is heard any more.
    let tablet = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    tablet
        .post(
            "v3/keys/upload",
            json!({ "device_keys": Keys::of(&tablet)?.device }),
        )
        .await?
        .ok()?;
    let news = doctor.syncs(Some(&next)).await?;
    ensure!(
        news["device_lists"]["changed"]
            .as_array()
            .is_none_or(Vec::is_empty),
        "{news}"
    );
    doctor
        .post(
            &format!("v3/rooms/{room}/invite"),
            json!({ "user_id": nurse.user }),
        )
        .await?
        .ok()?;
    nurse.joins(&room).await?;
    let news = doctor.syncs(Some(&text_at(&news, "next_batch")?)).await?;
    ensure!(
        news["device_lists"]["changed"] == json!([nurse.user]),
        "{news}"
    );
    Ok(())
}

#[tokio::test]
async fn messages_between_devices_come_once_in_order_to_the_right_ones() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, _) = together(&practice, "11").await?;
    let tablet = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    let send = async |to: &str, txn: &str| -> Result<Value> {
        let content = olm("x")?;
        let body = json!({ "messages": { nurse.user.as_str(): { to: content } } });
        let path = format!("v3/sendToDevice/m.room.encrypted/{txn}");
        doctor.put(&path, body.clone()).await?.ok()?;
        // A client that lost the answer sends again.
        doctor.put(&path, body).await?.ok()?;
        Ok(content)
    };
    let first = send(&nurse.device, "d1").await?;
    let second = send("*", "d2").await?;
    let contents = |news: &Value| -> Vec<Value> {
        let events = news["to_device"]["events"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        events
            .iter()
            .map(|event| event["content"].clone())
            .collect()
    };
    let news = nurse.syncs(None).await?;
    ensure!(contents(&news) == [first.clone(), second.clone()], "{news}");
    ensure!(contents(&tablet.syncs(None).await?) == std::slice::from_ref(&second));
    // Until the token shows that they arrived, they come again.
    ensure!(contents(&nurse.syncs(None).await?) == [first, second]);
    let next = text_at(&news, "next_batch")?;
    ensure!(contents(&nurse.syncs(Some(&next)).await?).is_empty());
    Ok(())
}

#[tokio::test]
async fn cross_signing_keys_need_the_password_once_and_are_seen_by_others() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, _) = together(&practice, "11").await?;
    let keys = Keys::of(&nurse)?;
    nurse
        .post("v3/keys/upload", json!({ "device_keys": keys.device }))
        .await?
        .ok()?;
    let (master, own, others) = (
        Ed25519Keypair::new(),
        Ed25519Keypair::new(),
        Ed25519Keypair::new(),
    );
    let user = nurse.user.as_str();
    let public = |pair: &Ed25519Keypair| pair.public_key().to_base64();
    let key = |usage: &str, pair: &Ed25519Keypair| json!({ "user_id": user, "usage": [usage], "keys": { format!("ed25519:{}", public(pair)): public(pair) } });
    let master_id = format!("ed25519:{}", public(&master));
    let by_master = |key: Value| {
        sign(key, user, &master_id, |text| {
            master.sign(text.as_bytes()).to_base64()
        })
    };
    let body = json!({
        "master_key": key("master", &master),
        "self_signing_key": by_master(key("self_signing", &own))?,
        "user_signing_key": by_master(key("user_signing", &others))?,
    });
    let first = nurse
        .post("v3/keys/device_signing/upload", body.clone())
        .await?;
    if first.status == 401 {
        nurse
            .with_password(Method::POST, "v3/keys/device_signing/upload", body.clone())
            .await?
            .ok()?;
    } else {
        first.ok()?;
    }
    // Somebody with a stolen token cannot replace them.
    let stolen = json!({ "master_key": key("master", &Ed25519Keypair::new()) });
    ensure!(
        nurse
            .post("v3/keys/device_signing/upload", stolen)
            .await?
            .status
            == 401
    );

    let own_id = format!("ed25519:{}", public(&own));
    let signed = sign(keys.device.clone(), user, &own_id, |text| {
        own.sign(text.as_bytes()).to_base64()
    })?;
    let body = json!({ user: { nurse.device.as_str(): signed } });
    let answer = nurse.post("v3/keys/signatures/upload", body).await?.ok()?;
    ensure!(
        answer["failures"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty),
        "{answer}"
    );

    let query = json!({ "device_keys": { user: [] } });
    let seen = doctor.post("v3/keys/query", query.clone()).await?.ok()?;
    ensure!(
        seen["master_keys"][user]["keys"][&master_id] == public(&master),
        "{seen}"
    );
    ensure!(
        seen["self_signing_keys"][user]["usage"] == json!(["self_signing"]),
        "{seen}"
    );
    ensure!(
        seen["user_signing_keys"].get(user).is_none(),
        "others see whom she has verified: {seen}"
    );
    ensure!(
        seen["device_keys"][user][&nurse.device]["signatures"][user][&own_id].is_string(),
        "{seen}"
    );
    let mine = nurse.post("v3/keys/query", query).await?.ok()?;
    ensure!(
        mine["user_signing_keys"][user]["usage"] == json!(["user_signing"]),
        "{mine}"
    );
    Ok(())
}

#[tokio::test]
async fn a_deleted_devices_keys_are_gone() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, _) = together(&practice, "11").await?;
    let tablet = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    let mut keys = Keys::of(&tablet)?;
    let one_time = keys.one_time(1)?;
    tablet
        .post(
            "v3/keys/upload",
            json!({ "device_keys": keys.device, "one_time_keys": one_time }),
        )
        .await?
        .ok()?;
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    tablet.post("v3/logout", json!({})).await?.ok()?;
    let news = doctor.syncs(Some(&since)).await?;
    ensure!(
        news["device_lists"]["changed"] == json!([nurse.user]),
        "{news}"
    );
    let seen = doctor
        .post(
            "v3/keys/query",
            json!({ "device_keys": { nurse.user.as_str(): [] } }),
        )
        .await?
        .ok()?;
    ensure!(
        seen["device_keys"][&nurse.user]
            .get(&tablet.device)
            .is_none(),
        "{seen}"
    );
    let answer = doctor.post("v3/keys/claim", claim(&tablet)).await?.ok()?;
    ensure!(claimed(&answer, &tablet).is_none(), "{answer}");
    Ok(())
}
