use serde::{Deserialize, Serialize};

use crate::text::{InvalidText, line};

/// A scale of whole numbers, both ends included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    /// Lowest answer.
    pub low: i64,
    /// Highest answer.
    pub high: i64,
    /// What the lowest answer means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_label: Option<String>,
    /// What the highest answer means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_label: Option<String>,
}

/// A scale that is out of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScale {
    /// It is upside down or too wide.
    #[error("a scale goes from a lower to a higher whole number, with at most 101 steps")]
    Range,
    /// A label is.
    #[error(transparent)]
    Label(#[from] InvalidText),
}

impl Scale {
    /// Most steps of a scale: 0 to 100.
    pub const MAX_STEPS: i64 = 101;
    /// Largest absolute number on a scale.
    pub const MAX_VALUE: i64 = 1_000;

    /// A scale without labels.
    pub const fn new(low: i64, high: i64) -> Self {
        Self {
            low,
            high,
            low_label: None,
            high_label: None,
        }
    }

    /// Whether the number is on the scale.
    pub fn contains(&self, value: i64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Checks the limits.
    ///
    /// # Errors
    ///
    /// [`InvalidScale`] if it is upside down, too wide, or a label is empty or too long.
    pub fn validate(&self) -> Result<(), InvalidScale> {
        let allowed = -Self::MAX_VALUE..=Self::MAX_VALUE;
        let fits = allowed.contains(&self.low)
            && allowed.contains(&self.high)
            && self.low < self.high
            && self.high - self.low < Self::MAX_STEPS;
        if !fits {
            return Err(InvalidScale::Range);
        }
        for label in [&self.low_label, &self.high_label].into_iter().flatten() {
            line(label)?;
        }
        Ok(())
    }

    /// How many answers there are.
    pub const fn steps(&self) -> i64 {
        self.high - self.low + 1
    }

    /// A step, with what it means if that is said: `1 (badly)`.
    pub fn step_text(&self, step: i64) -> String {
        let label = if step == self.low {
            &self.low_label
        } else if step == self.high {
            &self.high_label
        } else {
            &None
        };
        label
            .as_ref()
            .map_or_else(|| step.to_string(), |label| format!("{step} ({label})"))
    }
}
