//! `chat.respite.checkin.answer`: the answer to a check-in, and understanding answers that come
//! from clients which know no blocks.

use ruma::OwnedEventId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    AnswerKind, BlockId, Checkin, InvalidBlock, MESSAGE, Outgoing, Scale,
    checkin::{MAX_CONTENT_BYTES, MAX_POLL_ANSWERS},
};
use crate::{
    instruments::{Answers, Kind, Questionnaire, Response, Value as Chosen, typed, typed_first},
    text::text,
};

/// The block's key in the message.
pub const BLOCK: &str = "chat.respite.checkin.answer";
/// The first line of an urgent answer, for clients that know no blocks.
const URGENT: &str = "URGENT: please read this first.";

/// An answer: answers to a questionnaire or a number, a note, or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The check-in that is answered: [`Checkin::original`].
    pub checkin: BlockId,
    /// The number, if the check-in has a scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
    /// The answers, if the check-in is a questionnaire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
    /// The words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The person should not be left alone with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
}

impl Answer {
    /// The answer to a check-in without a questionnaire.
    pub fn new(checkin: &Checkin, value: Option<i64>, note: Option<String>) -> Self {
        Self {
            checkin: checkin.original().clone(),
            value,
            response: None,
            note,
            urgent: false,
        }
    }

    /// The answer to a questionnaire. It is urgent if the questionnaire says so of these answers.
    pub fn to_questionnaire(
        checkin: &Checkin,
        questionnaire: &Questionnaire,
        answers: &Answers,
        note: Option<String>,
    ) -> Self {
        Self {
            response: Some(Response::new(questionnaire, answers)),
            urgent: questionnaire.is_urgent(answers),
            ..Self::new(checkin, None, note)
        }
    }

    /// The answers in it that fit the check-in's questionnaire, if that has one.
    pub fn answers(&self, checkin: &Checkin) -> Option<Answers> {
        let (questionnaire, response) = (checkin.questionnaire()?, self.response.as_ref()?);
        Some(questionnaire.sift(response))
    }

    /// The event that carries the answer, related to the check-in's event if that is known.
    ///
    /// # Errors
    ///
    /// [`InvalidBlock`] if nothing is said or something is out of limits.
    pub fn to_message(
        &self,
        checkin: &Checkin,
        asked_in: Option<OwnedEventId>,
    ) -> Result<Outgoing, InvalidBlock> {
        self.validate()?;
        let body = self.body(checkin);
        let mut content = json!({ "msgtype": "m.text", "body": body, BLOCK: self });
        if let (Some(event_id), Some(content)) = (asked_in, content.as_object_mut()) {
            let relation = json!({ "rel_type": "m.reference", "event_id": event_id });
            content.insert("m.relates_to".to_owned(), relation);
        }
        if content.to_string().len() > MAX_CONTENT_BYTES {
            return Err(InvalidBlock::TooLarge);
        }
        Ok(Outgoing {
            event_type: MESSAGE,
            content,
        })
    }

    /// The answer in an event, if it is one and within limits.
    pub fn from_content(event_type: &str, content: &Value) -> Option<Self> {
        if event_type != MESSAGE {
            return None;
        }
        let answer = Self::deserialize(content.get(BLOCK)?).ok()?;
        answer.validate().ok()?;
        Some(answer)
    }

    fn validate(&self) -> Result<(), InvalidBlock> {
        self.note.as_deref().map_or(Ok(()), text)?;
        match (&self.response, &self.note, self.value) {
            (Some(response), ..) => response.validate().map_err(|_| InvalidBlock::Questionnaire),
            (None, None, None) => Err(InvalidBlock::NoAnswer),
            _ => Ok(()),
        }
    }

    fn body(&self, checkin: &Checkin) -> String {
        let note = self.note.as_deref();
        let said = match (checkin.questionnaire(), self.answers(checkin)) {
            (Some(questionnaire), Some(answers)) => answered(questionnaire, &answers, note),
            _ => match (self.value, note) {
                (Some(value), Some(note)) => format!("{value}: {note}"),
                (Some(value), None) => value.to_string(),
                (None, note) => note.unwrap_or_default().to_owned(),
            },
        };
        if self.urgent {
            format!("{URGENT}\n{said}")
        } else {
            said
        }
    }
}

