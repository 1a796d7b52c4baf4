//! One-time keys: several people claim one device's keys at any server, and none gets a key that somebody else got.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Clients, Outcome, Violation, client::Client};
use crate::keys::Keys;

/// The only algorithm there is.
const ALGORITHM: &str = "signed_curve25519";
/// How many keys are uploaded at a time, when fewer are left.
const STOCK: u64 = 50;
/// The longest pause between two claims, and between two looks at what is left.
const PAUSE: Duration = Duration::from_millis(100);

/// A device, and what became of its keys.
pub(super) struct Claims {
    owner: Client,
    keys: Mutex<Keys>,
    ledger: Mutex<Ledger>,
}

/// What became of a device's keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// Keys whose upload was begun.
    uploaded: BTreeSet<String>,
    /// Keys as they were handed out, one after the other.
    claimed: Vec<String>,
    /// Claims whose answer was not heard: each may have spent a key.
    unheard: usize,
}

impl Claims {
    pub(super) async fn of(owner: Client) -> Result<Self> {
        let keys = Keys::of(owner.raw())?;
        let upload = json!({ "device_keys": keys.device });
        let path = "v3/keys/upload";
        owner
            .insist(Method::POST, path, Some(&upload))
            .await?
            .ok()?;
        Ok(Self {
            owner,
            keys: Mutex::new(keys),
            ledger: Mutex::default(),
        })
    }

    /// Uploads keys when few are left, until it is over.
    pub(super) async fn keep_up(self: Arc<Self>, over: CancellationToken) -> Result<()> {
        while !over.is_cancelled() {
            if left(&self.owner).await? < STOCK {
                let keys = {
                    let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
                    keys.one_time(STOCK as usize)?
                };
                let ids = keys.as_object().context("no keys")?.keys().cloned();
                self.ledger().uploaded.extend(ids);
                let body = json!({ "one_time_keys": keys });
                let upload = self
                    .owner
                    .insist(Method::POST, "v3/keys/upload", Some(&body));
                upload.await?.ok()?;
            }
            self.owner.pauses(PAUSE).await;
        }
        Ok(())
    }

    /// Claims one key after the other, until it is over. A claim whose answer was not heard is not made again: there is no
    /// telling it from a second one.
    pub(super) async fn claim(
        self: Arc<Self>,
        claimer: Client,
        over: CancellationToken,
    ) -> Result<()> {
        let raw = self.owner.raw();
        let (user, device) = (raw.user.as_str(), raw.device.as_str());
        let body = json!({ "one_time_keys": { user: { device: ALGORITHM } } });
        while !over.is_cancelled() {
            match claimer
                .ask(Method::POST, "v3/keys/claim", Some(&body))
                .await
            {
                Ok(answer) if answer.status < 500 => {
                    let answer = answer.ok()?;
                    let keys = answer["one_time_keys"][user][device].as_object();
                    let ids = keys.into_iter().flat_map(|keys| keys.keys().cloned());
                    self.ledger().claimed.extend(ids);
                }
                _ => self.ledger().unheard += 1,
            }
            claimer.pauses(PAUSE).await;
        }
        Ok(())
    }

    /// Compares what is left, as each server counts it, with what was uploaded and claimed.
    pub(super) async fn judge(&self, clients: &Clients, outcome: &mut Outcome) -> Result<()> {
        let mut counts = Vec::new();
        for url in clients.servers() {
            let owner = clients.client_at(self.owner.raw().clone(), url);
            counts.push(usize::try_from(left(&owner).await?)?);
        }
        let ledger = self.ledger().clone();
        outcome.figures.keys += ledger.claimed.len();
        ledger.judge(&counts, outcome);
        Ok(())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// None was handed out twice, or never uploaded; as many are left as can be.
    fn judge(&self, counts: &[usize], outcome: &mut Outcome) {
        let mut once = BTreeSet::new();
        for id in &self.claimed {
            if !once.insert(id) {
                outcome.violated(Violation::Key, format!("{id} was handed out twice"));
            } else if !self.uploaded.contains(id) {
                outcome.violated(Violation::Key, format!("{id} was never uploaded"));
            }
        }
        let most = self.uploaded.len().saturating_sub(once.len());
        let least = most.saturating_sub(self.unheard);
        for left in counts {
            let story = format!("{left} one-time keys are left instead of {least} to {most}");
            if *left < least {
                outcome.violated(Violation::Lost, story);
            } else if *left > most {
                outcome.violated(Violation::Key, story);
            }
        }
    }
}

/// How many of a device's keys nobody has claimed.
async fn left(owner: &Client) -> Result<u64> {
    let nothing = json!({});
    let asked = owner.insist(Method::POST, "v3/keys/upload", Some(&nothing));
    let answer: Value = asked.await?.ok()?;
    Ok(answer["one_time_key_counts"][ALGORITHM]
        .as_u64()
        .unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{Ledger, Outcome, Violation};

    /// Three keys were uploaded; these were handed out, and so many claims were not heard.
    fn found(claimed: &[&str], unheard: usize, left: usize) -> Vec<Violation> {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let ledger = Ledger {
            uploaded: owned(&["a", "b", "c"]).into_iter().collect(),
            claimed: owned(claimed),
            unheard,
        };
        let mut outcome = Outcome::default();
        ledger.judge(&[left], &mut outcome);
        outcome.violations.into_keys().collect()
    }

    #[test]
    fn keys_that_are_handed_out_once_and_left_as_counted_are_right() {
        assert_eq!(found(&["a", "b"], 0, 1), []);
        assert_eq!(found(&["a"], 1, 1), []);
        assert_eq!(found(&["a"], 1, 2), []);
    }

    #[test]
    fn a_key_that_two_get_is_found() {
        assert_eq!(found(&["a", "b", "a"], 0, 1), [Violation::Key]);
    }

    #[test]
    fn a_key_that_nobody_uploaded_is_found() {
        assert_eq!(found(&["d"], 0, 2), [Violation::Key]);
    }

    #[test]
    fn keys_that_get_lost_or_come_back_are_found() {
        assert_eq!(found(&["a"], 0, 1), [Violation::Lost]);
        assert_eq!(found(&["a", "b"], 0, 2), [Violation::Key]);
    }
}
