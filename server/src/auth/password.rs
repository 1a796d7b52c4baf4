//! Passwords: kept as argon2id hashes, made on threads of their own, a few at a time.

use std::{sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::SaltString,
};
use http::StatusCode;
use ruma::{DeviceId, OwnedUserId, UserId, api::error::ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::Secret;
use crate::{
    clock::Random,
    config,
    error::{Error, Result},
    limits::Backoff,
    state::App,
    store::{Store, StoreError, Table, Tx},
};

/// The hash of each account's password, in the PHC string format. Accounts that are in use have a row,
/// and only they.
pub const PASSWORDS: Table<OwnedUserId, String> = Table::new(0x0102, "passwords");

/// The shortest password that is taken, in characters.
pub const MIN_PASSWORD_CHARS: usize = 8;
/// The longest password that is taken, in bytes: hashing more costs without protecting more.
pub const MAX_PASSWORD_BYTES: usize = 512;
/// How many hashings may wait for their turn before the next one is sent away.
pub const MAX_QUEUED_HASHINGS: usize = 256;
/// The same for people of whom nothing is known. They have a queue of their own and never all of the threads, so that
/// however many of them come, others are not kept waiting.
pub const MAX_QUEUED_STRANGERS: usize = 64;

const SALT_BYTES: usize = 16;
const RETRY_HASHING: Duration = Duration::from_secs(2);
const WRONG: &str = "The user name or the password is wrong.";

/// Hashes passwords; at most as many at once as the configuration says.
#[derive(Clone)]
pub struct Hasher {
    params: Params,
    slots: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    strangers: Strangers,
}

#[derive(Clone)]
struct Strangers {
    slots: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

/// Who has a password hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker<'a> {
    /// Somebody of whom nothing is known.
    Stranger,
    /// A device of the account, or somebody who knows its id: it is known to those who share a room with its owner.
    Device(&'a DeviceId),
}

/// Proof that somebody gave an account's password, while the account keeps that password.
pub struct Verified {
    user: OwnedUserId,
    hash: String,
}

impl Hasher {
    /// A hasher with the configured costs; costs that argon2 cannot take are replaced by its defaults.
    pub fn new(config: &config::Passwords) -> Self {
        let params = Params::new(config.memory_kib, config.passes, 1, None).unwrap_or_default();
        let at_once = usize::try_from(config.at_once).unwrap_or(1).max(1);
        Self {
            params,
            slots: Arc::new(Semaphore::new(at_once)),
            queue: Arc::new(Semaphore::new(MAX_QUEUED_HASHINGS)),
            strangers: Strangers {
                slots: Arc::new(Semaphore::new(at_once.div_ceil(2))),
                queue: Arc::new(Semaphore::new(MAX_QUEUED_STRANGERS)),
            },
        }
    }

    /// The hash of a new password, of somebody who has shown what it takes to set one.
    ///
    /// # Errors
    /// 429 when too many hashings wait already.
    pub async fn hash(&self, random: &Random, password: Secret) -> Result<String> {
        let salt = random.bytes::<SALT_BYTES>();
        self.run(move |argon2| {
            let salt = SaltString::encode_b64(&salt)?;
            Ok(argon2
                .hash_password(password.expose().as_bytes(), &salt)?
                .to_string())
        })
        .await
    }

    /// Whether the password is the one that was hashed. Without a hash the answer is no, and takes as long.
    ///
    /// # Errors
    /// 429 when too many hashings wait already.
    pub async fn matches(
        &self,
        asker: Asker<'_>,
        password: Secret,
        hash: Option<String>,
    ) -> Result<bool> {
        let _turn = match asker {
            Asker::Stranger => Some(self.strangers.turn().await?),
            Asker::Device(_) => None,
        };
        self.run(move |argon2| {
            let password = password.expose().as_bytes();
            match &hash {
                Some(hash) => Ok(argon2
                    .verify_password(password, &PasswordHash::new(hash)?)
                    .is_ok()),
                None => {
                    let salt = SaltString::encode_b64(&[0; SALT_BYTES])?;
                    argon2.hash_password(password, &salt).map(|_| false)
                }
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Argon2<'static>) -> argon2::password_hash::Result<T> + Send + 'static,
    ) -> Result<T> {
        let _queued = queued(&self.queue)?;
        // The permit goes along, so that a request that was given up still counts while its hash is being made.
        let slot = Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(Error::internal)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work(argon2)
        })
        .await
        .map_err(Error::internal)?
        .map_err(Error::internal)
    }
}

impl Strangers {
    /// Waits until it is a stranger's turn to wait among the others.
    async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        let _queued = queued(&self.queue)?;
        Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(Error::internal)
    }
}

fn queued(queue: &Semaphore) -> Result<SemaphorePermit<'_>> {
    queue
        .try_acquire()
        .map_err(|_| Error::limit_exceeded(RETRY_HASHING))
}

/// Checks an account's password. Unknown accounts, deactivated ones and wrong passwords are told apart neither by the
/// answer nor by the time that it takes; each failure makes the next attempt wait longer. Failures are counted for
/// strangers together and for each device of the account by itself: whoever guesses from elsewhere does not keep the owner
/// out of a device that they have.
///
/// # Errors
/// 403 `M_FORBIDDEN` for a wrong password, 429 `M_LIMIT_EXCEEDED` after too many.
pub async fn verify(
    app: &App,
    user: &UserId,
    asker: Asker<'_>,
    password: Secret,
) -> Result<Verified> {
    let patience = Backoff::failed_logins(&app.config.limits);
    let who = match asker {
        Asker::Stranger => user.to_string(),
        Asker::Device(device) => format!("{user} {device}"),
    };
    app.limiter.attempt(&app.clock, patience, &who)?;
    let hash = app.store.get(&PASSWORDS, user).await?;
    let fits = password.expose().len() <= MAX_PASSWORD_BYTES;
    let tried = if fits {
        password
    } else {
        Secret::from(String::new())
    };
    let matches = app.hasher.matches(asker, tried, hash.clone()).await?;
    match hash {
        Some(hash) if matches && fits => {
            app.limiter.forgive(patience, &who);
            Ok(Verified {
                user: user.to_owned(),
                hash,
            })
        }
        _ => Err(Error::forbidden(WRONG)),
    }
}

impl Verified {
    /// Whose password it was.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Makes a transaction depend on the password's still being the same: one that was changed or taken away since
    /// opens nothing any more.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN` when it is not.
    pub async fn holds_in(&self, tx: &mut Tx) -> Result<()> {
        match tx.get(&PASSWORDS, &self.user).await? {
            Some(hash) if hash == self.hash => Ok(()),
            _ => Err(Error::forbidden(WRONG)),
        }
    }
}

/// Whether somebody has an account here that is in use.
///
/// # Errors
/// The store's.
pub async fn exists(store: &Store, user: &UserId) -> Result<bool, StoreError> {
    Ok(store.get(&PASSWORDS, user).await?.is_some())
}

/// Whether a new password is one that can be taken.
///
/// # Errors
/// 400 `M_WEAK_PASSWORD` for a short one, 400 `M_INVALID_PARAM` for one that is too long.
pub fn check_quality(password: &str) -> Result<()> {
    if password.chars().count() < MIN_PASSWORD_CHARS {
        return Err(Error::new(
            StatusCode::BAD_REQUEST,
            ErrorKind::WeakPassword,
            format!("The password is too short: take at least {MIN_PASSWORD_CHARS} characters."),
        ));
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(Error::invalid_param(format!(
            "The password is too long: take at most {MAX_PASSWORD_BYTES} bytes."
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
