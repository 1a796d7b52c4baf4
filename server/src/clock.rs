//! Time and randomness, as parameters.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use rand::{TryRng, rngs::SysRng};
use ruma::{MilliSecondsSinceUnixEpoch, UInt};

/// Where the server takes the time from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is where the time comes from"
        )]
        Self(Arc::new(|| {
            let since = std::time::SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        }))
    }

    /// A clock that tests move.
    pub fn manual(millis: Arc<AtomicU64>) -> Self {
        Self(Arc::new(move || millis.load(Ordering::Relaxed)))
    }

    /// The machine's clock, put forward by so many milliseconds, which tests change.
    pub fn put_forward(by: Arc<AtomicU64>) -> Self {
        let machine = Self::system();
        Self(Arc::new(move || {
            machine.millis().saturating_add(by.load(Ordering::Relaxed))
        }))
    }

    /// Milliseconds since 1970.
    pub fn millis(&self) -> u64 {
        (self.0)()
    }

    /// The same in Matrix's type.
    pub fn now(&self) -> MilliSecondsSinceUnixEpoch {
        MilliSecondsSinceUnixEpoch(UInt::new_saturating(self.millis()))
    }

    /// Milliseconds since 1970, this much from now.
    pub fn after(&self, duration: Duration) -> u64 {
        self.millis()
            .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Where the server takes randomness from.
#[derive(Clone)]
pub struct Random(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

const ALPHABET: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyz2345678";

impl Random {
    /// The operating system's.
    ///
    /// Should that ever fail, the process ends: nothing that follows would be secret.
    pub fn system() -> Self {
        Self(Arc::new(|bytes| {
            if SysRng.try_fill_bytes(bytes).is_err() {
                tracing::error!("the operating system gives no randomness");
                std::process::abort();
            }
        }))
    }

    /// A source of one's own, for tests.
    pub fn from_fn(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// Fills an array.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// Random text of lower-case letters and digits, 5 bits each; safe in URLs, easy to read aloud.
    pub fn text(&self, length: usize) -> String {
        let mut bytes = vec![0; length];
        (self.0)(&mut bytes);
        bytes
            .iter()
            .filter_map(|byte| ALPHABET.get(usize::from(byte % 32)))
            .map(|c| char::from(*c))
            .collect()
    }
}
