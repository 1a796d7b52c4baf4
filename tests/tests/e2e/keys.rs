//! One-time keys: each is good for one session and must never be handed out twice.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use respite_tests::{
    person::{Person, pair},
    practice::Practice,
    raw::Raw,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_claims_at_once_get_a_hundred_answers_and_no_key_twice() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, _) = pair(&practice).await?;
    let claimer = Raw::log_in(practice.url(), nurse.id().localpart(), &nurse.password).await?;
    let whose = therapist
        .client
        .device_id()
        .context("no device")?
        .to_string();
    let claim = json!({ "one_time_keys": { (therapist.id().as_str()): { (&whose): "signed_curve25519" } } });

    let answers =
        try_join_all((0..100).map(|_| claimer.post("v3/keys/claim", claim.clone()))).await?;
    let (mut once, mut fallback, mut handed_out) = (BTreeSet::new(), BTreeSet::new(), 0);
    for answer in answers {
        let body = answer.ok()?;
        let keys = body["one_time_keys"][therapist.id().as_str()][&whose]
            .as_object()
            .context("no key")?
            .clone();
        ensure!(keys.len() == 1, "{} keys for one claim", keys.len());
        for (id, key) in keys {
            let key_itself = key["key"].as_str().context("no key")?.to_owned();
            if key["fallback"] == json!(true) {
                fallback.insert(key_itself);
            } else {
                handed_out += 1;
                ensure!(once.insert(key_itself), "the key {id} was handed out twice");
            }
        }
    }
    ensure!(
        handed_out >= 40 && handed_out == once.len(),
        "{handed_out} one-time keys were handed out"
    );
    ensure!(fallback.len() == 1, "{} fallback keys", fallback.len());
    ensure!(
        once.is_disjoint(&fallback),
        "the fallback key was handed out as a one-time key"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_devices_that_write_at_once_are_all_read() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, room) = pair(&practice).await?;
    let name = nurse.id().localpart();
    let devices =
        try_join_all((0..6).map(|_| Person::log_in(practice.url(), name, &nurse.password))).await?;
    for device in &devices {
        device.enters(&room).await?;
    }
    let texts: Vec<String> = (0..devices.len())
        .map(|number| format!("from device {number}"))
        .collect();
    try_join_all(
        devices
            .iter()
            .zip(&texts)
            .map(|(device, text)| device.says(&room, text)),
    )
    .await?;
    for text in &texts {
        therapist.hears(&room, text).await?;
    }
    Ok(())
}
