//! A session: a profile opened by this process, with a Matrix client that is logged in.
//!
//! A session holds its profile from [`Session::open`] until [`Session::close`]. Whoever wants to
//! wait for news turns it into a [`Watch`], which holds nothing: other commands can use the
//! profile meanwhile, and [`Watch::resume`] opens it again on what they left behind.

mod watch;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use matrix_sdk::{
    Client, ClientBuilder, SqliteStoreConfig,
    authentication::matrix::MatrixSession,
    config::{RequestConfig, SyncSettings},
    encryption::{BackupDownloadStrategy, EncryptionSettings},
    store::RoomLoadSettings,
};
use ruma::{
    UInt,
    api::client::{
        filter::{
            Filter as EventFilter, FilterDefinition, LazyLoadOptions, RoomEventFilter, RoomFilter,
        },
        sync::sync_events::v3::Filter,
    },
    presence::PresenceState,
};

pub use self::watch::{LONG_POLL, Watch};
use crate::{
    profile::{Ask, Keys, Profile, ProfileLock},
    vault::{Kept, Vault},
};

/// How often a request is tried before the server counts as unreachable.
pub const MAX_TRIES: usize = 3;
/// How long the server may take for an ordinary request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a command waits, before it ends, for new room keys to reach the backup.
pub const BACKUP_WAIT: Duration = Duration::from_secs(5);
/// Most syncs in a row to catch up with messages from other devices.
pub const MAX_SYNC_ROUNDS: usize = 20;

const TIMELINE_LIMIT: u32 = 10;
const USER_AGENT: &str = "respite";

/// A client that is not logged in yet, and the vault that its session will go to.
#[derive(Debug)]
pub struct Newcomer {
    /// The client.
    pub client: Client,
    profile: Profile,
    vault: Arc<Vault>,
    lock: ProfileLock,
}

/// A profile opened by this process.
#[derive(Debug)]
pub struct Session {
    client: Client,
    profile: Profile,
    vault: Arc<Vault>,
    next_batch: Option<String>,
    _lock: ProfileLock,
}
impl Newcomer {
    /// Prepares `profile` for an account on `server` (an address, or a server's name that is
    /// looked up).
    ///
    /// # Errors
    ///
    /// If somebody is logged in here, the server cannot be found, or the connection would not be
    /// encrypted; the last unless it stays on this machine or `allow_http` is set.
    pub async fn prepare(
        profile: &Profile,
        keys: &Keys,
        ask: &dyn Ask,
        server: &str,
        allow_http: bool,
    ) -> Result<Self> {
        let lock = profile.lock().await?;
        let vault = Arc::new(profile.new_vault(keys, ask)?);
        let builder = builder(profile, &vault);
        let builder = if server.contains("://") {
            builder.homeserver_url(server)
        } else {
            builder.server_name_or_homeserver_url(server)
        };
        let client = builder
            .build()
            .await
            .with_context(|| format!("the server “{server}” cannot be used"))?;
        refuse_open_connection(&client, allow_http)?;
        // A wrong address is told here, before anyone is asked for a password.
        client
            .server_versions()
            .await
            .with_context(|| format!("the server “{server}” cannot be used"))?;
        Ok(Self {
            client,
            profile: profile.clone(),
            vault,
            lock,
        })
    }

    /// Keeps the session that the client now has.
    ///
    /// # Errors
    ///
    /// If it has none, or the session cannot be written.
    pub fn arrive(self) -> Result<Session> {
        let session = self
            .client
            .matrix_auth()
            .session()
            .context("the server gave no session")?;
        let homeserver = self.client.homeserver().to_string();
        self.vault.keep(Kept {
            homeserver,
            session,
        })?;
        keep_refreshed_tokens(&self.client, &self.vault)?;
        Ok(Session {
            client: self.client,
            profile: self.profile,
            vault: self.vault,
            next_batch: None,
            _lock: self.lock,
        })
    }
}

impl Session {
    /// Opens the session of a profile. Nothing is asked of the server yet.
    ///
    /// # Errors
    ///
    /// If nobody is logged in here, the key does not fit, or the store is damaged.
    pub async fn open(profile: &Profile, keys: &Keys, ask: &dyn Ask) -> Result<Self> {
        if !profile.has_session() {
            // Says who is missing, without making a directory for them.
            profile.open_vault(keys, ask)?;
        }
        let lock = profile.lock().await?;
        let vault = Arc::new(profile.open_vault(keys, ask)?);
        Self::restore(profile.clone(), vault, lock).await
    }

