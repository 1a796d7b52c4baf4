//! Seals: how the server knows again what it has given out and not kept.

use ruma::signatures::{Ed25519KeyPair, KeyPair};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::hex;

/// Bytes of a seal: it can only be guessed by asking the server.
const SEAL_BYTES: usize = 8;

/// The server's seals, the same on every server of a practice.
pub struct Seals {
    /// For sync tokens.
    pub sync_tokens: Seal,
    /// For sessions of interactive authentication.
    pub interactive: Seal,
}

impl Seals {
    /// Their secrets are derived from the server's signing key.
    pub fn new(key: &Ed25519KeyPair) -> Self {
        // Such a signature is always the same, never leaves the server, and nobody else can make it.
        let seal = |purpose: &[u8]| Seal::from_secret(key.sign(purpose).as_bytes());
        Self {
            // Clients keep their tokens for as long as they are logged in: what makes them may never change.
            sync_tokens: seal(b"respite sync token"),
            interactive: seal(b"respite interactive authentication"),
        }
    }
}

/// Seals texts, for one purpose among others.
#[derive(Clone)]
pub struct Seal(Sha256);

impl Seal {
    pub(crate) fn from_secret(secret: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(secret))
    }

    /// The seal for a part of what this one is for, as somebody's name. No text is taken for such a part: the length of a part
    /// begins with a zero byte.
    #[must_use]
    pub fn of(&self, part: &str) -> Self {
        let length = (part.len() as u64).to_be_bytes();
        Self(self.0.clone().chain_update(length).chain_update(part))
    }

    /// What stands for a text where the text is not to be kept: so many bytes of a hash, at most 32.
    pub fn name<const N: usize>(&self, text: &str) -> [u8; N] {
        let hash = self.0.clone().chain_update(text).finalize();
        let mut name = [0; N];
        for (byte, of_hash) in name.iter_mut().zip(hash) {
            *byte = of_hash;
        }
        name
    }

    /// The text, and the seal behind it.
    pub fn seal(&self, text: &str) -> String {
        let hash = self.0.clone().chain_update(text).finalize();
        let seal = hex::encode(hash.get(..SEAL_BYTES).unwrap_or_default());
        format!("{text}_{seal}")
    }

    /// What was sealed with this very seal; `None` for everything else.
    pub fn open<'a>(&self, sealed: &'a str) -> Option<&'a str> {
        let (text, _) = sealed.rsplit_once('_')?;
        let genuine: bool = self.seal(text).as_bytes().ct_eq(sealed.as_bytes()).into();
        genuine.then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_opens_only_what_it_has_sealed() {
        let server = Seal::from_secret(b"secret");
        let seal = server.of("register").of("ab");
        let sealed = seal.seal("1_2");
        assert_eq!(seal.open(&sealed), Some("1_2"));
        for other in [
            server.of("register").of("a").of("b"),
            server.of("registera").of("b"),
            server.of("register"),
            Seal::from_secret(b"another").of("register").of("ab"),
        ] {
            assert_eq!(other.open(&sealed), None);
        }
        for text in [
            "",
            "_",
            "1_2",
            &format!("{sealed}0"),
            &sealed.replace('1', "3"),
        ] {
            assert_eq!(seal.open(text), None, "{text}");
        }
    }
}
