//! Who was asked what, and what they answered: read from a room's history.

use std::collections::BTreeMap;

use jiff::Timestamp;
use respite_protocol::events::{AnswerKind, Checkin, Reply, interpret};
use ruma::{OwnedEventId, OwnedUserId, UserId};
use serde::Serialize;

use crate::{
    history::{Entry, Said},
    time,
};

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
}

/// An answer to a check-in.
#[derive(Clone, Debug, Serialize)]
pub struct Given {
    /// Who answered.
    pub by: OwnedUserId,
    /// When.
    pub at: Timestamp,
    /// The number.
    pub value: Option<i64>,
    /// The words.
    pub note: Option<String>,
    /// The event.
    pub event_id: OwnedEventId,
}

impl Asked {
    /// Whether this person still has to answer.
    pub fn is_open_for(&self, user_id: &UserId, now: Timestamp) -> bool {
        self.sender != user_id && !self.is_expired(now) && !self.is_answered_by(user_id)
    }

    /// Whether an answer is no longer expected.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether this person has answered.
    pub fn is_answered_by(&self, user_id: &UserId) -> bool {
        self.answers.iter().any(|given| given.by == user_id)
    }
}

/// The check-ins in these entries (oldest first) and who answered what. Reminders belong to the
/// check-in that they repeat.
///
/// What counts as an answer: an answer block; a vote in the check-in's poll; a reply to it; and
/// the first message that a person writes after it while they have not answered. Nobody answers
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
                    give(of, entry, answer.value, answer.note.clone());
                }
            }
            Said::Vote(choices) => {
                let index = entry.about.as_ref().and_then(|about| by_event.get(about));
                if let Some(of) = index.and_then(|index| asked.get_mut(*index)) {
                    understand(of, entry, Reply::Poll(choices));
                }
            }
            Said::Text { body, .. } => {
                let replied = entry
                    .about
                    .as_ref()
                    .and_then(|about| by_event.get(about))
                    .copied();
                let of = match replied {
                    Some(index) => asked.get_mut(index),
                    None => asked
                        .last_mut()
                        .filter(|asked| asked.is_open_for(&entry.sender, entry.at)),
                };
                if let Some(of) = of {
                    understand(of, entry, Reply::Text(body));
                }
            }
            Said::Document(_) | Said::Unreadable { .. } | Said::Deleted => {}
        }
    }
    asked
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
    }
}

fn understand(asked: &mut Asked, entry: &Entry, reply: Reply<'_>) {
    if let Some(answer) = interpret(&asked.checkin, reply) {
        give(asked, entry, answer.value, answer.note);
    }
}

fn give(asked: &mut Asked, entry: &Entry, value: Option<i64>, note: Option<String>) {
    if entry.sender == asked.sender {
        return;
    }
    let value = value.filter(|value| match &asked.checkin.answer {
        AnswerKind::Scale(scale) => scale.contains(*value),
        AnswerKind::Text => false,
    });
    if value.is_none() && note.is_none() {
        return;
    }
    asked.answers.retain(|given| given.by != entry.sender);
    asked.answers.push(Given {
        by: entry.sender.clone(),
        at: entry.at,
        value,
        note,
        event_id: entry.event_id.clone(),
    });
}

#[cfg(test)]
mod tests {
    use respite_protocol::events::{Answer, Scale};
    use ruma::{MilliSecondsSinceUnixEpoch, UInt, user_id};

    use super::*;

