//! What was said in a room, decrypted, as entries that a person can read.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use jiff::Timestamp;
use matrix_sdk::{
    Room,
    deserialized_responses::{TimelineEvent, TimelineEventKind, UnableToDecryptReason},
    room::MessagesOptions,
};
use respite_protocol::events::{Answer, Checkin, Document, POLL_RESPONSE, SafetyPlan};
use ruma::{OwnedEventId, OwnedUserId, UInt, serde::Raw};
use serde::Deserialize;
use serde_json::Value;

use crate::time;

/// Most entries that are fetched at a time.
pub const MAX_ENTRIES: usize = 1_000;
/// Most keys that are looked for in the backup at a time.
pub const MAX_KEY_LOOKUPS: usize = 50;
/// Events in one answer of the server.
const PAGE: u32 = 100;

/// Something that was said.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The event.
    pub event_id: OwnedEventId,
    /// Who said it.
    pub sender: OwnedUserId,
    /// When the server took it.
    pub at: Timestamp,
    /// The event that it replies to or votes on.
    pub about: Option<OwnedEventId>,
    /// What was said.
    pub said: Said,
}

/// What was said.
#[derive(Clone, Debug)]
pub enum Said {
    /// A message.
    Text {
        /// Its text.
        body: String,
        /// It was changed after it was sent.
        edited: bool,
    },
    /// A check-in.
    Checkin(Checkin),
    /// The answer to a check-in.
    Answer(Answer),
    /// A vote in a poll, from a client that knows no blocks.
    Vote(Vec<String>),
    /// A document.
    Document(Box<Document>),
    /// A safety plan.
    SafetyPlan(Box<SafetyPlan>),
    /// A message that this device cannot read.
    Unreadable {
        /// Why.
        why: &'static str,
    },
    /// A message that its author took back.
    Deleted,
}

/// The newest `limit` entries of a room, oldest first. What this device has no key for is looked
/// for in the key backup.
///
/// # Errors
///
/// If the server cannot be reached or refuses.
pub async fn recent(room: &Room, limit: usize) -> Result<Vec<Entry>> {
    let limit = limit.min(MAX_ENTRIES);
    let mut newest_first = Vec::new();
    let mut from: Option<String> = None;
    loop {
        let mut options = MessagesOptions::backward().from(from.as_deref());
        options.limit = UInt::from(PAGE);
        let page = room.messages(options).await?;
        let nothing_left = page.chunk.is_empty();
        newest_first.extend(with_backup(room, page.chunk).await);
        // Changes of messages count as entries until they are applied, so this may fetch a page
        // too few only if the limit is met.
        let entries = entries(newest_first.iter().rev());
        match page.end {
            Some(end) if entries.len() < limit && !nothing_left && from.as_ref() != Some(&end) => {
                from = Some(end)
            }
            _ => {
                let skip = entries.len().saturating_sub(limit);
                return Ok(entries.into_iter().skip(skip).collect());
            }
        }
    }
}

/// Tries again, with keys from the backup, what could not be decrypted.
async fn with_backup(room: &Room, events: Vec<TimelineEvent>) -> Vec<TimelineEvent> {
    let missing: BTreeSet<String> = events.iter().filter_map(missing_session).collect();
    if missing.is_empty() || !room.client().encryption().backups().are_enabled().await {
        return events;
    }
    for session_id in missing.iter().take(MAX_KEY_LOOKUPS) {
        // A key that is not in the backup either leaves its messages as they are: unreadable.
        let backups = room.client().encryption().backups();
        if let Err(error) = backups.download_room_key(room.room_id(), session_id).await {
            tracing::debug!(%error, "a room key is not in the backup");
        }
    }
    let mut retried = Vec::with_capacity(events.len());
    for event in events {
        let again = if missing_session(&event).is_some() {
            room.decrypt_event(event.raw().cast_ref_unchecked(), None)
                .await
                .ok()
        } else {
            None
        };
        retried.push(again.unwrap_or(event));
    }
    retried
}

fn missing_session(event: &TimelineEvent) -> Option<String> {
    match &event.kind {
        TimelineEventKind::UnableToDecrypt { utd_info, .. } => utd_info.session_id.clone(),
        _ => None,
    }
}

