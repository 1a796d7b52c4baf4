//! A profile: one account on this machine, in a directory of its own.
//!
//! ```text
//! <home>/<profile>/      0700
//!   session.json         0600  who and where in the clear; tokens and the store's key sealed
//!   key                  0600  what unseals them, unless a passphrase or another file does
//!   lock                 held by the one process that has the profile open
//!   store/               matrix-sdk's SQLite store, encrypted
//! ```
//!
//! One process at a time has a profile open: two that advance the same Olm ratchets would make
//! messages unreadable. Whoever waits for news lets go of the profile while waiting, see
//! [`crate::session`].

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rand::{TryRng as _, rngs::SysRng};
use zeroize::Zeroizing;

use crate::vault::{Protection, Vault};

/// Longest name of a profile, in characters.
pub const MAX_NAME_CHARS: usize = 64;
/// How long a command waits for another one to let go of the profile.
pub const LOCK_WAIT: Duration = Duration::from_secs(60);
/// Largest key file, in bytes.
pub const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

const LOCK_POLL: Duration = Duration::from_millis(50);
const GENERATED_KEY_BYTES: usize = 32;

/// Where a profile lives.
#[derive(Clone, Debug)]
pub struct Profile {
    name: String,
    dir: PathBuf,
}

/// What opens a profile's session.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// A file whose content is the key; needed again at every run.
    pub file: Option<PathBuf>,
    /// Protect a new session with a passphrase that is asked for at every run.
    pub passphrase: bool,
}

/// Holds the profile for this process until it is dropped.
#[derive(Debug)]
pub struct ProfileLock {
    _file: File,
}

impl Profile {
    /// The profile of this name below `home`. Nothing is read or made yet.
    ///
    /// # Errors
    ///
    /// If the name is not 1 to [`MAX_NAME_CHARS`] of `a-z A-Z 0-9 _ -`.
    pub fn new(home: &Path, name: &str) -> Result<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if name.is_empty() || name.len() > MAX_NAME_CHARS || !name.bytes().all(allowed) {
            bail!(
                "a profile's name has 1 to {MAX_NAME_CHARS} letters, digits, underscores or hyphens"
            );
        }
        Ok(Self {
            name: name.to_owned(),
            dir: home.join(name),
        })
    }

    /// The profile's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether somebody is logged in here.
    pub fn has_session(&self) -> bool {
        self.session_file().exists()
    }

    /// Where matrix-sdk's store is.
    pub fn store_dir(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Takes the profile for this process. Waits up to [`LOCK_WAIT`] for another one to finish.
    ///
    /// # Errors
    ///
    /// If it stays taken, or the directory cannot be made.
    pub async fn lock(&self) -> Result<ProfileLock> {
        make_private_dir(&self.dir)?;
        let file = private_file(&self.dir.join("lock"))?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(ProfileLock { _file: file }),
                Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_WAIT => {
                    tokio::time::sleep(LOCK_POLL).await;
                }
                Err(TryLockError::WouldBlock) => bail!(
                    "another respite command is busy with the profile “{}”; let it finish or stop it",
                    self.name
                ),
                Err(TryLockError::Error(error)) => {
                    return Err(error).context("the profile's directory cannot be locked");
                }
            }
        }
    }

    /// A vault for a new session, written to disk once it holds one. Whatever an unfinished login
    /// left behind is removed: without its vault it cannot be read by anyone.
    ///
    /// # Errors
    ///
    /// If somebody is logged in here, or the key cannot be had.
    pub fn new_vault(&self, keys: &Keys, ask: &dyn Ask) -> Result<Vault> {
        if self.has_session() {
            bail!(
                "the profile “{}” is already logged in; log out first or choose another one with --profile",
                self.name
            );
        }
        if self.store_dir().exists() {
            fs::remove_dir_all(self.store_dir())
                .context("an unfinished login cannot be removed")?;
        }
        make_private_dir(&self.store_dir())?;
        let (protection, secret) = match keys {
            Keys {
                file: Some(file), ..
            } => (Protection::KeyFile, read_key(file)?),
            Keys {
                passphrase: true, ..
            } => (Protection::Passphrase, ask.new_passphrase()?),
            _ => (Protection::Generated, self.generate_key()?),
        };
        Vault::create(self.session_file(), protection, &secret)
    }

    /// Opens the vault of the session that is here.
    ///
    /// # Errors
    ///
    /// If nobody is logged in here, or the key does not fit.
    pub fn open_vault(&self, keys: &Keys, ask: &dyn Ask) -> Result<Vault> {
        if !self.has_session() {
            bail!(
                "nobody is logged in here (profile “{}”); start with `respite register` or `respite login`",
                self.name
            );
        }
        Vault::open(self.session_file(), |protection| {
            match (protection, &keys.file) {
                (_, Some(file)) => read_key(file),
                (Protection::Generated, None) => {
                    let path = self.dir.join("key");
                    refuse_if_others_can_read(&path)?;
                    read_key(&path)
                }
                (Protection::Passphrase, None) => ask.passphrase(),
                (Protection::KeyFile, None) => {
                    bail!(
                        "this profile is locked with a key file; name it with --key-file or RESPITE_KEY_FILE"
                    )
                }
            }
        })
    }

    /// Removes everything of this profile from the disk.
    ///
    /// # Errors
    ///
    /// If a file cannot be removed.
    pub fn remove(&self) -> Result<()> {
        // The session goes first: without it nothing of the rest can be read.
        for path in [self.session_file(), self.dir.join("key")] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).context("the session cannot be removed");
                }
                _ => {}
            }
        }
        fs::remove_dir_all(&self.dir).context("the profile's files cannot be removed")
    }

    fn session_file(&self) -> PathBuf {
        self.dir.join("session.json")
    }

    fn generate_key(&self) -> Result<Zeroizing<String>> {
        let mut bytes = Zeroizing::new([0_u8; GENERATED_KEY_BYTES]);
        SysRng
            .try_fill_bytes(bytes.as_mut())
            .context("the system gives no random numbers")?;
        let key = Zeroizing::new(
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
        );
        let path = self.dir.join("key");
        if path.exists() {
            fs::remove_file(&path).context("an old key file cannot be removed")?;
        }
        let mut file = private_file(&path)?;
        file.write_all(key.as_bytes())
            .and_then(|()| file.sync_all())
            .context("the key file cannot be written")?;
        Ok(key)
    }
}

