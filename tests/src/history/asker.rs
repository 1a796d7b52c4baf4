//! Check-ins that are scheduled ahead: each is released once, whichever server is there when its time comes.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Outcome, Violation,
    client::Client,
    judge::{Kind, Sent, mark},
};
use crate::{
    person::PATIENCE,
    raw::{Raw, THERAPY, megolm, text_at},
};

/// How far ahead prompts are scheduled at most, in milliseconds.
const AHEAD: u64 = 5_000;
/// The longest pause between two of them, where people do not write more slowly than that.
const PAUSE: Duration = Duration::from_secs(2);
/// One of so many is scheduled at two servers at the same time.
const TWICE_AT_ONCE: u64 = 10;

/// A therapist who schedules prompts for her client.
pub(super) struct Asker {
    therapist: Client,
    asked: String,
    room: String,
    pause: Duration,
    scheduled: Vec<Sent>,
}

impl Asker {
    pub(super) fn new(therapist: Client, asked: &Raw, room: String, pace: Duration) -> Self {
        Self {
            therapist,
            asked: asked.user.clone(),
            room,
            pause: pace.max(PAUSE),
            scheduled: Vec::new(),
        }
    }

    /// Schedules until it is over.
    pub(super) async fn work(mut self, over: CancellationToken) -> Result<Self> {
        while !over.is_cancelled() {
            let number = self.scheduled.len();
            let content = megolm(&self.room, &format!("prompt {number}"))?;
            let begun = self.therapist.now();
            let ahead = Duration::from_millis(self.therapist.roll(AHEAD));
            let release = (Timestamp::now() + ahead).as_millisecond();
            let body =
                json!({ "addressee": self.asked, "release_ts": release, "content": content });
            let path = format!("{THERAPY}/rooms/{}/prompts/p{number}", self.room);
            let schedule = || async {
                let asked = self.therapist.insist(Method::PUT, &path, Some(&body));
                text_at(&asked.await?.ok()?, "prompt_id")
            };
            let ids = match self.therapist.roll(TWICE_AT_ONCE) {
                0 => <[String; 2]>::from(tokio::try_join!(schedule(), schedule())?).to_vec(),
                _ => vec![schedule().await?],
            };
            self.scheduled.push(Sent {
                kind: Kind::Prompt,
                mark: mark(&content)?,
                ids,
                begun,
                due: begun + ahead,
            });
            self.therapist.pauses(self.pause).await;
        }
        Ok(self)
    }

    /// Waits until none waits any more. Returns the room and what was scheduled in it.
    pub(super) async fn all_released(self, outcome: &mut Outcome) -> Result<(String, Vec<Sent>)> {
        let begun = Instant::now();
        let path = format!("{THERAPY}/rooms/{}/prompts", self.room);
        loop {
            let answer = self.therapist.insist(Method::GET, &path, None).await?;
            let list = answer.ok()?;
            let list = list["prompts"].as_array().context("no prompts")?;
            let waits = |prompt: &&Value| prompt["state"] == "waiting";
            let waiting = list.iter().filter(waits).count();
            if waiting == 0 {
                return Ok((self.room, self.scheduled));
            }
            if begun.elapsed() > PATIENCE {
                let story = format!("{waiting} prompts in {} are overdue", self.room);
                outcome.violated(Violation::Prompt, story);
                return Ok((self.room, self.scheduled));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}
