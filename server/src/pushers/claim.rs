//! Whose turn it is: one server sends to a pusher at a time, and says afterwards how far it came.

use std::{collections::BTreeMap, time::Duration};

use ruma::{OwnedUserId, UserId};

use crate::{
    push::{self, DUE, PUSHERS, PUSHES, Pusher},
    state::App,
    store::{Page, StoreError, Tx},
};

/// How long a claim holds; longer than a turn can take.
const LEASE: Duration = Duration::from_secs(60);
/// How long a gateway is left alone after it has failed once; twice as long after each further time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest that it is left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);
/// How long it may go on failing before what was to be pushed is given up: nobody wants to be woken for yesterday.
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Most pushes that wait for a pusher; the oldest are given up.
const MAX_WAITING: u64 = 1_000;
/// How many rows are looked at for what is due.
const BATCH: usize = 256;
/// How many old pushes are removed at once.
const TRIMMED_AT_ONCE: usize = 500;

/// A user's pushers that it is this server's turn to send to.
pub(super) struct Claim {
    /// Whose.
    pub(super) user: OwnedUserId,
    /// The pushers.
    pub(super) pushers: Vec<Pusher>,
    lapses: u64,
}

/// How sending to a pusher ended.
pub(super) enum Turn {
    /// Everything up to this number was sent.
    Sent(u64),
    /// Everything up to this number was sent, the next one failed.
    Failed(u64),
    /// The gateway does not know it any more.
    Rejected,
}

/// Claims whatever is due, of at most so many users.
pub(super) async fn due(app: &App, most: usize) -> Result<Vec<Claim>, StoreError> {
    let now = app.clock.millis();
    let rows = app.store.scan(&DUE, (), Page::first(BATCH)).await?;
    let mut by_user: BTreeMap<OwnedUserId, Vec<u64>> = BTreeMap::new();
    for ((time, user), ()) in rows {
        if time > now {
            break;
        }
        if by_user.contains_key(&user) || by_user.len() < most {
            by_user.entry(user).or_default().push(time);
        }
    }
    let mut claims = Vec::new();
    for (user, rows) in by_user {
        claims.extend(claim(app, user, &rows).await?);
    }
    Ok(claims)
}

async fn claim(app: &App, user: OwnedUserId, rows: &[u64]) -> Result<Option<Claim>, StoreError> {
    let now = app.clock.millis();
    let lapses = app.clock.after(LEASE);
    let whose = &*user;
    let committed = app
        .store
        .transact(|mut tx: Tx| async move {
            for time in rows {
                tx.delete(&DUE, (*time, whose));
            }
            let Some(mut pushers) = tx.get(&PUSHERS, whose).await? else {
                return Ok::<_, StoreError>((tx, Vec::new()));
            };
            let head = tx.store().head(&PUSHES, whose).await?;
            let mut claimed = Vec::new();
            for pusher in &mut pushers {
                if pusher.until > now {
                    // Of one that is left alone, its own row says when to look again.
                    pusher.again |= pusher.sending;
                } else if pusher.sent < head {
                    (pusher.until, pusher.sending, pusher.again) = (lapses, true, false);
                    pusher.sent = pusher.sent.max(head.saturating_sub(MAX_WAITING));
                    claimed.push(pusher.clone());
                }
            }
            tx.put(&PUSHERS, whose, &pushers)?;
            if !claimed.is_empty() {
                tx.put(&DUE, (lapses, whose), &())?;
            }
            Ok((tx, claimed))
        })
        .await?;
    let pushers = committed.value;
    if pushers.is_empty() {
        // Nobody to send to, or nothing to send: what is left over is of no use.
        trim(app, &user).await?;
        return Ok(None);
    }
    Ok(Some(Claim {
        user,
        pushers,
        lapses,
    }))
}

/// Notes how far everybody came, and when to look again.
pub(super) async fn settle(app: &App, claim: &Claim, turns: &[Turn]) -> Result<(), StoreError> {
    let now = app.clock.millis();
    let user = &*claim.user;
    let ended = || claim.pushers.iter().zip(turns);
    app.store
        .transact(|mut tx: Tx| async move {
            tx.delete(&DUE, (claim.lapses, user));
            let Some(mut pushers) = tx.get(&PUSHERS, user).await? else {
                return Ok::<_, StoreError>((tx, ()));
            };
            let head = tx.store().head(&PUSHES, user).await?;
            let mut again = false;
            for pusher in &mut pushers {
                let turn =
                    ended().find(|(claimed, _)| pusher.is(&claimed.app_id, &claimed.pushkey));
                if let Some((_, turn)) = turn.filter(|_| pusher.sending) {
                    end(pusher, turn, now, head);
                    again |= pusher.until == 0 && (pusher.again || pusher.sent < head);
                    if pusher.until > 0 {
                        tx.put(&DUE, (pusher.until, user), &())?;
                    }
                }
            }
            let rejected = |pusher: &Pusher| {
                let mut rejected = ended().filter(|(_, turn)| matches!(turn, Turn::Rejected));
                rejected.any(|(claimed, _)| pusher.is(&claimed.app_id, &claimed.pushkey))
            };
            let (gone, kept): (Vec<_>, Vec<_>) = pushers.into_iter().partition(rejected);
            push::keep_in(&mut tx, user, &gone, &kept)?;
            if again {
                tx.put(&DUE, (now, user), &())?;
            }
            Ok((tx, ()))
        })
        .await?;
    trim(app, user).await
}

fn end(pusher: &mut Pusher, turn: &Turn, now: u64, head: u64) {
    pusher.sending = false;
    match turn {
        Turn::Sent(up_to) => {
            pusher.sent = pusher.sent.max(*up_to);
            (pusher.until, pusher.failures) = (0, 0);
        }
        Turn::Failed(up_to) => {
            pusher.sent = pusher.sent.max(*up_to);
            if pusher.failures == 0 {
                pusher.failing_since = now;
            }
            let since = now.saturating_sub(pusher.failing_since);
            if since > millis(GIVE_UP_AFTER) {
                pusher.sent = head;
            }
            pusher.until = now.saturating_add(pause(pusher.failures));
            pusher.failures = pusher.failures.saturating_add(1);
        }
        Turn::Rejected => {}
    }
}

/// How long a gateway is left alone that has failed so often before, in milliseconds.
fn pause(failures: u32) -> u64 {
    let doubled = 1_u64.checked_shl(failures).unwrap_or(u64::MAX);
    millis(FIRST_PAUSE)
        .saturating_mul(doubled)
        .min(millis(LONGEST_PAUSE))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Removes what no pusher needs any more.
async fn trim(app: &App, user: &UserId) -> Result<(), StoreError> {
    let head = app.store.head(&PUSHES, user).await?;
    let pushers = app.store.get(&PUSHERS, user).await?.unwrap_or_default();
    let done = pushers.iter().map(|pusher| pusher.sent).min();
    app.store
        .trim(&PUSHES, user, done.unwrap_or(head), TRIMMED_AT_ONCE)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_goes_on_failing_is_asked_less_and_less_often() {
        let mut pauses = (0..100).map(pause);
        assert_eq!(
            pauses.by_ref().take(4).collect::<Vec<_>>(),
            [1_000, 2_000, 4_000, 8_000]
        );
        assert!(pauses.all(|pause| pause <= 3_600_000));
        assert_eq!(pause(99), 3_600_000);
    }
}