/// Answers as any client shows them: the scores, each question with its answer, the note.
fn answered(questionnaire: &Questionnaire, answers: &Answers, note: Option<&str>) -> String {
    let mut lines = vec![questionnaire.title.clone()];
    if questionnaire.only_question().is_none() {
        lines.extend(
            questionnaire
                .scored(answers)
                .iter()
                .map(ToString::to_string),
        );
    }
    lines.push(questionnaire.answers_as_text(answers));
    lines.extend(note.map(ToOwned::to_owned));
    lines.join("\n")
}

/// How an existing client answers a check-in.
#[derive(Clone, Copy, Debug)]
pub enum Reply<'a> {
    /// The `body` of a message that the asked person wrote after, or in reply to, the check-in.
    Text(&'a str),
    /// The answer ids of a vote in the check-in's poll.
    Poll(&'a [String]),
}

/// Understands a reply from a client that knows no blocks, as an answer to `checkin`.
///
/// A number counts only if it stands first and plainly apart: `3`, `3 slept badly`,
/// `3, slept badly`, `3: slept badly`, `3 - slept badly`, `3/5`. A questionnaire is answered in its
/// order: `2 1 0 0 1 2 0 1 0`. Anything that might mean something else (`3.5`, `3:15`,
/// `3 patients`, a number off the scale, too few numbers) is no answer, and the therapist reads it
/// as the message it is. A check-in without a scale takes any words.
pub fn interpret(checkin: &Checkin, reply: Reply<'_>) -> Option<Answer> {
    let answer = match (&checkin.answer, reply) {
        (AnswerKind::Text, Reply::Text(body)) => {
            Answer::new(checkin, None, words(without_quote(body)))
        }
        (AnswerKind::Text, Reply::Poll(_)) => return None,
        (AnswerKind::Scale(scale), reply) => {
            let (value, note) = on_scale(scale, reply)?;
            Answer::new(checkin, Some(value), note)
        }
        (AnswerKind::Questionnaire { questionnaire }, Reply::Text(body)) => {
            let typed = typed(questionnaire, without_quote(body))?;
            Answer::to_questionnaire(checkin, questionnaire, &typed.answers, typed.note)
        }
        (AnswerKind::Questionnaire { questionnaire }, Reply::Poll(votes)) => {
            let question = questionnaire.only_question()?;
            let chosen = tapped(&question.kind, votes)?;
            let answers = Answers::from_iter([(question.link_id.clone(), chosen)]);
            Answer::to_questionnaire(checkin, questionnaire, &answers, None)
        }
    };
    answer.validate().ok()?;
    Some(answer)
}

fn on_scale(scale: &Scale, reply: Reply<'_>) -> Option<(i64, Option<String>)> {
    let kind = Kind::Scale(scale.clone());
    let (value, note) = match reply {
        Reply::Text(body) => typed_first(&kind, without_quote(body))?,
        Reply::Poll(votes) => (tapped(&kind, votes)?, None),
    };
    match value {
        Chosen::Integer(value) => Some((value, note)),
        _ => None,
    }
}

/// The answer that somebody tapped.
fn tapped(kind: &Kind, votes: &[String]) -> Option<Chosen> {
    let [vote] = votes else { return None };
    let offered = kind.taps(MAX_POLL_ANSWERS)?;
    offered.iter().find(|(id, _)| id == vote)?;
    kind.read(vote)
}

fn words(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The body without the quoted lines that older clients put before a reply (`> <@them:server> …`).
fn without_quote(body: &str) -> &str {
    let mut rest = body;
    if !rest.starts_with("> <@") && !rest.starts_with("> * <@") {
        return body;
    }
    while rest.starts_with('>') {
        rest = rest.split_once('\n').map_or("", |(_, after)| after);
    }
    rest
}

#[cfg(test)]
mod tests;
