//! The verdict on one stored value.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use respite_protocol::ciphertext::{self, StateContext, Verdict};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, RoomId, UserId, push::Ruleset};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{backup::Session, push::Pusher, rooms::event::StoredEvent, store::StoreError};

/// What is wrong with something that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flaw {
    /// The gate refuses it.
    Refused,
    /// The gate would take something away from it.
    NotBlanked,
    /// It cannot be read as what it should be.
    Unreadable,
    /// Nobody knows what it is.
    Unknown,
    /// A blob that no entry of the store speaks of.
    Orphan,
    /// A blob that is not there, or not whole.
    Missing,
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused by the gate",
            Self::NotBlanked => "not blanked",
            Self::Unreadable => "unreadable",
            Self::Unknown => "of an unknown kind",
            Self::Orphan => "belongs to nothing",
            Self::Missing => "missing or not whole",
        })
    }
}

/// A verdict.
pub(super) type Judged = Result<(), Flaw>;

impl From<StoreError> for Flaw {
    fn from(_: StoreError) -> Self {
        Self::Unreadable
    }
}

/// JSON text that must be an object which the gate would keep as it is.
pub(super) fn json(text: &str, gate: impl FnOnce(CanonicalJsonObject) -> Verdict) -> Judged {
    let stored = object(text)?;
    let kept = gate(stored.clone()).map_err(|_| Flaw::Refused)?;
    nothing_lost(&stored, &kept)
}

/// Everything that is stored must be in what the gate keeps. (The gate may add empty fields: there is nothing in those.)
fn nothing_lost(stored: &CanonicalJsonObject, kept: &CanonicalJsonObject) -> Judged {
    let all_kept = stored
        .iter()
        .all(|(key, value)| kept.get(key) == Some(value));
    if all_kept {
        Ok(())
    } else {
        Err(Flaw::NotBlanked)
    }
}

fn object(text: &str) -> Result<CanonicalJsonObject, Flaw> {
    serde_json::from_str(text).map_err(|_| Flaw::Unreadable)
}

/// An event in a room's timeline.
pub(super) fn event(event: &StoredEvent) -> Judged {
    if let Some(because) = &event.redacted_because {
        redaction(because)?;
    }
    if let Some(replaced) = &event.replaced {
        content(
            &event.kind,
            event.state_key.as_deref(),
            &replaced.content,
            true,
        )?;
    }
    let redacted = event.redacted_because.is_some();
    content(
        &event.kind,
        event.state_key.as_deref(),
        &event.content,
        redacted,
    )
}

/// A redaction as clients are shown it.
fn redaction(event: &str) -> Judged {
    let event = object(event)?;
    match event.get("content") {
        Some(CanonicalJsonValue::Object(content)) => {
            let kept = ciphertext::message_event("m.room.redaction", content.clone())
                .map_err(|_| Flaw::Refused)?;
            nothing_lost(content, &kept)
        }
        _ => Err(Flaw::Unreadable),
    }
}

/// The content of an event. Of one that was redacted, nothing may be left.
pub(super) fn content(kind: &str, state_key: Option<&str>, text: &str, redacted: bool) -> Judged {
    if redacted && object(text)?.is_empty() {
        return Ok(());
    }
    json(text, |content| match state_key {
        None => ciphertext::message_event(kind, content),
        // At creation the gate blanks what it refuses later; either way no words may be left.
        Some(key) => {
            let context = StateContext {
                at_creation: true,
                encrypted: false,
            };
            ciphertext::state_event(kind, key, content, context)
        }
    })
}

/// A one-time or fallback key.
pub(super) fn one_time_key(algorithm: &str, id: &str, key: &str) -> Judged {
    let stored: CanonicalJsonValue = serde_json::from_str(key).map_err(|_| Flaw::Unreadable)?;
    let kept = ciphertext::one_time_key(&format!("{algorithm}:{id}"), stored.clone());
    if kept.map_err(|_| Flaw::Refused)? == stored {
        Ok(())
    } else {
        Err(Flaw::NotBlanked)
    }
}

/// A pusher: what it was set with, less what is blanked.
pub(super) fn pusher(pusher: &Pusher) -> Judged {
    let mut data = object(&pusher.data)?;
    data.insert("url".to_owned(), pusher.url.clone().into());
    let texts = [
        ("kind", "http"),
        ("app_id", &pusher.app_id),
        ("pushkey", &pusher.pushkey),
        ("lang", &pusher.lang),
    ];
    let mut body: CanonicalJsonObject = texts
        .into_iter()
        .map(|(key, text)| (key.to_owned(), text.into()))
        .collect();
    body.insert("data".to_owned(), data.into());
    let kept = ciphertext::pusher(body.clone()).map_err(|_| Flaw::Refused)?;
    nothing_lost(&body, &kept)
}

