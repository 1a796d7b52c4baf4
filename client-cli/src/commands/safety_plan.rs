mod edit;
mod show;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::Context;

/// Write and see a safety plan, and whom to call in a crisis.
#[derive(Args, Debug)]
pub(super) struct SafetyPlan {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(show::Show),
    Edit(Box<edit::Edit>),
}

impl SafetyPlan {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        match self.command {
            Command::Show(command) => command.run(context).await,
            Command::Edit(command) => command.run(context).await,
        }
    }
}
