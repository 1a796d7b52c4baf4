//! What commands print: for people by default, one JSON document a line with `--json`.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Where a command's results go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Output {
    json: bool,
}

impl Output {
    /// For programs if `json`, else for people.
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether results are JSON.
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Prints one result: its JSON, or the text that `human` makes of it (nothing if empty).
    ///
    /// # Errors
    ///
    /// If standard output is closed.
    pub fn result<T: Serialize>(self, result: &T, human: impl FnOnce(&T) -> String) -> Result<()> {
        let text = if self.json {
            serde_json::to_string(result)?
        } else {
            human(result)
        };
        if text.is_empty() {
            Ok(())
        } else {
            print(&text)
        }
    }

    /// Prints a list: a JSON document an entry, or a line each, or `empty` if there is none.
    ///
    /// # Errors
    ///
    /// If standard output is closed.
    pub fn list<T: Serialize>(
        self,
        list: &[T],
        empty: &str,
        human: impl Fn(&T) -> String,
    ) -> Result<()> {
        if list.is_empty() && !self.json {
            return print(empty);
        }
        list.iter().try_for_each(|entry| self.result(entry, &human))
    }

    /// Tells a person something beside the result, on standard error.
    pub fn note(self, text: &str) {
        // Nobody to tell is no reason to fail.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Whether somebody watches: progress is worth showing.
    pub fn is_watched(self) -> bool {
        !self.json && io::stderr().is_terminal()
    }
}

fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .context("the result cannot be printed")
}
