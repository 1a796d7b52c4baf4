use std::{io::Write, process::ExitCode};

use anyhow::{Context, ensure};
use clap::Args;
use respite_server::{
    blobs::{Blobs, Home},
    config::Config,
    hex,
    migrate::{self, CopiedBlobs, copy_blobs},
    scan::table_name,
    start,
    store::{Address, sums::Sums},
};

use super::{Place, progress::Shown};

/// How many bytes of a table's checksum are shown.
const SHOWN_HASH: usize = 8;

/// Move the store to another engine, or blobs to another place, while no server runs
///
/// Copies everything, then compares counts and checksums of every table. The target must be empty; no server starts on it
/// before it is found to be the same. Interrupted, the same command goes on where it stopped. The source stays as it is.
#[derive(Args)]
#[command(after_help = "\
Stores: redb (in the data directory), redb:FILE, sled:DIR, postgres://USER@HOST/DATABASE
Blobs:  directory (blobs in the data directory), directory:DIR, s3://BUCKET/PREFIX (with the settings in [s3])

Examples:
  respite-server migrate --data /srv/respite --from redb --to sled:/srv/respite/store.sled
  respite-server migrate --data /srv/respite --from redb --to postgres://respite@db.example.org/respite
  respite-server migrate --config /etc/respite.toml --blobs-from directory --blobs-to s3://respite-blobs")]
pub(super) struct Migrate {
    /// The store to copy.
    #[arg(
        long,
        value_name = "STORE",
        requires = "to",
        required_unless_present = "blobs_from"
    )]
    from: Option<Address>,
    /// The store to fill.
    #[arg(long, value_name = "STORE", requires = "from")]
    to: Option<Address>,
    /// The blobs to copy.
    #[arg(long, value_name = "BLOBS", requires = "blobs_to")]
    blobs_from: Option<Home>,
    /// Where to copy them.
    #[arg(long, value_name = "BLOBS", requires = "blobs_from")]
    blobs_to: Option<Home>,
    #[command(flatten)]
    place: Place,
}

impl Migrate {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.place.load()?;
        let mut shown = Shown::new();
        let blobs = match (&self.blobs_from, &self.blobs_to) {
            (Some(from), Some(to)) => Some((from, to)),
            _ => None,
        };
        let (Some(from), Some(to)) = (&self.from, &self.to) else {
            // Held while the blobs are copied, so that no server writes any.
            let _store = match exists(&config.store, &config)? {
                true => Some(start::open_engine(&config.store, &config).await?),
                false => None,
            };
            let blobs = blobs.context("Nothing is to be moved.")?;
            let (from, to) = open_blobs(blobs, &config).await?;
            let copied = copy_blobs(&from, &to, &mut shown).await?;
            drop(shown);
            tell(None, Some(copied))?;
            return Ok(ExitCode::SUCCESS);
        };
        ensure!(from != to, "Source and target are the same.");
        ensure!(exists(from, &config)?, "There is no store at {from}.");
        let source = start::open_engine(from, &config)
            .await
            .context("The source cannot be opened")?;
        let target = start::open_engine(to, &config)
            .await
            .context("The target cannot be opened")?;
        let blobs = match blobs {
            Some(blobs) => Some(open_blobs(blobs, &config).await?),
            None => None,
        };
        let both = blobs.as_ref().map(|(from, to)| (from, to));
        let migrated = migrate::run(&source, &target, both, &mut shown).await?;
        drop(shown);
        tell(Some(&migrated.sums), migrated.blobs)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether there is a store; of PostgreSQL, only asking it can tell.
fn exists(address: &Address, config: &Config) -> std::io::Result<bool> {
    match address {
        Address::Postgres(_) => Ok(true),
        _ => address.file(&config.server.data).try_exists(),
    }
}

async fn open_blobs((from, to): (&Home, &Home), config: &Config) -> anyhow::Result<(Blobs, Blobs)> {
    ensure!(from != to, "Source and target of the blobs are the same.");
    let usual = config.server.data.join(start::BLOBS);
    if let Home::Directory(named) = from {
        let directory = named.as_ref().unwrap_or(&usual);
        ensure!(
            directory.is_dir(),
            "There are no blobs at {}.",
            directory.display()
        );
    }
    let from = from.open(&usual, &config.s3).await?;
    Ok((from, to.open(&usual, &config.s3).await?))
}

fn tell(sums: Option<&Sums>, blobs: Option<CopiedBlobs>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if let Some(sums) = sums {
        for (table, sum) in &sums.0 {
            let hash = hex::encode(sum.hash.get(..SHOWN_HASH).unwrap_or_default());
            writeln!(out, "{:>10}  {hash}  {}", sum.entries, table_name(*table))?;
        }
        writeln!(
            out,
            "{} entries in {} tables are in the target, the same as in the source.",
            sums.entries(),
            sums.0.len()
        )?;
    }
    if let Some(CopiedBlobs {
        blobs,
        bytes,
        there,
    }) = blobs
    {
        writeln!(
            out,
            "{blobs} blobs ({bytes} bytes) are in the target, the same as in the source; {there} of them were there before."
        )?;
    }
    writeln!(
        out,
        "Set it in the configuration before the server starts again; the source was left as it is."
    )?;
    out.flush()
}