/// Asks a person for what only they know.
pub trait Ask {
    /// The passphrase of a session that exists.
    ///
    /// # Errors
    ///
    /// If there is nobody to ask.
    fn passphrase(&self) -> Result<Zeroizing<String>>;

    /// A passphrase for a new session, asked for twice.
    ///
    /// # Errors
    ///
    /// If there is nobody to ask, it is empty, or the two differ.
    fn new_passphrase(&self) -> Result<Zeroizing<String>>;
}

/// The key in a file, without the line break at its end.
fn read_key(path: &Path) -> Result<Zeroizing<String>> {
    let unreadable = || format!("the key file {} cannot be read", path.display());
    let file = File::open(path).with_context(unreadable)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_KEY_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(unreadable)?;
    if bytes.len() as u64 > MAX_KEY_FILE_BYTES {
        bail!(
            "the key file {} is larger than {} KiB",
            path.display(),
            MAX_KEY_FILE_BYTES / 1024
        );
    }
    // Bytes that are no text are taken as they are: every byte one character.
    let key = match std::str::from_utf8(&bytes) {
        Ok(text) => text.trim_end_matches(['\r', '\n']).to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    let key = Zeroizing::new(key);
    if key.is_empty() {
        bail!("the key file {} is empty", path.display());
    }
    Ok(key)
}

fn make_private_dir(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(path)
        .with_context(|| format!("the directory {} cannot be made", path.display()))
}

fn private_file(path: &Path) -> Result<File> {
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .with_context(|| format!("the file {} cannot be opened", path.display()))
}

#[cfg(unix)]
fn refuse_if_others_can_read(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = fs::metadata(path)
        .with_context(|| format!("the key file {} cannot be read", path.display()))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        bail!(
            "other people on this machine can read {0}; run: chmod 600 {0}",
            path.display()
        );
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_if_others_can_read(_path: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Ask for Nobody {
        fn passphrase(&self) -> Result<Zeroizing<String>> {
            bail!("nobody to ask")
        }

        fn new_passphrase(&self) -> Result<Zeroizing<String>> {
            bail!("nobody to ask")
        }
    }

    struct Says(&'static str);

    impl Ask for Says {
        fn passphrase(&self) -> Result<Zeroizing<String>> {
            Ok(Zeroizing::new(self.0.to_owned()))
        }

        fn new_passphrase(&self) -> Result<Zeroizing<String>> {
            self.passphrase()
        }
    }

    fn home() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn session() -> crate::vault::Kept {
        crate::vault::Kept {
            homeserver: "https://clinic.example/".to_owned(),
            session: serde_json::from_value(serde_json::json!({
                "user_id": "@heron:clinic.example",
                "device_id": "NIGHTSHIFT",
                "access_token": "secret-access",
                "refresh_token": "secret-refresh",
            }))
            .unwrap(),
        }
    }

    #[test]
    fn a_profiles_name_cannot_leave_its_directory() {
        for name in ["", "..", "a/b", ".hidden", "ä", &"x".repeat(65)] {
            assert!(Profile::new(Path::new("/home"), name).is_err(), "{name}");
        }
        assert!(Profile::new(Path::new("/home"), "night-shift_2").is_ok());
    }

    #[test]
    fn by_default_a_private_key_file_opens_the_session_again() {
        let home = home();
        let profile = Profile::new(home.path(), "default").unwrap();
        let vault = profile.new_vault(&Keys::default(), &Nobody).unwrap();
        vault.keep(session()).unwrap();
        let opened = profile.open_vault(&Keys::default(), &Nobody).unwrap();
        assert_eq!(
            opened.kept().unwrap().session.tokens.access_token,
            "secret-access"
        );
        assert_eq!(opened.store_key(), vault.store_key());

        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &str| {
                let path = home.path().join("default").join(path);
                fs::metadata(path).unwrap().permissions().mode() & 0o777
            };
            assert_eq!(
                (mode("key"), mode("session.json"), mode("store"), mode(".")),
                (0o600, 0o600, 0o700, 0o700)
            );
            fs::set_permissions(
                home.path().join("default/key"),
                fs::Permissions::from_mode(0o644),
            )
            .unwrap();
            let error = profile
                .open_vault(&Keys::default(), &Nobody)
                .unwrap_err()
                .to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn with_a_passphrase_the_disk_holds_no_token() {
        let home = home();
        let profile = Profile::new(home.path(), "default").unwrap();
        let keys = Keys {
            file: None,
            passphrase: true,
        };
        profile
            .new_vault(&keys, &Says("after the night shift"))
            .unwrap()
            .keep(session())
            .unwrap();

        for entry in fs::read_dir(home.path().join("default")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                assert!(!content.contains("secret-"), "{}", path.display());
            }
        }
        assert!(!home.path().join("default/key").exists());
        assert!(
            profile
                .open_vault(&Keys::default(), &Says("after the night shift"))
                .is_ok()
        );
        let error = profile
            .open_vault(&Keys::default(), &Says("guess"))
            .unwrap_err();
        assert!(error.to_string().contains("does not fit"), "{error}");
    }

    #[test]
    fn a_key_file_of_ones_own_is_asked_for_when_missing() {
        let home = home();
        let key = home.path().join("usb-stick");
        fs::write(&key, [0, 159, 146, 150, 10]).unwrap();
        let keys = Keys {
            file: Some(key),
            passphrase: false,
        };
        let profile = Profile::new(home.path(), "default").unwrap();
        profile
            .new_vault(&keys, &Nobody)
            .unwrap()
            .keep(session())
            .unwrap();
        assert!(profile.open_vault(&keys, &Nobody).is_ok());
        let error = profile
            .open_vault(&Keys::default(), &Nobody)
            .unwrap_err()
            .to_string();
        assert!(error.contains("--key-file"), "{error}");
    }

    #[test]
    fn an_empty_or_huge_key_file_is_refused() {
        let home = home();
        let file = home.path().join("key");
        fs::write(&file, "\n").unwrap();
        assert!(read_key(&file).is_err());
        fs::write(&file, "x".repeat(70_000)).unwrap();
        assert!(read_key(&file).is_err());
        assert!(read_key(&home.path().join("absent")).is_err());
    }

    #[test]
    fn logging_in_twice_is_refused_and_logging_out_leaves_nothing() {
        let home = home();
        let profile = Profile::new(home.path(), "default").unwrap();
        profile
            .new_vault(&Keys::default(), &Nobody)
            .unwrap()
            .keep(session())
            .unwrap();
        assert!(profile.new_vault(&Keys::default(), &Nobody).is_err());
        profile.remove().unwrap();
        assert!(!home.path().join("default").exists());
        assert!(profile.open_vault(&Keys::default(), &Nobody).is_err());
    }

    #[tokio::test]
    async fn one_process_at_a_time_has_a_profile() {
        let home = home();
        let profile = Profile::new(home.path(), "default").unwrap();
        let held = profile.lock().await.unwrap();
        let other = tokio::time::timeout(Duration::from_millis(200), profile.lock()).await;
        assert!(other.is_err(), "both had it");
        drop(held);
        profile.lock().await.unwrap();
    }
}