/// A key in a backup. The ids that it is kept under are the client's words, too.
pub(super) fn backed_up(room: &RoomId, session_id: &str, session: &Session) -> Judged {
    ciphertext::backup_ids(room.as_str(), session_id).map_err(|_| Flaw::Refused)?;
    let data = object(&session.session_data)?;
    let fields = [
        ("first_message_index", number(session.first_message_index)?),
        ("forwarded_count", number(session.forwarded_count)?),
        ("is_verified", CanonicalJsonValue::Bool(session.is_verified)),
        ("session_data", CanonicalJsonValue::Object(data)),
    ];
    let stored: CanonicalJsonObject = fields
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect();
    let kept = ciphertext::backup_session(stored.clone()).map_err(|_| Flaw::Refused)?;
    nothing_lost(&stored, &kept)
}

fn number(number: u64) -> Result<CanonicalJsonValue, Flaw> {
    CanonicalJsonValue::try_from(Value::from(number)).map_err(|_| Flaw::Unreadable)
}

fn decoded(base64: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(base64.trim_end_matches('=')).ok()
}

/// A signature by a key.
pub(super) fn signature(key_id: &str, signature: &str) -> Judged {
    let id = key_id.strip_prefix("ed25519:").ok_or(Flaw::Refused)?;
    ciphertext::device_id(id).map_err(|_| Flaw::Refused)?;
    match decoded(signature) {
        Some(bytes) if bytes.len() == 64 => Ok(()),
        _ => Err(Flaw::Refused),
    }
}

/// A profile field.
pub(super) fn profile_field(name: &str, value: Option<&str>) -> Judged {
    let Some(value) = value else { return Ok(()) };
    match ciphertext::profile_field(name, Value::from(value)) {
        Ok(kept) if kept == value => Ok(()),
        Ok(_) => Err(Flaw::NotBlanked),
        Err(_) => Err(Flaw::Refused),
    }
}

/// The tags of a room: names that the gate knows, and where in a list the room stands.
pub(super) fn tags(text: &str) -> Judged {
    let stored: Value = serde_json::from_str(text).map_err(|_| Flaw::Unreadable)?;
    let [("tags", Value::Object(tags))] = fields(&stored)?.as_slice() else {
        return Err(Flaw::Unreadable);
    };
    for (name, about) in tags {
        ciphertext::tag(name).map_err(|_| Flaw::Refused)?;
        if !fields(about)?
            .iter()
            .all(|(key, value)| *key == "order" && (value.is_number() || value.is_null()))
        {
            return Err(Flaw::NotBlanked);
        }
    }
    Ok(())
}

fn fields(value: &Value) -> Result<Vec<(&str, &Value)>, Flaw> {
    let object = value.as_object().ok_or(Flaw::Unreadable)?;
    Ok(object
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .collect())
}

/// A user's push rules: the specification's, with other actions at most, and rules of their own that the gate takes.
pub(super) fn push_rules(user: &UserId, text: &str) -> Judged {
    let standard = to_json(&Ruleset::server_default(user))?;
    let Value::Object(kinds) = serde_json::from_str(text).map_err(|_| Flaw::Unreadable)? else {
        return Err(Flaw::Unreadable);
    };
    for (kind, rules) in &kinds {
        for rule in rules.as_array().ok_or(Flaw::Unreadable)? {
            let id = rule
                .get("rule_id")
                .and_then(Value::as_str)
                .ok_or(Flaw::Unreadable)?;
            let model = standard
                .get(kind)
                .and_then(Value::as_array)
                .and_then(|rules| {
                    rules
                        .iter()
                        .find(|rule| rule.get("rule_id") == Some(&Value::from(id)))
                });
            match model {
                Some(model) => standard_rule(rule, model)?,
                None => own_rule(kind, id, rule)?,
            }
        }
    }
    Ok(())
}

fn standard_rule(rule: &Value, model: &Value) -> Judged {
    for field in ["conditions", "pattern", "default"] {
        if rule.get(field) != model.get(field) {
            return Err(Flaw::NotBlanked);
        }
    }
    let actions = rule.get("actions").cloned().unwrap_or_default();
    let stored = CanonicalJsonValue::try_from(actions).map_err(|_| Flaw::Unreadable)?;
    let kept = ciphertext::push_actions(stored.clone()).map_err(|_| Flaw::Refused)?;
    if kept == stored {
        Ok(())
    } else {
        Err(Flaw::NotBlanked)
    }
}

fn own_rule(kind: &str, id: &str, rule: &Value) -> Judged {
    let mut rule: CanonicalJsonObject =
        serde_json::from_value(rule.clone()).map_err(|_| Flaw::Unreadable)?;
    // What the server keeps beside the rule.
    for own in ["rule_id", "default", "enabled"] {
        rule.remove(own);
    }
    let kept = ciphertext::push_rule(kind, id, rule.clone()).map_err(|_| Flaw::Refused)?;
    nothing_lost(&rule, &kept)
}

fn to_json(value: &impl Serialize) -> Result<Value, Flaw> {
    serde_json::to_value(value).map_err(|_| Flaw::Unreadable)
}
