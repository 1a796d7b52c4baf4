//! Check-ins: asking now or later, answering, and seeing what became of them.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use matrix_sdk::Room;
use rand::{TryRng as _, rngs::SysRng};
use respite_protocol::{
    api::{cancel_prompt, list_prompts, postpone_prompt, schedule_prompt},
    events::{Answer, AnswerKind, BlockId, Checkin, Reply, Scale, interpret},
};
use ruma::{OwnedEventId, OwnedUserId, TransactionId, UserId};
use serde::Serialize;

use crate::{
    ahead,
    history::{Entry, Said},
    outbox::{self, Delivery},
    time,
};

/// A question, before it is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// What is asked.
    pub text: String,
    /// Answers are numbers on this scale, if any.
    pub scale: Option<Scale>,
    /// An answer is expected within this time after it is asked.
    pub expires: Option<Duration>,
}

/// A check-in that the server will release, with its reminder.
#[derive(Clone, Debug, Serialize)]
pub struct Scheduled {
    /// The prompt; none if the check-in itself was sent at once.
    pub prompt_id: Option<String>,
    /// The reminder.
    pub reminder_id: Option<String>,
    /// Devices that could not be given the key.
    pub missed_devices: usize,
}

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

/// Asks now.
///
/// # Errors
///
/// If the question is out of limits or the server refuses it.
pub async fn ask(
    room: &Room,
    question: &Question,
    now: Timestamp,
    wait: Duration,
) -> Result<(Checkin, Delivery)> {
    let checkin = question.checkin(now, None)?;
    let delivery = outbox::send(room, &checkin.to_message()?, wait).await?;
    Ok((checkin, delivery))
}

/// Encrypts the question now and lets the server release it at `at`.
///
/// # Errors
///
/// If the question is out of limits, nobody could read it, or the server refuses it.
pub async fn schedule(
    room: &Room,
    question: &Question,
    at: Timestamp,
    addressee: &UserId,
) -> Result<(Checkin, Scheduled)> {
    let checkin = question.checkin(at, None)?;
    let prompt = Prompt {
        checkin: &checkin,
        at,
        unless_written_since: None,
        reminds: None,
    };
    let (prompt_id, missed_devices) = hand_over(room, prompt, addressee).await?;
    let scheduled = Scheduled {
        prompt_id: Some(prompt_id),
        reminder_id: None,
        missed_devices,
    };
    Ok((checkin, scheduled))
}

/// Lets the server repeat a check-in at `at`, unless the addressee has written since it was asked.
///
/// # Errors
///
/// As [`schedule`], and if the check-in expires before.
pub async fn remind(
    room: &Room,
    original: &Checkin,
    original_prompt: Option<&str>,
    at: Timestamp,
    addressee: &UserId,
) -> Result<String> {
    if original
        .expires_ts
        .is_some_and(|expires| time::from_matrix(expires) <= at)
    {
        bail!(
            "the check-in would have expired before its reminder; remind sooner or let it expire later"
        );
    }
    let reminder = Checkin {
        id: new_id()?,
        asked_ts: time::to_matrix(at),
        reminds: Some(original.original().clone()),
        ..original.clone()
    };
    let since = time::from_matrix(original.asked_ts);
    let prompt = Prompt {
        checkin: &reminder,
        at,
        unless_written_since: Some(since),
        reminds: original_prompt,
    };
    Ok(hand_over(room, prompt, addressee).await?.0)
}

/// Answers a check-in.
///
/// # Errors
///
/// If the number is not on its scale, nothing is said, or the server refuses it.
pub async fn answer(
    room: &Room,
    asked: &Asked,
    value: Option<i64>,
    note: Option<String>,
    wait: Duration,
) -> Result<Delivery> {
    match (&asked.checkin.answer, value) {
        (AnswerKind::Scale(scale), Some(value)) if !scale.contains(value) => {
            bail!(
                "{value} is not on the scale from {} to {}",
                scale.low,
                scale.high
            )
        }
        (AnswerKind::Text, Some(_)) => {
            bail!("this check-in asks for words, not for a number; use --note")
        }
        _ => {}
    }
    let answer = Answer {
        checkin: asked.checkin.original().clone(),
        value,
        note,
    };
    outbox::send(
        room,
        &answer.to_message(Some(asked.event_id.clone()))?,
        wait,
    )
    .await
}

