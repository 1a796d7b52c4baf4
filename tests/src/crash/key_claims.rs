//! One-time keys: none is handed out twice, none that was uploaded gets lost.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Outcome, Violation, actor::heard};
use crate::{keys::Keys, raw::Raw};

/// How many keys are uploaded at a time, when so few are left.
const STOCK: usize = 20;

/// Somebody who uploads keys for their device and claims them, all in turn.
pub(super) struct Claimer {
    person: Raw,
    keys: Keys,
    /// The keys whose upload is under way.
    open: Option<Value>,
    /// The keys whose upload was acknowledged, and what was claimed of them.
    uploaded: BTreeSet<String>,
    claimed: BTreeSet<String>,
    /// Claims whose answer was not heard: each may have spent a key.
    doubtful: usize,
}

impl Claimer {
    pub(super) async fn new(person: Raw) -> Result<Self> {
        let keys = Keys::of(&person)?;
        let upload = json!({ "device_keys": keys.device });
        person.post("v3/keys/upload", upload).await?.ok()?;
        Ok(Self {
            person,
            keys,
            open: None,
            uploaded: BTreeSet::new(),
            claimed: BTreeSet::new(),
            doubtful: 0,
        })
    }

    /// Uploads keys if few are left, or claims one.
    pub(super) async fn step(&mut self, outcome: &mut Outcome) -> Result<bool> {
        let left = self.uploaded.len() - self.claimed.len();
        if self.open.is_some() || left <= self.doubtful {
            self.upload(outcome).await
        } else {
            self.claim(outcome).await
        }
    }

    async fn upload(&mut self, outcome: &mut Outcome) -> Result<bool> {
        let keys = match self.open.take() {
            Some(keys) => keys,
            None => self.keys.one_time(STOCK)?,
        };
        let body = json!({ "one_time_keys": keys });
        if heard(self.person.post("v3/keys/upload", body).await)?.is_none() {
            self.open = Some(keys);
            return Ok(false);
        }
        let ids = keys.as_object().context("no keys")?.keys().cloned();
        self.uploaded.extend(ids);
        outcome.heard("key uploads");
        Ok(true)
    }

    async fn claim(&mut self, outcome: &mut Outcome) -> Result<bool> {
        let (user, device) = (self.person.user.as_str(), self.person.device.as_str());
        let body = json!({ "one_time_keys": { user: { device: "signed_curve25519" } } });
        let Some(answer) = heard(self.person.post("v3/keys/claim", body).await)? else {
            self.doubtful += 1;
            return Ok(false);
        };
        let Some(id) = answer["one_time_keys"][user][device]
            .as_object()
            .and_then(|keys| keys.keys().next())
        else {
            // Claims whose answers were lost have spent the rest; the check counts.
            self.doubtful = self.doubtful.max(self.uploaded.len() - self.claimed.len());
            return Ok(true);
        };
        if !self.claimed.insert(id.clone()) {
            outcome.violated(Violation::Key, format!("{id} was handed out twice"));
        } else if !self.uploaded.contains(id) {
            outcome.violated(Violation::Key, format!("{id} was never uploaded"));
        }
        outcome.heard("key claims");
        Ok(true)
    }

    /// As many keys are left as can be: fewer were lost, more have come back.
    pub(super) async fn check(&mut self, outcome: &mut Outcome) -> Result<()> {
        let news = self.person.syncs(None).await?;
        let counted = news["device_one_time_keys_count"]["signed_curve25519"]
            .as_u64()
            .unwrap_or(0);
        let counted = usize::try_from(counted)?;
        let left = self.uploaded.len() - self.claimed.len();
        let least = left.saturating_sub(self.doubtful);
        let most = left + if self.open.is_some() { STOCK } else { 0 };
        let story = format!("{counted} one-time keys are left instead of {least} to {most}");
        if counted < least {
            outcome.violated(Violation::Lost, story);
        } else if counted > most {
            outcome.violated(Violation::Key, story);
        }
        Ok(())
    }
}
