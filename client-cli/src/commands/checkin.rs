mod answer;
mod ask;
mod cancel;
mod list;
mod postpone;
mod trend;

use anyhow::Result;
use clap::{Args, Subcommand};
use matrix_sdk::Room;
use respite_protocol::api::list_prompts::Prompt;

use super::Context;
use crate::{
    checkins,
    names::{Named, resolve},
    terminal, time,
};

/// How far back check-ins are looked for, in entries of the room.
const WINDOW: usize = 300;

/// Ask how someone is, now or between their shifts, and answer.
#[derive(Args, Debug)]
pub(super) struct Checkin {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ask(ask::Ask),
    Answer(answer::Answer),
    List(list::List),
    Cancel(cancel::Cancel),
    Postpone(postpone::Postpone),
    Trend(trend::Trends),
}

impl Checkin {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        match self.command {
            Command::Ask(command) => command.run(context).await,
            Command::Answer(command) => command.run(context).await,
            Command::List(command) => command.run(context).await,
            Command::Cancel(command) => command.run(context).await,
            Command::Postpone(command) => command.run(context).await,
            Command::Trend(command) => command.run(context).await,
        }
    }
}

/// The scheduled check-in that `id` stands for: the only one, if none is named.
async fn scheduled(context: &Context, room: &Room, id: Option<&str>) -> Result<Prompt> {
    let mut prompts = checkins::waiting(room).await?;
    // A reminder alone is meant only if there is nothing else.
    let is_reminder =
        |prompt: &Prompt| prompt.reminds.is_some() || prompt.unless_written_since.is_some();
    if id.is_none() && !prompts.iter().all(is_reminder) {
        prompts.retain(|prompt| !is_reminder(prompt));
    }
    let now = context.now();
    let named: Vec<_> = prompts
        .into_iter()
        .map(|prompt| Named {
            id: prompt.prompt_id.clone(),
            label: format!(
                "{} ({})",
                terminal::line(&prompt.prompt_id),
                time::shown(time::from_matrix(prompt.release_ts), &now)
            ),
            aliases: Vec::new(),
            thing: prompt,
        })
        .collect();
    match (id, named.as_slice()) {
        (None, [only]) => Ok(only.thing.clone()),
        (None, []) => anyhow::bail!("nothing is scheduled in this room"),
        (None, many) => {
            let labels: Vec<_> = many.iter().map(|named| named.label.clone()).collect();
            anyhow::bail!(
                "more than one check-in is scheduled; name one: {}",
                labels.join(", ")
            )
        }
        (Some(id), all) => Ok(resolve("scheduled check-in", id, all)?.thing.clone()),
    }
}
