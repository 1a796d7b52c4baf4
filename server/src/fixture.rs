//! A store and a server in a directory of their own, for unit tests.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use respite_protocol::Role;
use ruma::{OwnedUserId, RoomId, RoomVersionId, UserId};
use tempfile::TempDir;

use crate::{
    auth::{self, Device, Grant, PASSWORDS},
    clock::{Clock, Random},
    config::Config,
    error::Error,
    rooms::state::{ROOMS, Room},
    start::{self, Options},
    state::App,
    store::{
        Numbered, Store, StoreError,
        redb::{DEFAULT_CACHE_BYTES, Redb},
    },
};

/// A fresh store; it lasts as long as its directory.
pub(crate) fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let engine = Redb::open(&directory.path().join("store"), DEFAULT_CACHE_BYTES).unwrap();
    (directory, Store::new(Arc::new(engine)))
}

/// A fresh server called `localhost`, with a clock that the test moves.
pub(crate) struct Server {
    pub(crate) app: App,
    pub(crate) directory: TempDir,
    millis: Arc<AtomicU64>,
}

impl Server {
    /// A server with the default configuration.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A server with a configuration of one's own.
    pub(crate) async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let millis = Arc::new(AtomicU64::new(1_750_000_000_000));
        let mut config = Config::default();
        config.server.data = directory.path().join("data");
        configure(&mut config);
        let options = Options {
            clock: Clock::manual(millis.clone()),
            random: Random::system(),
            store: None,
        };
        let app = start::open(config, options).await.unwrap().app;
        Self {
            app,
            directory,
            millis,
        }
    }

    /// Makes an account whose password nobody knows.
    pub(crate) async fn admit(&self, name: &str) {
        let user = &user(name);
        self.app
            .store
            .transact(|mut tx| async move {
                tx.put(&PASSWORDS, user, &String::new())?;
                Ok::<_, StoreError>((tx, ()))
            })
            .await
            .unwrap();
    }

    /// Makes a room in which nothing has happened.
    pub(crate) async fn found(&self, room: &RoomId) {
        let row = &Numbered::new(
            Room {
                version: RoomVersionId::V11,
                revision: 0,
            },
            0,
        );
        self.app
            .store
            .transact(|mut tx| async move {
                tx.put(&ROOMS, room, row)?;
                Ok::<_, StoreError>((tx, ()))
            })
            .await
            .unwrap();
    }

    /// Logs a device in, as far as the store can tell.
    pub(crate) async fn log_in(&self, device: &Device) {
        let grant = Grant {
            user: &device.user,
            device: &device.device,
            role: device.role,
            refreshable: false,
        };
        self.app
            .store
            .transact(|mut tx| async move {
                auth::log_in(&mut tx, &self.app, grant).await?;
                Ok::<_, Error>((tx, ()))
            })
            .await
            .unwrap();
    }

    /// Lets time pass.
    pub(crate) fn wait(&self, millis: u64) {
        self.millis.fetch_add(millis, Ordering::Relaxed);
    }
}

/// `@name:localhost`
pub(crate) fn user(name: &str) -> OwnedUserId {
    UserId::parse(format!("@{name}:localhost")).unwrap()
}

/// A device of `@name:localhost`, logged in as far as handlers can tell.
pub(crate) fn device(name: &str, device: &str) -> Device {
    Device {
        user: user(name),
        device: device.into(),
        role: Role::Client,
        token: [0; 32],
        suspended: false,
    }
}
