//! How often whom may try what. Kept in memory only; keys are hashed, so that nothing of them stays readable.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    clock::Clock,
    config::Limits,
    error::{Error, Result},
};

/// How many keys are remembered for each kind of limit; beyond that, those that matter least are forgotten.
pub const MAX_TRACKED: usize = 100_000;

/// So many in such a time; the whole number may come at once.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    name: &'static str,
    count: u32,
    per: Duration,
}

impl Rate {
    /// A limit with a name of its own.
    pub const fn new(name: &'static str, count: u32, per: Duration) -> Self {
        Self { name, count, per }
    }

    /// Registration attempts, for the whole server.
    pub fn registrations(limits: &Limits) -> Self {
        Self::new("registrations", limits.registrations, MINUTE)
    }

    /// Codes and user names looked up without logging in, for the whole server.
    pub fn lookups(limits: &Limits) -> Self {
        Self::new("lookups", limits.lookups, MINUTE)
    }

    /// Requests of one account.
    pub fn requests(limits: &Limits) -> Self {
        Self::new("requests", limits.requests, TEN_SECONDS)
    }

    /// Requests of one account that cost more or reach others.
    pub fn costly_requests(limits: &Limits) -> Self {
        Self::new("costly requests", limits.costly_requests, TEN_SECONDS)
    }

    /// Login tokens of one account.
    pub const fn login_tokens() -> Self {
        Self::new("login tokens", LOGIN_TOKENS, MINUTE)
    }

    /// Reports of one account.
    pub const fn reports() -> Self {
        Self::new("reports", REPORTS, HOUR)
    }

    /// Milliseconds until one more is allowed after the number is used up.
    fn interval(self) -> u64 {
        (millis(self.per) / u64::from(self.count.max(1))).max(1)
    }
}

/// Some attempts are free; after each further failure the next one has to wait twice as long.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    name: &'static str,
    free: u32,
    /// The longest wait, and how long failures are remembered after the last.
    window: Duration,
}

impl Backoff {
    /// Wrong passwords for one account.
    pub fn failed_logins(limits: &Limits) -> Self {
        Self {
            name: "failed logins",
            free: limits.failed_logins,
            window: FAILED_LOGINS_WINDOW,
        }
    }

    /// The wait after this many failures: nothing, then 1 s, 2 s, 4 s …
    fn wait(self, failures: u32) -> Duration {
        match failures.checked_sub(self.free.max(1)) {
            None => Duration::ZERO,
            Some(beyond) => {
                let seconds = 1_u64.checked_shl(beyond).unwrap_or(u64::MAX);
                Duration::from_secs(seconds).min(self.window)
            }
        }
    }
}

const TEN_SECONDS: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Each lets a device in; nobody has that many.
const LOGIN_TOKENS: u32 = 5;
/// Each is read by a person.
const REPORTS: u32 = 20;
const FAILED_LOGINS_WINDOW: Duration = Duration::from_secs(15 * 60);

/// Counts attempts.
#[derive(Default)]
pub struct Limiter {
    hasher: RandomState,
    /// By key: when its allowance is whole again, in milliseconds since 1970.
    rates: Mutex<HashMap<u64, u64>>,
    failures: Mutex<HashMap<u64, Failures>>,
}

#[derive(Clone, Copy, Default)]
struct Failures {
    count: u32,
    wait_until: u64,
    forget_at: u64,
}

impl Limiter {
    /// Counts one more of these for `who`.
    ///
    /// # Errors
    /// 429 `M_LIMIT_EXCEEDED`, with the time to wait; such an attempt is not counted.
    pub fn take(&self, clock: &Clock, rate: Rate, who: &str) -> Result<()> {
        let now = clock.millis();
        let mut rates = lock(&self.rates);
        make_room(&mut rates, |whole_at| *whole_at, now);
        let whole_at = rates.entry(self.key(rate.name, who)).or_default();
        let next = (*whole_at).max(now).saturating_add(rate.interval());
        let wait = next
            .saturating_sub(now)
            .saturating_sub(millis(rate.per).max(rate.interval()));
        if wait > 0 {
            return Err(Error::limit_exceeded(Duration::from_millis(wait)));
        }
        *whole_at = next;
        Ok(())
    }

