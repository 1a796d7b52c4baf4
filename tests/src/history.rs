//! The history checker: people write and read through several servers while these die and come back, and in the end
//! everybody must have seen one and the same history, with everything in it that was acknowledged, once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    practice::Practice,
    raw::{Raw, client_of, megolm, text_at, therapist},
};

/// How long, and by whom.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many servers share the store.
    pub servers: usize,
    /// How many clients one therapist has, each in a room with her.
    pub clients: usize,
    /// How long people write.
    pub lasts: Duration,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Messages that were acknowledged: all of them there, once, in one order for everybody.
    pub acknowledged: usize,
    /// Requests that had to be made again because a server had died or was not there.
    pub repeated: usize,
    /// How often a server died.
    pub deaths: usize,
}

/// The longest pause of a writer, in milliseconds.
const LONGEST_PAUSE: u64 = 60;
/// How long a server lives, and how long it is away, in milliseconds.
const LIVES: std::ops::Range<u64> = 800..3_000;
const AWAY: std::ops::Range<u64> = 100..1_000;
/// The longest that anybody goes on asking for one thing.
const GIVE_UP: Duration = Duration::from_secs(60);

/// Runs the plan.
///
/// # Errors
/// Something is lost, there twice, or in another order for somebody.
pub async fn run(plan: &Plan) -> Result<Outcome> {
    let mut practice = Practice::open_several(plan.servers).await?;
    let people = gather(&practice, plan.clients).await?;
    let over = Arc::new(AtomicBool::new(false));
    let (mut writing, mut reading) = (JoinSet::new(), JoinSet::new());
    for (person, room) in &people {
        let (person, room, over) = (person.clone(), room.clone(), Arc::clone(&over));
        writing.spawn(write(person, room, over));
    }
    let done = Arc::new(AtomicBool::new(false));
    for (person, rooms) in readers(&people) {
        reading.spawn(read(person, rooms, Arc::clone(&done)));
    }
    let deaths = die_and_come_back(&mut practice, plan).await?;
    over.store(true, Ordering::Relaxed);
    let mut outcome = Outcome {
        deaths,
        ..Outcome::default()
    };
    let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while let Some(written) = writing.join_next().await {
        let written = written??;
        outcome.acknowledged += written.events.len();
        outcome.repeated += written.repeated;
        sent.entry(written.room).or_default().extend(written.events);
    }
    done.store(true, Ordering::Relaxed);
    let mut seen = Vec::new();
    while let Some(read) = reading.join_next().await {
        seen.push(read??);
    }
    for (person, room) in &people {
        compare(&practice, person, room, sent.get(room), &seen).await?;
    }
    Ok(outcome)
}

/// A therapist and her clients, each with the room that they write in; she is there once for each room.
async fn gather(practice: &Practice, clients: usize) -> Result<Vec<(Raw, String)>> {
    let mut people = Vec::new();
    let her = therapist(practice, "therapist").await?;
    for number in 1..=clients {
        let client = client_of(practice, &her, &format!("client{number}")).await?;
        let rooms = client.rooms().await?;
        let room = rooms.first().context("the client is in no room")?;
        her.joins(room).await?;
        people.push((her.clone(), room.clone()));
        people.push((client, room.clone()));
    }
    Ok(people)
}

/// Everybody once, with their rooms.
fn readers(people: &[(Raw, String)]) -> Vec<(Raw, BTreeSet<String>)> {
    let mut readers: BTreeMap<&str, (Raw, BTreeSet<String>)> = BTreeMap::new();
    for (person, room) in people {
        let reader = readers
            .entry(&person.user)
            .or_insert_with(|| (person.clone(), BTreeSet::new()));
        reader.1.insert(room.clone());
    }
    readers.into_values().collect()
}

/// Every few seconds one of the servers dies in the middle of whatever it does. Returns how often.
async fn die_and_come_back(practice: &mut Practice, plan: &Plan) -> Result<usize> {
    let (end, mut deaths) = (Instant::now() + plan.lasts, 0);
    while Instant::now() < end {
        sleep(Duration::from_millis(rand::random_range(LIVES))).await;
        if plan.servers > 1 {
            let server = rand::random_range(1..plan.servers);
            practice.strike_down(server).await?;
            sleep(Duration::from_millis(rand::random_range(AWAY))).await;
            practice.bring_back(server).await?;
            deaths += 1;
        }
    }
    Ok(deaths)
}

/// What somebody has written in a room.
struct Written {
    room: String,
    /// Their events, in the order in which they were acknowledged.
    events: Vec<String>,
    repeated: usize,
}

/// Writes one message after the other; each is sent again, under the same transaction id, until it is acknowledged.
async fn write(person: Raw, room: String, over: Arc<AtomicBool>) -> Result<Written> {
    let mut written = Written {
        room,
        events: Vec::new(),
        repeated: 0,
    };
    while !over.load(Ordering::Relaxed) {
        let (room, number) = (&written.room, written.events.len());
        let content = megolm(room, &number.to_string())?;
        let path = format!("v3/rooms/{room}/send/m.room.encrypted/h{number}");
        let (answer, repeated) = insist(&person, Method::PUT, &path, Some(&content)).await?;
        written.events.push(text_at(&answer, "event_id")?);
        written.repeated += repeated;
        sleep(Duration::from_millis(rand::random_range(0..LONGEST_PAUSE))).await;
    }
    Ok(written)
}

