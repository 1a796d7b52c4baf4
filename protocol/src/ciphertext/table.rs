//! The table that the gate dispatches on.

use ruma::{CanonicalJsonObject, CanonicalJsonValue as Value};

use super::{
    refusal::{Refusal, Verdict},
    state::{StateContext, StateKey},
};

mod rows;

pub use rows::TABLE;

/// What a row of the table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Timeline events, by type.
    Message,
    /// State events, by type.
    State,
    /// To-device events, by type.
    ToDevice,
    /// Global account data, by type.
    GlobalAccountData,
    /// Account data of a room, by type.
    RoomAccountData,
    /// Room tags, by name.
    Tag,
    /// Profile fields, by name.
    Profile,
    /// Keys of end-to-end encryption, by the request that carries them.
    Key,
    /// Push rules by kind, pushers and filters.
    Push,
    /// Blobs, by what they look like.
    Media,
    /// Other fields that take free text.
    FreeText,
}

/// What the gate does with what a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Stored as it is.
    Keep,
    /// Checked field by field; what is free text inside is blanked or refused.
    Checked,
    /// Stored empty, because clients cannot help sending it.
    Blank,
    /// Refused.
    Refuse,
}

/// A row of the gate's table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What the row is about.
    pub class: Class,
    /// The type, name or field; one that ends in `*` stands for all that begin like it.
    pub name: &'static str,
    /// What the gate does.
    pub outcome: Outcome,
    /// Why, for people. Of a refused row it is the sentence that the client gets.
    pub why: &'static str,
    check: Check,
}

/// The code behind a row that is checked.
#[derive(Clone, Copy, Debug)]
enum Check {
    None,
    Content(fn(CanonicalJsonObject) -> Verdict),
    State(StateKey, fn(CanonicalJsonObject, StateContext) -> Verdict),
    Value(fn(Value) -> Verdict<Value>),
}

const fn row(class: Class, name: &'static str, outcome: Outcome, why: &'static str) -> Row {
    Row {
        class,
        name,
        outcome,
        why,
        check: Check::None,
    }
}

const fn keep(class: Class, name: &'static str, why: &'static str) -> Row {
    row(class, name, Outcome::Keep, why)
}

const fn blank(class: Class, name: &'static str, why: &'static str) -> Row {
    row(class, name, Outcome::Blank, why)
}

const fn refuse(class: Class, name: &'static str, why: &'static str) -> Row {
    row(class, name, Outcome::Refuse, why)
}

const fn checked(class: Class, name: &'static str, check: Check, why: &'static str) -> Row {
    Row {
        class,
        name,
        outcome: Outcome::Checked,
        why,
        check,
    }
}

const fn content(
    class: Class,
    name: &'static str,
    check: fn(CanonicalJsonObject) -> Verdict,
    why: &'static str,
) -> Row {
    checked(class, name, Check::Content(check), why)
}

const fn value(
    class: Class,
    name: &'static str,
    check: fn(Value) -> Verdict<Value>,
    why: &'static str,
) -> Row {
    checked(class, name, Check::Value(check), why)
}

const fn state(
    name: &'static str,
    key: StateKey,
    check: fn(CanonicalJsonObject, StateContext) -> Verdict,
    why: &'static str,
) -> Row {
    checked(Class::State, name, Check::State(key, check), why)
}

/// The row for a name: its own, or else the longest one ending in `*` that it begins like.
fn find(class: Class, name: &str) -> Option<&'static Row> {
    let matches = |row: &&Row| {
        row.class == class
            && row
                .name
                .strip_suffix('*')
                .map_or(row.name == name, |prefix| {
                    name.len() > prefix.len() && name.starts_with(prefix)
                })
    };
    TABLE
        .iter()
        .filter(matches)
        .max_by_key(|row| (!row.name.ends_with('*'), row.name.len()))
}

/// What the table says of this name; `None` if it has no row, which means refused.
pub(super) fn outcome(class: Class, name: &str) -> Option<Outcome> {
    find(class, name).map(|row| row.outcome)
}

/// The verdict on an object.
pub(super) fn judge(class: Class, name: &str, object: CanonicalJsonObject) -> Verdict {
    let Some(row) = find(class, name) else {
        return Err(Refusal::forbidden(unknown(class)));
    };
    match (row.outcome, row.check) {
        (Outcome::Keep, _) => Ok(object),
        (Outcome::Checked, Check::Content(check)) => check(object),
        (Outcome::Blank, _) => Ok(CanonicalJsonObject::new()),
        _ => Err(Refusal::forbidden(row.why)),
    }
}