    const MINUTE: i64 = 60;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * MINUTE).unwrap()
    }

    fn entry(id: &str, sender: &str, minute: i64, said: Said) -> Entry {
        Entry {
            event_id: id.try_into().unwrap(),
            sender: sender.try_into().unwrap(),
            at: at(minute),
            about: None,
            said,
        }
    }

    fn checkin(id: &str, reminds: Option<&str>) -> Checkin {
        Checkin {
            id: id.parse().unwrap(),
            text: "How was the night?".to_owned(),
            answer: AnswerKind::Scale(Scale::new(1, 5)),
            asked_ts: time::to_matrix(at(0)),
            expires_ts: Some(time::to_matrix(at(60))),
            reminds: reminds.map(|id| id.parse().unwrap()),
        }
    }

    fn asks(id: &str, event: &str, minute: i64) -> Entry {
        entry(
            event,
            "@therapist:x",
            minute,
            Said::Checkin(checkin(id, None)),
        )
    }

    fn writes(event: &str, minute: i64, body: &str) -> Entry {
        entry(
            event,
            "@nurse:x",
            minute,
            Said::Text {
                body: body.to_owned(),
                edited: false,
            },
        )
    }

    fn values(agenda: &[Asked]) -> Vec<Vec<Option<i64>>> {
        agenda
            .iter()
            .map(|asked| asked.answers.iter().map(|given| given.value).collect())
            .collect()
    }

    #[test]
    fn an_answer_by_any_client_is_understood() {
        let block = Answer {
            checkin: "c1".parse().unwrap(),
            value: Some(4),
            note: None,
        };
        let by_block = [
            asks("c1", "$1", 0),
            entry("$2", "@nurse:x", 5, Said::Answer(block)),
        ];
        let by_text = [asks("c1", "$1", 0), writes("$2", 5, "4, long but fine")];
        let mut vote = entry("$2", "@nurse:x", 5, Said::Vote(vec!["4".to_owned()]));
        vote.about = Some("$1".try_into().unwrap());
        for entries in [
            by_block.to_vec(),
            by_text.to_vec(),
            vec![asks("c1", "$1", 0), vote],
        ] {
            assert_eq!(values(&agenda(&entries)), [[Some(4)]]);
        }
    }

    #[test]
    fn a_message_that_is_no_answer_leaves_the_check_in_open() {
        let agenda = agenda(&[asks("c1", "$1", 0), writes("$2", 5, "3 patients tonight")]);
        assert!(agenda[0].answers.is_empty());
        assert!(agenda[0].is_open_for(user_id!("@nurse:x"), at(10)));
        assert!(
            !agenda[0].is_open_for(user_id!("@nurse:x"), at(61)),
            "expired"
        );
        assert!(
            !agenda[0].is_open_for(user_id!("@therapist:x"), at(10)),
            "one's own"
        );
    }

    #[test]
    fn the_therapist_cannot_answer_in_the_nurses_name() {
        let own = Answer {
            checkin: "c1".parse().unwrap(),
            value: Some(5),
            note: None,
        };
        let agenda = agenda(&[
            asks("c1", "$1", 0),
            entry("$2", "@therapist:x", 1, Said::Answer(own)),
        ]);
        assert!(agenda[0].answers.is_empty());
    }

    #[test]
    fn a_number_off_the_scale_does_not_count() {
        let wild = Answer {
            checkin: "c1".parse().unwrap(),
            value: Some(99),
            note: None,
        };
        let agenda = agenda(&[
            asks("c1", "$1", 0),
            entry("$2", "@nurse:x", 1, Said::Answer(wild)),
        ]);
        assert!(agenda[0].answers.is_empty());
    }

    #[test]
    fn a_reminder_belongs_to_its_check_in() {
        let reminder = entry(
            "$2",
            "@therapist:x",
            30,
            Said::Checkin(checkin("c2", Some("c1"))),
        );
        let mut reply = writes("$3", 31, "2");
        reply.about = Some("$2".try_into().unwrap());
        let agenda = agenda(&[asks("c1", "$1", 0), reminder, reply]);
        assert_eq!(values(&agenda), [[Some(2)]]);
    }

    #[test]
    fn somebody_else_cannot_take_over_a_check_in_by_its_id() {
        let forged = entry(
            "$2",
            "@mallory:x",
            1,
            Said::Checkin(checkin("c9", Some("c1"))),
        );
        let agenda = agenda(&[asks("c1", "$1", 0), forged]);
        assert_eq!(agenda.len(), 2);
        assert_eq!(agenda[0].event_id, "$1");
    }

    #[test]
    fn a_later_answer_replaces_an_earlier_one() {
        let answer = |value| {
            Said::Answer(Answer {
                checkin: "c1".parse().unwrap(),
                value: Some(value),
                note: None,
            })
        };
        let agenda = agenda(&[
            asks("c1", "$1", 0),
            entry("$2", "@nurse:x", 1, answer(2)),
            entry("$3", "@nurse:x", 2, answer(3)),
        ]);
        assert_eq!(values(&agenda), [[Some(3)]]);
    }

    #[test]
    fn a_postponed_check_in_expires_as_much_later() {
        let agenda = agenda(&[asks("c1", "$1", 90)]);
        assert_eq!(agenda[0].expires, Some(at(150)));
    }

    #[test]
    fn wild_times_do_not_panic() {
        let mut wild = checkin("c1", None);
        wild.asked_ts = MilliSecondsSinceUnixEpoch(UInt::MIN);
        wild.expires_ts = Some(MilliSecondsSinceUnixEpoch(UInt::MAX));
        assert_eq!(
            agenda(&[entry("$1", "@therapist:x", 0, Said::Checkin(wild))]).len(),
            1
        );
    }
}
