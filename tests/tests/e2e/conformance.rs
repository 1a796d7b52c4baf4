//! What the Matrix specification promises to every client, area by area.

mod account;
mod addresses;
mod administration;
mod backup;
mod calls;
mod dehydrated;
mod filters;
mod http;
mod keys;
mod membership;
mod odd_cases;
mod people;
mod personal;
mod published;
mod reading;
mod rooms;
mod sliding;
mod spaces;
mod spelled_out;
mod state;
mod sync;
mod threads;
mod timeline;
mod upgrades;

use anyhow::{Context, Result};
use respite_tests::{
    practice::Practice,
    raw::{self, Raw},
};
use serde_json::{Value, json};

/// Two people with accounts and no room in common.
async fn two(practice: &Practice) -> Result<(Raw, Raw)> {
    Ok((
        raw::stranger(practice, "nurse").await?,
        raw::stranger(practice, "doctor").await?,
    ))
}

/// Two people in an ordinary room of a version.
pub(crate) async fn together(practice: &Practice, version: &str) -> Result<(Raw, Raw, String)> {
    let (nurse, doctor) = two(practice).await?;
    let room = nurse
        .makes_a_room(json!({ "room_version": version, "invite": [doctor.user] }))
        .await?;
    doctor.joins(&room).await?;
    Ok((nurse, doctor, room))
}

/// The ids of a list of events.
fn ids(events: &Value) -> Vec<String> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    events
        .iter()
        .filter_map(|event| event["event_id"].as_str())
        .map(str::to_owned)
        .collect()
}

/// The types of a list of events.
fn kinds(events: &Value) -> Vec<String> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .map(str::to_owned)
        .collect()
}

/// The one event of this type in a list.
fn of_kind<'a>(events: &'a Value, kind: &str) -> Result<&'a Value> {
    let events = events.as_array().context("no events")?;
    events
        .iter()
        .find(|event| event["type"] == kind)
        .with_context(|| format!("no {kind} in {events:?}"))
}
