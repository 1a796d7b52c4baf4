//! The questionnaires that come with Respite.
//!
//! PHQ and GAD-7: “No permission required to reproduce, translate, display or distribute.” Where
//! the items, codes, bands and rules are from is in `docs/instruments.md`.

mod between_shifts;
mod phq;

use super::{Band, Decimal, Item, Questionnaire};

/// All of them, in the order in which they are listed.
pub fn all() -> Vec<Questionnaire> {
    vec![
        phq::phq_9(),
        phq::phq_2(),
        phq::phq_4(),
        phq::gad_7(),
        phq::gad_2(),
        between_shifts::mood(),
        between_shifts::sleep(),
        between_shifts::load(),
        between_shifts::sleepiness(),
        between_shifts::line(),
        between_shifts::all(),
    ]
}

/// The one with this id, such as `phq-9`.
pub fn named(id: &str) -> Option<Questionnaire> {
    all()
        .into_iter()
        .find(|questionnaire| questionnaire.id.eq_ignore_ascii_case(id))
}

/// One without scores, in its first version.
fn questionnaire(id: &str, title: &str, copyright: &str, items: Vec<Item>) -> Questionnaire {
    Questionnaire {
        id: id.to_owned(),
        url: Some(url(id)),
        version: Some("1".to_owned()),
        title: title.to_owned(),
        description: None,
        copyright: Some(copyright.to_owned()),
        codes: Vec::new(),
        items,
        scores: Vec::new(),
    }
}

fn number(number: i32) -> Decimal {
    // No `i32` is out of limits by more than the clamp, and ours are all small.
    Decimal::whole(i64::from(number)).unwrap_or_default()
}

fn bands(bands: &[(i32, i32, &str)]) -> Vec<Band> {
    let band = |(low, high, label): &(i32, i32, &str)| Band {
        low: number(*low),
        high: number(*high),
        label: (*label).to_owned(),
    };
    bands.iter().map(band).collect()
}

fn url(id: &str) -> String {
    format!("https://respite.chat/fhir/Questionnaire/{id}")
}
