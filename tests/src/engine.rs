//! The engines that keep a store, as the tests and the tools name them.

use std::{fmt, path::Path};

use anyhow::{Result, bail};
use clap::ValueEnum;
use respite_outside::postgres::Cluster;

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
    /// The address of a new store, below this directory where it is in files.
    ///
    /// # Errors
    /// There is no PostgreSQL to be had.
    pub fn address(self, directory: &Path) -> Result<String> {
        match self {
            Self::Redb => Ok(format!("redb:{}", directory.join("new.redb").display())),
            Self::Sled => Ok(format!("sled:{}", directory.join("new.sled").display())),
            Self::Postgres => match Cluster::shared() {
                Some(cluster) => cluster.fresh(),
                None => bail!("PostgreSQL is not installed"),
            },
        }
    }

    /// The setting that says so; redb as it is by default.
    ///
    /// # Errors
    /// There is no PostgreSQL to be had.
    pub fn setting(self, directory: &Path) -> Result<String> {
        Ok(match self {
            Self::Redb => String::new(),
            _ => format!("store = {:?}\n", self.address(directory)?),
        })
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redb => "redb",
            Self::Sled => "sled",
            Self::Postgres => "postgres",
        })
    }
}
