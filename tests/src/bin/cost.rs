//! What stored events cost: bytes on the disk for each, and how long a server takes to start on them.
//!
//! The events are real ones: signed, in therapy rooms, with Megolm ciphertext of messages as long as people write them.
#![expect(clippy::print_stdout, reason = "printing is what a measurement is for")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Parser;
use respite_server::{
    Options,
    rooms::{
        append::{NewEvent, send},
        event::TIMELINE,
    },
    scan,
    start::{self},
    state::App,
};
use respite_tests::{
    engine::Engine,
    place::{Place, Program},
    raw::{Raw, THERAPY, text_at},
};
use ruma::{OwnedDeviceId, OwnedRoomId, OwnedUserId, RoomVersionId};
use serde_json::json;
use tokio::task::JoinSet;
use vodozemac::{
    megolm::{GroupSession, SessionConfig},
    olm::Account,
};

/// Fills a store with events, and measures what they take on the disk and what a start takes.
///
/// Example: cargo run --release --bin cost -- --events 1000000
#[derive(Parser)]
#[command(name = "cost", version)]
struct Arguments {
    /// The engine that keeps the store.
    #[arg(long, value_enum, default_value = "redb")]
    engine: Engine,
    /// How many events are stored.
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    /// Clients of one therapist, each in a room with her.
    #[arg(long, default_value_t = 100)]
    clients: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let place = Place::new("[limits]\nregistrations = 100000\n")?.kept_by(arguments.engine)?;
    let server = place.serve().await?;
    let writers = gather(&server, arguments.clients).await?;
    server.stop().await?;

    let app = start::open(place.config()?, Options::default()).await?.app;
    let begun = Instant::now();
    fill(&app, writers, arguments.events).await?;
    let took = begun.elapsed();
    let weight = Weight::of(&app).await?;
    drop(app);
    let used = used(place.path("").as_path())?;

    println!(
        "{:?}: {} events in {:.0} s ({:.0} events/s)",
        arguments.engine,
        weight.events,
        took.as_secs_f64(),
        weight.events as f64 / took.as_secs_f64(),
    );
    weight.print(used);
    let (stopped, killed) = starts(&place).await?;
    println!(
        "start after an ordinary stop  {:>8.2} s\nstart after a kill -9         {:>8.2} s",
        stopped.as_secs_f64(),
        killed.as_secs_f64()
    );
    Ok(())
}

/// Somebody with a device who writes in a room.
struct Writer {
    user: OwnedUserId,
    device: OwnedDeviceId,
    room: OwnedRoomId,
    keys: GroupSession,
    identity: String,
}

/// A therapist and her clients, each room with its two writers.
async fn gather(server: &Program, clients: usize) -> Result<Vec<[Writer; 2]>> {
    let code = server.first_code.as_deref().context("no code")?;
    let therapist = Raw::register(&server.url, "therapist", code).await?;
    let mut rooms = Vec::new();
    for number in 1..=clients {
        let path = format!("{THERAPY}/invites");
        let made = therapist
            .post(&path, json!({ "kind": "individual" }))
            .await?;
        let code = text_at(&made.ok()?, "code")?;
        let client = Raw::register(&server.url, &format!("client{number}"), &code).await?;
        let room = client.rooms().await?.pop().context("no room")?;
        rooms.push([
            Writer::new(&therapist, &room)?,
            Writer::new(&client, &room)?,
        ]);
    }
    Ok(rooms)
}

impl Writer {
    fn new(person: &Raw, room: &str) -> Result<Self> {
        Ok(Self {
            user: person.user.as_str().try_into()?,
            device: person.device.as_str().into(),
            room: room.try_into()?,
            keys: GroupSession::new(SessionConfig::version_1()),
            identity: Account::new().curve25519_key().to_base64(),
        })
    }

    async fn writes(&mut self, app: &App, number: u64) -> Result<()> {
        let content = json!({
            "algorithm": "m.megolm.v1.aes-sha2",
            "ciphertext": self.keys.encrypt(message(&self.room)).to_base64(),
            "session_id": self.keys.session_id(),
            "sender_key": self.identity,
            "device_id": self.device,
        });
        let event = NewEvent::message("m.room.encrypted", serde_json::from_value(content)?);
        let txn = format!("m{number}");
        let txn = (&*self.device, txn.as_str().into());
        send(app, &self.user, &self.room, event, Some(txn))
            .await
            .map(drop)
            .map_err(|error| anyhow::anyhow!("not sent: {error:?}"))
    }
}

