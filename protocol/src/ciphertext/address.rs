//! Addresses of rooms (aliases). Whoever knows one finds the room, logged in or not, so that an address may say nothing of
//! anybody: it is a number, one of a few plain words, or both.

use ruma::{CanonicalJsonObject, CanonicalJsonValue as Value};

use super::{
    MAX_ENTRIES, MAX_ID_BYTES,
    grammar::{is_server_name, within},
    refusal::{Refusal, Verdict},
    state::StateContext,
    table::{Class, judge_value},
};

/// The words that an address may have: none of them says why people meet.
const WORDS: &[&str] = &[
    "group", "lobby", "practice", "room", "space", "talk", "team",
];
/// The longest number: shorter than a telephone number.
const MAX_DIGITS: usize = 6;

const NO_WORDS: Refusal = Refusal::forbidden(
    "The address of a room is readable by everyone. On this server it is a number of up to six \
     digits, or such a number after room-, group-, team-, talk-, space-, practice- or lobby-. Choose \
     one such as room-12.",
);

/// Checks the part of a room's address between `#` and the colon.
///
/// # Errors
///
/// `M_FORBIDDEN` for anything that could say something.
pub fn room_address(localpart: &str) -> Verdict<()> {
    let value = Value::String(localpart.to_owned());
    judge_value(Class::FreeText, "room address", value).map(drop)
}

pub(super) fn address(value: Value) -> Verdict<Value> {
    match value {
        Value::String(localpart) if is_wordless(&localpart) => Ok(Value::String(localpart)),
        _ => Err(NO_WORDS),
    }
}

/// Which addresses a room goes by. Whether they lead to it is for the server to find out.
pub(super) fn canonical_alias(mut content: CanonicalJsonObject, _: StateContext) -> Verdict {
    let mut kept = CanonicalJsonObject::new();
    match content.remove("alias") {
        None | Some(Value::Null) => {}
        Some(Value::String(alias)) if alias.is_empty() => {}
        Some(Value::String(alias)) if is_alias(&alias) => {
            kept.insert("alias".to_owned(), Value::String(alias));
        }
        Some(_) => return Err(NO_WORDS),
    }
    match content.remove("alt_aliases") {
        None | Some(Value::Null) => {}
        Some(Value::Array(aliases)) if aliases.is_empty() => {}
        Some(Value::Array(aliases))
            if aliases.len() <= MAX_ENTRIES
                && aliases
                    .iter()
                    .all(|alias| alias.as_str().is_some_and(is_alias)) =>
        {
            kept.insert("alt_aliases".to_owned(), Value::Array(aliases));
        }
        Some(_) => return Err(NO_WORDS),
    }
    Ok(kept)
}

fn is_alias(id: &str) -> bool {
    let parts = id.strip_prefix('#').and_then(|rest| rest.split_once(':'));
    within(id, MAX_ID_BYTES)
        && parts.is_some_and(|(localpart, server)| is_wordless(localpart) && is_server_name(server))
}

fn is_wordless(localpart: &str) -> bool {
    let is_number =
        |part: &str| within(part, MAX_DIGITS) && part.bytes().all(|byte| byte.is_ascii_digit());
    match localpart.split_once('-') {
        Some((word, number)) => WORDS.contains(&word) && is_number(number),
        None => is_number(localpart) || WORDS.contains(&localpart),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_number_and_perhaps_a_plain_word() {
        for address in ["7", "004711", "room-12", "group-1", "lobby"] {
            assert!(room_address(address).is_ok(), "{address}");
        }
        for address in [
            "",
            "grief",
            "night-shift",
            "room-",
            "room-grief",
            "room-12-grief",
            "grief-12",
            "Room-12",
            "0049301234567",
            "room 12",
            "１２",
            "-12",
        ] {
            assert_eq!(room_address(address), Err(NO_WORDS), "{address}");
        }
    }
}
