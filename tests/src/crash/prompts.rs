//! Prompts: each is released once, though everything may be killed in that moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::sleep;
use vodozemac::megolm::{GroupSession, SessionConfig};

use super::{
    Outcome, Violation,
    actor::{heard, history},
    messages::{ENCRYPTED, encrypted},
};
use crate::{
    person::PATIENCE,
    raw::{Raw, THERAPY, text_at},
};

/// How far ahead prompts are scheduled at most, in milliseconds.
const AHEAD: u64 = 800;
/// How long the therapist waits between two of them: a room takes only so many that wait.
const PAUSE: Duration = Duration::from_millis(15);

/// A therapist who schedules prompts for somebody in a room in which nobody else writes.
pub(super) struct Asker {
    therapist: Raw,
    asked: String,
    room: String,
    keys: GroupSession,
    number: usize,
    /// The prompt under way.
    open: Option<Value>,
    /// The ciphertexts of the prompts that the server has acknowledged.
    acknowledged: BTreeSet<String>,
    /// The prompts' ids.
    ids: BTreeSet<String>,
    /// How often each ciphertext was found in the room.
    found: BTreeMap<String, u64>,
    /// The newest event of the room that was read.
    read: Option<String>,
}

impl Asker {
    pub(super) fn new(therapist: Raw, asked: String, room: String) -> Self {
        Self {
            therapist,
            asked,
            room,
            keys: GroupSession::new(SessionConfig::version_1()),
            number: 0,
            open: None,
            acknowledged: BTreeSet::new(),
            ids: BTreeSet::new(),
            found: BTreeMap::new(),
            read: None,
        }
    }

    /// Schedules the next prompt, or the one under way again.
    pub(super) async fn step(&mut self, outcome: &mut Outcome) -> Result<bool> {
        let body = match self.open.take() {
            Some(body) => body,
            None => self.next()?,
        };
        let path = format!("{THERAPY}/rooms/{}/prompts/p{}", self.room, self.number);
        let Some(answer) = heard(self.therapist.put(&path, body.clone()).await)? else {
            self.open = Some(body);
            return Ok(false);
        };
        let id = text_at(&answer, "prompt_id")?;
        if !self.ids.insert(id.clone()) {
            outcome.violated(Violation::Prompt, format!("two prompts have the id {id}"));
        }
        self.acknowledged
            .insert(text_at(&body["content"], "ciphertext")?);
        outcome.heard("prompts");
        self.number += 1;
        sleep(PAUSE).await;
        Ok(true)
    }

    fn next(&mut self) -> Result<Value> {
        let now = u64::try_from(Timestamp::now().as_millisecond())?;
        let due = now + rand::random::<u64>() % AHEAD;
        let content = encrypted(&mut self.keys, self.number);
        Ok(json!({ "addressee": self.asked, "release_ts": due, "content": content }))
    }

    /// None may be there twice; in the end, each must be there.
    pub(super) async fn check(&mut self, last: bool, outcome: &mut Outcome) -> Result<()> {
        let begun = Instant::now();
        if last {
            (self.found, self.read) = (BTreeMap::new(), None);
        }
        self.look(outcome).await?;
        while last && begun.elapsed() < PATIENCE && self.missing() > 0 {
            sleep(Duration::from_millis(100)).await;
            self.look(outcome).await?;
        }
        if last {
            for _ in 0..self.missing() {
                outcome.violated(Violation::Prompt, "a prompt was never released".to_owned());
            }
        }
        Ok(())
    }

    fn missing(&self) -> usize {
        let found = |ciphertext: &&String| !self.found.contains_key(*ciphertext);
        self.acknowledged.iter().filter(found).count()
    }

    async fn look(&mut self, outcome: &mut Outcome) -> Result<()> {
        let events = history(&self.therapist, &self.room, self.read.as_deref()).await?;
        if let Some(newest) = events.last() {
            self.read = Some(text_at(newest, "event_id")?);
        }
        for event in events.iter().filter(|event| event["type"] == ENCRYPTED) {
            let ciphertext = text_at(&event["content"], "ciphertext").context("no ciphertext")?;
            let times = self.found.entry(ciphertext).or_default();
            *times += 1;
            if *times > 1 {
                outcome.violated(
                    Violation::Prompt,
                    format!("a prompt was released {times} times"),
                );
            }
        }
        Ok(())
    }
}
