use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Args;
use respite_server::{
    archive::{self, Identities, Shelf, Source},
    blobs::Blobs,
    clock::Random,
    start,
    store::Address,
};

use super::{Place, progress::Shown};

/// Bring a backup back, into an empty store
///
/// Reads and checks the whole backup first; then writes it; then compares what was written. No server starts on the store
/// before that. Interrupted, the same command goes on where it stopped. The store may be of another engine than the one that
/// was backed up.
#[derive(Args)]
#[command(after_help = "\
Examples:
  respite-server restore /backup/respite --identity backup-key.txt --data /srv/respite
  respite-server restore /backup/respite --identity backup-key.txt --snapshot 20261125T031500Z --data /srv/respite
  respite-server restore /backup/respite --identity backup-key.txt --to postgres://respite@db.example.org/respite")]
pub(super) struct Restore {
    /// The directory of backups.
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// The file with the secret key.
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// Which backup; the newest where it is not said.
    #[arg(long, value_name = "NAME")]
    snapshot: Option<String>,
    /// The store to fill; overrides `store`.
    #[arg(long, value_name = "STORE")]
    to: Option<Address>,
    /// Where blobs go; the blobs of the data directory where it is not said.
    #[arg(long, value_name = "DIR")]
    blobs_to: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

impl Restore {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut config = self.place.load()?;
        if let Some(to) = self.to {
            config.store = to;
        }
        let identities = Identities::read(&self.identity)?;
        let shelf = Shelf::at(&self.source);
        let source = Source::find(shelf, self.snapshot.as_deref(), identities)?;
        start::prepare(&config)?;
        let store = start::open_engine(&config.store, &config).await?;
        let directory = self
            .blobs_to
            .unwrap_or_else(|| config.server.data.join(start::BLOBS));
        let blobs = Blobs::open(&directory)
            .with_context(|| format!("{} cannot be used for blobs", directory.display()))?;
        let mut shown = Shown::new();
        let restored =
            archive::restore(&source, store, &blobs, &Random::system(), &mut shown).await?;
        drop(shown);
        let mut out = std::io::stdout();
        writeln!(
            out,
            "Backup {} is restored: {} entries in {} tables, {} blobs ({} bytes), all as they were.",
            source.name,
            restored.sums.entries(),
            restored.sums.0.len(),
            restored.blobs,
            restored.bytes
        )?;
        if restored.absent > 0 {
            writeln!(
                out,
                "{} blobs are not in it: they were deleted while it was made, or the server had lost them.",
                restored.absent
            )?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
