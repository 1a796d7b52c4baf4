//! What makes a room a therapy room.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The `type` in `m.room.create` that marks a therapy room.
pub const ROOM_TYPE: &str = "chat.respite.therapy";
/// The key in `m.room.create` that holds the room's [`TherapyKind`]. It can never change.
pub const KIND_KEY: &str = "chat.respite.kind";
/// The feature's name in `/versions` and `/capabilities`.
pub const FEATURE: &str = "chat.respite.therapy";

/// A Megolm session in a therapy room is replaced after this time: one day, in milliseconds.
pub const ROTATION_PERIOD_MS: u64 = 24 * 60 * 60 * 1000;
/// A Megolm session in a therapy room is replaced after this many messages.
pub const ROTATION_PERIOD_MSGS: u64 = 50;

/// Power level of the therapist who opened the room.
pub const THERAPIST_POWER: i64 = 100;
/// Power level of every client in the room: enough to write and to redact their own messages.
pub const CLIENT_POWER: i64 = 50;

/// Who meets in a therapy room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TherapyKind {
    /// One client and their therapist.
    Individual,
    /// Two partners and their therapist.
    Couple,
    /// Several clients and one or more therapists.
    Group,
    /// Therapists among themselves.
    Supervision,
}

impl TherapyKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::Individual,
        Self::Couple,
        Self::Group,
        Self::Supervision,
    ];

    /// The name as written in JSON and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Individual => "individual",
            Self::Couple => "couple",
            Self::Group => "group",
            Self::Supervision => "supervision",
        }
    }
}

impl fmt::Display for TherapyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TherapyKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or(UnknownKind)
    }
}

/// The name is not that of a [`TherapyKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a kind is one of: individual, couple, group, supervision")]
pub struct UnknownKind;
