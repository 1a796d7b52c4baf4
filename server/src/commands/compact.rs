use std::{io::Write, process::ExitCode};

use anyhow::Context;
use clap::Args;
use respite_server::store::{StoreError, compact};

use super::Place;

/// Write the store anew, without what was removed from it
///
/// What is deleted can no longer be reached, but its bytes stay in the store's file until their place is used again. After
/// this, they are not in the file any more, and the file is as small as it can be. The server must not run; there must be
/// as much free space as the store is large.
///
/// For redb; with PostgreSQL, run VACUUM FULL respite_entries while no server uses the database; a sled store is moved to
/// another directory with migrate.
#[derive(Args)]
#[command(after_help = "\
Example:
  systemctl stop respite && respite-server compact --data /srv/respite && systemctl start respite")]
pub(super) struct Compact {
    #[command(flatten)]
    place: Place,
}

impl Compact {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.place.load()?;
        let compacted = compact::compact(&config.store, &config.server.data, config.server.cache);
        let compacted = match compacted.await {
            Err(StoreError::Locked) => anyhow::bail!(
                "{} is in use, probably by a server that is running. Stop it first.",
                config.server.data.display()
            ),
            compacted => compacted.context("The store was not compacted, and is as it was")?,
        };
        let mut out = std::io::stdout();
        writeln!(
            out,
            "The store had {} bytes and has {} now.",
            compacted.before, compacted.after
        )?;
        Ok(ExitCode::SUCCESS)
    }
}
