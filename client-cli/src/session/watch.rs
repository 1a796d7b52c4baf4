//! Waiting for news without holding the profile.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use matrix_sdk::reqwest;
use serde::Deserialize;
use serde_json::Value;

use super::{REQUEST_TIMEOUT, Session, filter};
use crate::{profile::Profile, vault::Vault};

/// How long the server is asked to hold a request while there is no news.
pub const LONG_POLL: Duration = Duration::from_secs(30);

const MIN_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Waits for news without holding the profile.
#[derive(Debug)]
pub struct Watch {
    pub(super) profile: Profile,
    pub(super) vault: Arc<Vault>,
    pub(super) http: reqwest::Client,
    pub(super) since: String,
}

impl Watch {
    /// Returns when there is news, or when the session needs refreshing.
    ///
    /// It asks for the same sync again and again without ever taking what it gets, so nothing
    /// that is meant for the real sync is lost.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached.
    pub async fn news(&self) -> Result<()> {
        loop {
            let started = tokio::time::Instant::now();
            if self.poll().await? {
                return Ok(());
            }
            // For servers that do not hold the request.
            tokio::time::sleep_until(started + MIN_POLL_INTERVAL).await;
        }
    }

    /// Takes the profile again.
    ///
    /// # Errors
    ///
    /// If somebody logged out meanwhile, or the profile stays busy.
    pub async fn resume(self) -> Result<Session> {
        let lock = self.profile.lock().await?;
        self.vault.reload()?;
        let mut session = Session::restore(self.profile, self.vault, lock).await?;
        session.next_batch = Some(self.since);
        Ok(session)
    }

    async fn poll(&self) -> Result<bool> {
        let kept = self.vault.reload()?;
        let mut url = reqwest::Url::parse(&kept.homeserver)?.join("_matrix/client/v3/sync")?;
        url.query_pairs_mut()
            .append_pair("since", &self.since)
            .append_pair("timeout", &LONG_POLL.as_millis().to_string())
            .append_pair("set_presence", "offline")
            .append_pair("filter", &serde_json::to_string(&filter())?);
        let response = self
            .http
            .get(url)
            .bearer_auth(&kept.session.tokens.access_token)
            .timeout(LONG_POLL + REQUEST_TIMEOUT)
            .send()
            .await
            .map_err(matrix_sdk::HttpError::from)?;
        match response.status().as_u16() {
            200 => {
                let body = response
                    .bytes()
                    .await
                    .map_err(matrix_sdk::HttpError::from)?;
                Ok(serde_json::from_slice::<News>(&body)
                    .context("the server's answer is not a sync")?
                    .is_any())
            }
            // The session is refreshed, or found to be ended, by the sync that follows.
            401 => Ok(true),
            status => bail!("the server answered with an error ({status})"),
        }
    }
}

/// What of a sync response tells whether there is anything in it.
#[derive(Deserialize)]
struct News {
    #[serde(flatten)]
    parts: serde_json::Map<String, Value>,
}

impl News {
    fn is_any(&self) -> bool {
        ["rooms", "to_device", "account_data", "device_lists"]
            .iter()
            .filter_map(|part| self.parts.get(*part))
            .any(holds_something)
    }
}

fn holds_something(value: &Value) -> bool {
    match value {
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => map.iter().any(|(key, value)| {
            // A room that is named is news even if nothing more is said of it.
            key.starts_with('!') || holds_something(value)
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn news(sync: Value) -> bool {
        serde_json::from_value::<News>(sync).unwrap().is_any()
    }

    #[test]
    fn an_empty_sync_is_no_news() {
        assert!(!news(
            json!({"next_batch": "s2", "device_one_time_keys_count": {"signed_curve25519": 50}})
        ));
        assert!(!news(json!({
            "next_batch": "s2",
            "rooms": {"join": {}, "invite": {}, "leave": {}},
            "to_device": {"events": []},
            "account_data": {"events": []},
            "device_lists": {"changed": [], "left": []},
            "presence": {"events": []},
        })));
    }

    #[test]
    fn messages_invitations_and_keys_are_news() {
        assert!(news(json!({"rooms": {"join": {"!a:b": {}}}})));
        assert!(news(
            json!({"rooms": {"invite": {"!a:b": {"invite_state": {"events": []}}}}})
        ));
        assert!(news(json!({"to_device": {"events": [{}]}})));
        assert!(news(
            json!({"device_lists": {"changed": ["@heron:clinic"]}})
        ));
    }
}
