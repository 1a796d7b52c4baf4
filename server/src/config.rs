//! The configuration: one TOML file, one documented and validated struct a section. Everything has a default.

use std::{net::SocketAddr, path::PathBuf};

use ruma::{OwnedServerName, RoomVersionId};
use serde::{Deserialize, Serialize};

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who the server is and where it listens.
    pub server: Server,
    /// The ciphertext gate.
    pub gate: Gate,
    /// Who may make an account.
    pub registration: Registration,
    /// Rooms.
    pub rooms: Rooms,
    /// Uploads.
    pub media: Media,
    /// How much is how much too much.
    pub limits: Limits,
}

/// Who the server is and where it listens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The name in user ids, after the colon. It can never be changed.
    pub name: OwnedServerName,
    /// Where clients connect to.
    pub listen: SocketAddr,
    /// Where everything is kept.
    pub data: PathBuf,
    /// What clients are told to use as the server's address; where it is not set, the address that they came to.
    pub public_url: Option<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            name: ruma::server_name!("localhost").to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8008)),
            data: PathBuf::from("respite-data"),
            public_url: None,
        }
    }
}

/// The ciphertext gate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gate {
    /// Where only ciphertext is taken.
    pub scope: Scope,
}

/// Where only ciphertext is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// In every room and every field.
    #[default]
    Everywhere,
    /// In therapy rooms; other rooms are plain Matrix.
    TherapyRooms,
}

/// Who may make an account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registration {
    /// What one needs.
    pub mode: RegistrationMode,
}

/// What one needs to make an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistrationMode {
    /// A code.
    #[default]
    Code,
    /// Nothing. For test installations.
    Open,
    /// Nobody may.
    Closed,
}

/// Rooms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// The version of new rooms: 10, 11 or 12.
    pub default_version: RoomVersionId,
}

impl Default for Rooms {
    fn default() -> Self {
        Self { default_version: RoomVersionId::V11 }
    }
}

/// Uploads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// The largest upload, in bytes.
    pub max_upload: u64,
}

impl Default for Media {
    fn default() -> Self {
        Self { max_upload: 100 * 1024 * 1024 }
    }
}

/// How much is how much too much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Failed logins for one account before it has to wait, each quarter of an hour.
    pub failed_logins: u32,
    /// Registration attempts for the whole server, each minute.
    pub registrations: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { failed_logins: 10, registrations: 300 }
    }
}
