//! From a configuration to a server whose parts are open: data directory, store, blobs, signing key.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use ruma::{OwnedServerName, signatures::Ed25519KeyPair};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{Hasher, Seals},
    blobs::Blobs,
    calls::TurnSecret,
    clock::{Clock, Random},
    config::Config,
    inbox::token::EPOCH,
    limits::Limiter,
    rooms::{cache::RoomCache, relations},
    state::{App, Parts},
    store::{Address, Engine, STORE_FILE, Store, StoreError, Table, filling},
};

/// The blobs' directory in the data directory.
pub const BLOBS: &str = "blobs";

/// Who this server is; written at the first start, never changed.
pub const IDENTITY: Table<(), Identity> = Table::new(0x0C01, "identity");

/// The start of a PKCS#8 document that ends in the 32 bytes of an Ed25519 key (RFC 8410, section 7).
const PKCS8_ED25519: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Who a server is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The name after the colon in its ids.
    pub server_name: OwnedServerName,
    key_version: String,
    /// PKCS#8.
    key: Vec<u8>,
}

/// What tests put in the place of the real thing.
#[derive(Clone)]
pub struct Options {
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// A store that is open already, shared with other servers; otherwise the one that the configuration names is opened.
    pub store: Option<Store>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            random: Random::system(),
            store: None,
        }
    }
}

/// A server whose parts are open.
pub struct Opened {
    /// The parts.
    pub app: App,
    /// Whether this is the first start with this data directory.
    pub first_start: bool,
}

/// Opens the server that the configuration describes; makes one if the data directory is new.
///
/// # Errors
/// The directory cannot be used, belongs to a server of another name or to one that is running, or what is in it is damaged.
/// Nothing in it is changed then.
pub async fn open(config: Config, options: Options) -> anyhow::Result<Opened> {
    config.validate()?;
    prepare(&config)?;
    let store = match options.store.clone() {
        Some(shared) => shared,
        None => open_store(&config).await?,
    };
    let fresh = Identity::new(&config, &options.random);
    let (identity, first_start) = identify(&store, &fresh).await?;
    ensure!(
        identity.server_name == config.server.name,
        "{} belongs to the server {}. A server's name can never be changed: set server.name = \"{}\", or use another \
         directory.",
        config.server.data.display(),
        identity.server_name,
        identity.server_name
    );
    let blobs = open_blobs(&config).await?;
    relations::index(&store).await?;
    Ok(Opened {
        app: assemble(config, options, store, &identity, blobs).await?,
        first_start,
    })
}

/// Opens a server that has been started before, whatever its name, for the operator's commands; its blobs only `with_blobs`,
/// so that what needs none is done also while they cannot be reached.
///
/// # Errors
/// There is none in the data directory, or as [`open`].
pub async fn open_existing(
    mut config: Config,
    options: Options,
    with_blobs: bool,
) -> anyhow::Result<App> {
    let data = &config.server.data;
    if !config.store.file(data).try_exists().unwrap_or(true) {
        bail!(
            "There is no server in {}. Start one with `respite-server serve`, or name its directory with --data.",
            data.display()
        );
    }
    let store = open_store(&config).await?;
    let identity = store
        .get(&IDENTITY, ())
        .await?
        .with_context(|| format!("{} holds a store without a server in it.", data.display()))?;
    config.server.name = identity.server_name.clone();
    let blobs = match with_blobs {
        true => open_blobs(&config).await?,
        false => Blobs::closed(),
    };
    assemble(config, options, store, &identity, blobs).await
}

/// Whether the store answers.
///
/// # Errors
/// It does not.
pub async fn check(app: &App) -> Result<(), StoreError> {
    app.store.get(&IDENTITY, ()).await.map(drop)
}

/// Makes a data directory that only its owner can look into, or sees that it is one of a server.
///
/// # Errors
/// It cannot be used, or is somebody else's.
pub fn prepare(config: &Config) -> anyhow::Result<()> {
    let data = config.server.data.as_path();
    let unusable = || format!("{} cannot be used as the data directory", data.display());
    match fs::read_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data)
            .with_context(unusable),
        Err(error) => Err(error).with_context(unusable),
        Ok(entries) => {
            let inside = config.store == Address::default();
            if !inside || !data.join(STORE_FILE).try_exists().with_context(unusable)? {
                refuse_strange(config, entries)?;
            }
            fs::set_permissions(data, fs::Permissions::from_mode(0o700)).with_context(unusable)
        }
    }
}

