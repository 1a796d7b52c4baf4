//! A disk that keeps what was synced.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rand::{RngExt, rngs::StdRng};

use super::trace::Event;

/// What the disk writes in one piece.
const PAGE: usize = 4096;

type Id = usize;
type Names = BTreeMap<OsString, Id>;

/// Files and directories under one root: as they are, and as they are on the disk.
pub(super) struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    events: usize,
    deaf: bool,
}

enum Node {
    Directory {
        now: Names,
        synced: Names,
    },
    File {
        synced: Vec<u8>,
        /// With the number of the event that it was.
        unsynced: Vec<(usize, Change)>,
    },
}

enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Node {
    fn directory() -> Self {
        Self::Directory {
            now: Names::new(),
            synced: Names::new(),
        }
    }

    fn file() -> Self {
        Self::File {
            synced: Vec::new(),
            unsynced: Vec::new(),
        }
    }
}

impl Disk {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            nodes: vec![Node::directory()],
            events: 0,
            deaf: false,
        }
    }

    /// Does what the event says; what is not under the root does not count.
    pub(super) fn apply(&mut self, event: &Event) -> Result<()> {
        let number = self.events;
        self.events += 1;
        match event {
            Event::Open {
                path,
                creates,
                empties,
            } => {
                if *creates && self.holds(path) && self.find(path).is_none() {
                    self.add(path, Node::file())?;
                } else if *empties {
                    self.change(path, number, Change::Length(0));
                }
            }
            Event::Directory(path) if self.holds(path) => self.add(path, Node::directory())?,
            Event::Rename(from, to) if self.holds(from) => {
                let id = self.take(from)?;
                self.name(to, id)?;
            }
            Event::Remove(path) if self.holds(path) => drop(self.take(path)?),
            Event::Length(path, length) => {
                self.change(path, number, Change::Length(usize::try_from(*length)?));
            }
            Event::Write(path, at, bytes) => {
                let change = Change::Write(usize::try_from(*at)?, bytes.clone());
                self.change(path, number, change);
            }
            Event::Sync(path, since) if !self.deaf => self.sync(path, *since),
            Event::Directory(_)
            | Event::Rename(..)
            | Event::Remove(_)
            | Event::Sync(..)
            | Event::Said(_) => {}
        }
        Ok(())
    }

    /// From now on it does nothing when it is told to sync.
    pub(super) fn turn_deaf(&mut self) {
        self.deaf = true;
    }

    fn holds(&self, path: &Path) -> bool {
        path.starts_with(&self.root) && path != self.root
    }

    fn find(&self, path: &Path) -> Option<Id> {
        let mut id = 0;
        for name in path.strip_prefix(&self.root).ok()? {
            match self.nodes.get(id)? {
                Node::Directory { now, .. } => id = *now.get(name)?,
                Node::File { .. } => return None,
            }
        }
        Some(id)
    }

    fn names(&mut self, path: &Path) -> Result<(&mut Names, OsString)> {
        let parent = path.parent().and_then(|parent| self.find(parent));
        let name = path.file_name().context("no name")?.to_owned();
        match parent.and_then(|id| self.nodes.get_mut(id)) {
            Some(Node::Directory { now, .. }) => Ok((now, name)),
            _ => anyhow::bail!("{} is in no directory", path.display()),
        }
    }

    fn add(&mut self, path: &Path, node: Node) -> Result<()> {
        self.nodes.push(node);
        self.name(path, self.nodes.len() - 1)
    }

    fn name(&mut self, path: &Path, id: Id) -> Result<()> {
        let (names, name) = self.names(path)?;
        names.insert(name, id);
        Ok(())
    }

    fn take(&mut self, path: &Path) -> Result<Id> {
        let (names, name) = self.names(path)?;
        names.remove(&name).context("there is nothing of the name")
    }

    fn change(&mut self, path: &Path, number: usize, change: Change) {
        let node = self.find(path).and_then(|id| self.nodes.get_mut(id));
        if let Some(Node::File { unsynced, .. }) = node {
            unsynced.push((number, change));
        }
    }

    /// What had happened before the sync began is on the disk now.
    fn sync(&mut self, path: &Path, since: usize) {
        match self.find(path).and_then(|id| self.nodes.get_mut(id)) {
            Some(Node::Directory { now, synced }) => *synced = now.clone(),
            Some(Node::File { synced, unsynced }) => {
                for (number, change) in std::mem::take(unsynced) {
                    if number < since {
                        change.make(synced);
                    } else {
                        unsynced.push((number, change));
                    }
                }
            }
            None => {}
        }
    }

    /// Writes what is left after the power has failed to `target`: what was synced, and with a source of chance each page
    /// and each directory that was not synced, or not.
    pub(super) fn lose_power(&self, target: &Path, mut chance: Option<&mut StdRng>) -> Result<()> {
        self.write(0, target, &mut chance)
    }

    fn write(&self, id: Id, target: &Path, chance: &mut Option<&mut StdRng>) -> Result<()> {
        let mut keeps = || chance.as_mut().is_some_and(|chance| chance.random());
        match self.nodes.get(id).context("no node")? {
            Node::Directory { now, synced } => {
                fs::create_dir(target)?;
                let names = if keeps() { now } else { synced };
                for (name, id) in names {
                    self.write(*id, &target.join(name), chance)?;
                }
            }
            Node::File { synced, unsynced } => {
                let mut bytes = synced.clone();
                for (_, change) in unsynced {
                    for part in change.parts() {
                        if keeps() {
                            part.make(&mut bytes);
                        }
                    }
                }
                fs::write(target, bytes)?;
            }
        }
        Ok(())
    }
}

impl Change {
    fn make(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write(at, data) => {
                bytes.resize(bytes.len().max(at + data.len()), 0);
                if let Some(old) = bytes.get_mut(*at..at + data.len()) {
                    old.copy_from_slice(data);
                }
            }
        }
    }

    /// The pages of a write, each of which is written or not.
    fn parts(&self) -> Vec<Self> {
        match self {
            Self::Length(length) => vec![Self::Length(*length)],
            Self::Write(at, data) => {
                let mut parts = Vec::new();
                let (mut at, mut rest) = (*at, data.as_slice());
                while !rest.is_empty() {
                    let (part, others) = rest.split_at(rest.len().min(PAGE - at % PAGE));
                    parts.push(Self::Write(at, part.to_vec()));
                    at += part.len();
                    rest = others;
                }
                parts
            }
        }
    }
}
