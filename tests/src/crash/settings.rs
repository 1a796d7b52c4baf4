//! Account data: the last acknowledged value holds.

use anyhow::{Context, Result};
use serde_json::json;

use super::{Outcome, Violation, actor::heard};
use crate::raw::Raw;

/// Somebody who moves a room up and down in their list of favourites: the nth time to the place n.
pub(super) struct Sorter {
    person: Raw,
    path: String,
    acknowledged: u32,
    /// Whether the next one is under way.
    open: bool,
}

/// A tag's place is between 0 and 1.
const PLACES: f64 = 1_000_000_000.0;

impl Sorter {
    pub(super) fn new(person: Raw, room: String) -> Self {
        let path = format!("v3/user/{}/rooms/{room}/tags", person.user);
        Self {
            person,
            path,
            acknowledged: 0,
            open: false,
        }
    }

    pub(super) async fn step(&mut self, outcome: &mut Outcome) -> Result<bool> {
        let next = self.acknowledged + 1;
        let path = format!("{}/m.favourite", self.path);
        let place = json!({ "order": f64::from(next) / PLACES });
        self.open = heard(self.person.put(&path, place).await)?.is_none();
        if self.open {
            return Ok(false);
        }
        self.acknowledged = next;
        outcome.heard("settings");
        Ok(true)
    }

    pub(super) async fn check(&mut self, outcome: &mut Outcome) -> Result<()> {
        let tags = self.person.get(&self.path).await?.ok()?;
        let place = match &tags["tags"]["m.favourite"] {
            tag if tag.is_null() => 0.0,
            tag => tag["order"]
                .as_f64()
                .context("a favourite without a place")?,
        };
        let found = (place * PLACES).round() as u32;
        let most = self.acknowledged + u32::from(self.open);
        if !(self.acknowledged..=most).contains(&found) {
            let story = format!("setting {found} holds instead of {}", self.acknowledged);
            outcome.violated(Violation::Lost, story);
        }
        Ok(())
    }
}
