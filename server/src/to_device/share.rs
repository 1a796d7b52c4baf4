//! How much of what waits for a device may come from one person, so that nobody can wash away what others have sent.

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::REMOVED;
use crate::store::{Numbered, Page, Slot, StoreError, Table, Tx};

/// What somebody has sent to a device, and the number of the last of it.
pub const SHARES: Table<(OwnedUserId, OwnedDeviceId, OwnedUserId), Numbered<Share>> =
    Table::new(0x0625, "to_device_shares");

/// Half of what one person may have waiting for one device.
const GENERATION: u64 = 2_500;
/// Most messages of one person that wait for one device. Beyond it, further ones of theirs are dropped.
#[cfg(test)]
pub(super) const MAX_SHARE: u64 = 2 * GENERATION;
/// How many rows of a device are removed at once.
const PAGE: usize = 500;

/// Messages are counted by generations: a new one begins only when the last but one has been fetched entirely.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// How many messages this generation has.
    count: u64,
    /// The number of the last message of the generation before.
    before: u64,
}

impl Share {
    /// Counts `wanted` more messages, or as many of them as may still come. `last` is the number of the newest so far, and
    /// everything up to `removed` is gone.
    fn grow(self, wanted: u64, last: u64, removed: u64) -> (u64, Self) {
        let may_turn = self.before <= removed;
        let grown = if may_turn && self.count.saturating_add(wanted) > GENERATION {
            Self {
                count: 0,
                before: last,
            }
        } else {
            self
        };
        let admitted = wanted.min(GENERATION.saturating_sub(grown.count));
        let count = grown.count.saturating_add(admitted);
        (admitted, Self { count, ..grown })
    }
}

/// How many of `wanted` more messages `sender` may send to a device, and the share to note with [`note`] then.
pub(super) async fn admitted_in(
    tx: &mut Tx,
    (user, device): (&UserId, &DeviceId),
    sender: &UserId,
    wanted: u64,
) -> Result<(u64, Share), StoreError> {
    let share = tx.get(&SHARES, (user, device, sender)).await?;
    let removed = tx.store().get(&REMOVED, (user, device)).await?;
    let last = share.as_ref().map_or(0, Numbered::number);
    let share = share.map_or_else(Share::default, |share| share.value);
    Ok(share.grow(wanted, last, removed.unwrap_or_default()))
}

pub(super) fn note(
    tx: &mut Tx,
    (user, device): (&UserId, &DeviceId),
    sender: &UserId,
    share: Share,
    last: Slot,
) -> Result<(), StoreError> {
    tx.put_numbered(&SHARES, (user, device, sender), share, last)
}

/// Forgets who has sent to a device that is being deleted.
pub(super) async fn forget_in(
    tx: &mut Tx,
    user: &UserId,
    device: &DeviceId,
) -> Result<(), StoreError> {
    let store = tx.store().clone();
    let prefix = (user, device);
    let mut page = store.scan(&SHARES, prefix, Page::first(PAGE)).await?;
    while let Some((last, _)) = page.last().cloned() {
        for (key, _) in page {
            tx.delete(&SHARES, key);
        }
        page = store
            .scan_after(&SHARES, prefix, last, Page::first(PAGE))
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MAX_SHARE, Share};

    proptest! {
        /// However somebody sends and a device fetches, no more than the share waits, and a device that has fetched
        /// everything takes a whole request again.
        #[test]
        fn a_share_is_never_exceeded(steps in proptest::collection::vec((1_u64..1_000, any::<bool>()), 1..60)) {
            let (mut share, mut head, mut removed) = (Share::default(), 0, 0);
            for (wanted, fetches) in steps {
                if fetches {
                    removed = head;
                }
                let (admitted, grown) = share.grow(wanted, head, removed);
                share = grown;
                head += admitted;
                prop_assert!(head - removed <= MAX_SHARE);
                prop_assert!(!fetches || admitted == wanted);
            }
        }
    }
}
