use anyhow::{Result, bail};
use clap::Args;

use super::super::{Context, finish};
use crate::{
    history, rooms,
    safety::{self, Screen},
    terminal, time,
};

/// Show your safety plan and the crisis lines of your country. It needs no network.
///
/// With a room it shows the newest plan there of the person that you are with: as a therapist, that
/// of your client.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite safety-plan show")]
pub(crate) struct Show {
    /// The room, to see another person's plan: a person in it, the beginning of their name, or the
    /// room's id.
    room: Option<String>,
    /// Whose plan, if more than one other person is in the room.
    #[arg(long, value_name = "USER", requires = "room")]
    of: Option<String>,
    /// Show the crisis lines of this country: two letters, like IE.
    #[arg(long, value_name = "CODE")]
    country: Option<String>,
}

impl Show {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let Some(room) = &self.room else {
            return self.own(context).await;
        };
        context
            .connected(async |session| {
                let room = rooms::joined(session.client(), room).await?;
                let person = rooms::addressee(&room, self.of.as_deref()).await?;
                let entries = history::recent(&room, history::MAX_ENTRIES).await?;
                let Some(found) = safety::newest(&room, &entries, &person).await? else {
                    bail!("there is no safety plan of theirs in this room")
                };
                let by = rooms::pseudonym(&room, &found.by).await?;
                let when = time::shown(found.at, &context.now());
                context.out.result(&found, |found| {
                    let mut lines = vec![format!("written by {by}, {when}:")];
                    lines.extend(safety::plan_lines(&found.plan));
                    lines.extend(found.plan.country.as_deref().map(terminal::line));
                    lines.join("\n")
                })
            })
            .await
    }

    /// Works for everybody, also before they have an account, and without a network.
    async fn own(&self, context: &Context) -> Result<()> {
        let screen = if context.profile.has_session() {
            let session = context.open().await?;
            let screen = Screen::own(session.client(), self.country.as_deref()).await;
            finish(session, screen).await?
        } else {
            Screen::of(None, self.country.as_deref())
        };
        context.out.result(&screen, Screen::shown)
    }
}