/// Asks until there is an answer, as clients do when the network or a server fails. Returns how often it took another try.
async fn insist(
    person: &Raw,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<(Value, usize)> {
    let (end, mut repeated) = (Instant::now() + GIVE_UP, 0);
    loop {
        let body = body.map(|body| body.to_string().into_bytes());
        match person.ask(method.clone(), path, body).await {
            Ok(answer) if answer.status < 500 && answer.status != 429 => {
                return Ok((answer.ok()?, repeated));
            }
            refused if Instant::now() > end => bail!("no answer in time: {refused:?}"),
            _ => repeated += 1,
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// What somebody saw, by room: the events' ids, in the order in which syncing told them.
struct Read {
    user: String,
    rooms: BTreeMap<String, Vec<String>>,
}

/// Syncs until everything has been written and nothing new comes.
async fn read(person: Raw, rooms: BTreeSet<String>, done: Arc<AtomicBool>) -> Result<Read> {
    let mut read = Read {
        user: person.user.clone(),
        rooms: BTreeMap::new(),
    };
    let mut since = String::new();
    loop {
        let finishing = done.load(Ordering::Relaxed);
        let path = format!("v3/sync?timeout=500{since}");
        let (news, _) = insist(&person, Method::GET, &path, None).await?;
        let mut quiet = true;
        for room in &rooms {
            let timeline = &news["rooms"]["join"][room]["timeline"];
            let events = ids(&timeline["events"])?;
            quiet &= events.is_empty();
            let told = read.rooms.entry(room.clone()).or_default();
            if timeline["limited"] == true {
                let from = text_at(timeline, "prev_batch")?;
                let gap = before(&person, room, &from, told.last()).await?;
                told.extend(gap);
            }
            told.extend(events);
        }
        since = format!("&since={}", text_at(&news, "next_batch")?);
        if finishing && quiet {
            return Ok(read);
        }
    }
}

/// The events before a place, back to one that is known, oldest first.
async fn before(
    person: &Raw,
    room: &str,
    from: &str,
    known: Option<&String>,
) -> Result<Vec<String>> {
    let (mut gap, mut from) = (Vec::new(), from.to_owned());
    loop {
        let path = format!("v3/rooms/{room}/messages?dir=b&limit=100&from={from}");
        let (page, _) = insist(person, Method::GET, &path, None).await?;
        let events = ids(&page["chunk"])?;
        let end = page["end"].as_str().filter(|_| !events.is_empty());
        for event in events {
            if Some(&event) == known {
                gap.reverse();
                return Ok(gap);
            }
            gap.push(event);
        }
        match end {
            Some(end) => from = end.to_owned(),
            None if known.is_some() => bail!("the last event before the gap is not in {room}"),
            None => {
                gap.reverse();
                return Ok(gap);
            }
        }
    }
}

/// The room's whole history as each server tells it to somebody, against what syncing told them and what was acknowledged.
async fn compare(
    practice: &Practice,
    person: &Raw,
    room: &str,
    sent: Option<&Vec<String>>,
    seen: &[Read],
) -> Result<()> {
    let mut histories = Vec::new();
    for server in practice.servers() {
        histories.push(history(&person.at(&server), room).await?);
    }
    let history = histories.first().context("no servers")?;
    ensure!(
        histories.iter().all(|other| other == history),
        "the servers tell different histories of {room}"
    );
    let once: BTreeSet<&String> = history.iter().map(|(id, _)| id).collect();
    ensure!(once.len() == history.len(), "something is twice in {room}");
    let messages: BTreeSet<&String> = history
        .iter()
        .filter(|(_, kind)| kind == "m.room.encrypted")
        .map(|(id, _)| id)
        .collect();
    let sent: BTreeSet<&String> = sent.into_iter().flatten().collect();
    ensure!(
        messages == sent,
        "{room} holds {} messages, {} were acknowledged",
        messages.len(),
        sent.len()
    );
    let ids: Vec<&String> = history.iter().map(|(id, _)| id).collect();
    let told = seen
        .iter()
        .find(|read| read.user == person.user)
        .and_then(|read| read.rooms.get(room))
        .context("somebody has not read their room")?;
    let same = ids
        .iter()
        .zip(told)
        .take_while(|(one, other)| *one == other);
    let same = same.count();
    ensure!(
        same == ids.len() && same == told.len(),
        "{} saw another history of {room}: {} events in place of {}, the same up to {same}",
        person.user,
        told.len(),
        ids.len()
    );
    Ok(())
}

/// All of a room's events as a server tells them, oldest first: ids and types.
async fn history(person: &Raw, room: &str) -> Result<Vec<(String, String)>> {
    let (mut all, mut from) = (Vec::new(), String::new());
    loop {
        let path = format!("v3/rooms/{room}/messages?dir=f&limit=100{from}");
        let (page, _) = insist(person, Method::GET, &path, None).await?;
        let events = page["chunk"].as_array().context("no events")?;
        for event in events {
            all.push((text_at(event, "event_id")?, text_at(event, "type")?));
        }
        match page["end"].as_str() {
            Some(end) if !events.is_empty() => from = format!("&from={end}"),
            _ => return Ok(all),
        }
    }
}

fn ids(events: &Value) -> Result<Vec<String>> {
    let none = json!([]);
    let events = if events.is_null() { &none } else { events };
    let events = events.as_array().context("no events")?;
    events
        .iter()
        .map(|event| text_at(event, "event_id"))
        .collect()
}