/// A message of 20 to 600 characters, most of them short.
fn message(room: &OwnedRoomId) -> String {
    let long: f64 = rand::random::<f64>() * rand::random::<f64>();
    let body = "a quiet night so far ".repeat(1 + (long * 28.0) as usize);
    let content = json!({ "msgtype": "m.text", "body": body, "m.mentions": {} });
    json!({ "type": "m.room.message", "content": content, "room_id": room }).to_string()
}

/// Everybody writes, in turns within each room, until there are so many events.
async fn fill(app: &App, rooms: Vec<[Writer; 2]>, events: u64) -> Result<()> {
    let count = Arc::new(AtomicU64::new(0));
    let mut writing = JoinSet::new();
    for mut pair in rooms {
        let (app, count) = (app.clone(), count.clone());
        writing.spawn(async move {
            loop {
                for writer in &mut pair {
                    let number = count.fetch_add(1, Ordering::Relaxed);
                    if number >= events {
                        return Ok(());
                    }
                    writer.writes(&app, number).await?;
                }
            }
        });
    }
    writing.join_all().await.into_iter().collect()
}

/// How much there is in a store, before the engine's own share.
#[derive(Default)]
struct Weight {
    events: u64,
    /// The events as other servers would see them, in canonical JSON: what the specification calls an event's size.
    as_pdus: u64,
    /// The events as clients see them, in JSON.
    as_shown: u64,
    tables: BTreeMap<u16, (u64, u64)>,
}

impl Weight {
    async fn of(app: &App) -> Result<Self> {
        let rules = RoomVersionId::V12
            .rules()
            .context("an unknown room version")?;
        let mut weight = Self::default();
        let snapshot = app.store.engine().snapshot().await?;
        let mut after = None;
        loop {
            let page = snapshot.page(after.take(), 10_000).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for pair in &page {
                let (key, value) = pair;
                let number = key
                    .first_chunk()
                    .map_or(0, |number| u16::from_be_bytes(*number));
                let (entries, bytes) = weight.tables.entry(number).or_default();
                *entries += 1;
                *bytes += (key.len() + value.len()) as u64;
                if number == TIMELINE.describe().0 {
                    let (_, _, event) = TIMELINE.decode_entry(pair)?;
                    let pdu = event.pdu(&rules).map_err(|_| anyhow::anyhow!("no PDU"))?;
                    let shown = json!({
                        "content": pdu.get("content"), "event_id": event.event_id, "sender": event.sender,
                        "origin_server_ts": event.origin_server_ts, "room_id": event.room_id, "type": event.kind,
                    });
                    weight.events += 1;
                    weight.as_pdus += serde_json::to_string(&pdu)?.len() as u64;
                    weight.as_shown += shown.to_string().len() as u64;
                }
            }
        }
        Ok(weight)
    }

    fn print(&self, used: u64) {
        let each = |bytes: u64| bytes as f64 / self.events.max(1) as f64;
        let ratio = |of: u64| used as f64 / of.max(1) as f64;
        println!("bytes for each event");
        println!("  as a PDU                    {:>8.0}", each(self.as_pdus));
        println!("  as clients see it           {:>8.0}", each(self.as_shown));
        println!(
            "  on the disk                 {:>8.0}   {:.2} times the PDU, {:.2} times what clients see",
            each(used),
            ratio(self.as_pdus),
            ratio(self.as_shown),
        );
        let names = scan::tables();
        let mut all = 0;
        for (number, (entries, bytes)) in &self.tables {
            all += bytes;
            if each(*bytes) >= 0.5 {
                let name = names.get(number).copied().unwrap_or("an unknown table");
                let entry = *bytes as f64 / *entries as f64;
                println!(
                    "    {name:<26}{:>8.0}   {:.2} entries of {entry:.0}",
                    each(*bytes),
                    each(*entries)
                );
            }
        }
        println!("    all tables                {:>8.0}", each(all));
    }
}

/// The disk's blocks that everything in a directory takes.
fn used(path: &Path) -> Result<u64> {
    let about = fs::symlink_metadata(path)?;
    let mut bytes = about.blocks() * 512;
    if about.is_dir() {
        for entry in fs::read_dir(path)? {
            bytes += used(&entry?.path())?;
        }
    }
    Ok(bytes)
}

/// How long the real program takes until it serves: after an ordinary stop, and after it was killed.
async fn starts(place: &Place) -> Result<(Duration, Duration)> {
    place.serve().await?.stop().await?;
    let server = place.serve().await?;
    let stopped = server.started_in;
    let code = place.run(&["invite", "--role", "client"]).await?.well()?;
    anyhow::ensure!(!code.is_empty());
    server.kill().await?;
    let server = place.serve().await?;
    let killed = server.started_in;
    server.stop().await?;
    Ok((stopped, killed))
}
