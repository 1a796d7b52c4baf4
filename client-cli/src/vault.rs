//! The one file that holds a session's secrets: the tokens, and the key of matrix-sdk's store.
//!
//! They are sealed with a random cipher, and the cipher with a key derived from a secret (PBKDF2
//! and XChaCha20-Poly1305, the construction that matrix-sdk uses for its stores). Writing it is
//! synchronous and atomic, because a refreshed token that is lost logs a person out.

use std::{
    fmt, fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, anyhow, bail};
use matrix_sdk::{SessionTokens, authentication::matrix::MatrixSession};
use matrix_sdk_store_encryption::StoreCipher;
use rand::{TryRng as _, rngs::SysRng};
use ruma::serde::Base64;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

/// The version of the file that is written.
const VERSION: u8 = 1;

/// What a vault is locked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// A random key in a file beside it.
    Generated,
    /// A key file that its owner keeps.
    KeyFile,
    /// A passphrase.
    Passphrase,
}

/// A session, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Address of the server.
    pub homeserver: String,
    /// Who is logged in, and with what.
    pub session: MatrixSession,
}

/// The opened vault of one session.
pub struct Vault {
    path: PathBuf,
    protection: Protection,
    /// The cipher, locked with the secret.
    locked_cipher: Vec<u8>,
    cipher: StoreCipher,
    store_key: Zeroizing<[u8; 32]>,
    kept: Mutex<Option<Kept>>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("protection", &self.protection)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    version: u8,
    protection: Protection,
    user_id: String,
    homeserver: String,
    cipher: Base64,
    sealed: Base64,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    store_key: [u8; 32],
    kept: Kept,
}

impl Vault {
    /// A new vault with a new store key. It reaches the disk when it is given a session to
    /// [`keep`](Self::keep).
    ///
    /// # Errors
    ///
    /// If the system gives no random numbers.
    pub fn create(path: PathBuf, protection: Protection, secret: &str) -> Result<Self> {
        let cipher = StoreCipher::new().context("the system gives no random numbers")?;
        let locked_cipher = cipher
            .export(secret)
            .context("the session's key cannot be made")?;
        let mut store_key = Zeroizing::new([0; 32]);
        SysRng
            .try_fill_bytes(store_key.as_mut())
            .context("the system gives no random numbers")?;
        Ok(Self {
            path,
            protection,
            locked_cipher,
            cipher,
            store_key,
            kept: Mutex::new(None),
        })
    }

    /// Opens a vault with the secret that `secret` gives for its protection.
    ///
    /// # Errors
    ///
    /// If the file is damaged or the secret does not fit.
    pub fn open(
        path: PathBuf,
        secret: impl FnOnce(Protection) -> Result<Zeroizing<String>>,
    ) -> Result<Self> {
        let on_disk = read(&path)?;
        let secret = secret(on_disk.protection)?;
        let locked_cipher = on_disk.cipher.as_bytes().to_vec();
        let cipher = StoreCipher::import(&secret, &locked_cipher)
            .map_err(|_| anyhow!("the passphrase or key does not fit this profile"))?;
        let mut sealed = unseal(&cipher, &on_disk)?;
        let store_key = Zeroizing::new(sealed.store_key);
        sealed.store_key.zeroize();
        let kept = Mutex::new(Some(sealed.kept));
        Ok(Self {
            path,
            protection: on_disk.protection,
            locked_cipher,
            cipher,
            store_key,
            kept,
        })
    }

    /// The key of the SQLite store.
    pub fn store_key(&self) -> &[u8; 32] {
        &self.store_key
    }

    /// The session, if there is one yet.
    pub fn kept(&self) -> Option<Kept> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Keeps a session: on disk when this returns.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn keep(&self, kept: Kept) -> Result<()> {
        let mut sealed = Sealed {
            store_key: *self.store_key,
            kept: kept.clone(),
        };
        let sealed_bytes = self
            .cipher
            .encrypt_value(&sealed)
            .context("the session cannot be sealed")?;
        sealed.store_key.zeroize();
        let on_disk = OnDisk {
            version: VERSION,
            protection: self.protection,
            user_id: kept.session.meta.user_id.to_string(),
            homeserver: kept.homeserver.clone(),
            cipher: Base64::new(self.locked_cipher.clone()),
            sealed: Base64::new(sealed_bytes),
        };
        write(&self.path, &on_disk)?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(())
    }

    /// Keeps new tokens for the session that is there.
    ///
    /// # Errors
    ///
    /// If there is no session, or the file cannot be written.
    pub fn keep_tokens(&self, tokens: SessionTokens) -> Result<()> {
        let Some(mut kept) = self.kept() else {
            bail!("there is no session to refresh")
        };
        kept.session.tokens = tokens;
        self.keep(kept)
    }

    /// Reads the session again, which another process may have refreshed.
    ///
    /// # Errors
    ///
    /// If it is gone or was replaced by another login.
    pub fn reload(&self) -> Result<Kept> {
        let kept = unseal(&self.cipher, &read(&self.path)?)?.kept;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept.clone());
        Ok(kept)
    }
}

fn read(path: &Path) -> Result<OnDisk> {
    let bytes = fs::read(path).context("the session cannot be read; were you logged out?")?;
    let on_disk: OnDisk = serde_json::from_slice(&bytes)
        .with_context(|| format!("the session file {} is damaged", path.display()))?;
    if on_disk.version != VERSION {
        bail!(
            "the session file {} is of a newer version of respite",
            path.display()
        );
    }
    Ok(on_disk)
}

fn unseal(cipher: &StoreCipher, on_disk: &OnDisk) -> Result<Sealed> {
    let damaged = "the session file is damaged or of another login";
    cipher
        .decrypt_value(on_disk.sealed.as_bytes())
        .context(damaged)
}

fn write(path: &Path, on_disk: &OnDisk) -> Result<()> {
    let written = || "the session cannot be written; is the disk full?";
    let dir = path.parent().context("the session file has no directory")?;
    let mut file = tempfile::NamedTempFile::new_in(dir).with_context(written)?;
    file.write_all(&serde_json::to_vec_pretty(on_disk)?)
        .with_context(written)?;
    file.as_file().sync_all().with_context(written)?;
    file.persist(path).with_context(written)?;
    fs::File::open(dir)
        .and_then(|dir| dir.sync_all())
        .with_context(written)
}
