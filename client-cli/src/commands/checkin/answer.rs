use std::io::{self, IsTerminal as _};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use jiff::Timestamp;
use matrix_sdk::Room;
use respite_protocol::{
    events::{self, AnswerKind},
    instruments::{Answers, Questionnaire, typed},
};
use ruma::UserId;
use serde_json::{Value as Json, json};

use super::super::Context;
use crate::{
    checkins::{self, Asked},
    failure, form, history,
    names::{Named, resolve},
    outbox::{Delivery, SEND_WAIT},
    rooms,
    safety::{self, Screen},
    terminal,
};

/// Answer a check-in: the newest open one, unless you name another.
///
/// A questionnaire is asked question by question, or answered with its numbers in their order (`-`
/// leaves one out), or by name with --set. Without a network, what this device knows to be open is
/// answered, and the answer goes out on the next run.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: respite checkin answer therapist 3 --note \"slept in two halves\"\nrespite checkin answer therapist 2 1 0 0 1 2 0 1 0"
)]
pub(crate) struct Answer {
    /// The room: a person in it, the beginning of their name, or the room's id.
    room: String,
    /// The number, or words if the check-in asks for words, or the numbers of a questionnaire;
    /// before it, perhaps, the beginning of the check-in's id.
    #[arg(value_name = "[ID] VALUE", num_args = 0.., allow_negative_numbers = true, conflicts_with = "value")]
    said: Vec<String>,
    /// The number, as an option.
    #[arg(long, allow_negative_numbers = true)]
    value: Option<i64>,
    /// The answer to one question of a questionnaire: its name or its number from 1, and the
    /// answer. Once for each.
    #[arg(long, value_name = "QUESTION=ANSWER", conflicts_with_all = ["said", "value"])]
    set: Vec<String>,
    /// A few words.
    #[arg(long)]
    note: Option<String>,
    /// Which check-in, if not the newest open one: the beginning of its id, as an option.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Mark it as urgent: it comes first in your therapist's inbox, and you see whom to call now.
    #[arg(long)]
    urgent: bool,
    /// Read the answers to a questionnaire from standard input, one on each line.
    #[arg(long)]
    form: bool,
}

impl Answer {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let now = context.now().timestamp();
        context
            .connected_if_possible(async |session| {
                let room = rooms::joined(session.client(), &self.room).await?;
                let agenda = agenda(&room).await?;
                let asked = choose(&agenda, self.id(), room.own_user_id(), now)?;
                // What this device knows without a network; that it cannot be read keeps nobody from being shown whom to call.
                let screen = Screen::own(session.client(), None).await;
                let screen = screen.unwrap_or_else(|_| Screen::of(None, None));
                let Some(mut answer) = self.answer(asked, &screen)? else {
                    context.out.note("nothing is sent");
                    return Ok(());
                };
                answer.urgent |= self.urgent;
                // Before anything else, and whatever the network does.
                let screen = answer.urgent.then_some(screen);
                if let (Some(screen), false) = (&screen, context.out.is_json()) {
                    context.out.result(screen, Screen::shown)?;
                }
                let delivery = checkins::answer(&room, asked, &answer, SEND_WAIT).await?;
                report(context, asked, &answer, &delivery, screen.as_ref())
            })
            .await
    }

    /// The id, from wherever it was written: two values, of which the first is no number.
    fn id(&self) -> Option<&str> {
        let is_answer = |text: &String| text == "-" || text.parse::<f64>().is_ok();
        match self.said.as_slice() {
            [id, ..] if self.id.is_none() && self.said.len() > 1 && !is_answer(id) => Some(id),
            _ => self.id.as_deref(),
        }
    }

    /// What was said, without the id.
    fn values(&self) -> &[String] {
        match self.said.split_first() {
            Some((_, values)) if self.id.is_none() && self.id().is_some() => values,
            _ => &self.said,
        }
    }

    fn note(&self) -> Option<String> {
        let note = self.note.clone().map(|note| note.trim().to_owned());
        note.filter(|note| !note.is_empty())
    }

    /// The answer; nothing if the form was left at its end.
    fn answer(&self, asked: &Asked, screen: &Screen) -> Result<Option<events::Answer>> {
        match &asked.checkin.answer {
            AnswerKind::Questionnaire { questionnaire } => {
                self.filled(asked, questionnaire, screen)
            }
            AnswerKind::Text | AnswerKind::Scale(_) if !self.set.is_empty() || self.form => {
                bail!(
                    "this check-in is one question, without names; answer it with a number or words"
                )
            }
            AnswerKind::Text | AnswerKind::Scale(_) => {
                let (value, note) = self.words(asked)?;
                asked.reply(value, note).map(Some)
            }
        }
    }

    fn filled(
        &self,
        asked: &Asked,
        questionnaire: &Questionnaire,
        screen: &Screen,
    ) -> Result<Option<events::Answer>> {
        let mut values = self.values().join(" ");
        values.extend(self.value.map(|value| value.to_string()));
        if !self.set.is_empty() {
            let answers = set(questionnaire, &self.set)?;
            return asked.fill_in(&answers, self.note()).map(Some);
        }
        if values.is_empty() {
            if !self.form && !io::stdin().is_terminal() {
                bail!(
                    "there is no terminal to ask on; give the answers as values, with --set, or with --form"
                );
            }
            let (input, output) = (&mut io::stdin().lock(), &mut io::stderr());
            let filled = form::fill_in(questionnaire, &screen.shown(), input, output)?;
            let Some(filled) = filled else {
                return Ok(None);
            };
            return asked
                .fill_in(&filled.answers, self.note().or(filled.note))
                .map(Some);
        }
        let typed = typed(questionnaire, &values).with_context(|| {
            let lines = questionnaire.as_text();
            let how = lines.lines().next_back().unwrap_or_default().to_owned();
            format!(
                "“{}” is not understood. {}",
                terminal::line(&values),
                terminal::line(&how)
            )
        })?;
        asked
            .fill_in(&typed.answers, self.note().or(typed.note))
            .map(Some)
    }

    /// The number and the words, from wherever they were written.
    fn words(&self, asked: &Asked) -> Result<(Option<i64>, Option<String>)> {
        let note = self.note();
        if self.values().len() > 1 {
            bail!("this check-in is one question; put words in quotation marks");
        }
        match (self.values().first(), &asked.checkin.answer) {
            (None, _) => Ok((self.value, note)),
            (Some(said), AnswerKind::Scale(scale)) => match said.trim().parse() {
                Ok(value) => Ok((Some(value), note)),
                Err(_) => bail!(
                    "this check-in asks for a number from {} to {}; words go into --note",
                    scale.low,
                    scale.high
                ),
            },
            (Some(said), _) => {
                let note = note
                    .map(|note| format!("{said}\n{note}"))
                    .unwrap_or_else(|| said.clone());
                Ok((None, Some(note)))
            }
        }
    }
}

