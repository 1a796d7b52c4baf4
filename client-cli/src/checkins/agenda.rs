//! Who was asked what, and what they answered: read from a room's history.

use std::collections::BTreeMap;

use jiff::Timestamp;
use respite_protocol::{
    events::{Answer, AnswerKind, Checkin, Reply, interpret},
    instruments::{Answers, Decimal, Questionnaire, Value},
};
use ruma::{OwnedEventId, OwnedUserId, UserId};
use serde::Serialize;

use crate::{
    history::{Entry, Said},
    time,
};

/// Longest text of a message that was not understood, in characters.
const MAX_UNCLEAR_CHARS: usize = 200;

/// A check-in in a room's history, with its answers.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The check-in.
    pub checkin: Checkin,
    /// The event that asked it.
    pub event_id: OwnedEventId,
    /// Who asked.
    pub sender: OwnedUserId,
    /// When.
    pub at: Timestamp,
    /// When an answer is no longer expected.
    pub expires: Option<Timestamp>,
    /// The answers, in order, the newest of each person.
    pub answers: Vec<Given>,
    /// What people wrote that looks like an answer and is not understood, while they have given
    /// none.
    pub unclear: Vec<Unclear>,
}

/// An answer to a check-in.
#[derive(Clone, Debug, Serialize)]
pub struct Given {
    /// Who answered.
    pub by: OwnedUserId,
    /// When.
    pub at: Timestamp,
    /// The number, if one was asked for.
    pub value: Option<i64>,
    /// The words.
    pub note: Option<String>,
    /// The event.
    pub event_id: OwnedEventId,
    /// It came after the check-in had expired.
    pub late: bool,
    /// The person should not be left alone with it.
    pub urgent: bool,
    /// What the answers to a questionnaire add up to.
    pub scores: Vec<GivenScore>,
    /// The answers to a questionnaire, in its order.
    #[serde(rename = "answers", skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Told>,
    /// The same, for reckoning.
    #[serde(skip)]
    pub answers: Answers,
}

/// A score of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GivenScore {
    /// What it is called.
    pub name: String,
    /// How much.
    pub value: Decimal,
    /// What it means.
    pub band: Option<String>,
    /// Whether the screening is positive, if it is one.
    pub positive: Option<bool>,
    /// How many answers were estimated.
    pub estimated: usize,
    /// All of it, for people.
    #[serde(skip)]
    pub shown: String,
}

/// An answer to a question of a questionnaire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The question's name in the questionnaire.
    pub link_id: String,
    /// The question.
    pub text: String,
    /// The answer, for people.
    pub answer: String,
    /// What it counts for.
    pub weight: Option<Decimal>,
}

/// A message that looks like an answer and is not understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unclear {
    /// Who wrote it.
    pub by: OwnedUserId,
    /// When.
    pub at: Timestamp,
    /// How it begins.
    pub body: String,
    /// The event.
    pub event_id: OwnedEventId,
}

impl Asked {
    /// Whether this person still has to answer.
    pub fn is_open_for(&self, user_id: &UserId, now: Timestamp) -> bool {
        self.wants_answer_of(user_id) && !self.is_expired(now)
    }

    /// Whether an answer is no longer expected.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether this person has answered.
    pub fn is_answered_by(&self, user_id: &UserId) -> bool {
        self.answers.iter().any(|given| given.by == user_id)
    }

    fn wants_answer_of(&self, user_id: &UserId) -> bool {
        self.sender != user_id && !self.is_answered_by(user_id)
    }

    /// Whether any words would be an answer.
    fn takes_any_words(&self) -> bool {
        match &self.checkin.answer {
            AnswerKind::Text => true,
            AnswerKind::Scale(_) => false,
            AnswerKind::Questionnaire { questionnaire } => questionnaire
                .only_question()
                .is_some_and(|question| question.kind.takes(&Value::Text("words".to_owned()))),
        }
    }
}

/// The check-ins in these entries (oldest first) and who answered what. Reminders belong to the
/// check-in that they repeat.
///
/// What counts as an answer: an answer block; a vote in the check-in's poll; a reply to it; and
/// the first message that a person writes after it while they have not answered. After it has
/// expired such a message counts only if it is understood as more than any words. Nobody answers
/// their own check-in.
pub fn agenda(entries: &[Entry]) -> Vec<Asked> {
    let mut asked: Vec<Asked> = Vec::new();
    // Every event that asks, reminders too, leads to its check-in.
    let mut by_event: BTreeMap<OwnedEventId, usize> = BTreeMap::new();
    for entry in entries {
        match &entry.said {
            Said::Checkin(checkin) => {
                let known = asked.iter().position(|asked| {
                    asked.checkin.original() == checkin.original() && asked.sender == entry.sender
                });
                let index = known.unwrap_or_else(|| {
                    asked.push(new_asked(entry, checkin));
                    asked.len() - 1
                });
                by_event.insert(entry.event_id.clone(), index);
            }
            Said::Answer(answer) => {
                let of = asked
                    .iter_mut()
                    .rfind(|asked| *asked.checkin.original() == answer.checkin);
                if let Some(of) = of {
                    give(of, entry, answer);
                }
            }
            Said::Vote(choices) => {
                let index = entry.about.as_ref().and_then(|about| by_event.get(about));
                if let Some(of) = index.and_then(|index| asked.get_mut(*index)) {
                    understand(of, entry, Reply::Poll(choices));
                }
            }
            Said::Text { body, .. } => written(&mut asked, &by_event, entry, body),
            Said::Document(_) | Said::SafetyPlan(_) | Said::Unreadable { .. } | Said::Deleted => {}
        }
    }
    asked
}

