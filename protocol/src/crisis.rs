//! The crisis lines and emergency numbers of countries, known without a network.
//!
//! The numbers are in `crisis/lines.json`, each with the page of those who answer it, to check it
//! against. They change: a practice looks at its own country's before it relies on them.

use serde::{Deserialize, Serialize};

const FILE: &str = include_str!("crisis/lines.json");

/// A country and whom to call there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Country {
    /// ISO 3166, two capital letters.
    pub code: String,
    /// Its name.
    pub name: String,
    /// The numbers for emergencies.
    pub emergency: String,
    /// Who listens.
    pub lines: Vec<Line>,
}

/// A crisis line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What it is called.
    pub name: String,
    /// What to dial.
    pub number: String,
    /// The page of those who answer, where the number can be checked.
    pub source: String,
}

/// What to say where no country is known.
pub const ANYWHERE: &str = "Call your local emergency number: 112 in Europe and on most mobile phones, 911 in North America, 999 in \
     the UK and Ireland, 000 in Australia. Crisis lines of other countries: https://findahelpline.com";

/// All countries that we know, by code.
pub fn countries() -> Vec<Country> {
    // A test reads the file; it is part of the program.
    serde_json::from_str(FILE).unwrap_or_default()
}

/// The country with this code, in capital or small letters.
pub fn country(code: &str) -> Option<Country> {
    countries()
        .into_iter()
        .find(|country| country.code.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_has_an_emergency_number_and_somebody_who_listens() {
        let countries = countries();
        assert!(countries.len() >= 20);
        assert!(countries.is_sorted_by(|one, next| one.code < next.code));
        for country in &countries {
            assert!(
                country.code.len() == 2 && country.code.bytes().all(|b| b.is_ascii_uppercase())
            );
            assert!(
                country.emergency.bytes().any(|b| b.is_ascii_digit()),
                "{country:?}"
            );
            assert!(!country.lines.is_empty(), "{country:?}");
            for line in &country.lines {
                assert!(line.number.bytes().any(|b| b.is_ascii_digit()), "{line:?}");
                assert!(line.source.starts_with("https://"), "{line:?}");
            }
        }
    }

    #[test]
    fn the_best_known_lines_are_right() {
        let cases = [
            ("us", "988", "911"),
            ("CA", "988", "911"),
            ("GB", "116 123", "999"),
            ("IE", "116 123", "112"),
            ("FR", "3114", "112"),
            ("AU", "13 11 14", "000"),
        ];
        for (code, number, emergency) in cases {
            let country = country(code).unwrap();
            assert!(country.lines[0].number.contains(number), "{country:?}");
            assert!(country.emergency.contains(emergency), "{country:?}");
        }
        assert_eq!(country("XX"), None);
    }
}
