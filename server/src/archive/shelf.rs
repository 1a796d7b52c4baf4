//! The directory in which backups are: what is where, which of them are whole, and which may go.
//!
//! - `snapshots/NAME.age`: the entries of the store, and which blobs belong to them
//! - `snapshots/NAME.sha256`: the checksums of all files of the backup, in the form of `sha256sum`; written last, so that a
//!   backup without it was not finished
//! - `blobs/ab/….age`: a blob each, for all backups

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, BufRead, BufReader, ErrorKind},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use super::seal::{PARTIAL, write_plain};
use crate::{
    hex,
    store::{
        file::{make_directory, sync_directory},
        sums::Hash,
    },
};

const SNAPSHOTS: &str = "snapshots";
const BLOBS: &str = "blobs";
const LIST: &str = ".sha256";
const SEALED: &str = ".age";
/// How a backup's name tells its time.
const TIME: &str = "%Y%m%dT%H%M%SZ";
/// Held by the process that writes backups into the directory.
const LOCK: &str = "lock";
/// How many bytes of a hash name a blob's file.
const NAME_BYTES: usize = 16;

/// A directory of backups.
#[derive(Clone, Debug)]
pub struct Shelf(PathBuf);

/// The right to write into it; nobody else has it meanwhile.
pub(super) struct Lock(#[expect(dead_code, reason = "locked as long as it is open")] File);

impl Shelf {
    /// The directory as it is.
    pub fn at(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// Takes the right to write, and makes what is not there.
    pub(super) fn lock(&self) -> anyhow::Result<Lock> {
        let here = self.0.display();
        let unusable = || format!("{here} cannot be used for backups");
        make_directory(&self.0).with_context(unusable)?;
        self.refuse_strange()?;
        let lock = File::create(self.0.join(LOCK)).with_context(unusable)?;
        match lock.try_lock() {
            Err(fs::TryLockError::WouldBlock) => bail!("Another backup to {here} is under way."),
            other => other.with_context(unusable)?,
        }
        for directory in [SNAPSHOTS, BLOBS] {
            make_directory(&self.0.join(directory)).with_context(unusable)?;
        }
        Ok(Lock(lock))
    }

    /// A directory that is somebody's stays as it is.
    fn refuse_strange(&self) -> anyhow::Result<()> {
        let ours = self.0.join(SNAPSHOTS).is_dir();
        let mut others = fs::read_dir(&self.0)?
            .filter_map(Result::ok)
            .filter(|entry| {
                let name = entry.file_name();
                name != LOCK && name != "lost+found" && name != BLOBS
            });
        ensure!(
            ours || others.next().is_none(),
            "{} is not empty and holds no backups. Name an empty directory, or one that does not exist yet.",
            self.0.display()
        );
        Ok(())
    }

    /// Removes what an interrupted backup has left. Blocks.
    pub(super) fn tidy(&self) -> io::Result<()> {
        let mut directories = vec![self.0.join(SNAPSHOTS)];
        directories.extend(entries(&self.0.join(BLOBS))?);
        for path in directories {
            for file in entries(&path)? {
                if file.to_string_lossy().ends_with(PARTIAL) {
                    fs::remove_file(file)?;
                }
            }
        }
        let whole: HashSet<String> = self.names()?.into_iter().collect();
        for file in entries(&self.0.join(SNAPSHOTS))? {
            let name = file_name(&file);
            if name
                .strip_suffix(SEALED)
                .is_some_and(|name| !whole.contains(name))
            {
                fs::remove_file(file)?;
            }
        }
        Ok(())
    }

    /// The backups that are finished, oldest first. Blocks.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = entries(&self.0.join(SNAPSHOTS))?
            .iter()
            .filter_map(|path| Some(file_name(path).strip_suffix(LIST)?.to_owned()))
            .collect();
        names.sort_unstable();
        // What somebody has named otherwise comes first, and `…Z-2` before `…Z-10`.
        names.sort_by(|one, other| moment(one).cmp(&moment(other)));
        Ok(names)
    }

    /// The backup of this name, or else the newest. Blocks.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: Option<&str>) -> anyhow::Result<String> {
        let here = self.0.display();
        let mut names = match self.names() {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            names => names.with_context(|| format!("{here} cannot be read"))?,
        };
        match name {
            None => names
                .pop()
                .with_context(|| format!("There is no finished backup in {here}.")),
            Some(name) => names
                .iter()
                .find(|found| *found == name)
                .cloned()
                .with_context(|| {
                    format!(
                        "There is no backup {name} in {here}, but: {}",
                        names.join(", ")
                    )
                }),
        }
    }

    /// A name for a backup of this moment that is not taken and sorts after all others. If the newest is of this second, or of
    /// a later one because the clock was put back, it has the time of that one, and the next number. Blocks.
    pub(super) fn new_name(&self, millis: u64) -> anyhow::Result<String> {
        let time = jiff::Timestamp::from_millisecond(i64::try_from(millis)?)?;
        let time = time.strftime(TIME).to_string();
        let names = self.names()?;
        match names.last().and_then(|name| moment(name)) {
            Some((newest, number)) if *newest >= *time => {
                let number = number.checked_add(1).context("no name is free")?;
                Ok(format!("{newest}-{number}"))
            }
            _ => Ok(time),
        }
    }

    pub(super) fn snapshot(&self, name: &str) -> PathBuf {
        self.0.join(snapshot_file(name))
    }

    /// The path of a file that a list or a backup names; `None` if it may not name it.
    pub(super) fn path(&self, file: &str) -> Option<PathBuf> {
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/');
        let parts: Vec<&str> = file.split('/').collect();
        let known = match *parts.as_slice() {
            [SNAPSHOTS, name] => name.ends_with(SEALED),
            [BLOBS, shard, name] => shard.len() == 2 && name.ends_with(SEALED),
            _ => false,
        };
        let hidden = parts.iter().any(|part| part.starts_with('.'));
        (known && !hidden && file.chars().all(safe)).then(|| self.0.join(file))
    }

    /// A backup's files with their checksums, its snapshot among them. Blocks.
    ///
    /// # Errors
    /// The list cannot be read, or is none.
    pub(super) fn list(&self, name: &str) -> anyhow::Result<HashMap<String, Hash>> {
        let path = self.0.join(SNAPSHOTS).join(format!("{name}{LIST}"));
        let broken = || format!("The list of files {} is damaged", path.display());
        let mut list = HashMap::new();
        for line in BufReader::new(File::open(&path).with_context(broken)?).lines() {
            let line = line.with_context(broken)?;
            let entry = line.split_once("  ").and_then(|(hash, file)| {
                self.path(file)?;
                Some((file.to_owned(), hex::decode(hash)?))
            });
            let (file, hash) = entry.with_context(broken)?;
            list.insert(file, hash);
        }
        ensure!(list.contains_key(&snapshot_file(name)), broken());
        Ok(list)
    }

    /// Finishes a backup: it counts from now on. Blocks.
    pub(super) fn write_list(&self, name: &str, files: &[(String, Hash)]) -> io::Result<()> {
        let text: String = files
            .iter()
            .map(|(file, hash)| format!("{}  {file}\n", hex::encode(hash)))
            .collect();
        // The names of blobs' directories, which their files need to be found.
        sync_directory(&self.0.join(BLOBS))?;
        sync_directory(&self.0)?;
        write_plain(&self.0.join(SNAPSHOTS).join(format!("{name}{LIST}")), &text)
    }

    /// Removes all but the newest backups, of which the one that was made now always is one; how many went. Blocks.
    pub(super) fn prune(&self, keep: usize, made: &str) -> io::Result<usize> {
        let mut others = self.names()?;
        others.retain(|name| name != made);
        let old = (others.len() + 1).saturating_sub(keep.max(1));
        others.truncate(old);
        for name in &others {
            fs::remove_file(self.0.join(SNAPSHOTS).join(format!("{name}{LIST}")))?;
            sync_directory(&self.0.join(SNAPSHOTS))?;
            match fs::remove_file(self.snapshot(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(old)
    }

    /// Removes the blobs that no backup needs. Blocks.
    ///
    /// # Errors
    /// A disk fails; or a list is damaged, so that nobody knows what is needed: nothing is removed then.
    pub(super) fn sweep(&self) -> anyhow::Result<()> {
        let mut needed = HashSet::new();
        for name in self.names()? {
            needed.extend(self.list(&name)?.into_keys());
        }
        for directory in entries(&self.0.join(BLOBS))? {
            for file in entries(&directory)? {
                let name = format!("{BLOBS}/{}/{}", file_name(&directory), file_name(&file));
                if !needed.contains(&name) {
                    fs::remove_file(file)?;
                }
            }
        }
        Ok(())
    }
}

/// The time and the number in a backup's name; `None` if somebody has given it another one.
fn moment(name: &str) -> Option<(&str, u64)> {
    let (time, number) = name.split_once('-').unwrap_or((name, "1"));
    jiff::civil::DateTime::strptime(TIME, time).ok()?;
    Some((time, number.parse().ok()?))
}

/// The file of a snapshot, from the backup's directory on.
pub(super) fn snapshot_file(name: &str) -> String {
    format!("{SNAPSHOTS}/{name}{SEALED}")
}

/// The file of a blob, from the backup's directory on. It tells nobody the blob's id, and is another one for other
/// recipients. `copy` counts from 0, for when the first one was damaged.
pub(super) fn blob_file(recipients: &Hash, id: &str, copy: usize) -> String {
    let hash = Sha256::new()
        .chain_update(recipients)
        .chain_update(id)
        .finalize();
    let name = hex::encode(hash.get(..NAME_BYTES).unwrap_or_default());
    let shard = name.get(..2).unwrap_or_default();
    match copy {
        0 => format!("{BLOBS}/{shard}/{name}{SEALED}"),
        copy => format!("{BLOBS}/{shard}/{name}-{copy}{SEALED}"),
    }
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
