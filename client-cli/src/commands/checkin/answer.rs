use anyhow::{Result, bail};
use clap::Args;
use jiff::Timestamp;
use respite_protocol::events::AnswerKind;
use ruma::UserId;

use super::super::Context;
use crate::{
    checkins::{self, Asked},
    history,
    names::{Named, resolve},
    outbox::SEND_WAIT,
    rooms, terminal,
};

/// Answer a check-in: the newest open one, unless you name another.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: respite checkin answer therapist 3 --note \"slept in two halves\""
)]
pub(crate) struct Answer {
    /// The room: a person in it, the beginning of their name, or the room's id.
    room: String,
    /// The number, or words if the check-in asks for words; before it, perhaps, the beginning of
    /// the check-in's id.
    #[arg(value_name = "[ID] VALUE", num_args = 0..=2, allow_negative_numbers = true, conflicts_with = "value")]
    said: Vec<String>,
    /// The number, as an option.
    #[arg(long, allow_negative_numbers = true)]
    value: Option<i64>,
    /// A few words.
    #[arg(long)]
    note: Option<String>,
    /// Which check-in, if not the newest open one: the beginning of its id, as an option.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

impl Answer {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let now = context.now().timestamp();
        let delivery = context
            .connected(async |session| {
                let room = rooms::joined(session.client(), &self.room).await?;
                let agenda = checkins::agenda(&history::recent(&room, super::WINDOW).await?);
                let asked = choose(&agenda, self.id(), room.own_user_id(), now)?;
                let (value, note) = self.words(asked)?;
                checkins::answer(&room, asked, value, note, SEND_WAIT).await
            })
            .await?;
        context.delivered(&delivery, "answer")
    }

    /// The id, from wherever it was written.
    fn id(&self) -> Option<&str> {
        match self.said.as_slice() {
            [id, _] => Some(id),
            _ => self.id.as_deref(),
        }
    }

    /// The number and the words, from wherever they were written.
    fn words(&self, asked: &Asked) -> Result<(Option<i64>, Option<String>)> {
        let note = self
            .note
            .clone()
            .map(|note| note.trim().to_owned())
            .filter(|note| !note.is_empty());
        match (self.said.last(), &asked.checkin.answer) {
            (None, _) => Ok((self.value, note)),
            (Some(said), AnswerKind::Scale(scale)) => match said.trim().parse() {
                Ok(value) => Ok((Some(value), note)),
                Err(_) => bail!(
                    "this check-in asks for a number from {} to {}; words go into --note",
                    scale.low,
                    scale.high
                ),
            },
            (Some(said), AnswerKind::Text) => {
                let note = note
                    .map(|note| format!("{said}\n{note}"))
                    .unwrap_or_else(|| said.clone());
                Ok((None, Some(note)))
            }
        }
    }
}

/// The check-in with that id, or the newest that `own` has not answered.
fn choose<'a>(
    agenda: &'a [Asked],
    id: Option<&str>,
    own: &UserId,
    now: Timestamp,
) -> Result<&'a Asked> {
    let Some(id) = id else {
        let open = agenda.iter().rfind(|asked| asked.is_open_for(own, now));
        return match open {
            Some(asked) => Ok(asked),
            None => bail!(
                "there is no open check-in here; name one with --id to answer it late or again"
            ),
        };
    };
    let named: Vec<_> = agenda
        .iter()
        .filter(|asked| asked.sender != own)
        .map(|asked| Named {
            thing: asked,
            id: asked.checkin.original().to_string(),
            label: format!(
                "{} “{}”",
                asked.checkin.original(),
                terminal::line(&asked.checkin.text)
            ),
            aliases: vec![asked.event_id.to_string()],
        })
        .collect();
    Ok(resolve("check-in", id, &named)?.thing)
}

#[cfg(test)]
mod tests {
    use respite_protocol::events::{Checkin, Scale};
    use ruma::user_id;

    use super::*;
    use crate::time;

    fn asked(id: &str, second: i64, answer: AnswerKind) -> Asked {
        let at = Timestamp::from_second(second).unwrap();
        Asked {
            checkin: Checkin {
                id: id.parse().unwrap(),
                text: "?".to_owned(),
                answer,
                asked_ts: time::to_matrix(at),
                expires_ts: None,
                reminds: None,
            },
            event_id: format!("${id}").try_into().unwrap(),
            sender: "@therapist:x".try_into().unwrap(),
            at,
            expires: None,
            answers: Vec::new(),
        }
    }

    fn scale() -> AnswerKind {
        AnswerKind::Scale(Scale::new(1, 5))
    }

    fn says(said: Option<&str>, value: Option<i64>, note: Option<&str>) -> Answer {
        let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
        Answer {
            room: String::new(),
            said: said.into_iter().map(ToOwned::to_owned).collect(),
            value,
            note: owned(note),
            id: None,
        }
    }

    #[test]
    fn the_newest_open_check_in_is_answered_unless_another_is_named() {
        let now = Timestamp::from_second(100).unwrap();
        let agenda = [asked("first", 1, scale()), asked("second", 2, scale())];
        let own = user_id!("@nurse:x");
        assert_eq!(choose(&agenda, None, own, now).unwrap().event_id, "$second");
        assert_eq!(
            choose(&agenda, Some("fir"), own, now).unwrap().event_id,
            "$first"
        );
        assert!(choose(&agenda, Some("third"), own, now).is_err());
        assert!(choose(&agenda, None, user_id!("@therapist:x"), now).is_err());
    }

    #[test]
    fn a_number_goes_to_a_scale_and_words_to_a_question_for_words() {
        let number = says(Some("3"), None, Some("tired"));
        assert_eq!(
            number.words(&asked("a", 1, scale())).unwrap(),
            (Some(3), Some("tired".to_owned()))
        );
        assert_eq!(
            number.words(&asked("a", 1, AnswerKind::Text)).unwrap(),
            (None, Some("3\ntired".to_owned()))
        );
        assert!(
            says(Some("fine"), None, None)
                .words(&asked("a", 1, scale()))
                .is_err()
        );
        assert_eq!(
            says(None, Some(2), None)
                .words(&asked("a", 1, scale()))
                .unwrap(),
            (Some(2), None)
        );
    }
}