/// What is scheduled in the room and still waits, by release time.
///
/// # Errors
///
/// If the server cannot be reached or refuses.
pub async fn waiting(room: &Room) -> Result<Vec<list_prompts::Prompt>> {
    let request = list_prompts::Request::new(room.room_id().to_owned());
    let mut prompts = room.client().send(request).await?.prompts;
    prompts.retain(|prompt| prompt.state == list_prompts::PromptState::Waiting);
    prompts.sort_by_key(|prompt| prompt.release_ts);
    Ok(prompts)
}

/// The question of a prompt that this device scheduled; the server does not know it.
///
/// # Errors
///
/// If the store cannot be read.
pub async fn remembered(room: &Room, prompt_id: &str) -> Result<Option<String>> {
    let text = room
        .client()
        .state_store()
        .get_custom_value(&memory_key(prompt_id))
        .await?;
    Ok(text.and_then(|text| String::from_utf8(text).ok()))
}

/// Takes a prompt, and its reminders, off the schedule.
///
/// # Errors
///
/// If the server cannot be reached or refuses.
pub async fn cancel(room: &Room, prompt_id: &str) -> Result<()> {
    room.client()
        .send(cancel_prompt::Request::new(prompt_id.to_owned()))
        .await?;
    room.client()
        .state_store()
        .remove_custom_value(&memory_key(prompt_id))
        .await?;
    Ok(())
}

/// Moves a prompt, and its reminders with it.
///
/// # Errors
///
/// If the server cannot be reached or refuses.
pub async fn postpone(room: &Room, prompt_id: &str, to: Timestamp) -> Result<()> {
    let request = postpone_prompt::Request::new(prompt_id.to_owned(), time::to_matrix(to));
    room.client().send(request).await?;
    Ok(())
}

impl Question {
    fn checkin(&self, asked: Timestamp, reminds: Option<BlockId>) -> Result<Checkin> {
        let expires = self
            .expires
            .map(|expires| time::after(asked, expires))
            .transpose()?;
        Ok(Checkin {
            id: new_id()?,
            text: self.text.trim().to_owned(),
            answer: self
                .scale
                .clone()
                .map_or(AnswerKind::Text, AnswerKind::Scale),
            asked_ts: time::to_matrix(asked),
            expires_ts: expires.map(time::to_matrix),
            reminds,
        })
    }
}

struct Prompt<'a> {
    checkin: &'a Checkin,
    at: Timestamp,
    unless_written_since: Option<Timestamp>,
    reminds: Option<&'a str>,
}

async fn hand_over(room: &Room, prompt: Prompt<'_>, addressee: &UserId) -> Result<(String, usize)> {
    let sealed = ahead::seal(room, &prompt.checkin.to_message()?).await?;
    let mut request = schedule_prompt::Request::new(
        room.room_id().to_owned(),
        TransactionId::new(),
        addressee.to_owned(),
        time::to_matrix(prompt.at),
        sealed.content,
    );
    request.expires_ts = prompt.checkin.expires_ts;
    request.unless_written_since = prompt.unless_written_since.map(time::to_matrix);
    request.reminds = prompt.reminds.map(ToOwned::to_owned);
    let prompt_id = room
        .client()
        .send(request)
        .await
        .context("the check-in was not scheduled")?
        .prompt_id;
    let text = prompt.checkin.text.clone().into_bytes();
    room.client()
        .state_store()
        .set_custom_value_no_read(&memory_key(&prompt_id), text)
        .await?;
    Ok((prompt_id, sealed.missed.len()))
}

fn memory_key(prompt_id: &str) -> Vec<u8> {
    format!("chat.respite.prompt.{prompt_id}").into_bytes()
}

/// A new random id: 16 letters and digits without those that look alike, about 80 bits.
///
/// # Errors
///
/// If the system gives no random numbers.
pub fn new_id() -> Result<BlockId> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0_u8; 16];
    SysRng
        .try_fill_bytes(&mut bytes)
        .context("the system gives no random numbers")?;
    let letters = bytes
        .iter()
        .filter_map(|byte| LETTERS.get(usize::from(byte % 32)));
    let id: String = letters.map(|letter| char::from(*letter)).collect();
    Ok(id.parse()?)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn new_ids_differ() {
        assert_ne!(new_id().unwrap(), new_id().unwrap());
    }
}
