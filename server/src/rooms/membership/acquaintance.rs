//! Who has to do with whom.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedRoomId, OwnedUserId, UserId, events::room::member::MembershipState};

use super::{MEMBERSHIPS, rooms_of};
use crate::store::{Store, StoreError};

/// Up to how many rooms of one's own each is looked up, rather than all of the other's read.
const FEW_ROOMS: usize = 50;

/// Those of `others` with whom somebody shares a room, an invitation or a knock, and they themselves if they are asked
/// about. Nobody else may learn their keys or write to their devices.
///
/// # Errors
/// The store's.
pub async fn acquainted<'a>(
    store: &Store,
    user: &UserId,
    others: impl IntoIterator<Item = &'a UserId>,
) -> Result<BTreeSet<OwnedUserId>, StoreError> {
    let (me, others): (BTreeSet<_>, BTreeSet<_>) =
        others.into_iter().partition(|other| *other == user);
    let mut acquainted: BTreeSet<OwnedUserId> = me.into_iter().map(ToOwned::to_owned).collect();
    if others.is_empty() {
        return Ok(acquainted);
    }
    let mine = rooms_of(store, user).await?.into_iter();
    let mine: BTreeMap<_, _> = mine
        .map(|(room, membership)| (room, membership.state))
        .filter(|(_, state)| has_part(state))
        .collect();
    for other in others {
        if share(store, &mine, other).await? {
            acquainted.insert(other.to_owned());
        }
    }
    Ok(acquainted)
}

async fn share(
    store: &Store,
    mine: &BTreeMap<OwnedRoomId, MembershipState>,
    other: &UserId,
) -> Result<bool, StoreError> {
    if mine.len() <= FEW_ROOMS {
        let keys = mine.keys().map(|room| (other, room));
        let theirs = store.get_many(&MEMBERSHIPS, keys).await?;
        let mut pairs = mine.values().zip(theirs);
        return Ok(pairs
            .any(|(mine, theirs)| theirs.is_some_and(|theirs| meet(mine, &theirs.value.state))));
    }
    let theirs = rooms_of(store, other).await?;
    Ok(theirs
        .iter()
        .any(|(room, theirs)| mine.get(room).is_some_and(|mine| meet(mine, &theirs.state))))
}

/// Two who are both only invited do not know each other.
fn meet(one: &MembershipState, other: &MembershipState) -> bool {
    let is_in = |state: &MembershipState| *state == MembershipState::Join;
    (is_in(one) && has_part(other)) || (is_in(other) && has_part(one))
}

fn has_part(state: &MembershipState) -> bool {
    matches!(
        state,
        MembershipState::Join | MembershipState::Invite | MembershipState::Knock
    )
}
