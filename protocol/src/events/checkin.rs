//! `chat.respite.checkin`: a question from the therapist, meant to be answered in two taps.

use ruma::{
    MilliSecondsSinceUnixEpoch,
    events::poll::{
        start::PollKind,
        unstable_start::{
            NewUnstablePollStartEventContent, UnstablePollAnswer, UnstablePollAnswers,
            UnstablePollStartContentBlock,
        },
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{BlockId, InvalidBlock, MESSAGE, Outgoing, POLL_START, line, text};

/// The block's key in the message.
pub const BLOCK: &str = "chat.respite.checkin";

/// Most answers a poll can offer (MSC3381).
pub const MAX_POLL_ANSWERS: i64 = 20;

/// A check-in: one question.
///
/// With a scale of at most [`MAX_POLL_ANSWERS`] steps it travels as an ordinary poll, which
/// existing clients show with buttons; otherwise as an ordinary text message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkin {
    /// Names the check-in.
    pub id: BlockId,
    /// The question.
    pub text: String,
    /// What kind of answer is hoped for.
    pub answer: AnswerKind,
    /// When it was asked: the planned release time if it was scheduled ahead.
    pub asked_ts: MilliSecondsSinceUnixEpoch,
    /// After this time an answer is no longer expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ts: Option<MilliSecondsSinceUnixEpoch>,
    /// This is a reminder of that check-in; an answer to either answers both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminds: Option<BlockId>,
}

/// What kind of answer a check-in hopes for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum AnswerKind {
    /// A few words.
    Text,
    /// A whole number, and a few words if wanted.
    Scale(Scale),
}

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
    /// [`InvalidBlock`] if it is upside down, too wide, or a label is empty or too long.
    pub fn validate(&self) -> Result<(), InvalidBlock> {
        let allowed = -Self::MAX_VALUE..=Self::MAX_VALUE;
        let fits = allowed.contains(&self.low)
            && allowed.contains(&self.high)
            && self.low < self.high
            && self.high - self.low < Self::MAX_STEPS;
        if !fits {
            return Err(InvalidBlock::Scale);
        }
        [&self.low_label, &self.high_label]
            .into_iter()
            .flatten()
            .try_for_each(|label| line(label))
    }

    fn steps(&self) -> i64 {
        self.high - self.low + 1
    }

    fn step_text(&self, step: i64) -> String {
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

impl Checkin {
    /// The event that asks the question.
    ///
    /// # Errors
    ///
    /// [`InvalidBlock`] if the text or the scale is out of limits.
    pub fn to_message(&self) -> Result<Outgoing, InvalidBlock> {
        self.validate()?;
        let (event_type, mut content) = match self.poll()? {
            Some(poll) => (POLL_START, poll),
            None => (
                MESSAGE,
                Map::from_iter([("msgtype".to_owned(), json!("m.text"))]),
            ),
        };
        content.insert("body".to_owned(), json!(self.body()));
        content.insert(BLOCK.to_owned(), json!(self));
        Ok(Outgoing {
            event_type,
            content: Value::Object(content),
        })
    }

    /// The check-in in an event, if it is one and within limits.
    pub fn from_content(event_type: &str, content: &Value) -> Option<Self> {
        if event_type != MESSAGE && event_type != POLL_START {
            return None;
        }
        let checkin = Self::deserialize(content.get(BLOCK)?).ok()?;
        checkin.validate().ok()?;
        Some(checkin)
    }

    /// The id that answers are counted under: of the original, if this is a reminder.
    pub fn original(&self) -> &BlockId {
        self.reminds.as_ref().unwrap_or(&self.id)
    }

    fn validate(&self) -> Result<(), InvalidBlock> {
        text(&self.text)?;
        match &self.answer {
            AnswerKind::Text => Ok(()),
            AnswerKind::Scale(scale) => scale.validate(),
        }
    }

    fn body(&self) -> String {
        match &self.answer {
            AnswerKind::Text => self.text.clone(),
            AnswerKind::Scale(scale) => format!(
                "{}\nAnswer with a number from {} to {}, and a few words if you like.",
                self.text,
                scale.step_text(scale.low),
                scale.step_text(scale.high),
            ),
        }
    }

    fn poll(&self) -> Result<Option<Map<String, Value>>, InvalidBlock> {
        let AnswerKind::Scale(scale) = &self.answer else {
            return Ok(None);
        };
        if scale.steps() > MAX_POLL_ANSWERS {
            return Ok(None);
        }
        let answers: Vec<_> = (scale.low..=scale.high)
            .map(|step| UnstablePollAnswer::new(step.to_string(), scale.step_text(step)))
            .collect();
        let answers = UnstablePollAnswers::try_from(answers).map_err(|_| InvalidBlock::Scale)?;
        let mut poll = UnstablePollStartContentBlock::new(&self.text, answers);
        poll.kind = PollKind::Disclosed;
        match json!(NewUnstablePollStartEventContent::plain_text(
            self.body(),
            poll
        )) {
            Value::Object(content) => Ok(Some(content)),
            _ => Err(InvalidBlock::Scale),
        }
    }
}

#[cfg(test)]
pub(in crate::events) mod tests;
