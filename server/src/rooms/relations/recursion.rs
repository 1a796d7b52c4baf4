//! What refers to an event, and to what refers to it.

use std::collections::BTreeSet;

use ruma::{EventId, OwnedEventId, RoomId};

use super::{BY_TYPE, Related};
use crate::store::{Page, Store, StoreError};

/// How many relations may lie between an event and what is found.
pub(super) const DEPTH: u32 = 3;
/// The most events that are found.
const MAX_FOUND: usize = 5_000;

/// Everything below an event: where it is, how it refers, and what it is. No more than the first [`MAX_FOUND`].
pub(super) async fn below(
    store: &Store,
    room: &RoomId,
    event: &EventId,
) -> Result<Vec<(u64, String, Related)>, StoreError> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([event.to_owned()]);
    let mut level = vec![event.to_owned()];
    for _ in 0..DEPTH {
        let mut next: Vec<OwnedEventId> = Vec::new();
        for target in level {
            let left = MAX_FOUND.saturating_sub(found.len());
            let page = Page::first(left);
            for ((_, _, rel_type, position), related) in
                store.scan(&BY_TYPE, (room, &*target), page).await?
            {
                if seen.insert(related.event_id.clone()) {
                    next.push(related.event_id.clone());
                    found.push((position, rel_type, related));
                }
            }
        }
        level = next;
    }
    Ok(found)
}
