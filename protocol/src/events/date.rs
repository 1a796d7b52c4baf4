use ruma::MilliSecondsSinceUnixEpoch;

/// The day in UTC as `2026-11-30`, for texts that people read.
pub(super) fn day(ts: MilliSecondsSinceUnixEpoch) -> String {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let (year, month, day) = civil(u64::from(ts.get()) / DAY_MS);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years are
/// taken to begin on 1 March, so that the leap day comes last; an era is 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_FROM_0000_03_01: u64 = 719_468;
    const DAYS_PER_ERA: u64 = 146_097;
    let days = days.saturating_add(DAYS_FROM_0000_03_01);
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use ruma::{MilliSecondsSinceUnixEpoch, UInt};

    use super::day;

    #[test]
    fn a_due_date_is_readable() {
        let cases = [
            (0, "1970-01-01"),
            (951_782_400_000, "2000-02-29"),
            (1_709_251_199_999, "2024-02-29"),
            (1_709_251_200_000, "2024-03-01"),
            (4_102_444_799_999, "2099-12-31"),
        ];
        for (ms, expected) in cases {
            assert_eq!(
                day(MilliSecondsSinceUnixEpoch(UInt::new(ms).unwrap())),
                expected
            );
        }
        day(MilliSecondsSinceUnixEpoch(UInt::MAX));
    }
}
