//! What the operator's commands share: they ask the server that runs on the data directory, or open it themselves.

use std::io::Write;

use clap::Args;
use respite_server::{
    Options,
    admin::{self, Answer, Command, socket},
    config::{Config, ConfigError},
    start,
};

use super::Place;

/// Where, and for whom.
#[derive(Args)]
pub(super) struct Operate {
    #[command(flatten)]
    place: Place,
    /// Print one JSON object, for programs.
    #[arg(long)]
    json: bool,
}

impl Operate {
    /// The configuration of the command, which may be newer than that of the server that runs.
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        self.place.load()
    }

    /// Has a command done and prints what came of it: as JSON, or in the words of `tell`.
    pub(super) async fn run(
        self,
        command: Command,
        tell: impl FnOnce(&mut dyn Write, &Answer) -> std::io::Result<()>,
    ) -> anyhow::Result<Answer> {
        let answer = self.place.execute(command).await?;
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &answer)?;
            writeln!(out)?;
        } else {
            tell(&mut out, &answer)?;
        }
        out.flush()?;
        Ok(answer)
    }
}

impl Place {
    async fn execute(self, command: Command) -> anyhow::Result<Answer> {
        let config = self.load()?;
        if let Some(answer) = socket::ask(&config.server.data, &command).await? {
            return Ok(answer);
        }
        let app = start::open_existing(config, Options::default(), command.needs_blobs()).await?;
        Ok(admin::execute(&app, command).await?)
    }
}
