//! Times as people write them: a number and a unit.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// The units, longest first, with their milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The text is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is a whole number with a unit: 500ms, 30s, 15m, 8h or 7d")]
pub struct NotADuration;

/// Reads `"500ms"`, `"30s"`, `"15m"`, `"8h"` or `"7d"`.
///
/// # Errors
/// The text is anything else, or more milliseconds than a 64-bit number holds.
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(NotADuration)?;
    let (_, millis) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or(NotADuration)?;
    let number: u64 = number.parse().map_err(|_| NotADuration)?;
    number
        .checked_mul(*millis)
        .map(Duration::from_millis)
        .ok_or(NotADuration)
}

/// Writes a time in the largest unit that holds it without a remainder.
pub fn format(duration: Duration) -> String {
    let total = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    UNITS
        .iter()
        .find(|(_, millis)| total != 0 && total.is_multiple_of(*millis))
        .map_or_else(
            || "0s".to_owned(),
            |(unit, millis)| format!("{}{unit}", total / millis),
        )
}

/// For `#[serde(with = "duration")]`.
///
/// # Errors
/// The serializer's own.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// For `#[serde(with = "duration")]`.
///
/// # Errors
/// The text is not a time.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for text in ["500ms", "30s", "15m", "8h", "7d", "90s", "0s"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
        assert_eq!(parse("120s"), parse("2m"));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "7",
            "d",
            "-1s",
            "1.5h",
            "7 d",
            "7w",
            "99999999999999999999d",
            "é7d",
        ] {
            assert_eq!(parse(text), Err(NotADuration), "{text}");
        }
    }
}
