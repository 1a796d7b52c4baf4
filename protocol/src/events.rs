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

pub use answer::{Answer, Reply, interpret};
pub use checkin::{AnswerKind, Checkin, Scale};
pub use document::{Document, DocumentKind};
pub use id::{BlockId, InvalidBlockId};
use serde_json::Value;

/// Event type of ordinary messages.
pub const MESSAGE: &str = "m.room.message";
/// Event type of a poll that existing clients understand (MSC3381).
pub const POLL_START: &str = "org.matrix.msc3381.poll.start";
/// Event type of a vote in such a poll.
pub const POLL_RESPONSE: &str = "org.matrix.msc3381.poll.response";

/// Longest text in a block, in characters.
pub const MAX_TEXT_CHARS: usize = 4_000;
/// Longest one-line field in a block (title, label, file name), in characters.
pub const MAX_LINE_CHARS: usize = 255;

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
    /// A file name holds a path.
    #[error("a file name has no slashes, no control characters and is not just dots")]
    FileName,
    /// A version below 1.
    #[error("versions count from 1")]
    Version,
    /// Nothing was said: neither a number nor a note.
    #[error("an answer needs a number or a note")]
    NoAnswer,
}

fn line(text: &str) -> Result<(), InvalidBlock> {
    limited(text, MAX_LINE_CHARS)
}

fn text(text: &str) -> Result<(), InvalidBlock> {
    limited(text, MAX_TEXT_CHARS)
}

fn limited(text: &str, max_chars: usize) -> Result<(), InvalidBlock> {
    if text.trim().is_empty() {
        Err(InvalidBlock::Empty)
    } else if text.chars().count() > max_chars {
        Err(InvalidBlock::TooLong)
    } else {
        Ok(())
    }
}
