//! The blocks inside encrypted messages, one a file.
//!
//! A block is a JSON object under its own key beside ordinary message content, so that any Matrix
//! client shows something a person can read and answer, while clients that know the block can do
//! more. Reading is forgiving (unknown fields are ignored) but limited: what is out of limits is
//! no block, and the message is shown as what it is without it.

pub mod answer;
pub mod checkin;
mod date;
pub mod document;
mod id;
pub mod safety_plan;

pub use answer::{Answer, Reply, interpret};
pub use checkin::{AnswerKind, Checkin};
pub use document::{Document, DocumentKind};
pub use id::{BlockId, InvalidBlockId};
pub use safety_plan::{SafetyPlan, Section};
use serde_json::Value;

pub use crate::instruments::Scale;
pub use crate::text::{MAX_LINE_CHARS, MAX_TEXT_CHARS};
use crate::{instruments::InvalidScale, text::InvalidText};

/// Event type of ordinary messages.
pub const MESSAGE: &str = "m.room.message";
/// Event type of a poll that existing clients understand (MSC3381).
pub const POLL_START: &str = "org.matrix.msc3381.poll.start";
/// Event type of a vote in such a poll.
pub const POLL_RESPONSE: &str = "org.matrix.msc3381.poll.response";

/// An event ready to be encrypted and sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Type of the event inside the ciphertext.
    pub event_type: &'static str,
    /// Its whole content.
    pub content: Value,
}

/// A block holds something that its limits do not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlock {
    /// A text is empty.
    #[error("write something first: the text is empty")]
    Empty,
    /// A text is longer than its limit.
    #[error("the text is too long: shorten it")]
    TooLong,
    /// A scale is upside down or too wide.
    #[error("a scale goes from a lower to a higher whole number, with at most 101 steps")]
    Scale,
    /// A questionnaire is out of limits.
    #[error("the questionnaire is out of limits")]
    Questionnaire,
    /// A questionnaire does not fit into a message.
    #[error("the questionnaire is too large for a message: ask in two parts")]
    TooLarge,
    /// A file name holds a path.
    #[error("a file name has no slashes, no control characters and is not just dots")]
    FileName,
    /// A country that is not written in two letters.
    #[error("write the country as two letters, like IE")]
    Country,
    /// A version below 1.
    #[error("versions count from 1")]
    Version,
    /// Nothing was said: no answers, no number, no note.
    #[error("an answer needs answers, a number or a note")]
    NoAnswer,
}

impl From<InvalidText> for InvalidBlock {
    fn from(error: InvalidText) -> Self {
        match error {
            InvalidText::Empty => Self::Empty,
            InvalidText::TooLong => Self::TooLong,
        }
    }
}

impl From<InvalidScale> for InvalidBlock {
    fn from(error: InvalidScale) -> Self {
        match error {
            InvalidScale::Range => Self::Scale,
            InvalidScale::Label(error) => error.into(),
        }
    }
}
