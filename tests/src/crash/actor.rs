//! Somebody who works while things are killed, and compares afterwards.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    Outcome, key_claims::Claimer, messages::Writer, prompts::Asker, settings::Sorter,
    uploads::Uploader,
};
use crate::raw::{Answer, Raw};

/// How long somebody waits after a request that came to nothing.
const PAUSE: Duration = Duration::from_millis(20);

/// One kind of load and its check.
pub(super) enum Actor {
    Writer(Box<Writer>),
    Asker(Box<Asker>),
    Claimer(Box<Claimer>),
    Uploader(Box<Uploader>),
    Sorter(Box<Sorter>),
}

impl Actor {
    pub(super) async fn writes(person: Raw, room: String) -> Result<Self> {
        Ok(Self::Writer(Box::new(Writer::new(person, room).await?)))
    }

    pub(super) fn asks(therapist: Raw, asked: String, room: String) -> Self {
        Self::Asker(Box::new(Asker::new(therapist, asked, room)))
    }

    pub(super) async fn claims(person: Raw) -> Result<Self> {
        Ok(Self::Claimer(Box::new(Claimer::new(person).await?)))
    }

    pub(super) fn uploads(person: Raw) -> Self {
        Self::Uploader(Box::new(Uploader::new(person)))
    }

    pub(super) fn sorts(person: Raw, room: String) -> Self {
        Self::Sorter(Box::new(Sorter::new(person, room)))
    }

    /// Sends requests until `end`; a request whose answer was not heard is sent again, now or in the next round.
    pub(super) async fn work(
        &mut self,
        end: &CancellationToken,
        outcome: &mut Outcome,
    ) -> Result<()> {
        while !end.is_cancelled() {
            let heard = match self {
                Self::Writer(writer) => writer.step(outcome).await?,
                Self::Asker(asker) => asker.step(outcome).await?,
                Self::Claimer(claimer) => claimer.step(outcome).await?,
                Self::Uploader(uploader) => uploader.step(outcome).await?,
                Self::Sorter(sorter) => sorter.step(outcome).await?,
            };
            if !heard {
                outcome.unheard += 1;
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Compares what is there with what was acknowledged; in the end, from the beginning.
    pub(super) async fn check(&mut self, last: bool, outcome: &mut Outcome) -> Result<()> {
        match self {
            Self::Writer(writer) => writer.check(last, outcome).await,
            Self::Asker(asker) => asker.check(last, outcome).await,
            Self::Claimer(claimer) => claimer.check(outcome).await,
            Self::Uploader(uploader) => uploader.check(last, outcome).await,
            Self::Sorter(sorter) => sorter.check(outcome).await,
        }
    }
}

/// The body of a 200; `None` if nobody knows what came of the request: the connection broke, or the store was away.
///
/// # Errors
/// It was refused, which has nothing to do with crashes.
pub(super) fn heard(answer: Result<Answer>) -> Result<Option<Value>> {
    match answer {
        Ok(answer) if answer.status < 500 => answer.ok().map(Some),
        Ok(_) | Err(_) => Ok(None),
    }
}

/// The events of a room after the one with this id, oldest first; all, if there is none.
pub(super) async fn history(person: &Raw, room: &str, after: Option<&str>) -> Result<Vec<Value>> {
    let path = format!("v3/rooms/{room}/messages?dir=b&limit=1000");
    let (mut newest_first, mut from) = (Vec::new(), String::new());
    loop {
        let mut page = person.get(&format!("{path}{from}")).await?.ok()?;
        let Value::Array(events) = page["chunk"].take() else {
            anyhow::bail!("no events")
        };
        let is_new = |event: &Value| after.is_none_or(|known| event["event_id"] != known);
        let known = events.iter().any(|event| !is_new(event));
        newest_first.extend(events.into_iter().take_while(is_new));
        match page["end"].as_str() {
            Some(end) if !known => from = format!("&from={end}"),
            _ => break,
        }
    }
    newest_first.reverse();
    Ok(newest_first)
}
