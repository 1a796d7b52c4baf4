//! `chat.respite.checkin.answer`: the answer to a check-in, and understanding answers that come
//! from clients which know no blocks.

use ruma::OwnedEventId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{AnswerKind, BlockId, Checkin, InvalidBlock, MESSAGE, Outgoing, Scale, text};

/// The block's key in the message.
pub const BLOCK: &str = "chat.respite.checkin.answer";

/// An answer: a number, a note, or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The check-in that is answered: [`Checkin::original`].
    pub checkin: BlockId,
    /// The number, if the check-in has a scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
    /// The words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Answer {
    /// The event that carries the answer, related to the check-in's event if that is known.
    ///
    /// # Errors
    ///
    /// [`InvalidBlock`] if nothing is said or the note is out of limits.
    pub fn to_message(&self, asked_in: Option<OwnedEventId>) -> Result<Outgoing, InvalidBlock> {
        self.validate()?;
        let mut content = json!({ "msgtype": "m.text", "body": self.body(), BLOCK: self });
        if let (Some(event_id), Some(content)) = (asked_in, content.as_object_mut()) {
            let relation = json!({ "rel_type": "m.reference", "event_id": event_id });
            content.insert("m.relates_to".to_owned(), relation);
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
        match (&self.note, self.value) {
            (Some(note), _) => text(note),
            (None, Some(_)) => Ok(()),
            (None, None) => Err(InvalidBlock::NoAnswer),
        }
    }

    fn body(&self) -> String {
        match (self.value, &self.note) {
            (Some(value), Some(note)) => format!("{value}: {note}"),
            (Some(value), None) => value.to_string(),
            (None, note) => note.clone().unwrap_or_default(),
        }
    }
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
/// A number counts only if it stands first and plainly apart: `3`, `3, slept badly`,
/// `3: slept badly`, `3 - slept badly`, `3/5`. Anything that might mean something else (`3.5`,
/// `3:15`, `3 patients`, a number off the scale) is no answer, and the therapist reads it as the
/// message it is. A check-in without a scale takes any words.
pub fn interpret(checkin: &Checkin, reply: Reply<'_>) -> Option<Answer> {
    let (value, note) = match (&checkin.answer, reply) {
        (AnswerKind::Text, Reply::Text(body)) => (None, words(without_quote(body))),
        (AnswerKind::Scale(scale), Reply::Text(body)) => typed(scale, without_quote(body))?,
        (AnswerKind::Scale(scale), Reply::Poll(votes)) => (Some(vote(scale, votes)?), None),
        (AnswerKind::Text, Reply::Poll(_)) => return None,
    };
    let answer = Answer {
        checkin: checkin.original().clone(),
        value,
        note,
    };
    answer.validate().ok()?;
    Some(answer)
}

fn vote(scale: &Scale, votes: &[String]) -> Option<i64> {
    let [vote] = votes else { return None };
    let value = vote.parse().ok()?;
    (scale.contains(value) && value.to_string() == *vote).then_some(value)
}

fn typed(scale: &Scale, body: &str) -> Option<(Option<i64>, Option<String>)> {
    let body = body.trim();
    let sign = body.len() - body.trim_start_matches('-').len();
    let digits = body
        .get(sign..)?
        .bytes()
        .take_while(u8::is_ascii_digit)
        .count();
    let (number, rest) = body.split_at_checked(sign + digits)?;
    let value = number.parse().ok().filter(|value| scale.contains(*value))?;
    Some((Some(value), after_number(scale, rest)?))
}

/// The note after the number; `None` if the number was part of something else.
fn after_number(scale: &Scale, rest: &str) -> Option<Option<String>> {
    let of_high = format!("/{}", scale.high);
    let rest = rest.strip_prefix(of_high.as_str()).unwrap_or(rest);
    let separated = rest.trim_start_matches([' ', '\t']);
    if separated.is_empty() || separated.starts_with(['\n', '\r']) {
        return Some(words(separated));
    }
    let note = separated.strip_prefix([',', ';', ':', '.', '-', '–', '—'])?;
    (note.is_empty() || note.starts_with(char::is_whitespace)).then(|| words(note))
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
