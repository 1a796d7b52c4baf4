use std::{path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use clap::Args;
use jiff::Timestamp;
use matrix_sdk::Room;
use respite_protocol::{
    events::{AnswerKind, Checkin, Scale},
    instruments::Questionnaire,
};
use serde_json::json;

use super::super::{Context, duration_argument};
use crate::{
    checkins::{self, Question, Scheduled},
    instruments::{self, Rule},
    outbox::{Delivery, SEND_WAIT},
    rooms, time,
};

/// Ask a question or a questionnaire, now or later.
///
/// A questionnaire is one that `respite instruments list` names, or a FHIR file. Any client can
/// answer it by typing the numbers; one question is a poll.
///
/// With --at the question is encrypted here, and the server releases it at that time without ever
/// being able to read it.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: respite checkin ask heron --text \"How did you sleep?\" --scale 1-5 --at 15:30 --expires 8h --remind 2h\nrespite checkin ask heron --instrument phq-9 --expires 24h"
)]
pub(crate) struct Ask {
    /// The room: a person in it, the beginning of their name, or the room's id.
    room: String,
    /// The question.
    #[arg(long, required_unless_present_any = ["instrument", "file"])]
    text: Option<String>,
    /// A questionnaire, such as phq-9.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["text", "scale", "file"])]
    instrument: Option<String>,
    /// A questionnaire in a file: FHIR R4, JSON.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "scale"])]
    file: Option<PathBuf>,
    /// Which answer is urgent, like 9>=1 (a question's number or name) or <=2 with --scale: the
    /// person then sees their safety plan and crisis lines at once, and your inbox has it on top.
    #[arg(long, value_name = "RULE")]
    urgent: Vec<Rule>,
    /// Ask for a number: lowest and highest, like 1-5, perhaps with what they mean: 1-5:awful:great
    #[arg(long, value_name = "LOW-HIGH", value_parser = scale_argument, allow_hyphen_values = true)]
    scale: Option<Scale>,
    /// Who is asked, if more than one other person is in the room.
    #[arg(long, value_name = "USER")]
    to: Option<String>,
    /// When to ask: 21:30 (the next), +2h, 2026-11-30 08:00, or RFC 3339.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// An answer is expected within this time after the question.
    #[arg(long, value_name = "DURATION", value_parser = duration_argument)]
    expires: Option<Duration>,
    /// Ask once more this long after the question, unless they have written since.
    #[arg(long, value_name = "DURATION", value_parser = duration_argument)]
    remind: Option<Duration>,
}

