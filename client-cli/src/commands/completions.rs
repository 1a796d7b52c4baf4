use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use std::io::Write as _;

/// Print a completion script for a shell.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: respite completions bash > ~/.local/share/bash-completion/completions/respite"
)]
pub(super) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut super::Cli::command(),
            "respite",
            &mut script,
        );
        std::io::stdout()
            .write_all(&script)
            .context("the script cannot be printed")
    }
}
