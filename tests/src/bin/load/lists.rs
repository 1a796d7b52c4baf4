//! How long it takes to open a client whose user is in many rooms, and to hear of one message, with both kinds of sync.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    measure::Latencies,
    people::{People, Person},
    target::Target,
};

/// How often a client is opened.
const OPENINGS: usize = 10;
/// How many messages are heard of.
const MESSAGES: usize = 100;

/// The figures of one account.
pub(crate) struct Opened {
    pub(crate) rooms: usize,
    pub(crate) figures: Vec<(&'static str, Latencies)>,
}

/// Puts somebody into so many rooms and measures what their clients wait for.
pub(crate) async fn measure(target: &Target, rooms: usize, token: Option<&str>) -> Result<Opened> {
    let people = People::register(target, 2, token).await?;
    let [writer, reader, ..] = people.all.as_slice() else {
        anyhow::bail!("two people are needed");
    };
    let mut all = vec![writer.room.clone()];
    while all.len() < rooms {
        let room = writer.open_room(&reader.user).await?;
        reader.join(&room).await?;
        all.push(room);
    }
    for room in &all {
        writer.send_to(room, writer.ciphertext()).await?;
    }
    let screen = [0, 19];
    let whole = [0, rooms.saturating_sub(1)];
    let figures = vec![
        (
            "sync, initial",
            openings(async || reader.sync(None, 0).await.map(drop)).await?,
        ),
        (
            "sliding, initial, screen",
            openings(async || slide(reader, None, screen).await.map(drop)).await?,
        ),
        (
            "sliding, initial, all",
            openings(async || slide(reader, None, whole).await.map(drop)).await?,
        ),
        ("sync, one message", full(writer, reader, &all).await?),
        (
            "sliding, one message",
            sliding(writer, reader, &all, whole).await?,
        ),
    ];
    Ok(Opened { rooms, figures })
}

async fn openings(open: impl AsyncFn() -> Result<()>) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    for _ in 0..OPENINGS {
        latencies.time(open()).await?;
    }
    Ok(latencies)
}

async fn full(writer: &Person, reader: &Person, rooms: &[String]) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    let (mut since, _) = reader.sync(None, 0).await?;
    for room in rooms.iter().cycle().take(MESSAGES) {
        writer.send_to(room, writer.ciphertext()).await?;
        (since, _) = latencies.time(reader.sync(Some(&since), 0)).await?;
    }
    Ok(latencies)
}

async fn sliding(
    writer: &Person,
    reader: &Person,
    rooms: &[String],
    range: [usize; 2],
) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    let mut pos = pos(&slide(reader, None, range).await?)?;
    // The first that goes on settles what the client has.
    pos = self::pos(&slide(reader, Some(&pos), range).await?)?;
    for room in rooms.iter().cycle().take(MESSAGES) {
        writer.send_to(room, writer.ciphertext()).await?;
        let told = latencies.time(slide(reader, Some(&pos), range)).await?;
        let new = told["rooms"][room]["timeline"].as_array();
        anyhow::ensure!(
            new.is_some_and(|new| new.len() == 1),
            "the message did not come"
        );
        pos = self::pos(&told)?;
    }
    Ok(latencies)
}

fn pos(told: &Value) -> Result<String> {
    told["pos"]
        .as_str()
        .map(str::to_owned)
        .context("no position")
}

/// What an app on matrix-rust-sdk asks.
async fn slide(reader: &Person, pos: Option<&str>, range: [usize; 2]) -> Result<Value> {
    let state = [
        ("m.room.name", ""),
        ("m.room.encryption", ""),
        ("m.room.member", "$LAZY"),
        ("m.room.member", "$ME"),
        ("m.room.topic", ""),
        ("m.room.avatar", ""),
        ("m.room.canonical_alias", ""),
        ("m.room.power_levels", ""),
        ("m.room.join_rules", ""),
        ("m.room.tombstone", ""),
        ("m.room.create", ""),
        ("m.room.history_visibility", ""),
        ("m.space.child", "*"),
        ("m.space.parent", "*"),
    ];
    let on = json!({ "enabled": true });
    let body = json!({
        "conn_id": "room-list",
        "lists": { "all_rooms": { "ranges": [range], "timeline_limit": 1, "required_state": state, "filters": {} } },
        "extensions": { "account_data": on, "receipts": on, "typing": on, "e2ee": on, "to_device": on },
    });
    reader.slide(pos, body).await
}

impl Latencies {
    /// Runs something and records how long it took.
    async fn time<T>(&mut self, act: impl Future<Output = Result<T>>) -> Result<T> {
        let begin = Instant::now();
        let done = act.await?;
        self.add(begin.elapsed());
        Ok(done)
    }
}