    /// The Matrix client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The profile that is open.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Fetches what is new, with what other devices sent to this one.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or refuses.
    pub async fn sync(&mut self) -> Result<()> {
        for _ in 0..MAX_SYNC_ROUNDS {
            let response = self.client.sync_once(sync_settings(Duration::ZERO)).await?;
            self.next_batch = Some(response.next_batch);
            if response.to_device.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Whether this session has never synced: there is much to fetch.
    pub async fn is_fresh(&self) -> bool {
        self.client.joined_rooms().is_empty() && self.client.invited_rooms().is_empty()
    }

    /// Ends the session of this process in good order: new room keys go to the backup (within
    /// [`BACKUP_WAIT`]; the next run goes on with it), the store is closed, the profile is free.
    ///
    /// # Errors
    ///
    /// If the store cannot be closed.
    pub async fn close(self) -> Result<()> {
        let backups = self.client.encryption().backups();
        if backups.are_enabled().await {
            let upload = backups.wait_for_steady_state().into_future();
            // Late or failed uploads are taken up by the next run.
            let _ = tokio::time::timeout(BACKUP_WAIT, upload).await;
        }
        self.client
            .pause()
            .await
            .context("the store cannot be closed")
    }

    /// Lets go of the profile to wait for news.
    ///
    /// # Errors
    ///
    /// If the store cannot be closed, or the session has never synced.
    pub async fn watch(self) -> Result<Watch> {
        let since = self
            .next_batch
            .clone()
            .context("there is nothing to wait after")?;
        let watch = Watch {
            profile: self.profile.clone(),
            vault: self.vault.clone(),
            http: self.client.http_client().clone(),
            since,
        };
        self.close().await?;
        Ok(watch)
    }

    async fn restore(profile: Profile, vault: Arc<Vault>, lock: ProfileLock) -> Result<Self> {
        let kept = vault.kept().context("the profile holds no session")?;
        let client = builder(&profile, &vault)
            .homeserver_url(&kept.homeserver)
            .build()
            .await
            .context("the profile's store cannot be opened; it may be damaged")?;
        let session: MatrixSession = kept.session;
        client
            .matrix_auth()
            .restore_session(session, RoomLoadSettings::default())
            .await?;
        keep_refreshed_tokens(&client, &vault)?;
        client
            .encryption()
            .wait_for_e2ee_initialization_tasks()
            .await;
        Ok(Self {
            client,
            profile,
            vault,
            next_batch: None,
            _lock: lock,
        })
    }
}

fn builder(profile: &Profile, vault: &Vault) -> ClientBuilder {
    let store = SqliteStoreConfig::new(profile.store_dir()).key(Some(vault.store_key()));
    Client::builder()
        .sqlite_store_with_config_and_cache_path(store, None::<&std::path::Path>)
        .handle_refresh_tokens()
        .respect_login_well_known(false)
        .user_agent(USER_AGENT)
        .request_config(
            RequestConfig::new()
                .retry_limit(MAX_TRIES)
                .timeout(REQUEST_TIMEOUT),
        )
        .with_encryption_settings(EncryptionSettings {
            auto_enable_cross_signing: false,
            backup_download_strategy: BackupDownloadStrategy::AfterDecryptionFailure,
            auto_enable_backups: false,
        })
}

fn keep_refreshed_tokens(client: &Client, vault: &Arc<Vault>) -> Result<()> {
    let (reads, writes) = (vault.clone(), vault.clone());
    client.set_session_callbacks(
        Box::new(move |_| Ok(reads.reload()?.session.tokens)),
        Box::new(move |client| {
            let tokens = client
                .session_tokens()
                .context("the session has no tokens")?;
            Ok(writes.keep_tokens(tokens)?)
        }),
    )?;
    Ok(())
}

fn refuse_open_connection(client: &Client, allow_http: bool) -> Result<()> {
    let url = client.homeserver();
    let stays_here = match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    };
    if url.scheme() != "https" && !stays_here && !allow_http {
        bail!(
            "the connection to {} would not be encrypted, and others could read your password; \
             use an https:// address (or --allow-http on a network that you trust)",
            url.origin().ascii_serialization()
        );
    }
    Ok(())
}

/// How this program syncs: members only when they speak, nobody's presence.
pub fn sync_settings(timeout: Duration) -> SyncSettings {
    SyncSettings::new()
        .timeout(timeout)
        .set_presence(PresenceState::Offline)
        .filter(Filter::FilterDefinition(filter()))
}

fn filter() -> FilterDefinition {
    let lazy = LazyLoadOptions::Enabled {
        include_redundant_members: false,
    };
    let mut room = RoomFilter::default();
    room.state = RoomEventFilter::default();
    room.state.lazy_load_options = lazy;
    room.timeline.lazy_load_options = lazy;
    room.timeline.limit = Some(UInt::from(TIMELINE_LIMIT));
    room.ephemeral.not_types = vec!["m.typing".to_owned()];
    let mut filter = FilterDefinition::default();
    filter.room = room;
    filter.presence = EventFilter::ignore_all();
    filter
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_filter_asks_for_members_only_as_they_speak() {
        let filter = serde_json::to_value(filter()).unwrap();
        assert_eq!(filter["room"]["state"]["lazy_load_members"], true);
        assert_eq!(filter["presence"]["types"], json!([]));
    }
}
