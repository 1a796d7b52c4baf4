//! Check-ins: asking now or later, answering, and seeing what became of them.

mod agenda;
mod open;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use matrix_sdk::Room;
use rand::{TryRng as _, rngs::SysRng};
use respite_protocol::{
    api::{cancel_prompt, list_prompts, postpone_prompt, schedule_prompt},
    events::{Answer, AnswerKind, BlockId, Checkin},
    instruments::Answers,
};
use ruma::{TransactionId, UserId};

pub use self::{
    agenda::{Asked, Given, GivenScore, Told, Unclear, agenda},
    open::{recall, remember},
};
use crate::{
    ahead,
    outbox::{self, Delivery},
    time,
};

/// A question, before it is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// What is asked.
    pub text: String,
    /// What kind of answer is hoped for.
    pub answer: AnswerKind,
    /// An answer is expected within this time after it is asked.
    pub expires: Option<Duration>,
}

/// A check-in that the server will release.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// The prompt that the server keeps.
    pub prompt_id: String,
    /// Devices that could not be given the key.
    pub missed_devices: usize,
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
    let checkin = question.checkin(now)?;
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
    let checkin = question.checkin(at)?;
    let prompt = Prompt {
        checkin: &checkin,
        at,
        unless_written_since: None,
        reminds: None,
    };
    let scheduled = hand_over(room, prompt, addressee).await?;
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
    Ok(hand_over(room, prompt, addressee).await?.prompt_id)
}

/// Answers a check-in.
///
/// # Errors
///
/// If something is out of limits, or the server refuses it.
pub async fn answer(
    room: &Room,
    asked: &Asked,
    answer: &Answer,
    wait: Duration,
) -> Result<Delivery> {
    let message = answer.to_message(&asked.checkin, Some(asked.event_id.clone()))?;
    outbox::send(room, &message, wait).await
}

impl Asked {
    /// The answer to a check-in without a questionnaire.
    ///
    /// # Errors
    ///
    /// If the number is not on its scale, or it asks for something else.
    pub fn reply(&self, value: Option<i64>, note: Option<String>) -> Result<Answer> {
        match (&self.checkin.answer, value) {
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
            (AnswerKind::Questionnaire { .. }, _) => {
                bail!("this check-in is a questionnaire; answer its questions")
            }
            _ => Ok(Answer::new(&self.checkin, value, note)),
        }
    }

    /// The answer to a questionnaire.
    ///
    /// # Errors
    ///
    /// If it is none, or its questions do not take these answers.
    pub fn fill_in(&self, answers: &Answers, note: Option<String>) -> Result<Answer> {
        let Some(questionnaire) = self.checkin.questionnaire() else {
            bail!("this check-in is no questionnaire");
        };
        questionnaire.check(answers)?;
        Ok(Answer::to_questionnaire(
            &self.checkin,
            questionnaire,
            answers,
            note,
        ))
    }
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
    fn checkin(&self, asked: Timestamp) -> Result<Checkin> {
        let expires = self
            .expires
            .map(|expires| time::after(asked, expires))
            .transpose()?;
        Ok(Checkin {
            id: new_id()?,
            text: self.text.trim().to_owned(),
            answer: self.answer.clone(),
            asked_ts: time::to_matrix(asked),
            expires_ts: expires.map(time::to_matrix),
            reminds: None,
        })
    }
}

struct Prompt<'a> {
    checkin: &'a Checkin,
    at: Timestamp,
    unless_written_since: Option<Timestamp>,
    reminds: Option<&'a str>,
}

async fn hand_over(room: &Room, prompt: Prompt<'_>, addressee: &UserId) -> Result<Scheduled> {
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
    Ok(Scheduled {
        prompt_id,
        missed_devices: sealed.missed.len(),
    })
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
    use super::*;

    #[test]
    fn new_ids_differ() {
        assert_ne!(new_id().unwrap(), new_id().unwrap());
    }
}
