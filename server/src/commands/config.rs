use std::{io::Write, process::ExitCode};

use clap::Args;

use super::Place;

/// Print the whole effective configuration, with comments
#[derive(Args)]
#[command(after_help = "\
Examples:
  respite-server config > respite.toml             # a file to begin with
  respite-server config --config respite.toml      # check a file and see what it means")]
pub(super) struct Print {
    #[command(flatten)]
    place: Place,
}

impl Print {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.place.load()?;
        std::io::stdout().write_all(config.to_commented_toml().as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
