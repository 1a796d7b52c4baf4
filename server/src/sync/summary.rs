//! Who is in a room, and after whom it is called.

use ruma::{
    OwnedUserId, UInt, UserId, api::client::sync::sync_events::v3::RoomSummary,
    events::room::member::MembershipState,
};

use crate::rooms::state::RoomState;

/// How many people a room may be named after.
const MAX_HEROES: usize = 5;
const MEMBER: &str = "m.room.member";

/// A room as one user sees it in a list.
pub(super) fn sum_up(state: &RoomState, me: &UserId) -> RoomSummary {
    let mut others: Vec<(bool, u64, OwnedUserId)> = Vec::new();
    let mut invited = 0_u64;
    for entry in state.of_type(MEMBER) {
        let event = entry.event();
        let (Some(user), Some(membership)) = (event.target(), event.membership()) else {
            continue;
        };
        let there = matches!(membership, MembershipState::Join | MembershipState::Invite);
        invited += u64::from(membership == MembershipState::Invite);
        if user != me && membership != MembershipState::Knock {
            others.push((!there, entry.position, user));
        }
    }
    others.sort();
    // People who have left name the room only when nobody else is there.
    let alone = others.first().is_none_or(|(gone, ..)| *gone);
    let heroes = others.into_iter().filter(|(gone, ..)| *gone == alone);
    let mut summary = RoomSummary::new();
    summary.heroes = heroes.map(|(.., user)| user).take(MAX_HEROES).collect();
    summary.joined_member_count = Some(UInt::new_saturating(state.joined().len() as u64));
    summary.invited_member_count = Some(UInt::new_saturating(invited));
    summary
}
