//! How far each device has read its user's inbox, and the removal of what all of them have passed.
//!
//! A device says how far it is by the token that it comes back with. Noting that at every sync would make each of them a
//! write, so it is noted once in [`NOTED_EVERY`] entries, once a day, and when a device begins anew. What is noted is thus
//! never more than what the device has.

use std::time::Duration;

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use super::INBOX;
use crate::{
    auth::{DEVICES, Device, devices_of},
    clock::Clock,
    state::App,
    store::{Store, StoreError, Table, Tx},
};

/// How far each device has read its user's inbox.
pub const PASSED: Table<(OwnedUserId, OwnedDeviceId), Passed> = Table::new(0x0502, "inbox_passed");

/// How many entries a device reads before it is noted again how far it is.
pub const NOTED_EVERY: u64 = 200;
/// How many of the newest entries of an inbox stay, even if all devices have passed them: clients write their token to
/// the disk every few minutes only, and come back with an old one after a crash.
pub const KEPT_ENTRIES: u64 = 1_000;
/// A device that was away for longer than this does not keep its user's inbox from being trimmed. When it returns, it is
/// told everything anew.
pub const AWAY: Duration = Duration::from_secs(90 * 24 * 60 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How far a device has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// It has the entries up to this one.
    pub inbox: u64,
    /// The day on which it was noted, counted from 1970. Never the time: when people are awake is nobody's business.
    pub day: u64,
}

/// Notes that a device has its user's inbox up to an entry, if that was not noted for some time. Costs one read where there
/// is nothing to note.
///
/// # Errors
/// The store's.
pub async fn note_passed(app: &App, me: &Device, inbox: u64) -> Result<(), StoreError> {
    let of = (&*me.user, &*me.device);
    let day = days(app.clock.millis());
    let noted = app.store.get(&PASSED, of).await?;
    let is_known = |noted: Passed| noted.day >= day && noted.inbox + NOTED_EVERY > inbox;
    if noted.is_some_and(is_known) {
        return Ok(());
    }
    app.store
        .transact(|mut tx| async move {
            let noted = tx.get(&PASSED, of).await?.unwrap_or_default();
            // One that is logged out meanwhile leaves nothing behind.
            if tx.get(&DEVICES, of).await?.is_some() {
                let passed = Passed {
                    inbox: noted.inbox.max(inbox),
                    day: noted.day.max(day),
                };
                tx.put(&PASSED, of, &passed)?;
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(())
}

/// Forgets how far a device was that is being deleted.
pub fn forget_device_in(tx: &mut Tx, user: &UserId, device: &DeviceId) {
    tx.delete(&PASSED, (user, device));
}

/// Removes up to `most` entries that all of a user's devices have passed, the oldest first; how many. A token that is older
/// than what is left is answered with everything, since its next entry is missing.
///
/// # Errors
/// The store's.
pub async fn trim(
    store: &Store,
    clock: &Clock,
    user: &UserId,
    most: usize,
) -> Result<usize, StoreError> {
    let kept_from = store.head(&INBOX, user).await?.saturating_sub(KEPT_ENTRIES);
    if kept_from == 0 {
        return Ok(0);
    }
    let up_to = passed_by_all(store, clock, user).await?.min(kept_from);
    store.trim(&INBOX, user, up_to, most).await
}

/// The entry up to which every device has read that was here lately; the largest number, if there is none.
async fn passed_by_all(store: &Store, clock: &Clock, user: &UserId) -> Result<u64, StoreError> {
    let devices = devices_of(store, user).await?;
    let noted = store
        .get_many(&PASSED, devices.iter().map(|device| (user, &**device)))
        .await?;
    let away = days(u64::try_from(AWAY.as_millis()).unwrap_or(u64::MAX));
    let today = days(clock.millis());
    // A device of which nothing is noted has never synced, and begins with everything.
    Ok(noted
        .into_iter()
        .flatten()
        .filter(|passed| passed.day + away >= today)
        .map(|passed| passed.inbox)
        .min()
        .unwrap_or(u64::MAX))
}

fn days(millis: u64) -> u64 {
    millis / u64::try_from(DAY.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
