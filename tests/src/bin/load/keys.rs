//! Encryption keys: uploads of one-time keys, queries, and claims, each of which takes a key away.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Result, ensure};
use reqwest::Method;
use respite_tests::keys::Keys;
use serde_json::{Value, json};

use crate::{
    measure::{self, Latencies, Plan},
    people::{People, Person},
};

/// One-time keys in each upload, as clients keep them.
const BATCH: usize = 50;
/// Uploads of each device: as many keys as a server may keep for one.
const UPLOADS: usize = 10;

/// What was measured.
pub(crate) struct KeyWork {
    /// Uploads of fifty signed one-time keys.
    pub(crate) upload: Latencies,
    /// Queries for the keys of one other person.
    pub(crate) query: Latencies,
    /// Claims of one key each.
    pub(crate) claim: Latencies,
}

/// Everybody uploads keys, asks for each other's, and claims them until there is none left.
pub(crate) async fn keys(people: &People, plan: &Plan) -> Result<KeyWork> {
    let stocks = people.each(stock).await?;
    let stocks: Vec<_> = stocks.into_iter().map(Mutex::new).collect();
    let upload = measure::repeated(people, async |person, _| {
        let next = stocks
            .get(person.number)
            .and_then(|stock| stock.lock().unwrap_or_else(PoisonError::into_inner).pop());
        let Some(body) = next else { return Ok(None) };
        let start = Instant::now();
        person.post("v3/keys/upload", body).await?;
        Ok(Some(start.elapsed()))
    })
    .await?;

    let begin = Instant::now();
    let query = measure::repeated(people, async |person, _| {
        if begin.elapsed() >= plan.duration {
            return Ok(None);
        }
        let body = json!({ "device_keys": { (&person.partner.0): [] } });
        let start = Instant::now();
        person.post("v3/keys/query", body).await?;
        Ok(Some(start.elapsed()))
    })
    .await?;

    let claim = measure::repeated(people, async |person, times| {
        if times >= BATCH * UPLOADS {
            return Ok(None);
        }
        let (user, device) = &person.partner;
        let body = json!({ "one_time_keys": { user: { device: "signed_curve25519" } } });
        let start = Instant::now();
        let answer = person.post("v3/keys/claim", body).await?;
        let took = start.elapsed();
        let key = &answer["one_time_keys"][user][device];
        ensure!(key.is_object(), "there was no key left to claim");
        Ok(Some(took))
    })
    .await?;
    Ok(KeyWork {
        upload,
        query,
        claim,
    })
}

/// The bodies of a device's uploads; its own keys are in the last, which is sent first.
async fn stock(person: &Person) -> Result<Vec<Value>> {
    let mut keys = Keys::of_device(&person.user, &person.device)?;
    let mut bodies = Vec::new();
    for _ in 0..UPLOADS {
        bodies.push(json!({ "one_time_keys": keys.one_time(BATCH)? }));
    }
    if let Some(first) = bodies.last_mut() {
        first["device_keys"] = keys.device;
    }
    Ok(bodies)
}

impl Person {
    async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.request(Method::POST, path, Some(body)).await
    }
}
