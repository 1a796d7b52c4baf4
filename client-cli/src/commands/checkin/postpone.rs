use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use super::{
    super::{Context, duration_argument},
    scheduled,
};
use crate::{checkins, rooms, time};

/// Move a scheduled check-in, and its reminder with it. Both its author and who is asked may.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite checkin postpone therapist --by 2h")]
pub(crate) struct Postpone {
    /// The room: a person in it, the beginning of their name, or the room's id.
    room: String,
    /// Which one, if more than one is scheduled: the beginning of its id.
    id: Option<String>,
    /// How much later.
    #[arg(long, value_name = "DURATION", value_parser = duration_argument, conflicts_with = "to", required_unless_present = "to")]
    by: Option<Duration>,
    /// The new time: 21:30 (the next), +2h, 2026-11-30 08:00, or RFC 3339.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

impl Postpone {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let now = context.now();
        let to = self
            .to
            .as_deref()
            .map(|to| time::moment(to, &now))
            .transpose()?;
        let (prompt_id, at) = context
            .connected(async |session| {
                let room = rooms::joined(session.client(), &self.room).await?;
                let prompt = scheduled(context, &room, self.id.as_deref()).await?;
                let at = match (to, self.by) {
                    (Some(to), _) => to,
                    (None, by) => {
                        let by = by.context("say how much later, or until when")?;
                        time::after(time::from_matrix(prompt.release_ts), by)?
                    }
                };
                checkins::postpone(&room, &prompt.prompt_id, at).await?;
                Ok((prompt.prompt_id, at))
            })
            .await?;
        context
            .out
            .result(&json!({ "prompt_id": prompt_id, "at": at }), |_| {
                format!("The check-in comes {} now.", time::shown(at, &now))
            })
    }
}