/// The room's check-ins; without a network those that this device knows to be open.
async fn agenda(room: &Room) -> Result<Vec<Asked>> {
    match history::recent(room, super::WINDOW).await {
        Ok(entries) => {
            safety::keep(room, &entries).await?;
            let agenda = checkins::agenda(&entries);
            checkins::remember(room, &agenda).await?;
            Ok(agenda)
        }
        Err(error) if failure::is_unreachable(&error) => checkins::recall(room).await,
        Err(error) => Err(error),
    }
}

/// Answers that are given one by one, each as `QUESTION=ANSWER`.
fn set(questionnaire: &Questionnaire, given: &[String]) -> Result<Answers> {
    let mut answers = Answers::default();
    for given in given {
        let (name, answer) = given
            .split_once('=')
            .with_context(|| format!("write “{}” like QUESTION=ANSWER", terminal::line(given)))?;
        let place = name
            .trim()
            .parse::<usize>()
            .ok()
            .and_then(|place| place.checked_sub(1));
        let question = questionnaire
            .question(name.trim())
            .or_else(|| questionnaire.questions().nth(place?))
            .with_context(|| format!("there is no question “{}”", terminal::line(name)))?;
        let value = question.kind.read(answer).with_context(|| {
            let (text, hint) = (terminal::line(&question.text), question.kind.hint());
            format!("that is no answer to “{text}”: {}", terminal::line(&hint))
        })?;
        answers.set(question.link_id.clone(), value);
    }
    Ok(answers)
}

fn report(
    context: &Context,
    asked: &Asked,
    answer: &events::Answer,
    delivery: &Delivery,
    screen: Option<&Screen>,
) -> Result<()> {
    let answers = answer.answers(&asked.checkin).unwrap_or_default();
    let questionnaire = asked.checkin.questionnaire();
    let scored = questionnaire.map(|questionnaire| questionnaire.scored(&answers));
    let scores: Vec<_> = scored.iter().flatten().map(ToString::to_string).collect();
    let mut result = match delivery {
        Delivery::Sent(event_id) => json!({ "status": "sent", "event_id": event_id }),
        Delivery::Queued { why } => json!({ "status": "queued", "why": why }),
    };
    if let Json::Object(result) = &mut result {
        result.insert("urgent".to_owned(), json!(answer.urgent));
        result.insert("scores".to_owned(), json!(scores));
        if let Some(screen) = screen {
            result.insert("crisis".to_owned(), json!(screen));
        }
    }
    context.out.result(&result, |_| {
        let scores = if scores.is_empty() {
            String::new()
        } else {
            format!(" ({})", scores.join("; "))
        };
        match delivery {
            Delivery::Sent(_) => format!("answer: sent{scores}"),
            Delivery::Queued { why } => {
                format!("answer: queued{scores}; goes out on the next run ({why})")
            }
        }
    })
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
mod tests;
