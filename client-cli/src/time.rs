//! Times as people type and read them. The current time is always a parameter.

use std::time::Duration;

use jiff::{
    Span, SpanRelativeTo, Timestamp, ToSpan as _, Unit, Zoned,
    civil::{Date, DateTime, Time},
};
use ruma::{MilliSecondsSinceUnixEpoch, UInt};

/// Longest duration that is understood: 400 days, as far as a prompt may lie ahead.
pub const MAX_DURATION: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// A time or a duration was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not a duration.
    #[error("“{0}” is not a duration; write it like 90s, 45m, 8h, 1h30m, 7d or 2w")]
    Duration(String),
    /// Not a point in time.
    #[error(
        "“{0}” is not a time; write it like 21:30 (the next one), +2h, 2026-11-30 08:00 or \
         2026-11-30T08:00:00+01:00"
    )]
    Time(String),
    /// Not a day.
    #[error("“{0}” is not a day; write it like 2026-11-30, +7d or 2026-11-30 18:00")]
    Day(String),
    /// Not a time that a clock of this kind can show.
    #[error("that time is out of range")]
    Range,
}

/// Reads a duration: `90s`, `45m`, `8h`, `1h30m`, `7d`, `2w`. A day has 24 hours.
///
/// # Errors
///
/// [`TimeError::Duration`] if it is not one, is not positive or exceeds [`MAX_DURATION`].
pub fn duration(text: &str) -> Result<Duration, TimeError> {
    let wrong = || TimeError::Duration(text.to_owned());
    let span: Span = text.trim().parse().map_err(|_| wrong())?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(wrong());
    }
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| wrong())?;
    let duration = Duration::try_from(duration).map_err(|_| wrong())?;
    if duration.is_zero() || duration > MAX_DURATION {
        return Err(wrong());
    }
    Ok(duration)
}

/// Reads a point in time: `21:30` (the next such time on the local clock), `+2h`, a local date and
/// time, or RFC 3339.
///
/// # Errors
///
/// [`TimeError`] if it is none of these.
pub fn moment(text: &str, now: &Zoned) -> Result<Timestamp, TimeError> {
    let text = text.trim();
    if let Some(ahead) = text.strip_prefix('+') {
        return after(now.timestamp(), duration(ahead)?);
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    if let Some(time) = clock(text) {
        return next(time, now);
    }
    // A date alone is a day, not a time: midnight is hardly ever what was meant.
    let has_time = text.contains(':');
    match text.parse::<DateTime>() {
        Ok(local) if has_time => {
            let zoned = local
                .to_zoned(now.time_zone().clone())
                .map_err(|_| TimeError::Range)?;
            Ok(zoned.timestamp())
        }
        _ => Err(TimeError::Time(text.to_owned())),
    }
}

/// Reads a due date: a day (its end on the local clock), `+7d` (the end of that day), or a point
/// in time.
///
/// # Errors
///
/// [`TimeError`] if it is none of these.
pub fn day(text: &str, now: &Zoned) -> Result<Timestamp, TimeError> {
    let text = text.trim();
    let date = match text.strip_prefix('+') {
        Some(ahead) => {
            let then = after(now.timestamp(), duration(ahead)?)?;
            then.to_zoned(now.time_zone().clone()).date()
        }
        None if text.contains(':') => return moment(text, now),
        None => text
            .parse::<Date>()
            .map_err(|_| TimeError::Day(text.to_owned()))?,
    };
    let end = date.at(23, 59, 59, 0);
    let end = end
        .to_zoned(now.time_zone().clone())
        .map_err(|_| TimeError::Range)?;
    Ok(end.timestamp())
}

/// The time that lies `ahead` of `start`.
///
/// # Errors
///
/// [`TimeError::Range`] past the end of the calendar.
pub fn after(start: Timestamp, ahead: Duration) -> Result<Timestamp, TimeError> {
    start.checked_add(ahead).map_err(|_| TimeError::Range)
}

/// The time as Matrix writes it; what lies before 1970 becomes 1970.
pub fn to_matrix(timestamp: Timestamp) -> MilliSecondsSinceUnixEpoch {
    let ms = u64::try_from(timestamp.as_millisecond()).unwrap_or_default();
    MilliSecondsSinceUnixEpoch(UInt::new_saturating(ms))
}

/// A time from Matrix; what no clock can show becomes the last time that one can.
pub fn from_matrix(ts: MilliSecondsSinceUnixEpoch) -> Timestamp {
    i64::try_from(u64::from(ts.get()))
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::MAX)
}

/// The time on the local clock, as short as today allows: `21:30`, `Mon 21:30` within a week,
/// else `2026-11-30 21:30`.
pub fn shown(timestamp: Timestamp, now: &Zoned) -> String {
    let then = timestamp.to_zoned(now.time_zone().clone());
    let days = now
        .date()
        .until((Unit::Day, then.date()))
        .map_or(i64::from(i32::MAX), |span| i64::from(span.get_days()));
    let format = match days {
        0 => "%H:%M",
        -6..=6 => "%a %H:%M",
        _ => "%Y-%m-%d %H:%M",
    };
    then.strftime(format).to_string()
}