/// A message may answer a check-in: the one that it replies to, or else the newest.
fn written(
    asked: &mut [Asked],
    by_event: &BTreeMap<OwnedEventId, usize>,
    entry: &Entry,
    body: &str,
) {
    let replied = entry.about.as_ref().and_then(|about| by_event.get(about));
    let newest = |asked: &&mut Asked| {
        asked.wants_answer_of(&entry.sender)
            && !(asked.is_expired(entry.at) && asked.takes_any_words())
    };
    let of = match replied {
        Some(index) => asked.get_mut(*index),
        None => asked.last_mut().filter(newest),
    };
    let Some(of) = of else { return };
    let understood = understand(of, entry, Reply::Text(body));
    let looks_like_one = replied.is_some() || body.trim_start().starts_with(is_number_like);
    if !understood && looks_like_one && of.wants_answer_of(&entry.sender) {
        of.unclear.retain(|unclear| unclear.by != entry.sender);
        of.unclear.push(Unclear {
            by: entry.sender.clone(),
            at: entry.at,
            body: body.chars().take(MAX_UNCLEAR_CHARS).collect(),
            event_id: entry.event_id.clone(),
        });
    }
}

fn is_number_like(c: char) -> bool {
    c.is_ascii_digit() || c == '-'
}

fn new_asked(entry: &Entry, checkin: &Checkin) -> Asked {
    // A prompt that was postponed is released later than it says; its expiry moves along.
    let planned = time::from_matrix(checkin.asked_ts);
    let late = entry
        .at
        .duration_since(planned)
        .max(jiff::SignedDuration::ZERO);
    let expires = checkin.expires_ts.map(|ts| {
        let expires = time::from_matrix(ts);
        expires.checked_add(late).unwrap_or(expires)
    });
    Asked {
        checkin: checkin.clone(),
        event_id: entry.event_id.clone(),
        sender: entry.sender.clone(),
        at: entry.at,
        expires,
        answers: Vec::new(),
        unclear: Vec::new(),
    }
}

fn understand(asked: &mut Asked, entry: &Entry, reply: Reply<'_>) -> bool {
    interpret(&asked.checkin, reply).is_some_and(|answer| give(asked, entry, &answer))
}

/// Takes an answer down, if it is one to this check-in.
fn give(asked: &mut Asked, entry: &Entry, answer: &Answer) -> bool {
    if entry.sender == asked.sender {
        return false;
    }
    let answers = answer.answers(&asked.checkin).unwrap_or_default();
    let questionnaire = asked.checkin.questionnaire();
    let only = questionnaire.and_then(Questionnaire::only_question);
    let value = match (&asked.checkin.answer, only) {
        (AnswerKind::Scale(scale), _) => answer.value.filter(|value| scale.contains(*value)),
        (_, Some(question)) => answers
            .get(&question.link_id)
            .and_then(|value| question.weight(value)?.as_whole()),
        _ => None,
    };
    if value.is_none() && answer.note.is_none() && answers.is_empty() {
        return false;
    }
    let mut given = Given {
        by: entry.sender.clone(),
        at: entry.at,
        value,
        note: answer.note.clone(),
        event_id: entry.event_id.clone(),
        late: asked.is_expired(entry.at),
        urgent: answer.urgent || questionnaire.is_some_and(|q| q.is_urgent(&answers)),
        scores: questionnaire
            .map(|q| scores(q, &answers))
            .unwrap_or_default(),
        said: questionnaire.map(|q| said(q, &answers)).unwrap_or_default(),
        answers,
    };
    // A correction does not take back that somebody may need help: the therapist is to see that it was said.
    let said_before = |before: &Given| before.by == entry.sender && before.urgent;
    given.urgent |= asked.answers.iter().any(said_before);
    asked.answers.retain(|given| given.by != entry.sender);
    asked.unclear.retain(|unclear| unclear.by != entry.sender);
    asked.answers.push(given);
    true
}

fn scores(questionnaire: &Questionnaire, answers: &Answers) -> Vec<GivenScore> {
    let scored = questionnaire.scored(answers);
    let score = scored.iter().map(|scored| GivenScore {
        name: scored.score.name.clone(),
        value: scored.value,
        band: scored.band().map(|band| band.label.clone()),
        positive: scored.is_positive(),
        estimated: scored.missing,
        shown: scored.to_string(),
    });
    score.collect()
}

fn said(questionnaire: &Questionnaire, answers: &Answers) -> Vec<Told> {
    let asked = questionnaire.asked(answers).into_iter();
    let said = asked.filter_map(|item| {
        let value = answers.get(&item.link_id)?;
        Some(Told {
            link_id: item.link_id.clone(),
            text: item.text.clone(),
            answer: value.shown(),
            weight: item.weight(value),
        })
    });
    said.collect()
}

#[cfg(test)]
pub(crate) mod tests;
