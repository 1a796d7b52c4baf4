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

use super::{BlockId, InvalidBlock, MESSAGE, Outgoing, POLL_START, Scale};
use crate::{
    instruments::{Kind, Questionnaire},
    text::text,
};

/// The block's key in the message.
pub const BLOCK: &str = "chat.respite.checkin";

/// Most answers a poll can offer (MSC3381).
pub const MAX_POLL_ANSWERS: usize = 20;
/// Largest content of a message with a questionnaire, in bytes: what the server takes as
/// ciphertext (64 KiB) is a third larger.
pub const MAX_CONTENT_BYTES: usize = 45_000;

/// A check-in: a question, or a questionnaire.
///
/// One question with at most [`MAX_POLL_ANSWERS`] answers travels as an ordinary poll, which
/// existing clients show with buttons; everything else as an ordinary text message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkin {
    /// Names the check-in.
    pub id: BlockId,
    /// The question, or the title of the questionnaire.
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
    /// Answers to a questionnaire, and a few words if wanted.
    Questionnaire {
        /// What is asked.
        questionnaire: Box<Questionnaire>,
    },
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
        let content = Value::Object(content);
        if self.questionnaire().is_some() && content.to_string().len() > MAX_CONTENT_BYTES {
            return Err(InvalidBlock::TooLarge);
        }
        Ok(Outgoing {
            event_type,
            content,
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

    /// The questionnaire, if it is one.
    pub fn questionnaire(&self) -> Option<&Questionnaire> {
        match &self.answer {
            AnswerKind::Questionnaire { questionnaire } => Some(questionnaire),
            AnswerKind::Text | AnswerKind::Scale(_) => None,
        }
    }

    fn validate(&self) -> Result<(), InvalidBlock> {
        text(&self.text)?;
        match &self.answer {
            AnswerKind::Questionnaire { questionnaire } => questionnaire
                .validate()
                .map_err(|_| InvalidBlock::Questionnaire),
            AnswerKind::Text => Ok(()),
            AnswerKind::Scale(scale) => Ok(scale.validate()?),
        }
    }

    fn body(&self) -> String {
        match &self.answer {
            AnswerKind::Text => self.text.clone(),
            AnswerKind::Questionnaire { questionnaire } => questionnaire.as_text(),
            AnswerKind::Scale(scale) => format!(
                "{}\nAnswer with a number from {} to {}, and a few words if you like.",
                self.text,
                scale.step_text(scale.low),
                scale.step_text(scale.high),
            ),
        }
    }

    /// The answers that people tap, if it is one question with few of them: id and text.
    fn taps(&self) -> Option<Vec<(String, String)>> {
        match &self.answer {
            AnswerKind::Text => None,
            AnswerKind::Scale(scale) => Kind::Scale(scale.clone()).taps(MAX_POLL_ANSWERS),
            AnswerKind::Questionnaire { questionnaire } => {
                questionnaire.only_question()?.kind.taps(MAX_POLL_ANSWERS)
            }
        }
    }

    /// The words of the one question.
    fn question(&self) -> &str {
        let only = self.questionnaire().and_then(Questionnaire::only_question);
        only.map_or(&self.text, |question| &question.text)
    }

    fn poll(&self) -> Result<Option<Map<String, Value>>, InvalidBlock> {
        let Some(taps) = self.taps() else {
            return Ok(None);
        };
        let answers: Vec<_> = taps
            .into_iter()
            .map(|(id, text)| UnstablePollAnswer::new(id, text))
            .collect();
        let answers = UnstablePollAnswers::try_from(answers).map_err(|_| InvalidBlock::Scale)?;
        let mut poll = UnstablePollStartContentBlock::new(self.question(), answers);
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
