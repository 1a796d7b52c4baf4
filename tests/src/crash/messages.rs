//! Messages: one line of them in each room.

use anyhow::Result;
use serde_json::{Value, json};
use vodozemac::megolm::{GroupSession, InboundGroupSession, MegolmMessage, SessionConfig};

use super::{
    Outcome, Violation,
    actor::{heard, history},
};
use crate::raw::{Raw, text_at};

/// Megolm, as far as the rooms know.
pub(super) const ENCRYPTED: &str = "m.room.encrypted";

/// Somebody who writes one message after the other in one room, and remembers what was acknowledged.
pub(super) struct Writer {
    person: Raw,
    room: String,
    keys: GroupSession,
    reads: InboundGroupSession,
    /// The events of the messages 0, 1, 2 … that the server has acknowledged.
    acknowledged: Vec<String>,
    /// The message after those, if it is under way.
    open: Option<Value>,
    /// How many of their messages were found in the room.
    found: usize,
    /// The newest event of the room that was read.
    read: Option<String>,
    /// How far this device has synced.
    since: String,
}

impl Writer {
    pub(super) async fn new(person: Raw, room: String) -> Result<Self> {
        let since = text_at(&person.syncs(None).await?, "next_batch")?;
        let keys = GroupSession::new(SessionConfig::version_1());
        let reads = InboundGroupSession::new(&keys.session_key(), SessionConfig::version_1());
        Ok(Self {
            person,
            room,
            keys,
            reads,
            acknowledged: Vec::new(),
            open: None,
            found: 0,
            read: None,
            since,
        })
    }

    /// Sends the next message, or the one under way again. Returns whether the answer was heard.
    pub(super) async fn step(&mut self, outcome: &mut Outcome) -> Result<bool> {
        let number = self.acknowledged.len();
        let content = match self.open.take() {
            Some(content) => content,
            None => encrypted(&mut self.keys, number),
        };
        let path = format!("v3/rooms/{}/send/{ENCRYPTED}/{number}", self.room);
        match heard(self.person.put(&path, content.clone()).await)? {
            Some(body) => {
                self.acknowledged.push(text_at(&body, "event_id")?);
                outcome.heard("messages");
                Ok(true)
            }
            None => {
                self.open = Some(content);
                Ok(false)
            }
        }
    }

    /// Compares what is in the room with what was acknowledged.
    pub(super) async fn check(&mut self, last: bool, outcome: &mut Outcome) -> Result<()> {
        if last {
            (self.found, self.read) = (0, None);
        }
        let events = history(&self.person, &self.room, self.read.as_deref()).await?;
        if let Some(newest) = events.last() {
            self.read = Some(text_at(newest, "event_id")?);
        }
        for event in &events {
            if event["type"] == ENCRYPTED && event["sender"] == self.person.user.as_str() {
                self.compare(event, outcome)?;
            }
        }
        if self.found < self.acknowledged.len() {
            let lost = self.acknowledged.len() - self.found;
            outcome.violated(
                Violation::Lost,
                format!("{} lost {lost} messages", self.person.user),
            );
            self.found = self.acknowledged.len();
        }
        self.catches_up(outcome).await
    }

    fn compare(&mut self, event: &Value, outcome: &mut Outcome) -> Result<()> {
        let id = text_at(event, "event_id")?;
        let number = self.number_in(event)?;
        let who = &self.person.user;
        let next = self.found;
        let story = format!("{who} finds message {number} in the place of {next}");
        if number < next {
            outcome.violated(Violation::Duplicated, story);
        } else if number > next {
            outcome.violated(Violation::OutOfOrder, story);
        }
        match self.acknowledged.get(number) {
            Some(known) if *known != id => {
                let story = format!("message {number} of {who} is another event than was told");
                outcome.violated(Violation::Duplicated, story);
            }
            None if number > self.acknowledged.len() || self.open.is_none() => {
                let story = format!("{who} never sent message {number}");
                outcome.violated(Violation::Duplicated, story);
            }
            _ => {}
        }
        self.found = self.found.max(number + 1);
        Ok(())
    }

    fn number_in(&mut self, event: &Value) -> Result<usize> {
        let ciphertext = text_at(&event["content"], "ciphertext")?;
        let plaintext = self
            .reads
            .decrypt(&MegolmMessage::from_base64(&ciphertext)?)?
            .plaintext;
        let message: Value = serde_json::from_slice(&plaintext)?;
        Ok(text_at(&message["content"], "body")?.parse()?)
    }

    /// A sync from where they were brings them to the room's newest event.
    async fn catches_up(&mut self, outcome: &mut Outcome) -> Result<()> {
        let news = self.person.syncs(Some(&self.since)).await?;
        self.since = text_at(&news, "next_batch")?;
        let timeline = news["rooms"]["join"][&self.room]["timeline"]["events"].as_array();
        if let Some(newest) = timeline.and_then(|events| events.last())
            && newest["event_id"].as_str() != self.read.as_deref()
        {
            let story = format!("the sync of {} misses the newest event", self.person.user);
            outcome.violated(Violation::Lost, story);
        }
        Ok(())
    }
}

/// A message with a number in it, as ciphertext.
pub(super) fn encrypted(keys: &mut GroupSession, number: usize) -> Value {
    let content = json!({ "msgtype": "m.text", "body": number.to_string() });
    let message = json!({ "type": "m.room.message", "content": content }).to_string();
    json!({
        "algorithm": "m.megolm.v1.aes-sha2",
        "ciphertext": keys.encrypt(message).to_base64(),
        "session_id": keys.session_id(),
    })
}
