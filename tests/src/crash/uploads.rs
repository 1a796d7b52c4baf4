//! Media: what was acknowledged can be read, byte for byte.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use anyhow::Result;
use reqwest::Method;
use tokio::time::sleep;

use super::{Outcome, Violation, actor::heard};
use crate::raw::{Raw, encrypted_bytes, text_at};

/// The largest upload, in bytes.
const LARGEST: usize = 48 << 10;
/// How long somebody waits between two uploads: a practice writes more than it uploads.
const PAUSE: Duration = Duration::from_millis(20);

/// Somebody who uploads encrypted files.
pub(super) struct Uploader {
    person: Raw,
    /// What was acknowledged: where it is, and the hash of what it is.
    acknowledged: Vec<(String, u64)>,
    checked: usize,
}

impl Uploader {
    pub(super) fn new(person: Raw) -> Self {
        Self {
            person,
            acknowledged: Vec::new(),
            checked: 0,
        }
    }

    pub(super) async fn step(&mut self, outcome: &mut Outcome) -> Result<bool> {
        let bytes = encrypted_bytes(1024 + rand::random::<u64>() as usize % LARGEST);
        let hash = hash(&bytes);
        let path = "/_matrix/media/v3/upload";
        let answer = self.person.ask(Method::POST, path, Some(bytes)).await;
        let Some(body) = heard(answer)? else {
            return Ok(false);
        };
        let place = text_at(&body, "content_uri")?.replace("mxc://", "");
        self.acknowledged.push((place, hash));
        outcome.heard("uploads");
        sleep(PAUSE).await;
        Ok(true)
    }

    pub(super) async fn check(&mut self, last: bool, outcome: &mut Outcome) -> Result<()> {
        let from = if last { 0 } else { self.checked };
        for (place, known) in self.acknowledged.iter().skip(from) {
            let path = format!("v1/media/download/{place}");
            let answer = self.person.get(&path).await?;
            if answer.status != 200 || hash(&answer.bytes) != *known {
                let story = format!("an upload is read as {}", answer.status);
                outcome.violated(Violation::Media, story);
            }
        }
        self.checked = self.acknowledged.len();
        Ok(())
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
