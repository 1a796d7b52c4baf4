//! The keys of backups: age's, so that age's own tools make and use them too.

use std::{fmt, fs, path::Path, str::FromStr, sync::Arc};

use age::{
    secrecy::ExposeSecret,
    x25519::{Identity, Recipient},
};
use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::store::sums::Hash;

/// The largest file of keys, in bytes.
const MAX_KEY_FILE: u64 = 64 << 10;

/// To whom a backup is encrypted: each of them alone can open it.
#[derive(Clone)]
pub struct Recipients(Arc<[Recipient]>);

impl Recipients {
    /// Public keys as text: `age1…`.
    ///
    /// # Errors
    /// There are none, or one of them is no key.
    pub fn parse<T: AsRef<str>>(keys: &[T]) -> anyhow::Result<Self> {
        ensure!(
            !keys.is_empty(),
            "To whom should the backup be encrypted? Make a key with `respite-server backup keygen`, and name its public \
             half in [backup] recipients or with --recipient."
        );
        let parse = |key: &T| {
            Recipient::from_str(key.as_ref().trim())
                .map_err(|_| anyhow::anyhow!("{} is no public key (age1…)", key.as_ref()))
        };
        Ok(Self(keys.iter().map(parse).collect::<Result<_, _>>()?))
    }

    pub(super) fn encryptor(&self) -> std::io::Result<age::Encryptor> {
        age::Encryptor::with_recipients(self.0.iter().map(|key| key as _))
            .map_err(std::io::Error::other)
    }

    /// A hash of all of them, whatever their order.
    pub(super) fn fingerprint(&self) -> Hash {
        let mut keys: Vec<String> = self.0.iter().map(Recipient::to_string).collect();
        keys.sort_unstable();
        keys.dedup();
        Sha256::digest(keys.join("\n")).into()
    }
}

/// What opens backups.
#[derive(Clone)]
pub struct Identities(Arc<[Identity]>);

impl Identities {
    /// Reads a file of secret keys, as `respite-server backup keygen` and `age-keygen` write it.
    ///
    /// # Errors
    /// It cannot be read, or is no such file.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let name = file.display();
        let unreadable = || format!("{name} cannot be read");
        let size = fs::metadata(file).with_context(unreadable)?.len();
        ensure!(
            size <= MAX_KEY_FILE,
            "{name} is no file of secret keys: it is too large"
        );
        let text = fs::read_to_string(file).with_context(unreadable)?;
        Self::parse(&text).with_context(|| format!("{name} is no file of secret keys"))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        // What is wrong is not repeated: it may be a key all but for a letter.
        let keys = lines
            .map(Identity::from_str)
            .collect::<Result<Arc<[_]>, _>>()
            .map_err(|_| anyhow::anyhow!("it has a line that is no AGE-SECRET-KEY-1…"))?;
        ensure!(!keys.is_empty(), "it has no AGE-SECRET-KEY-1…");
        Ok(Self(keys))
    }

    pub(super) fn each(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|key| key as _)
    }
}

/// A new pair of keys. The secret half is written by [`fmt::Display`] alone, in the form of `age-keygen`.
pub struct NewKey(Identity);

impl NewKey {
    /// Makes one, with randomness of the operating system.
    pub fn generate() -> Self {
        Self(Identity::generate())
    }

    /// The public half.
    pub fn public(&self) -> String {
        self.0.to_public().to_string()
    }
}

impl fmt::Display for NewKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "# public key: {}", self.public())?;
        writeln!(out, "{}", self.0.to_string().expose_secret())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keygen_prints_is_read_back() {
        let key = NewKey::generate();
        let read = Identities::parse(&format!("# night safe\n\n{key}")).unwrap();
        assert_eq!(read.0[0].to_public().to_string(), key.public());
        Recipients::parse(&[key.public()]).unwrap();
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        let key = NewKey::generate().to_string();
        let secret = key.lines().nth(1).unwrap();
        let cut = &secret[..secret.len() - 1];
        for text in ["", "# nothing\n", cut] {
            let error = Identities::parse(text).err().unwrap();
            assert!(!format!("{error:#}").contains(cut), "{error:#}");
        }
        assert!(Recipients::parse(&[secret]).is_err());
        assert!(Recipients::parse::<&str>(&[]).is_err());
    }

    #[test]
    fn the_order_of_recipients_does_not_matter() {
        let (a, b) = (NewKey::generate().public(), NewKey::generate().public());
        let of = |keys: &[&String]| Recipients::parse(keys).unwrap().fingerprint();
        assert_eq!(of(&[&a, &b]), of(&[&b, &a]));
        assert_ne!(of(&[&a, &b]), of(&[&a]));
    }
}
