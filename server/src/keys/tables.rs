//! What is kept of keys. Keys and signatures are JSON text, as the client signed them.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OneTimeKeyAlgorithm, OwnedDeviceId, OwnedUserId, UInt};
use serde::{Deserialize, Serialize};

use crate::store::{List, Table};

/// The identity keys of devices, as JSON.
pub const DEVICE_KEYS: Table<(OwnedUserId, OwnedDeviceId), String> =
    Table::new(0x0601, "device_keys");

/// The one-time keys that nobody has claimed, by user, device, algorithm and the order of their upload.
pub const ONE_TIME_KEYS: Table<(OwnedUserId, OwnedDeviceId, String, u64), OneTimeKey> =
    Table::new(0x0602, "one_time_keys");

/// How many keys a device has. Every change of a device's one-time or fallback keys changes this row too.
pub const KEY_COUNTS: Table<(OwnedUserId, OwnedDeviceId), KeyCounts> =
    Table::new(0x0603, "key_counts");

/// The fallback keys, by user, device and algorithm.
pub const FALLBACK_KEYS: Table<(OwnedUserId, OwnedDeviceId, String), FallbackKey> =
    Table::new(0x0604, "fallback_keys");

/// The cross-signing keys of users.
pub const CROSS_SIGNING_KEYS: Table<OwnedUserId, CrossSigningKeys> =
    Table::new(0x0605, "cross_signing_keys");

/// Signatures that were uploaded after the key that they are on: by the signed key's owner, its id (a device id, or the
/// public key of a master key) and the signer; the values are signatures by the id of the signing key.
pub const SIGNATURES: Table<(OwnedUserId, String, OwnedUserId), BTreeMap<String, String>> =
    Table::new(0x0606, "key_signatures");

/// The one-time keys that were claimed last, so that a repeated upload cannot bring one back.
pub const RECENTLY_CLAIMED: List<(OwnedUserId, OwnedDeviceId), ClaimedKey> =
    List::new(0x0607, "recently_claimed");

/// A one-time key that nobody has claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneTimeKey {
    /// The key's id without its algorithm.
    pub id: String,
    /// The key as canonical JSON.
    pub key: String,
}

/// A one-time key that was claimed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClaimedKey {
    /// Its algorithm.
    pub algorithm: String,
    /// Its id without the algorithm.
    pub id: String,
}

/// A key that is handed out when no one-time key is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackKey {
    /// The key's id without its algorithm.
    pub id: String,
    /// The key as canonical JSON.
    pub key: String,
}

/// How many keys a device has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCounts {
    /// How many one-time keys were ever stored; the next one's number.
    pub stored: u64,
    /// The one-time keys that nobody has claimed, by algorithm.
    pub unclaimed: BTreeMap<String, u64>,
    /// The algorithms whose fallback key nobody has been given yet.
    pub unused_fallbacks: BTreeSet<String>,
    /// Counts the changes of fallback keys, so that each of them changes this row.
    pub fallback_changes: u64,
}

impl KeyCounts {
    /// As a client wants it; `signed_curve25519` is always there.
    pub fn one_time_key_counts(&self) -> BTreeMap<OneTimeKeyAlgorithm, UInt> {
        let mut counts = BTreeMap::from([(OneTimeKeyAlgorithm::SignedCurve25519, UInt::MIN)]);
        counts.extend(
            self.unclaimed.iter().map(|(algorithm, count)| {
                (algorithm.as_str().into(), UInt::new_saturating(*count))
            }),
        );
        counts
    }

    /// As a client wants it.
    pub fn unused_fallback_types(&self) -> Vec<OneTimeKeyAlgorithm> {
        self.unused_fallbacks
            .iter()
            .map(|algorithm| algorithm.as_str().into())
            .collect()
    }
}

/// The cross-signing keys of a user, each as JSON.
///
/// [Cross-signing](https://spec.matrix.org/v1.18/client-server-api/#cross-signing)
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrossSigningKeys {
    /// Signs the other two, and stands for the user.
    pub master: Option<String>,
    /// Signs the user's devices.
    pub self_signing: Option<String>,
    /// Signs other users' master keys; shown to nobody else.
    pub user_signing: Option<String>,
}
