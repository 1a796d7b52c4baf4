//! After a backup was put back, nobody knows which one-time keys were handed out since it was made. None of them may go out
//! a second time, so all go; clients see that they have none left, and upload new ones.

use super::{KEY_COUNTS, ONE_TIME_KEYS, upload::MAX_STORED_KEYS};
use crate::store::{Page, Store, StoreError};

/// How many devices are looked at at a time.
const PAGE: usize = 500;

/// Removes all one-time keys; fallback keys, which may be used more than once, stay. Can be repeated.
///
/// # Errors
/// The store's.
pub async fn forget_one_time_keys(store: &Store) -> Result<(), StoreError> {
    let mut devices = store.scan(&KEY_COUNTS, (), Page::first(PAGE)).await?;
    while let Some((last, _)) = devices.last().cloned() {
        for ((user, device), counts) in devices {
            if counts.unclaimed.values().all(|count| *count == 0) {
                continue;
            }
            let (user, device) = (&*user, &*device);
            store
                .transact(|mut tx| async move {
                    let mut counts = tx
                        .get(&KEY_COUNTS, (user, device))
                        .await?
                        .unwrap_or_default();
                    let all = Page::first(MAX_STORED_KEYS);
                    for (key, _) in tx.store().scan(&ONE_TIME_KEYS, (user, device), all).await? {
                        tx.delete(&ONE_TIME_KEYS, key);
                    }
                    counts.unclaimed.clear();
                    tx.put(&KEY_COUNTS, (user, device), &counts)?;
                    Ok::<_, StoreError>((tx, ()))
                })
                .await?;
        }
        let page = Page::first(PAGE);
        devices = store.scan_after(&KEY_COUNTS, (), last, page).await?;
    }
    Ok(())
}
