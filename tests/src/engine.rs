//! The engines that keep a store, as the tests and the tools name them.

use std::path::Path;

use anyhow::{Result, bail};
use clap::ValueEnum;

/// Which engine keeps the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// One file.
    Redb,
    /// One directory.
    Sled,
    /// A database server.
    Postgres,
}

impl Engine {
    /// The setting that says so, with a store below this directory where there is one in files.
    ///
    /// # Errors
    /// The engine is not built yet.
    pub fn setting(self, directory: &Path) -> Result<String> {
        let address = match self {
            Self::Redb => "redb".to_owned(),
            Self::Sled => format!("sled:{}", directory.join("store.sled").display()),
            Self::Postgres => bail!("there is no PostgreSQL to be had"),
        };
        Ok(format!("store = {address:?}\n"))
    }
}
