//! The configuration: one TOML file, one documented and validated struct a section. Everything has a default.
//!
//! What people read about a setting is in `config/default.toml` and nowhere else: `respite-server config` prints that file
//! with the effective values in it, and a test sees that it names every setting.

pub mod duration;
mod load;
mod print;
mod validate;

pub use load::ConfigError;
pub use validate::Invalid;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ruma::{OwnedServerName, RoomVersionId};
use serde::{Deserialize, Serialize};

use crate::{
    blobs::{Home, S3Access},
    store::{Address, redb::DEFAULT_CACHE_BYTES},
};

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which engine keeps the store, and where.
    pub store: Address,
    /// Where blobs are kept.
    pub blobs: Home,
    /// Who the server is and where it listens.
    pub server: Server,
    /// The ciphertext gate.
    pub gate: Gate,
    /// Who finds whom.
    pub directory: Directory,
    /// Who may make an account.
    pub registration: Registration,
    /// How passwords are kept.
    pub passwords: Passwords,
    /// How long one stays logged in.
    pub tokens: Tokens,
    /// Rooms.
    pub rooms: Rooms,
    /// Uploads.
    pub media: Media,
    /// Who is there.
    pub presence: Presence,
    /// Push notifications.
    pub push: Push,
    /// Calls.
    pub turn: Turn,
    /// How to get at S3-compatible storage.
    pub s3: S3Access,
    /// How much is how much too much.
    pub limits: Limits,
    /// Connections: how many, and how long the server waits for the other side.
    pub connections: Connections,
    /// The server's own TLS.
    pub tls: Tls,
    /// The local listener for whoever watches over the server.
    pub operations: Operations,
    /// Backups.
    pub backup: Backup,
    /// The log.
    pub log: Log,
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
    /// How much of the store is kept in memory, in bytes.
    pub cache: usize,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            name: ruma::server_name!("localhost").to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8008)),
            data: PathBuf::from("respite-data"),
            public_url: None,
            cache: DEFAULT_CACHE_BYTES,
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

/// Who finds whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Directory {
    /// Whom somebody finds who searches for people.
    pub people: People,
}

/// Whom somebody finds who searches for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum People {
    /// Those whom they share a room with.
    #[default]
    Acquainted,
    /// Everybody who has an account.
    Everybody,
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

/// How passwords are kept: as argon2id hashes, with these costs. They hold for new hashes; old ones keep theirs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Passwords {
    /// Memory for one hashing, in KiB: at least 19456 on a server that people use. Tests take less.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub passes: u32,
    /// Hashings at the same time; others wait for their turn.
    pub at_once: u32,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            passes: 2,
            at_once: 2,
        }
    }
}

/// How long one stays logged in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// Seconds after which the access token of a client that can refresh it ends. Others stay logged in until logout.
    pub access_lifetime_seconds: u64,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            access_lifetime_seconds: 60 * 60,
        }
    }
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
        Self {
            default_version: RoomVersionId::V11,
        }
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
        Self {
            max_upload: 100 * 1024 * 1024,
        }
    }
}

/// Who is there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Presence {
    /// Whether people who share a room are told when somebody comes and goes.
    pub enabled: bool,
}

/// Push notifications.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Push {
    /// Whether the server calls push gateways.
    pub enabled: bool,
    /// Push gateways that may be called without TLS and in a private network: scheme, host and port.
    pub trusted_gateways: Vec<String>,
}

impl Default for Push {
    fn default() -> Self {
        Self {
            enabled: true,
            trusted_gateways: Vec::new(),
        }
    }
}

/// Calls: TURN servers, and the secret that the server shares with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Turn {
    /// The TURN servers; none: clients call each other directly.
    pub uris: Vec<String>,
    /// A file with the secret (`static-auth-secret` of coturn).
    pub secret: Option<PathBuf>,
    /// How long credentials hold.
    #[serde(with = "duration")]
    pub lifetime: Duration,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            uris: Vec::new(),
            secret: None,
            lifetime: Duration::from_secs(24 * 60 * 60),
        }
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
    /// Codes and user names that may be looked up without logging in, for the whole server, each minute.
    pub lookups: u32,
    /// Requests of one account, each ten seconds.
    pub requests: u32,
    /// Requests of one account that cost more or reach others (rooms made, invitations, knocks, keys uploaded and claimed,
    /// searches for rooms and people), each ten seconds.
    pub costly_requests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            failed_logins: 10,
            registrations: 300,
            lookups: 300,
            requests: 10_000,
            costly_requests: 1_000,
        }
    }
}

/// Connections: how many, and how long the server waits for the other side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Connections {
    /// How many at a time; further ones wait to be accepted.
    pub max: usize,
    /// The longest request line and headers together, in bytes.
    pub header_bytes: usize,
    /// How long a client may take for the headers of a request, and be silent between two requests.
    #[serde(with = "duration")]
    pub header_wait: Duration,
    /// How long a client may be silent in the middle of a request's body.
    #[serde(with = "duration")]
    pub body_wait: Duration,
    /// How long a client may take nothing of an answer.
    #[serde(with = "duration")]
    pub write_wait: Duration,
    /// How long requests under way may take to finish when the server stops.
    #[serde(with = "duration")]
    pub shutdown_grace: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            max: 10_000,
            header_bytes: 16 << 10,
            header_wait: Duration::from_secs(60),
            body_wait: Duration::from_secs(30),
            write_wait: Duration::from_secs(60),
            shutdown_grace: Duration::from_secs(20),
        }
    }
}

/// The server's own TLS; none unless both are set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
}

/// The local listener for whoever watches over the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Operations {
    /// Whether there is one.
    pub enabled: bool,
    /// Where it serves `/metrics` and `/health`.
    pub listen: SocketAddr,
}

impl Default for Operations {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 8009)),
        }
    }
}

/// Backups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backup {
    /// The public keys (`age1…`) to which backups are encrypted.
    pub recipients: Vec<String>,
}

/// The log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How much is written.
    pub level: LogLevel,
    /// In which form.
    pub format: LogFormat,
}

/// How much is written to the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what may need a look.
    Warn,
    /// And what the server does.
    #[default]
    Info,
    /// And every request: method, endpoint, status, duration.
    Debug,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}