/// A directory without a store is used only if it is as good as empty: with blobs in it, the store is what is missing, unless
/// that is elsewhere; with anything else, it is somebody's, and closed to everybody else it would be of no use to them.
fn refuse_strange(config: &Config, entries: fs::ReadDir) -> anyhow::Result<()> {
    let data = config.server.data.as_path();
    let elsewhere = config.store != Address::default();
    let store = config.store.file(data);
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == BLOBS && !elsewhere && fs::read_dir(entry.path())?.next().is_some() {
            bail!(
                "{} holds blobs but no {STORE_FILE}. Restore it from a backup; nothing was changed.",
                data.display()
            );
        }
        let expected = name == BLOBS
            || name == "lost+found"
            || name == crate::admin::socket::SOCKET_FILE
            || name.starts_with('.')
            || name.starts_with(STORE_FILE)
            || elsewhere && entry.path() == store;
        ensure!(
            expected,
            "{} is not empty and holds no server. Name an empty directory, or one that does not exist yet.",
            data.display()
        );
    }
    Ok(())
}

async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let engine = open_engine(&config.store, config).await?;
    ensure!(
        !filling::is_unfinished(&*engine).await?,
        "The store is not whole: a migration or a restore into it has not finished. Start the same command once more to \
         finish it."
    );
    Ok(Store::new(engine))
}

/// Opens a store, or makes a new one, whatever is in it: for moving and restoring.
///
/// # Errors
/// It is in use, damaged, or not to be reached; in a sentence for the operator.
pub async fn open_engine(address: &Address, config: &Config) -> anyhow::Result<Arc<dyn Engine>> {
    let opened = address.open(&config.server.data, config.server.cache).await;
    match opened {
        Ok(engine) => Ok(engine),
        Err(StoreError::Locked) => bail!(
            "{} is in use by another process, probably a server that is running.",
            match address {
                Address::Redb(None) => config.server.data.display().to_string(),
                elsewhere => elsewhere.to_string(),
            }
        ),
        Err(error) => Err(error.into()),
    }
}

/// The identity in the store, or the fresh one if there was none.
async fn identify(store: &Store, fresh: &Identity) -> Result<(Identity, bool), StoreError> {
    let committed = store
        .transact(|mut tx| async move {
            let found = tx.get(&IDENTITY, ()).await?;
            if found.is_none() {
                tx.put(&IDENTITY, (), fresh)?;
            }
            Ok::<_, StoreError>((tx, found))
        })
        .await?;
    let first = committed.value.is_none();
    Ok((committed.value.unwrap_or_else(|| fresh.clone()), first))
}

async fn open_blobs(config: &Config) -> anyhow::Result<Blobs> {
    let directory = config.server.data.join(BLOBS);
    Ok(config.blobs.open(&directory, &config.s3).await?)
}

async fn assemble(
    config: Config,
    options: Options,
    store: Store,
    identity: &Identity,
    blobs: Blobs,
) -> anyhow::Result<App> {
    let signing_key = Ed25519KeyPair::from_der(&identity.key, identity.key_version.clone())
        .map_err(|_| anyhow::anyhow!("the store is damaged: the server's signing key is no key"))?;
    let epoch = store.get(&EPOCH, ()).await?;
    Ok(App::new(Parts {
        blobs,
        hasher: Hasher::new(&config.passwords),
        turn_secret: TurnSecret::load(&config.turn)?,
        config,
        store,
        clock: options.clock,
        random: options.random,
        seals: Seals::new(&signing_key),
        signing_key,
        epoch,
        rooms: RoomCache::default(),
        limiter: Limiter::default(),
        shutdown: CancellationToken::new(),
    }))
}

impl Identity {
    fn new(config: &Config, random: &Random) -> Self {
        let seed: [u8; 32] = random.bytes();
        Self {
            server_name: config.server.name.clone(),
            key_version: random.text(6),
            key: [PKCS8_ED25519.as_slice(), &seed].concat(),
        }
    }
}
