//! The command line: one file a subcommand, its help beside what it does.

mod backup;
mod compact;
mod config;
mod invite;
mod migrate;
mod operate;
mod progress;
mod report;
mod restore;
mod room;
mod scan;
mod serve;
mod user;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use respite_server::config::{Config, ConfigError, Invalid};

/// How many threads may wait for the disk or hash passwords at the same time.
const MAX_BLOCKING_THREADS: usize = 64;

/// A Matrix homeserver for therapy that stores ciphertext only.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
    Config(config::Print),
    Invite(invite::Invite),
    User(user::User),
    Room(room::Room),
    Report(report::Report),
    Scan(scan::Scan),
    Compact(compact::Compact),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Migrate(migrate::Migrate),
}

/// Where the configuration and the data are.
#[derive(Args)]
struct Place {
    /// The configuration file; without one, every setting has its default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory; overrides `server.data`.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Arguments {
    /// Does what was asked for; says on standard error what went wrong.
    pub(crate) fn run(self) -> ExitCode {
        match self.dispatch() {
            Ok(code) => code,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "respite-server: {error:#}");
                let usage = error.is::<ConfigError>() || error.is::<Invalid>();
                ExitCode::from(if usage { 2 } else { 1 })
            }
        }
    }

    fn dispatch(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .max_blocking_threads(MAX_BLOCKING_THREADS)
            .enable_all()
            .build()?;
        match self.command {
            Command::Serve(serve) => runtime.block_on(serve.run()),
            Command::Config(print) => print.run(),
            Command::Invite(invite) => runtime.block_on(invite.run()),
            Command::User(user) => runtime.block_on(user.run()),
            Command::Room(room) => runtime.block_on(room.run()),
            Command::Report(report) => runtime.block_on(report.run()),
            Command::Scan(scan) => runtime.block_on(scan.run()),
            Command::Compact(compact) => runtime.block_on(compact.run()),
            Command::Backup(backup) => runtime.block_on(backup.run()),
            Command::Restore(restore) => runtime.block_on(restore.run()),
            Command::Migrate(migrate) => runtime.block_on(migrate.run()),
        }
    }
}

impl Place {
    fn load(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(file) => Config::load(file)?,
            None => Config::default(),
        };
        if let Some(data) = &self.data {
            config.server.data = data.clone();
        }
        Ok(config)
    }
}