impl Ask {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let now = context.now();
        let at = self
            .at
            .as_deref()
            .map(|at| time::moment(at, &now))
            .transpose()?;
        if at.is_some_and(|at| at <= now.timestamp()) {
            anyhow::bail!("that time has passed; leave --at out to ask now");
        }
        context
            .connected(async |session| {
                let imported = instruments::imported(session.client()).await?;
                let question = self.question(imported)?;
                let room = rooms::joined(session.client(), &self.room).await?;
                match at {
                    Some(at) => self.later(context, &room, &question, at).await,
                    None => self.now(context, &room, &question, now.timestamp()).await,
                }
            })
            .await
    }

    fn question(&self, imported: Vec<Questionnaire>) -> Result<Question> {
        let questionnaire = match (&self.instrument, &self.file, &self.text, &self.scale) {
            (Some(name), ..) => Some(instruments::named(name, imported)?),
            (None, Some(file), ..) => Some(instruments::read(file)?),
            (None, None, Some(text), Some(scale)) if !self.urgent.is_empty() => {
                Some(instruments::single(text, scale.clone()))
            }
            _ => None,
        };
        let (text, answer) = match (questionnaire, &self.scale) {
            (Some(mut questionnaire), _) => {
                for rule in &self.urgent {
                    rule.set(&mut questionnaire)?;
                }
                (
                    questionnaire.title.clone(),
                    instruments::asked(questionnaire),
                )
            }
            (None, _) if !self.urgent.is_empty() => {
                bail!("--urgent needs numbers: ask with --scale or a questionnaire")
            }
            (None, Some(scale)) => (self.words(), AnswerKind::Scale(scale.clone())),
            (None, None) => (self.words(), AnswerKind::Text),
        };
        Ok(Question {
            text,
            answer,
            expires: self.expires,
        })
    }

    fn words(&self) -> String {
        self.text.clone().unwrap_or_default()
    }

    async fn now(
        &self,
        context: &Context,
        room: &Room,
        question: &Question,
        now: Timestamp,
    ) -> Result<()> {
        let (checkin, delivery) = checkins::ask(room, question, now, SEND_WAIT).await?;
        let reminder_id = match &delivery {
            Delivery::Sent(_) => self.remind(room, &checkin, None, now).await?,
            Delivery::Queued { .. } => None,
        };
        let (status, event_id) = match &delivery {
            Delivery::Sent(event_id) => ("sent", Some(event_id)),
            Delivery::Queued { .. } => ("queued", None),
        };
        let result = json!({ "id": checkin.id, "status": status, "event_id": event_id, "reminder_id": reminder_id });
        context.out.result(&result, |_| match &delivery {
            Delivery::Sent(_) => format!("check-in {}: asked", checkin.id),
            Delivery::Queued { why } => format!(
                "check-in {}: queued; goes out on the next run ({why})",
                checkin.id
            ),
        })
    }

    async fn later(
        &self,
        context: &Context,
        room: &Room,
        question: &Question,
        at: Timestamp,
    ) -> Result<()> {
        let addressee = rooms::addressee(room, self.to.as_deref()).await?;
        let (checkin, scheduled) = checkins::schedule(room, question, at, &addressee).await?;
        let Scheduled {
            prompt_id,
            missed_devices,
        } = scheduled;
        let reminder_id = self.remind(room, &checkin, Some(&prompt_id), at).await?;
        let result = json!({
            "id": checkin.id, "status": "scheduled", "at": at, "prompt_id": prompt_id,
            "reminder_id": reminder_id, "missed_devices": missed_devices,
        });
        let now = context.now();
        context.out.result(&result, |_| {
            format!(
                "check-in scheduled for {} (to cancel or postpone: {prompt_id})",
                time::shown(at, &now)
            )
        })?;
        if missed_devices > 0 {
            context.out.note(&format!("{missed_devices} device(s) could not be given the key and may not be able to read it"));
        }
        Ok(())
    }

    async fn remind(
        &self,
        room: &Room,
        checkin: &Checkin,
        prompt_id: Option<&str>,
        asked: Timestamp,
    ) -> Result<Option<String>> {
        let Some(after) = self.remind else {
            return Ok(None);
        };
        let addressee = rooms::addressee(room, self.to.as_deref()).await?;
        let at = time::after(asked, after)?;
        Ok(Some(
            checkins::remind(room, checkin, prompt_id, at, &addressee).await?,
        ))
    }
}

/// Reads `1-5`, `-2-2`, or `1-5:awful:great`.
fn scale_argument(text: &str) -> Result<Scale, String> {
    let wrong = || "write it like 1-5 or 0-10:awful:great".to_owned();
    let mut parts = text.splitn(3, ':');
    let range = parts.next().unwrap_or_default();
    // The first character may be a sign.
    let (at, _) = range
        .char_indices()
        .skip(1)
        .find(|(_, c)| *c == '-')
        .ok_or_else(wrong)?;
    let (low, high) = range.split_at_checked(at).ok_or_else(wrong)?;
    let label = |text: Option<&str>| {
        text.map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    };
    let scale = Scale {
        low: low.parse().map_err(|_| wrong())?,
        high: high
            .get(1..)
            .unwrap_or_default()
            .parse()
            .map_err(|_| wrong())?,
        low_label: label(parts.next()),
        high_label: label(parts.next()),
    };
    scale.validate().map_err(|error| error.to_string())?;
    Ok(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_written_as_people_write_them() {
        assert_eq!(scale_argument("1-5"), Ok(Scale::new(1, 5)));
        assert_eq!(scale_argument("-2-2"), Ok(Scale::new(-2, 2)));
        let labelled = scale_argument("0-10:awful:very well").unwrap();
        assert_eq!(
            (
                labelled.low_label.as_deref(),
                labelled.high_label.as_deref()
            ),
            (Some("awful"), Some("very well"))
        );
        for text in ["", "5", "1-", "-", "a-b", "5-1", "0-1000", "1–5"] {
            assert!(scale_argument(text).is_err(), "{text}");
        }
    }
}