    /// Counts an attempt as failed until it is forgiven, so that many at the same time gain nothing.
    ///
    /// # Errors
    /// 429 `M_LIMIT_EXCEEDED` while `who` has to wait; such an attempt is not counted.
    pub fn attempt(&self, clock: &Clock, backoff: Backoff, who: &str) -> Result<()> {
        let now = clock.millis();
        let mut failures = lock(&self.failures);
        make_room(&mut failures, |entry| entry.forget_at, now);
        let entry = failures.entry(self.key(backoff.name, who)).or_default();
        if entry.wait_until > now {
            return Err(Error::limit_exceeded(Duration::from_millis(
                entry.wait_until - now,
            )));
        }
        let count = if entry.forget_at <= now {
            1
        } else {
            entry.count.saturating_add(1)
        };
        let wait_until = now.saturating_add(millis(backoff.wait(count)));
        let forget_at = wait_until.saturating_add(millis(backoff.window));
        *entry = Failures {
            count,
            wait_until,
            forget_at,
        };
        Ok(())
    }

    /// The attempt was a success: earlier failures are forgotten.
    pub fn forgive(&self, backoff: Backoff, who: &str) {
        lock(&self.failures).remove(&self.key(backoff.name, who));
    }

    fn key(&self, name: &str, who: &str) -> u64 {
        self.hasher.hash_one((name, who))
    }
}

/// Forgets what is over; if that is not enough, the half that is over soonest.
fn make_room<T>(entries: &mut HashMap<u64, T>, over_at: impl Fn(&T) -> u64, now: u64) {
    if entries.len() < MAX_TRACKED {
        return;
    }
    entries.retain(|_, entry| over_at(entry) > now);
    if entries.len() >= MAX_TRACKED {
        let mut ends: Vec<u64> = entries.values().map(&over_at).collect();
        let middle = ends.len() / 2;
        let (_, median, _) = ends.select_nth_unstable(middle);
        let median = *median;
        entries.retain(|_, entry| over_at(entry) > median);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;

    fn clock() -> (Arc<AtomicU64>, Clock) {
        let time = Arc::new(AtomicU64::new(1_000_000));
        (Arc::clone(&time), Clock::manual(time))
    }

    #[test]
    fn a_rate_gives_its_number_at_once_and_then_one_by_one() {
        let (time, clock) = clock();
        let limiter = Limiter::default();
        let rate = Rate::new("tests", 3, Duration::from_secs(30));
        for _ in 0..3 {
            limiter.take(&clock, rate, "nurse").unwrap();
        }
        limiter.take(&clock, rate, "nurse").unwrap_err();
        limiter.take(&clock, rate, "therapist").unwrap();
        time.fetch_add(10_000, Ordering::Relaxed);
        limiter.take(&clock, rate, "nurse").unwrap();
        limiter.take(&clock, rate, "nurse").unwrap_err();
    }

    #[test]
    fn each_failure_doubles_the_wait_and_a_success_forgives() {
        let (time, clock) = clock();
        let limiter = Limiter::default();
        let backoff = Backoff {
            name: "tests",
            free: 2,
            window: Duration::from_secs(100),
        };
        limiter.attempt(&clock, backoff, "nurse").unwrap();
        limiter.attempt(&clock, backoff, "nurse").unwrap();
        limiter.attempt(&clock, backoff, "nurse").unwrap_err();
        time.fetch_add(1_000, Ordering::Relaxed);
        limiter.attempt(&clock, backoff, "nurse").unwrap();
        time.fetch_add(1_000, Ordering::Relaxed);
        limiter.attempt(&clock, backoff, "nurse").unwrap_err();
        time.fetch_add(1_000, Ordering::Relaxed);
        limiter.attempt(&clock, backoff, "nurse").unwrap();
        limiter.forgive(backoff, "nurse");
        limiter.attempt(&clock, backoff, "nurse").unwrap();
        limiter.attempt(&clock, backoff, "nurse").unwrap();
    }

    #[test]
    fn the_wait_never_grows_beyond_the_window() {
        let backoff = Backoff {
            name: "tests",
            free: 1,
            window: Duration::from_secs(100),
        };
        assert_eq!(backoff.wait(0), Duration::ZERO);
        assert_eq!(backoff.wait(1), Duration::from_secs(1));
        assert_eq!(backoff.wait(1_000_000), Duration::from_secs(100));
    }

    #[test]
    fn a_flood_of_names_does_not_fill_the_memory() {
        let (_, clock) = clock();
        let limiter = Limiter::default();
        let rate = Rate::new("tests", 1, Duration::from_secs(60));
        for name in 0..=MAX_TRACKED {
            limiter.take(&clock, rate, &name.to_string()).unwrap();
        }
        assert!(lock(&limiter.rates).len() <= MAX_TRACKED);
    }
}
