use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use respite_server::{
    admin::{Answer, Command},
    archive::{self, Identities, Made, NewKey, Order, Shelf},
};

use super::{operate::Operate, progress::Shown};

/// Back up everything, encrypted, while the server runs or not
///
/// Writes what the store holds at one moment, and the blobs that belong to it, into a directory that may hold earlier backups:
/// blobs that are there already are not copied again. Everything is encrypted to public keys, so that the server itself cannot
/// read its backups. A running server writes them, so it must be allowed to write there.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  respite-server backup keygen > backup-key.txt       # on another machine; keep it safe
  respite-server backup /backup/respite --recipient age1… --keep 14
  respite-server backup verify /backup/respite --identity backup-key.txt")]
pub(super) struct Backup {
    #[command(subcommand)]
    action: Option<Action>,
    /// The directory of backups.
    #[arg(value_name = "DEST", required = true)]
    destination: Option<PathBuf>,
    /// A public key to encrypt to (age1…), as often as needed; overrides `backup.recipients`.
    #[arg(long = "recipient", value_name = "KEY")]
    recipients: Vec<String>,
    /// Keep this many backups, with the new one, and remove older ones.
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    #[command(flatten)]
    operate: Operate,
}

#[derive(Subcommand)]
enum Action {
    /// Make a pair of keys and print the secret one, this once
    ///
    /// Whoever has the secret key can read every backup that was encrypted to the public one; without it, nobody can. The same
    /// as age-keygen.
    Keygen,
    /// Look whether backups are whole
    ///
    /// Compares all files with their checksums. With a key, also decrypts everything and compares it with the manifests, as a
    /// restore would.
    Verify {
        /// The directory of backups.
        #[arg(value_name = "SRC")]
        source: PathBuf,
        /// The file with the secret key.
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
        /// Only this backup.
        #[arg(long, value_name = "NAME")]
        snapshot: Option<String>,
    },
}

impl Backup {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Some(Action::Keygen) => keygen(),
            Some(Action::Verify {
                source,
                identity,
                snapshot,
            }) => verify(&source, identity.as_deref(), snapshot.as_deref()).await,
            None => {
                let recipients = match self.recipients.is_empty() {
                    true => self.operate.config()?.backup.recipients,
                    false => self.recipients,
                };
                let order = Order {
                    // The server works in another directory.
                    destination: std::path::absolute(self.destination.unwrap_or_default())?,
                    recipients,
                    keep: self.keep,
                };
                let answer = self
                    .operate
                    .run(Command::Backup(order), |out, answer| match answer {
                        Answer::BackedUp(made) => tell(out, made),
                        _ => Ok(()),
                    })
                    .await?;
                let whole = matches!(answer, Answer::BackedUp(made) if made.missing == 0);
                Ok(ExitCode::from(u8::from(!whole)))
            }
        }
    }
}

fn tell(out: &mut dyn Write, made: &Made) -> std::io::Result<()> {
    writeln!(out, "Backup {} is made:", made.name)?;
    writeln!(out, "{:>10}  entries", made.entries)?;
    writeln!(
        out,
        "{:>10}  blobs ({} bytes), {} of them new",
        made.blobs, made.bytes, made.copied
    )?;
    if made.gone > 0 {
        writeln!(out, "{:>10}  blobs were deleted meanwhile", made.gone)?;
    }
    if made.pruned > 0 {
        writeln!(out, "{:>10}  older backups were removed", made.pruned)?;
    }
    for warning in &made.warnings {
        writeln!(out, "Warning: {warning}")?;
    }
    if made.missing > 0 {
        writeln!(
            out,
            "{:>10}  blobs are MISSING in the server itself: see `respite-server scan`",
            made.missing
        )?;
    }
    Ok(())
}

fn keygen() -> anyhow::Result<ExitCode> {
    let key = NewKey::generate();
    let mut out = std::io::stdout();
    write!(out, "{key}")?;
    out.flush()?;
    if !out.is_terminal() {
        writeln!(std::io::stderr(), "Public key: {}", key.public())?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn verify(
    source: &Path,
    identity: Option<&Path>,
    name: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let identities = identity.map(Identities::read).transpose()?;
    let mut shown = Shown::new();
    let shelf = Shelf::at(source);
    let checked = archive::check(&shelf, name, identities.as_ref(), &mut shown).await?;
    drop(shown);
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{} backups with {} files match their checksums.",
        checked.backups, checked.files
    )?;
    match checked.entries {
        Some(entries) => writeln!(
            out,
            "Their {entries} entries and all blobs were decrypted and match their manifests."
        )?,
        None => writeln!(
            out,
            "Nothing was decrypted: name the key with --identity for that."
        )?,
    }
    Ok(ExitCode::SUCCESS)
}
