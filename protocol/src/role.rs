//! What an account may do in the therapy extension.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The part a person plays on a Respite server; fixed when their code was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Makes codes for clients, opens therapy rooms and schedules prompts.
    Therapist,
    /// Writes, answers check-ins and returns documents.
    Client,
    /// Runs the server; makes codes for therapists.
    Operator,
}

impl Role {
    /// Every role, in the order in which people meet them.
    pub const ALL: [Self; 3] = [Self::Therapist, Self::Client, Self::Operator];

    /// The name as written in JSON and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Therapist => "therapist",
            Self::Client => "client",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == name)
            .ok_or(UnknownRole)
    }
}

/// The name is not that of a [`Role`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of: therapist, client, operator")]
pub struct UnknownRole;
