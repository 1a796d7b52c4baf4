//! Looks whether backups could be brought back, without bringing them back.

use std::collections::HashSet;

use anyhow::{Context, ensure};

use super::{
    Identities, Shelf, Source,
    frame::{Found, Frame},
    read::{self, Reading},
    restore::unseal,
    seal::hash_file,
};
use crate::progress::Progress;

/// What was looked at, and is in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The backups.
    pub backups: u64,
    /// Their files.
    pub files: u64,
    /// How many entries were decrypted, and found as the manifests say; `None` without a key.
    pub entries: Option<u64>,
}

/// Compares all files of a directory's backups, or of one of them, with their checksums; with a key, also decrypts them and
/// compares what is inside with the manifests.
///
/// # Errors
/// Something is missing or damaged, or the key is another one; in a sentence for the operator.
pub async fn check(
    shelf: &Shelf,
    name: Option<&str>,
    identities: Option<&Identities>,
    told: &mut dyn Progress,
) -> anyhow::Result<Checked> {
    let mut checked = Checked::default();
    let mut seen = HashSet::new();
    let newest = shelf.find(name)?;
    let names = match name {
        Some(_) => vec![newest],
        None => shelf.names()?,
    };
    for name in names {
        told.begin(&format!("checking {name}"), None);
        let at = shelf.clone();
        let of = name.clone();
        let list = tokio::task::spawn_blocking(move || at.list(&of)).await??;
        for (file, hash) in list {
            let damaged =
                || format!("The backup {name} is damaged: {file} is not as it was written");
            if seen.insert((file.clone(), hash)) {
                let path = shelf.path(&file).with_context(damaged)?;
                ensure!(
                    hash_file(path).await.with_context(damaged)? == hash,
                    damaged()
                );
                checked.files += 1;
                told.advance(1);
            }
        }
        if let Some(identities) = identities {
            let source = Source {
                shelf: shelf.clone(),
                name,
                identities: identities.clone(),
            };
            *checked.entries.get_or_insert(0) += decrypt(&source, &mut seen, told).await?;
        }
        checked.backups += 1;
    }
    Ok(checked)
}

/// Decrypts everything that belongs to a backup, but no blob twice; how many entries it has.
async fn decrypt(
    source: &Source,
    seen: &mut HashSet<(String, [u8; 32])>,
    told: &mut dyn Progress,
) -> anyhow::Result<u64> {
    let (_, manifest) = read::whole(source, told).await?;
    let (_, mut reading) = Reading::begin(source).await?;
    loop {
        let (frame, rest) = reading.next().await?;
        reading = rest;
        match frame {
            Frame::Blob(line) => {
                let Found::Kept { size, file, sealed } = line.found else {
                    continue;
                };
                // Beside its hash as a file, so that the same set says what was decrypted.
                if seen.insert((format!("{file} decrypted"), sealed)) {
                    unseal(source, &file, &sealed, size, None).await?;
                    told.advance(1);
                }
            }
            Frame::End(_) => return Ok(manifest.sums.entries()),
            Frame::Entries(_) | Frame::Head(_) => {}
        }
    }
}
