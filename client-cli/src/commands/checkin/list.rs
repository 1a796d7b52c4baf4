use anyhow::Result;
use clap::Args;
use jiff::{Timestamp, Zoned};
use serde::Serialize;

use super::super::Context;
use crate::{
    checkins::{self, Given, Unclear},
    history,
    render::{self, Names},
    rooms, terminal, time,
};

/// List the check-ins of a room: asked, answered, and scheduled.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite checkin list heron")]
pub(crate) struct List {
    /// The room: a person in it, the beginning of their name, or the room's id.
    room: String,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line {
    Asked {
        id: String,
        by: String,
        text: String,
        time: Timestamp,
        expires: Option<Timestamp>,
        state: &'static str,
        answers: Vec<Given>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        unclear: Vec<Unclear>,
        #[serde(skip)]
        names: Vec<String>,
    },
    Scheduled {
        prompt_id: String,
        addressee: String,
        time: Timestamp,
        expires: Option<Timestamp>,
        reminder: bool,
        text: Option<String>,
        own: bool,
    },
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let now = context.now();
        let lines = context
            .connected(async |session| {
                let room = rooms::joined(session.client(), &self.room).await?;
                let entries = history::recent(&room, super::WINDOW).await?;
                let names = Names::of(&room, &entries).await?;
                let mut lines: Vec<_> = checkins::agenda(&entries)
                    .into_iter()
                    .map(|asked| asked_line(asked, &names, now.timestamp()))
                    .collect();
                for prompt in checkins::waiting(&room).await? {
                    lines.push(Line::Scheduled {
                        text: checkins::remembered(&room, &prompt.prompt_id).await?,
                        own: prompt.sender == room.own_user_id(),
                        prompt_id: prompt.prompt_id,
                        addressee: rooms::pseudonym(&room, &prompt.addressee).await?,
                        time: time::from_matrix(prompt.release_ts),
                        expires: prompt.expires_ts.map(time::from_matrix),
                        reminder: prompt.unless_written_since.is_some(),
                    });
                }
                Ok(lines)
            })
            .await?;
        context
            .out
            .list(&lines, "There are no check-ins here.", |line| {
                shown(line, &now)
            })
    }
}

fn asked_line(asked: checkins::Asked, names: &Names, now: Timestamp) -> Line {
    let state = match (asked.answers.is_empty(), asked.is_expired(now)) {
        (false, _) => "answered",
        (true, true) => "expired",
        (true, false) => "open",
    };
    Line::Asked {
        id: asked.checkin.original().to_string(),
        by: names.of_user(&asked.sender),
        text: asked.checkin.text,
        time: asked.at,
        expires: asked.expires,
        state,
        names: asked
            .answers
            .iter()
            .map(|given| names.of_user(&given.by))
            .collect(),
        answers: asked.answers,
        unclear: asked.unclear,
    }
}

fn answer_shown(given: &Given, name: &str, now: &Zoned) -> String {
    let scores: Vec<_> = given
        .scores
        .iter()
        .map(|score| score.shown.clone())
        .collect();
    let urgent = if given.urgent { "URGENT " } else { "" };
    let late = if given.late { " (late)" } else { "" };
    let answer = render::scored(given.value, &scores, given.note.as_deref());
    let mut shown = format!(
        "\n    {} {urgent}{name}: {answer}{late}",
        time::shown(given.at, now)
    );
    if given.value.is_none() {
        for said in &given.said {
            let (text, answer) = (terminal::line(&said.text), terminal::line(&said.answer));
            shown.push_str(&format!("\n        {text}: {answer}"));
        }
    }
    shown
}

fn shown(line: &Line, now: &Zoned) -> String {
    match line {
        Line::Asked {
            id,
            by,
            text,
            time,
            expires,
            state,
            answers,
            unclear,
            names,
        } => {
            let until = match expires {
                Some(expires) if *state == "open" => {
                    format!(" until {}", time::shown(*expires, now))
                }
                _ => String::new(),
            };
            let mut shown = format!(
                "{}  {id}  [{state}{until}] {by}: {}",
                time::shown(*time, now),
                terminal::line(text)
            );
            for (given, name) in answers.iter().zip(names) {
                shown.push_str(&answer_shown(given, name, now));
            }
            for unclear in unclear {
                shown.push_str(&format!(
                    "\n    {} not understood: {}",
                    time::shown(unclear.at, now),
                    terminal::line(&unclear.body)
                ));
            }
            shown
        }
        Line::Scheduled {
            prompt_id,
            addressee,
            time,
            reminder,
            text,
            own,
            ..
        } => {
            let what = if *reminder { "reminder" } else { "scheduled" };
            let sealed = if *own {
                "(written on another device)"
            } else {
                "(sealed until then)"
            };
            let text = text.as_deref().map(terminal::line);
            format!(
                "{}  {}  [{what}] for {addressee}: {}",
                time::shown(*time, now),
                terminal::line(prompt_id),
                text.as_deref().unwrap_or(sealed)
            )
        }
    }
}
