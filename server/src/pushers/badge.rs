//! How much is unread for somebody in all rooms together: the number at an application's symbol.

use ruma::{OwnedRoomId, RoomId, UserId, events::room::member::MembershipState};

use crate::{
    push::{self, UNREAD_ROOMS},
    rooms::membership::{self, MEMBERSHIPS, Membership},
    store::{Numbered, Page, Store, StoreError, Tx},
};

/// How many rooms are counted.
const MAX_ROOMS: usize = 1_000;

/// The number of unread notifications in all rooms that a user is in or invited to. Looks only where there may be some.
pub(super) async fn unread(store: &Store, user: &UserId) -> Result<u64, StoreError> {
    let rooms = store
        .scan(&UNREAD_ROOMS, (user,), Page::first(MAX_ROOMS))
        .await?;
    let rooms: Vec<OwnedRoomId> = rooms.into_iter().map(|((_, room), _)| room).collect();
    let keys = rooms.iter().map(|room| (user, &**room));
    let memberships = store.get_many(&MEMBERSHIPS, keys).await?;
    let mut all = 0_u64;
    for (room, membership) in rooms.iter().zip(memberships) {
        let counts = membership.map(Membership::from).is_some_and(|membership| {
            matches!(
                membership.state,
                MembershipState::Join | MembershipState::Invite
            )
        });
        let (unread, _) = match counts {
            true => push::unread(store, user, room).await?,
            false => (0, 0),
        };
        if unread == 0 {
            pass_over(store, user, room, counts).await?;
        }
        all = all.saturating_add(unread);
    }
    Ok(all)
}

/// The room is looked at again when there is something new: unless that has come just now.
async fn pass_over(
    store: &Store,
    user: &UserId,
    room: &RoomId,
    counts: bool,
) -> Result<(), StoreError> {
    store
        .transact(|mut tx: Tx| async move {
            let there = tx.get(&UNREAD_ROOMS, (user, room)).await?;
            let unread = push::unread(tx.store(), user, room).await?;
            if there.is_some() && (unread.0 == 0 || !counts) {
                tx.delete(&UNREAD_ROOMS, (user, room));
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(())
}

/// Notes in which rooms there may be something unread, for somebody who has had no pusher so far.
pub(super) async fn begin_in(tx: &mut Tx, user: &UserId) -> Result<(), StoreError> {
    let store = tx.store().clone();
    let rooms = membership::rooms_of(&store, user).await?;
    let counts =
        |state: &MembershipState| matches!(state, MembershipState::Join | MembershipState::Invite);
    let rooms = rooms.into_iter().filter(|(_, row)| counts(&row.state));
    for (room, _) in rooms.take(MAX_ROOMS) {
        if push::unread(&store, user, &room).await?.0 > 0 {
            tx.put(&UNREAD_ROOMS, (user, &*room), &Numbered::new((), 0))?;
        }
    }
    Ok(())
}