/// Makes entries of events, oldest first: changes are applied, and what nobody reads (state,
/// reactions, verification) is left out.
fn entries<'a>(events: impl Iterator<Item = &'a TimelineEvent>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut place: BTreeMap<OwnedEventId, usize> = BTreeMap::new();
    for event in events {
        let Ok(parts) = event.raw().deserialize_as_unchecked::<Parts>() else {
            continue;
        };
        let why = match &event.kind {
            TimelineEventKind::UnableToDecrypt { utd_info, .. } => Some(why(&utd_info.reason)),
            _ => None,
        };
        match parts.read(why) {
            Read::Entry(entry) => {
                if place.contains_key(&entry.event_id) {
                    continue;
                }
                place.insert(entry.event_id.clone(), entries.len());
                entries.push(entry);
            }
            Read::Change { of, by, body } => {
                let changed = place.get(&of).and_then(|index| entries.get_mut(*index));
                if let Some(Entry {
                    sender,
                    said: Said::Text { body: old, edited },
                    ..
                }) = changed
                    && *sender == by
                {
                    (*old, *edited) = (body, true);
                }
            }
            Read::Nothing => {}
        }
    }
    entries
}

/// The parts of an event that matter here. Anything in it may be hostile.
#[derive(Deserialize)]
struct Parts {
    #[serde(rename = "type")]
    event_type: String,
    event_id: OwnedEventId,
    sender: OwnedUserId,
    origin_server_ts: ruma::MilliSecondsSinceUnixEpoch,
    #[serde(default)]
    content: Value,
    state_key: Option<String>,
    #[serde(default)]
    unsigned: Unsigned,
}

#[derive(Default, Deserialize)]
struct Unsigned {
    redacted_because: Option<Raw<Value>>,
}

enum Read {
    Entry(Entry),
    Change {
        of: OwnedEventId,
        by: OwnedUserId,
        body: String,
    },
    Nothing,
}

impl Parts {
    fn read(self, unreadable: Option<&'static str>) -> Read {
        if self.state_key.is_some() {
            return Read::Nothing;
        }
        let (relation, about) = self.relation();
        if let (Some("m.replace"), Some(of)) = (relation.as_deref(), &about) {
            let body = self
                .content
                .pointer("/m.new_content/body")
                .and_then(Value::as_str);
            return match body {
                Some(body) => Read::Change {
                    of: of.clone(),
                    by: self.sender,
                    body: body.to_owned(),
                },
                None => Read::Nothing,
            };
        }
        let said = match (unreadable, self.unsigned.redacted_because.is_some()) {
            (_, true) if self.is_message() => Said::Deleted,
            (Some(why), false) => Said::Unreadable { why },
            (None, false) => match self.said() {
                Some(said) => said,
                None => return Read::Nothing,
            },
            _ => return Read::Nothing,
        };
        Read::Entry(Entry {
            event_id: self.event_id,
            sender: self.sender,
            at: time::from_matrix(self.origin_server_ts),
            about,
            said,
        })
    }

    fn is_message(&self) -> bool {
        matches!(
            self.event_type.as_str(),
            "m.room.message" | "m.room.encrypted"
        )
    }

    fn said(&self) -> Option<Said> {
        let (event_type, content) = (self.event_type.as_str(), &self.content);
        if let Some(checkin) = Checkin::from_content(event_type, content) {
            return Some(Said::Checkin(checkin));
        }
        if let Some(answer) = Answer::from_content(event_type, content) {
            return Some(Said::Answer(answer));
        }
        if let Some(document) = Document::from_content(event_type, content) {
            return Some(Said::Document(Box::new(document)));
        }
        if let Some(plan) = SafetyPlan::from_content(event_type, content) {
            return Some(Said::SafetyPlan(Box::new(plan)));
        }
        if event_type == POLL_RESPONSE {
            let answers = content.pointer("/org.matrix.msc3381.poll.response/answers")?;
            return Some(Said::Vote(Vec::deserialize(answers).ok()?));
        }
        if event_type != "m.room.message" && content.get("org.matrix.msc3381.poll.start").is_none()
        {
            return None;
        }
        if content.get("msgtype").and_then(Value::as_str) == Some("m.key.verification.request") {
            return None;
        }
        let body = content
            .get("body")
            .and_then(Value::as_str)
            .unwrap_or("(a message without text)");
        Some(Said::Text {
            body: body.to_owned(),
            edited: false,
        })
    }

