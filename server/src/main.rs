//! `respite-server`: serves, and does what an operator asks for. Exit codes: 0, 1 (refused or failed), 2 (usage).

mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    commands::Arguments::parse().run()
}
