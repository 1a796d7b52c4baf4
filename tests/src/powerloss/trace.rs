//! What `strace` has written, as events in the order in which they took effect.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// How `strace` is called: all threads, paths of descriptors, everything that is written, in hexadecimal.
pub(super) const OPTIONS: [&str; 7] = [
    "-f",
    "-y",
    "-xx",
    "-s",
    "67108864",
    "-e",
    "trace=openat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,ftruncate,fallocate,write,writev,pwrite64,\
     pwritev,pwritev2,fsync,fdatasync,msync",
];

/// Something that happened.
#[derive(Debug)]
pub(super) enum Event {
    /// A file was opened so that it came to be, or was emptied.
    Open {
        path: PathBuf,
        creates: bool,
        empties: bool,
    },
    Directory(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    Length(PathBuf, u64),
    Write(PathBuf, u64, Vec<u8>),
    /// Everything that had happened to the file or directory before this number of event is on the disk.
    Sync(PathBuf, usize),
    /// Something was told to the outside.
    Said(Vec<u8>),
}

/// The events of one run.
pub(super) struct Trace(Vec<Event>);

impl Trace {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let mut reading = Reading::default();
        for line in BufReader::new(File::open(path)?).split(b'\n') {
            let line = String::from_utf8(line?)?;
            reading
                .line(&line)
                .with_context(|| line.chars().take(300).collect::<String>())?;
        }
        Ok(Self(reading.events))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn first_acknowledgement(&self) -> Option<usize> {
        let mut events = self.0.iter();
        events.position(|event| matches!(event, Event::Said(_)))
    }

    pub(super) fn between(&self, from: usize, to: usize) -> &[Event] {
        self.0.get(from..to).unwrap_or_default()
    }
}

#[derive(Default)]
struct Reading {
    events: Vec<Event>,
    /// Calls that have begun, by thread, and after how many events they did.
    begun: HashMap<String, (String, usize)>,
    /// Where the next `write` to a descriptor goes.
    positions: HashMap<u32, u64>,
}

impl Reading {
    fn line(&mut self, line: &str) -> Result<()> {
        let Some((thread, rest)) = line.split_once(' ') else {
            return Ok(());
        };
        let rest = rest.trim_start();
        let now = self.events.len();
        if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            if let Some(bytes) = said(start) {
                self.events.push(Event::Said(bytes));
            }
            self.begun
                .insert(thread.to_owned(), (start.to_owned(), now));
            return Ok(());
        }
        if let Some(end) = rest.strip_prefix("<... ") {
            let (_, end) = end.split_once(" resumed>").context("a strange line")?;
            let Some((start, since)) = self.begun.remove(thread) else {
                return Ok(());
            };
            if said(&start).is_some() {
                return Ok(());
            }
            return self.call(&format!("{start}{end}"), since);
        }
        if let Some(bytes) = said(rest) {
            self.events.push(Event::Said(bytes));
            return Ok(());
        }
        self.call(rest, now)
    }

    fn call(&mut self, call: &str, since: usize) -> Result<()> {
        let Some((name, rest)) = call.split_once('(') else {
            return Ok(());
        };
        let Some((arguments, result)) = rest.rsplit_once(") ") else {
            return Ok(());
        };
        let result = result.trim_start().trim_start_matches("= ");
        if name.contains(|c: char| !c.is_ascii_alphanumeric()) || result.starts_with(['-', '?']) {
            return Ok(());
        }
        let arguments: Vec<&str> = arguments.split(", ").collect();
        let argument = |n: usize| arguments.get(n).copied().context("an argument is missing");
        let number = |text: &str| text.parse::<u64>().context("no number");
        let event = match name {
            "openat" => {
                let (descriptor, path) = opened(result)?;
                self.positions.insert(descriptor, 0);
                let flags = argument(2)?;
                Event::Open {
                    path,
                    creates: flags.contains("O_CREAT"),
                    empties: flags.contains("O_TRUNC"),
                }
            }
            "mkdir" => Event::Directory(named(argument(0)?)?),
            "mkdirat" => Event::Directory(named(argument(1)?)?),
            "rename" => Event::Rename(named(argument(0)?)?, named(argument(1)?)?),
            "renameat" | "renameat2" => Event::Rename(named(argument(1)?)?, named(argument(3)?)?),
            "unlink" | "rmdir" => Event::Remove(named(argument(0)?)?),
            "unlinkat" => {
                let (_, directory) = opened(argument(0)?).unwrap_or_default();
                Event::Remove(directory.join(named(argument(1)?)?))
            }
            "ftruncate" => Event::Length(opened(argument(0)?)?.1, number(argument(1)?)?),
            "pwrite64" => {
                let (path, bytes) = (opened(argument(0)?)?.1, quoted(argument(1)?)?);
                Event::Write(path, number(argument(3)?)?, taken(bytes, result))
            }
            "write" => {
                let (descriptor, path) = opened(argument(0)?)?;
                let bytes = taken(quoted(argument(1)?)?, result);
                let position = self.positions.entry(descriptor).or_default();
                let at = *position;
                *position += bytes.len() as u64;
                Event::Write(path, at, bytes)
            }
            "fsync" | "fdatasync" => Event::Sync(opened(argument(0)?)?.1, since),
            other => bail!("{other} is not understood"),
        };
        self.events.push(event);
        Ok(())
    }
}

/// What a call writes to standard output. It counts from the moment that the call begins.
fn said(call: &str) -> Option<Vec<u8>> {
    let (_, rest) = call.strip_prefix("write(1<")?.split_once(", ")?;
    quoted(rest.split(", ").next()?).ok()
}

/// A descriptor with its path: `5<\x2f…>`.
fn opened(text: &str) -> Result<(u32, PathBuf)> {
    let (number, rest) = text.split_once('<').context("no descriptor")?;
    let (path, _) = rest.split_once('>').context("no path")?;
    let path = String::from_utf8(unescaped(path)?)?;
    // AT_FDCWD is no number, and no file is written through it.
    Ok((number.parse().unwrap_or(u32::MAX), path.into()))
}

fn named(text: &str) -> Result<PathBuf> {
    Ok(String::from_utf8(quoted(text)?)?.into())
}

fn quoted(text: &str) -> Result<Vec<u8>> {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    unescaped(inner.context("no whole string")?)
}

fn unescaped(text: &str) -> Result<Vec<u8>> {
    if !text.starts_with("\\x") {
        return Ok(text.as_bytes().to_vec());
    }
    let bytes = text.split("\\x").skip(1);
    bytes
        .map(|hex| u8::from_str_radix(hex, 16).context("no hexadecimal number"))
        .collect()
}

/// Of the bytes of a write those that the system took.
fn taken(mut bytes: Vec<u8>, result: &str) -> Vec<u8> {
    bytes.truncate(result.trim().parse().unwrap_or(0));
    bytes
}
