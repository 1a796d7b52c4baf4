mod export;
mod import;
mod list;
mod remove;
mod show;

use anyhow::Result;
use clap::{Args, Subcommand};
use respite_protocol::instruments::Questionnaire;

use super::{Context, finish};
use crate::instruments;

/// List, show, import and export the questionnaires that you can ask.
#[derive(Args, Debug)]
pub(super) struct Instruments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Show(show::Show),
    Import(import::Import),
    Export(export::Export),
    Remove(remove::Remove),
}

impl Instruments {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        match self.command {
            Command::List(command) => command.run(context).await,
            Command::Show(command) => command.run(context).await,
            Command::Import(command) => command.run(context).await,
            Command::Export(command) => command.run(context).await,
            Command::Remove(command) => command.run(context).await,
        }
    }
}

/// What was imported on this device: nothing if nobody is logged in. The server is not asked.
async fn imported(context: &Context) -> Result<Vec<Questionnaire>> {
    if !context.profile.has_session() {
        return Ok(Vec::new());
    }
    let session = context.open().await?;
    let imported = instruments::imported(session.client()).await;
    finish(session, imported).await
}
