//! A person's machine, with the real program `respite` on it.

use std::{fs, path::PathBuf, process::Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use crate::{binaries, person::PATIENCE, place::Ended};

/// The password of everybody who has a desk, as it is typed.
pub const PASSWORD: &str = "sleeps by day\n";

/// A person's machine, with a home of its own.
pub struct Desk {
    home: TempDir,
}

impl Desk {
    /// A machine on which nobody has logged in yet.
    pub fn new() -> Result<Self> {
        Ok(Self {
            home: tempfile::tempdir()?,
        })
    }

    /// The desk of somebody who has just registered.
    pub async fn of(url: &str, name: &str, code: &str) -> Result<Self> {
        let desk = Self::new()?;
        let arguments = [
            "register",
            "--server",
            url,
            "--user",
            name,
            "--code",
            "-",
            "--password-stdin",
        ];
        desk.told(&arguments, &format!("{code}\n{PASSWORD}"))
            .await?
            .well()?;
        Ok(desk)
    }

    /// A file on the machine.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file. Returns its path as an argument.
    pub fn file(&self, name: &str, content: &[u8]) -> Result<String> {
        fs::write(self.path(name), content)?;
        Ok(self.argument(name))
    }

    /// The path of a file as an argument.
    pub fn argument(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// What a command prints and how it ends.
    pub async fn runs(&self, arguments: &[&str]) -> Result<Ended> {
        self.told(arguments, "").await
    }

    /// Runs with something on standard input.
    pub async fn told(&self, arguments: &[&str], input: &str) -> Result<Ended> {
        let mut command = Command::new(binaries::program("respite")?);
        command
            .args(arguments)
            .env_clear()
            .env("RESPITE_HOME", self.path("home"))
            .current_dir(self.home.path());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        // Who asks for nothing may be gone before it is written.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = timeout(PATIENCE * 2, child.wait_with_output()).await??;
        Ok(Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// What it says to programs: one JSON document a line.
    pub async fn says(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let out = self
            .runs(&[&["--json"], arguments].concat())
            .await?
            .well()?;
        out.lines()
            .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
            .collect()
    }

    /// What it says to programs, if that is one document.
    pub async fn answers(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = self.says(arguments).await?;
        ensure!(all.len() == 1, "{arguments:?}: {all:?}");
        all.pop().context("nothing")
    }

    /// The texts in a room.
    pub async fn reads(&self, room: &str) -> Result<Vec<String>> {
        let entries = self.says(&["read", room]).await?;
        Ok(entries
            .iter()
            .filter_map(|entry| entry["body"].as_str())
            .map(str::to_owned)
            .collect())
    }
}

/// A therapist and a night nurse at their desks.
pub async fn desks(url: &str, code: &str) -> Result<(Desk, Desk)> {
    let therapist = Desk::of(url, "therapist", code).await?;
    let code = therapist.runs(&["invite"]).await?.well()?;
    let nurse = Desk::of(url, "nurse", code.trim()).await?;
    Ok((therapist, nurse))
}