/// How long until `timestamp`, or since: `in 2h 5m`, `3d ago`, `now`.
pub fn distance(timestamp: Timestamp, now: Timestamp) -> String {
    let seconds = timestamp.as_second().saturating_sub(now.as_second());
    let minutes = seconds.unsigned_abs() / 60;
    let (days, hours, rest) = (minutes / (24 * 60), minutes / 60 % 24, minutes % 60);
    let length = match (days, hours, rest) {
        (0, 0, 0) => return "now".to_owned(),
        (0, 0, m) => format!("{m}m"),
        (0, h, 0) => format!("{h}h"),
        (0, h, m) => format!("{h}h {m}m"),
        (d, 0, _) => format!("{d}d"),
        (d, h, _) => format!("{d}d {h}h"),
    };
    if seconds >= 0 {
        format!("in {length}")
    } else {
        format!("{length} ago")
    }
}

fn clock(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let digits =
        |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(hour) || !digits(minute) {
        return None;
    }
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

fn next(time: Time, now: &Zoned) -> Result<Timestamp, TimeError> {
    let zone = now.time_zone().clone();
    let today = now
        .date()
        .to_datetime(time)
        .to_zoned(zone.clone())
        .map_err(|_| TimeError::Range)?;
    if today.timestamp() > now.timestamp() {
        return Ok(today.timestamp());
    }
    let tomorrow = now
        .date()
        .checked_add(1.day())
        .map_err(|_| TimeError::Range)?;
    let tomorrow = tomorrow
        .to_datetime(time)
        .to_zoned(zone)
        .map_err(|_| TimeError::Range)?;
    Ok(tomorrow.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin(text: &str) -> Zoned {
        text.parse::<DateTime>()
            .unwrap()
            .in_tz("Europe/Berlin")
            .unwrap()
    }

    fn utc(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_therapist_writes_durations_as_they_come() {
        let cases = [
            ("90s", 90),
            ("45m", 2_700),
            ("8h", 28_800),
            ("1h30m", 5_400),
            ("7d", 604_800),
            ("2w", 1_209_600),
        ];
        for (text, seconds) in cases {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "8", "h", "-8h", "0s", "500d", "1y", "1mo", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_clock_time_is_the_next_one() {
        let evening = berlin("2026-11-30T20:00:00");
        assert_eq!(
            moment("21:30", &evening).unwrap(),
            utc("2026-11-30T20:30:00Z")
        );
        assert_eq!(
            moment("7:05", &evening).unwrap(),
            utc("2026-12-01T06:05:00Z")
        );
        assert_eq!(
            moment("20:00", &evening).unwrap(),
            utc("2026-12-01T19:00:00Z")
        );
    }

    #[test]
    fn a_clock_time_over_a_change_of_clocks_is_still_that_time() {
        let before = berlin("2026-03-28T23:00:00");
        assert_eq!(
            moment("08:00", &before).unwrap(),
            utc("2026-03-29T06:00:00Z")
        );
    }

    #[test]
    fn times_ahead_local_and_absolute_are_understood() {
        let now = berlin("2026-07-01T12:00:00");
        assert_eq!(moment("+2h30m", &now).unwrap(), utc("2026-07-01T12:30:00Z"));
        assert_eq!(
            moment("2026-07-02 08:00", &now).unwrap(),
            utc("2026-07-02T06:00:00Z")
        );
        assert_eq!(
            moment("2026-07-02T08:00:00Z", &now).unwrap(),
            utc("2026-07-02T08:00:00Z")
        );
        assert_eq!(
            moment("2026-07-02T08:00:00-05:00", &now).unwrap(),
            utc("2026-07-02T13:00:00Z")
        );
        for text in ["2026-07-02", "25:00", "8", "tomorrow", "+", "12:345", ""] {
            assert!(moment(text, &now).is_err(), "{text}");
        }
    }

    #[test]
    fn a_due_day_lasts_until_its_end() {
        let now = berlin("2026-07-01T12:00:00");
        assert_eq!(
            day("2026-07-03", &now).unwrap(),
            utc("2026-07-03T21:59:59Z")
        );
        assert_eq!(day("+7d", &now).unwrap(), utc("2026-07-08T21:59:59Z"));
        assert_eq!(
            day("2026-07-03 18:00", &now).unwrap(),
            utc("2026-07-03T16:00:00Z")
        );
        assert!(day("friday", &now).is_err());
    }

    #[test]
    fn times_are_shown_as_short_as_today_allows() {
        let now = berlin("2026-07-01T12:00:00");
        assert_eq!(shown(utc("2026-07-01T18:30:00Z"), &now), "20:30");
        assert_eq!(shown(utc("2026-06-30T18:30:00Z"), &now), "Tue 20:30");
        assert_eq!(shown(utc("2026-05-01T18:30:00Z"), &now), "2026-05-01 20:30");
    }

    #[test]
    fn distances_read_like_speech() {
        let now = utc("2026-07-01T12:00:00Z");
        assert_eq!(distance(utc("2026-07-01T14:05:00Z"), now), "in 2h 5m");
        assert_eq!(distance(utc("2026-06-28T12:00:00Z"), now), "3d ago");
        assert_eq!(distance(utc("2026-07-01T12:00:20Z"), now), "now");
    }

    #[test]
    fn times_from_a_hostile_server_do_not_panic() {
        assert_eq!(
            from_matrix(MilliSecondsSinceUnixEpoch(UInt::MAX)),
            Timestamp::MAX
        );
        assert_eq!(
            to_matrix(utc("1960-01-01T00:00:00Z")),
            MilliSecondsSinceUnixEpoch(UInt::MIN)
        );
    }
}
