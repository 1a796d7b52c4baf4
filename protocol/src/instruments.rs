//! Questionnaires: what they ask, when, and what the answers add up to.
//!
//! In memory a questionnaire is strict ([`Questionnaire`] is only ever valid); on the wire and in
//! files it is FHIR R4 ([`fhir`]), read forgivingly: fields that we do not know are ignored, what
//! we know must be right. Scoring, change and understanding of typed answers are pure functions.
//! `docs/instruments.md` says which questionnaires are bundled, with their sources.

mod answers;
pub mod bundled;
mod change;
mod date;
mod decimal;
pub mod fhir;
mod limits;
mod plain;
mod questionnaire;
mod reading;
mod response;
mod scale;
mod scoring;
mod typing;
mod urgent;
mod writing;

pub use answers::{Answers, InvalidAnswer, Value};
pub use change::{Change, Reliability, change, reliable_difference};
pub use date::Date;
pub use decimal::Decimal;
pub use limits::InvalidQuestionnaire;
pub use questionnaire::{Choice, Comparison, Condition, Item, Kind, Questionnaire, When};
pub use response::{Answered, Response};
pub use scale::{InvalidScale, Scale};
pub use scoring::{Band, Missing, Score, Scored};
pub(crate) use typing::typed_first;
pub use typing::{Typed, typed};
pub use urgent::Urgent;

/// Most items of a questionnaire, headings and groups included.
pub const MAX_ITEMS: usize = 100;
/// How deep items are nested at most.
pub const MAX_DEPTH: usize = 5;
/// Most choices of a question.
pub const MAX_CHOICES: usize = 30;
/// Most conditions of an item.
pub const MAX_CONDITIONS: usize = 10;
/// Most scores of a questionnaire.
pub const MAX_SCORES: usize = 10;
/// Most bands of a score.
pub const MAX_BANDS: usize = 20;
/// Most codes of a questionnaire or an item.
pub const MAX_CODES: usize = 10;
/// Longest text that a person types as an answer, in characters.
pub const MAX_ANSWER_CHARS: usize = 2_000;

#[cfg(test)]
mod tests;
