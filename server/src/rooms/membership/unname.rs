//! Taking what somebody was called out of a room's past.

use ruma::{RoomId, UserId};

use crate::{
    error::{Error, Result},
    rooms::{
        event::{StoredEvent, TIMELINE},
        pdu::redacted_content,
        state::{ROOMS, Room, STATE},
        version,
    },
    state::App,
    store::{Numbered, Page, Tx},
};

const MEMBER: &str = "m.room.member";
const NAME: &str = "\"displayname\"";

/// Takes the pseudonym out of somebody's membership events in a room, as a redaction would, `at_once` of them in a
/// transaction. Nobody is told: what others' devices know of the past, they know.
///
/// # Errors
/// The store's; doing it again goes on.
pub async fn unname(app: &App, user: &UserId, room: &RoomId, at_once: usize) -> Result<()> {
    let of_user = (room, MEMBER, user.as_str());
    let page = Page::first(at_once);
    let mut found = app.store.scan(&STATE, of_user, page).await?;
    while let Some((last, ())) = found.last().cloned() {
        let positions: Vec<u64> = found.into_iter().map(|((.., at), ())| at).collect();
        let positions = &positions;
        app.store
            .transact(|mut tx: Tx| async move {
                unname_in(&mut tx, room, positions).await?;
                Ok::<_, Error>((tx, ()))
            })
            .await?;
        found = app.store.scan_after(&STATE, of_user, last, page).await?;
    }
    Ok(())
}

/// The room's row is read and written, so that nobody changes these events meanwhile, and no server goes on with the state
/// that it has in memory.
async fn unname_in(tx: &mut Tx, room: &RoomId, positions: &[u64]) -> Result<()> {
    let Some(row) = tx.get(&ROOMS, room).await? else {
        return Ok(());
    };
    let rules = version::rules(&row.value.version)?.redaction;
    let events = tx.store().entries(&TIMELINE, room, positions).await?;
    let mut changed = false;
    for (position, event) in positions.iter().zip(events) {
        let Some(mut event) = event.filter(names) else {
            continue;
        };
        event.content = redacted_content(&event.content, &rules, MEMBER)?;
        if let Some(replaced) = &mut event.replaced {
            replaced.content = redacted_content(&replaced.content, &rules, MEMBER)?;
        }
        tx.replace(&TIMELINE, room, *position, &event)?;
        changed = true;
    }
    if changed {
        let revision = row.value.revision + 1;
        let number = row.number();
        let next = Room {
            revision,
            ..row.value
        };
        tx.put(&ROOMS, room, &Numbered::new(next, number))?;
    }
    Ok(())
}

fn names(event: &StoredEvent) -> bool {
    let replaced = event.replaced.as_ref();
    event.content.contains(NAME) || replaced.is_some_and(|before| before.content.contains(NAME))
}
