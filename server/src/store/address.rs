//! Where a store is kept: what the setting `store` says, and `--from` and `--to` of a migration.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    compact,
    engine::{Engine, StoreError},
    postgres::{self, Postgres},
    redb::Redb,
    sled::Sled,
};

/// The file in the data directory that `redb` alone means.
pub const STORE_FILE: &str = "store.redb";

/// An engine, and where it keeps what it keeps.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// `redb`: [`STORE_FILE`] in the data directory; or `redb:FILE`.
    Redb(Option<PathBuf>),
    /// `sled:DIR`.
    Sled(PathBuf),
    /// `postgres://…` or `postgresql://…`. It may hold a password, so it is never shown.
    Postgres(String),
}

/// What is no address of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Write \"redb\", \"redb:FILE\", \"sled:DIR\" or \"postgres://USER@HOST/DATABASE\".")]
pub struct NoAddress;

impl Default for Address {
    fn default() -> Self {
        Self::Redb(None)
    }
}

impl Address {
    /// Opens the store, or makes a new one where there is none.
    ///
    /// # Errors
    /// The engine's: it is in use, damaged, or not to be reached.
    pub async fn open(&self, data: &Path, cache: usize) -> Result<Arc<dyn Engine>, StoreError> {
        match self {
            Self::Redb(_) => {
                let file = self.file(data);
                blocking(move || {
                    let engine = Redb::open(&file, cache)?;
                    compact::remove_unfinished(&file)?;
                    Ok(Arc::new(engine) as Arc<dyn Engine>)
                })
                .await
            }
            Self::Sled(_) => {
                let directory = self.file(data);
                blocking(move || Ok(Arc::new(Sled::open(&directory, cache)?) as Arc<dyn Engine>))
                    .await
            }
            Self::Postgres(url) => Ok(Arc::new(Postgres::open(url).await?)),
        }
    }

    /// The same address, without a password in it.
    #[must_use]
    pub fn without_password(&self) -> Self {
        match self {
            Self::Postgres(url) => Self::Postgres(postgres::without_password(url)),
            other => other.clone(),
        }
    }

    /// The file or directory that the store is in; for PostgreSQL the data directory, which holds nothing of it.
    pub fn file(&self, data: &Path) -> PathBuf {
        match self {
            Self::Redb(None) => data.join(STORE_FILE),
            Self::Redb(Some(path)) | Self::Sled(path) => path.clone(),
            Self::Postgres(_) => data.to_owned(),
        }
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(act)
        .await
        .map_err(|error| StoreError::Unavailable(format!("opening it failed: {error}")))?
}

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        match scheme {
            "redb" if text == scheme => Ok(Self::Redb(None)),
            "redb" if !rest.is_empty() => Ok(Self::Redb(Some(rest.into()))),
            "sled" if !rest.is_empty() => Ok(Self::Sled(rest.into())),
            "postgres" | "postgresql" if rest.len() > 2 && rest.starts_with("//") => {
                Ok(Self::Postgres(text.to_owned()))
            }
            _ => Err(NoAddress),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = NoAddress;

    fn try_from(text: String) -> Result<Self, NoAddress> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        match address {
            Address::Redb(None) => "redb".to_owned(),
            Address::Redb(Some(path)) => format!("redb:{}", path.display()),
            Address::Sled(path) => format!("sled:{}", path.display()),
            Address::Postgres(url) => url,
        }
    }
}

/// For people: without what may be a password.
impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(_) => out.write_str("postgres://…"),
            other => out.write_str(&String::from(other.clone())),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written() {
        for text in ["redb", "redb:/srv/a.redb", "sled:store", "postgres://u@h/d"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(String::from(address), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "redb:", "sled", "sled:", "postgres:", "mysql://a"] {
            assert_eq!(text.parse::<Address>(), Err(NoAddress), "{text}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let address: Address = "postgres://u:secret@h/d".parse().unwrap();
        assert!(!format!("{address} {address:?}").contains("secret"));
    }
}
