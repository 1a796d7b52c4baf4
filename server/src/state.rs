//! What every handler is given: the server's parts, each with one home.

use std::{ops::Deref, sync::Arc};

use ruma::{OwnedServerName, signatures::Ed25519KeyPair};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{Hasher, Seals},
    blobs::Blobs,
    calls::TurnSecret,
    clock::{Clock, Random},
    config::Config,
    limits::Limiter,
    rooms::cache::RoomCache,
    store::Store,
};

/// The server, as handlers see it; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// The server's parts.
pub struct Parts {
    /// The effective configuration.
    pub config: Config,
    /// Everything durable but blobs.
    pub store: Store,
    /// Encrypted blobs.
    pub blobs: Blobs,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// Which sync tokens count; see [`crate::inbox::token::EPOCH`].
    pub epoch: Option<u64>,
    /// Signs events.
    pub signing_key: Ed25519KeyPair,
    /// Seals what clients bring back, such as sync tokens.
    pub seals: Seals,
    /// Room states that were used lately.
    pub rooms: RoomCache,
    /// Makes and checks password hashes.
    pub hasher: Hasher,
    /// Makes credentials for TURN servers.
    pub turn_secret: TurnSecret,
    /// How often whom may try what.
    pub limiter: Limiter,
    /// Cancelled when the server stops: long polls answer, background work ends.
    pub shutdown: CancellationToken,
}

impl App {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The name after the colon in this server's ids.
    pub fn server_name(&self) -> &OwnedServerName {
        &self.config.server.name
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