/// The verdict on a state event.
pub(super) fn judge_state(
    name: &str,
    state_key: &str,
    object: CanonicalJsonObject,
    ctx: StateContext,
) -> Verdict {
    let Some(row) = find(Class::State, name) else {
        return Err(Refusal::forbidden(unknown(Class::State)));
    };
    match (row.outcome, row.check) {
        (Outcome::Checked, Check::State(key, check)) => {
            key.check(state_key)?;
            check(object, ctx)
        }
        _ => Err(Refusal::forbidden(row.why)),
    }
}

/// The verdict on a single value.
pub(super) fn judge_value(class: Class, name: &str, value: Value) -> Verdict<Value> {
    let Some(row) = find(class, name) else {
        return Err(Refusal::forbidden(unknown(class)));
    };
    match (row.outcome, row.check) {
        (Outcome::Keep, _) => Ok(value),
        (Outcome::Checked, Check::Value(check)) => check(value),
        (Outcome::Blank, _) => Ok(Value::Null),
        _ => Err(Refusal::forbidden(row.why)),
    }
}

/// What a person is told about a name that has no row.
const fn unknown(class: Class) -> &'static str {
    match class {
        Class::Message => {
            "This room takes encrypted messages only. Use a client that supports end-to-end \
             encryption, and check that it is switched on."
        }
        Class::State => {
            "This server does not store this kind of room setting, because it cannot tell \
             whether it is private."
        }
        Class::ToDevice => {
            "This server passes on encrypted messages between devices only. Update your client."
        }
        Class::GlobalAccountData | Class::RoomAccountData => {
            "This server does not store this kind of account data, because it is readable and \
             could be private."
        }
        Class::Tag => "This server knows the tags for favourites and low priority only.",
        Class::Profile => {
            "This server stores no profile fields other than a pseudonym and a time zone."
        }
        Class::Key => "This server does not know this kind of key. Update your client.",
        Class::Push => "This server does not know this kind of push setting.",
        Class::Media | Class::FreeText => "This server stores encrypted content only.",
    }
}

/// The table as Markdown, for `docs/threat-model.md`.
pub fn table_markdown() -> String {
    let mut out = String::from("| where | what | the gate | why |\n|---|---|---|---|\n");
    for Row {
        class,
        name,
        outcome,
        why,
        ..
    } in TABLE
    {
        let (place, verb) = (class.title(), outcome.verb());
        out.push_str(&format!("| {place} | `{name}` | {verb} | {why} |\n"));
    }
    out.push_str("| everywhere | anything else | refuse | What has no row is refused. |\n");
    out
}

impl Class {
    const fn title(self) -> &'static str {
        match self {
            Self::Message => "timeline",
            Self::State => "room state",
            Self::ToDevice => "to-device",
            Self::GlobalAccountData => "account data",
            Self::RoomAccountData => "room account data",
            Self::Tag => "tag",
            Self::Profile => "profile",
            Self::Key => "keys",
            Self::Push => "push and filters",
            Self::Media => "media",
            Self::FreeText => "free text",
        }
    }
}

impl Outcome {
    const fn verb(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Checked => "check",
            Self::Blank => "blank",
            Self::Refuse => "refuse",
        }
    }
}

/// What is stored of a free text: nothing, unless its row says so.
pub(super) fn free_text(name: &str, text: &str) -> Option<String> {
    (outcome(Class::FreeText, name) == Some(Outcome::Keep)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_has_a_reason_and_is_there_once() {
        let mut seen = HashSet::new();
        for row in TABLE {
            assert!(seen.insert((row.class, row.name)), "{} twice", row.name);
            assert!(
                !row.why.is_empty() && row.why.ends_with('.'),
                "{}",
                row.name
            );
            let has_code = !matches!(row.check, Check::None);
            assert_eq!(has_code, row.outcome == Outcome::Checked, "{}", row.name);
        }
    }

    #[test]
    fn a_star_stands_for_the_rest_of_a_name_but_not_for_none() {
        assert!(find(Class::GlobalAccountData, "m.secret_storage.key.abc").is_some());
        assert!(find(Class::GlobalAccountData, "m.secret_storage.key.").is_none());
        assert!(find(Class::GlobalAccountData, "m.secret_storage").is_none());
    }

    #[test]
    fn people_can_read_the_table() {
        let markdown = table_markdown();
        assert_eq!(markdown.lines().count(), TABLE.len() + 3);
        assert!(markdown.contains("| timeline | `m.room.encrypted` | check |"));
    }
}
