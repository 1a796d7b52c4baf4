//! How long texts that people write may be.

/// Longest text, in characters.
pub const MAX_TEXT_CHARS: usize = 4_000;
/// Longest one-line text (title, label, file name), in characters.
pub const MAX_LINE_CHARS: usize = 255;

/// A text that is out of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// A text is empty.
    #[error("write something first: the text is empty")]
    Empty,
    /// A text is longer than its limit.
    #[error("the text is too long: shorten it")]
    TooLong,
}

/// Checks a title, a label, a file name.
///
/// # Errors
///
/// [`InvalidText`] if it is empty or has more than [`MAX_LINE_CHARS`] characters.
pub fn line(text: &str) -> Result<(), InvalidText> {
    limited(text, MAX_LINE_CHARS)
}

/// Checks a text.
///
/// # Errors
///
/// [`InvalidText`] if it is empty or has more than [`MAX_TEXT_CHARS`] characters.
pub fn text(text: &str) -> Result<(), InvalidText> {
    limited(text, MAX_TEXT_CHARS)
}

fn limited(text: &str, max_chars: usize) -> Result<(), InvalidText> {
    if text.trim().is_empty() {
        Err(InvalidText::Empty)
    } else if text.chars().count() > max_chars {
        Err(InvalidText::TooLong)
    } else {
        Ok(())
    }
}