    fn relation(&self) -> (Option<String>, Option<OwnedEventId>) {
        let Some(relates) = self.content.get("m.relates_to") else {
            return (None, None);
        };
        let text = |pointer: &str| relates.pointer(pointer).and_then(Value::as_str);
        let about = text("/event_id").or_else(|| text("/m.in_reply_to/event_id"));
        (
            text("/rel_type").map(ToOwned::to_owned),
            about.and_then(|id| id.try_into().ok()),
        )
    }
}

fn why(reason: &UnableToDecryptReason) -> &'static str {
    match reason {
        UnableToDecryptReason::MissingMegolmSession {
            withheld_code: Some(_),
        } => {
            "its sender chose not to let this device read it; verify this device with `respite verify`"
        }
        UnableToDecryptReason::MissingMegolmSession {
            withheld_code: None,
        }
        | UnableToDecryptReason::UnknownMegolmMessageIndex => {
            "this device has no key for it; `respite recovery restore` fetches the keys of earlier messages"
        }
        UnableToDecryptReason::SenderIdentityNotTrusted(_) => "its sender's device is not trusted",
        UnableToDecryptReason::MismatchedIdentityKeys => "it may not be from who it says",
        _ => "it is damaged",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(value: Value) -> TimelineEvent {
        TimelineEvent::from_plaintext(Raw::from_json(
            serde_json::value::to_raw_value(&value).unwrap(),
        ))
    }

    fn message(id: &str, sender: &str, content: Value) -> TimelineEvent {
        event(json!({
            "type": "m.room.message", "event_id": id, "sender": sender,
            "origin_server_ts": 1_800_000_000_000_u64, "content": content,
        }))
    }

    fn bodies(events: &[TimelineEvent]) -> Vec<String> {
        let said = |entry: &Entry| match &entry.said {
            Said::Text {
                body,
                edited: false,
            } => body.clone(),
            Said::Text { body, edited: true } => format!("{body}*"),
            other => format!("{other:?}")
                .split([' ', '('])
                .next()
                .unwrap_or_default()
                .to_owned(),
        };
        entries(events.iter()).iter().map(said).collect()
    }

    #[test]
    fn messages_come_in_order_and_state_does_not_show() {
        let events = [
            event(json!({
                "type": "m.room.member", "event_id": "$0", "sender": "@a:b", "state_key": "@a:b",
                "origin_server_ts": 1, "content": {"membership": "join"},
            })),
            message("$1", "@a:b", json!({"msgtype": "m.text", "body": "one"})),
            message("$2", "@c:b", json!({"msgtype": "m.text", "body": "two"})),
        ];
        assert_eq!(bodies(&events), ["one", "two"]);
    }

    #[test]
    fn only_its_author_can_change_a_message() {
        let change = |id: &str, sender: &str, body: &str| {
            message(
                id,
                sender,
                json!({
                    "msgtype": "m.text", "body": format!("* {body}"), "m.new_content": {"msgtype": "m.text", "body": body},
                    "m.relates_to": {"rel_type": "m.replace", "event_id": "$1"},
                }),
            )
        };
        let first = message("$1", "@a:b", json!({"msgtype": "m.text", "body": "one"}));
        assert_eq!(
            bodies(&[first.clone(), change("$2", "@a:b", "uno")]),
            ["uno*"]
        );
        assert_eq!(
            bodies(&[first, change("$2", "@mallory:b", "forged")]),
            ["one"]
        );
    }

    #[test]
    fn a_message_taken_back_shows_as_such() {
        let gone = event(json!({
            "type": "m.room.encrypted", "event_id": "$1", "sender": "@a:b", "origin_server_ts": 1,
            "content": {}, "unsigned": {"redacted_because": {}},
        }));
        assert_eq!(bodies(&[gone]), ["Deleted"]);
    }

    #[test]
    fn nonsense_inside_a_message_does_no_harm() {
        let odd = [
            message("$1", "@a:b", json!({})),
            message("$2", "@a:b", json!([1, 2])),
            message("$3", "@a:b", json!({"body": 7, "m.relates_to": "x"})),
            message(
                "$4",
                "@a:b",
                json!({"msgtype": "m.text", "body": "x", "chat.respite.checkin": {"id": "../"}}),
            ),
            event(json!({"type": "m.room.message"})),
        ];
        assert_eq!(bodies(&odd).len(), 4);
    }
}
