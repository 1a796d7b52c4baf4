//! Profiles, and the other places where people can write a line.

use ruma::CanonicalJsonValue as Value;

use super::{
    MAX_PSEUDONYM_CHARS,
    refusal::{Refusal, Verdict},
    table::{Class, free_text, judge_value},
};

const NO_NAME: Refusal = Refusal::invalid(
    "A pseudonym has at most 64 characters on one line, without control characters. Choose \
     another one.",
);
const NO_AVATAR: Refusal = Refusal::forbidden(
    "This server stores no pictures of people, because it could see them. Remove the avatar.",
);
const NO_TIME_ZONE: Refusal =
    Refusal::invalid("A time zone has a name such as Europe/Berlin or UTC. Choose one of those.");

/// Checks a profile field. Null means that the field is removed.
///
/// # Errors
///
/// `M_FORBIDDEN` for an avatar and for fields that have no row; `M_INVALID_PARAM` for a pseudonym
/// or a time zone of the wrong form.
pub fn profile_field(name: &str, value: serde_json::Value) -> Verdict<serde_json::Value> {
    const BAD: Refusal = Refusal::bad_json("The profile field is not a text.");
    let value = Value::try_from(value).map_err(|_| BAD)?;
    judge_value(Class::Profile, name, value).map(Into::into)
}

/// What is stored of a device's display name: nothing. Clients put the owner's and the telephone's
/// name into it, and everyone who shares a room could read it.
pub fn device_name(name: &str) -> Option<String> {
    free_text("device name", name)
}

/// What is stored of a presence status: nothing.
pub fn presence_status(status: &str) -> Option<String> {
    free_text("presence status", status)
}

/// What is stored of the reason for an invitation, a removal, a redaction or a report: nothing.
pub fn reason(reason: &str) -> Option<String> {
    free_text("reason", reason)
}

/// What is stored of an upload's file name: nothing.
pub fn file_name(name: &str) -> Option<String> {
    free_text("file name", name)
}

/// What is stored of an upload's media type: nothing.
pub fn media_type(media_type: &str) -> Option<String> {
    free_text("media type", media_type)
}

/// A display name, or null for none.
pub(super) fn pseudonym(value: Value) -> Verdict<Value> {
    match value {
        Value::Null => Ok(Value::Null),
        Value::String(name) if is_pseudonym(&name) => Ok(Value::String(name)),
        _ => Err(NO_NAME),
    }
}

/// One line of visible characters, none of which turns the writing direction or hides.
fn is_pseudonym(name: &str) -> bool {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{E0000}'..='\u{E007F}')
    };
    name.chars().count() <= MAX_PSEUDONYM_CHARS && !name.chars().any(hidden)
}

pub(super) fn no_avatar(value: Value) -> Verdict<Value> {
    match value {
        Value::Null => Ok(Value::Null),
        Value::String(url) if url.is_empty() => Ok(Value::String(url)),
        _ => Err(NO_AVATAR),
    }
}

pub(super) fn time_zone(value: Value) -> Verdict<Value> {
    match value {
        Value::Null => Ok(Value::Null),
        Value::String(name) if is_time_zone(&name) => Ok(Value::String(name)),
        _ => Err(NO_TIME_ZONE),
    }
}

/// A name of the IANA database by its form: a known area, then at most two places.
fn is_time_zone(name: &str) -> bool {
    const AREAS: &[&str] = &[
        "Africa",
        "America",
        "Antarctica",
        "Arctic",
        "Asia",
        "Atlantic",
        "Australia",
        "Etc",
        "Europe",
        "Indian",
        "Pacific",
    ];
    const ALONE: &[&str] = &["UTC", "GMT"];
    const MAX_PLACE_BYTES: usize = 20;
    let is_place = |place: &str| {
        (1..=MAX_PLACE_BYTES).contains(&place.len())
            && place
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b))
    };
    match name.split_once('/') {
        None => ALONE.contains(&name),
        Some((area, places)) => {
            AREAS.contains(&area)
                && places.split('/').count() <= 2
                && places.split('/').all(is_place)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pseudonym_is_one_visible_line() {
        for name in ["Night owl", "夜勤", "", "Zoë 🦉", &"x".repeat(64)] {
            assert!(profile_field("displayname", json!(name)).is_ok(), "{name}");
        }
        for name in [
            "two\nlines",
            "tab\t",
            "hid\u{200B}den",
            "\u{202E}denrut",
            &"x".repeat(65),
        ] {
            let refusal = profile_field("displayname", json!(name)).unwrap_err();
            assert!(!refusal.sentence().contains(name));
        }
        assert!(profile_field("displayname", json!(7)).is_err());
        assert!(profile_field("displayname", json!(null)).is_ok());
    }

    #[test]
    fn faces_stay_private() {
        assert!(profile_field("avatar_url", json!("mxc://h/face")).is_err());
        assert!(profile_field("avatar_url", json!("")).is_ok());
        assert!(profile_field("avatar_url", json!(null)).is_ok());
    }

    #[test]
    fn a_time_zone_is_known_by_its_form() {
        for zone in [
            "Europe/Berlin",
            "America/Argentina/Buenos_Aires",
            "UTC",
            "Etc/GMT+5",
        ] {
            assert!(profile_field("m.tz", json!(zone)).is_ok(), "{zone}");
        }
        for zone in [
            "I feel low",
            "Europe/",
            "Europe/a b",
            "Mars/Base",
            "Europe/a/b/c",
            "",
        ] {
            assert!(profile_field("m.tz", json!(zone)).is_err(), "{zone}");
        }
    }

    #[test]
    fn unknown_fields_and_lines_are_not_kept() {
        assert!(profile_field("m.bio", json!("nurse in ward 4")).is_err());
        assert_eq!(device_name("somebody's telephone"), None);
        assert_eq!(presence_status("cannot sleep"), None);
        assert_eq!(reason("said something"), None);
        assert_eq!(file_name("diary.pdf"), None);
        assert_eq!(media_type("application/pdf"), None);
    }
}
