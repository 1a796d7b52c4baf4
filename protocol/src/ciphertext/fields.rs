//! Taking an object apart field by field: what is not asked for does not pass.

use ruma::{CanonicalJsonObject, CanonicalJsonValue as Value};

use super::{
    MAX_ENTRIES,
    refusal::{Refusal, Verdict},
};

const MISSING: Refusal = Refusal::bad_json("A required field is missing. Update your client.");
const UNKNOWN: Refusal = Refusal::forbidden(
    "The content has a field that this server does not know, so it cannot tell whether it is \
     private. Update your client, or send it inside an encrypted message.",
);
const WRONG_TYPE: Refusal =
    Refusal::bad_json("A field does not have the type that the Matrix specification asks for.");
const TOO_MANY: Refusal = Refusal::too_large("A list or map has too many entries.");

/// An object on its way through the gate: fields move from what came to what is kept.
pub(super) struct Fields {
    came: CanonicalJsonObject,
    kept: CanonicalJsonObject,
}

impl Fields {
    pub(super) fn of(content: CanonicalJsonObject) -> Self {
        Self {
            came: content,
            kept: CanonicalJsonObject::new(),
        }
    }

    /// The field must be there and pass.
    pub(super) fn need(&mut self, key: &str, check: impl Check) -> Verdict<()> {
        if self.came.contains_key(key) {
            self.may(key, check)
        } else {
            Err(MISSING)
        }
    }

    /// The field passes if it is there.
    pub(super) fn may(&mut self, key: &str, check: impl Check) -> Verdict<()> {
        if let Some(value) = self.came.remove(key) {
            self.kept.insert(key.to_owned(), check.check(value)?);
        }
        Ok(())
    }

    /// As [`may`](Self::may) for each of the keys.
    pub(super) fn may_each(&mut self, keys: &[&str], check: impl Check + Copy) -> Verdict<()> {
        keys.iter().try_for_each(|key| self.may(key, check))
    }

    /// Clients cannot help sending it; it is not kept.
    pub(super) fn drop(&mut self, key: &str) {
        self.came.remove(key);
    }

    /// Readers expect a text here; the server's own stands in for what came.
    pub(super) fn replace(&mut self, key: &str, text: &str) {
        self.came.remove(key);
        self.kept
            .insert(key.to_owned(), Value::String(text.to_owned()));
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.came.contains_key(key)
    }

    /// What is kept; anything not asked for is refused. For what is signed, hashed or sent to
    /// people, where silently losing a field would break or change it.
    pub(super) fn rest_refused(self) -> Verdict {
        if self.came.is_empty() {
            Ok(self.kept)
        } else {
            Err(UNKNOWN)
        }
    }

    /// What is kept; anything not asked for is lost. For settings and state, to which clients add
    /// fields of their own.
    pub(super) fn rest_dropped(self) -> Verdict {
        Ok(self.kept)
    }
}

/// Decides on one value.
pub(super) trait Check {
    fn check(self, value: Value) -> Verdict<Value>;
}

impl<F: FnOnce(Value) -> Verdict<Value>> Check for F {
    fn check(self, value: Value) -> Verdict<Value> {
        self(value)
    }
}

pub(super) fn boolean(value: Value) -> Verdict<Value> {
    match value {
        Value::Bool(_) => Ok(value),
        _ => Err(WRONG_TYPE),
    }
}

/// Any whole number that Matrix allows: within ±(2^53 − 1).
pub(super) fn integer(value: Value) -> Verdict<Value> {
    match value {
        Value::Integer(_) => Ok(value),
        _ => Err(WRONG_TYPE),
    }
}

/// A whole number of things or milliseconds: not negative.
pub(super) fn count(value: Value) -> Verdict<Value> {
    match value {
        Value::Integer(number) if i64::from(number) >= 0 => Ok(value),
        _ => Err(WRONG_TYPE),
    }
}

/// A text of this grammar.
pub(super) fn text(
    grammar: impl Fn(&str) -> bool + Copy,
) -> impl Fn(Value) -> Verdict<Value> + Copy {
    const NOT_AN_ID: Refusal = Refusal::invalid(
        "A field that takes an identifier, a key or encoded bytes holds something else.",
    );
    move |value| match value {
        Value::String(text) if grammar(&text) => Ok(Value::String(text)),
        Value::String(_) => Err(NOT_AN_ID),
        _ => Err(WRONG_TYPE),
    }
}

/// One of the words that the specification lists.
pub(super) fn one_of(words: &'static [&'static str]) -> impl Fn(Value) -> Verdict<Value> + Copy {
    const NOT_LISTED: Refusal = Refusal::invalid(
        "A field holds a value that this server does not know. Update your client.",
    );
    move |value| match value {
        Value::String(word) if words.contains(&word.as_str()) => Ok(Value::String(word)),
        Value::String(_) => Err(NOT_LISTED),
        _ => Err(WRONG_TYPE),
    }
}

pub(super) fn list(
    each: impl Fn(Value) -> Verdict<Value> + Copy,
) -> impl Fn(Value) -> Verdict<Value> + Copy {
    move |value| match value {
        Value::Array(items) if items.len() > MAX_ENTRIES => Err(TOO_MANY),
        Value::Array(items) => Ok(Value::Array(
            items.into_iter().map(each).collect::<Verdict<_>>()?,
        )),
        _ => Err(WRONG_TYPE),
    }
}

/// A map whose keys have this grammar.
pub(super) fn map(
    key: impl Fn(&str) -> bool + Copy,
    each: impl Fn(Value) -> Verdict<Value> + Copy,
) -> impl Fn(Value) -> Verdict<Value> + Copy {
    const BAD_KEY: Refusal = Refusal::invalid("A map has a key that is no identifier.");
    move |value| {
        let Value::Object(entries) = value else {
            return Err(WRONG_TYPE);
        };
        if entries.len() > MAX_ENTRIES {
            return Err(TOO_MANY);
        }
        let checked = |(name, value): (String, Value)| {
            if key(&name) {
                Ok((name, each(value)?))
            } else {
                Err(BAD_KEY)
            }
        };
        Ok(Value::Object(
            entries.into_iter().map(checked).collect::<Verdict<_>>()?,
        ))
    }
}

pub(super) fn object(
    check: impl Fn(CanonicalJsonObject) -> Verdict + Copy,
) -> impl Fn(Value) -> Verdict<Value> + Copy {
    move |value| match value {
        Value::Object(fields) => check(fields).map(Value::Object),
        _ => Err(WRONG_TYPE),
    }
}
