//! Who comes and goes by an event.

use ruma::{UserId, events::room::member::MembershipState};

use crate::rooms::event::StoredEvent;

/// What an event makes of somebody's standing in a room, as far as their list of rooms is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It stays what it was.
    Same,
    /// They have come in, were invited, knock, or were taken out.
    New,
    /// They are out by their own will, or never were in.
    Out,
}

pub(super) fn standing(event: &StoredEvent, user: &UserId) -> Standing {
    if event.target().as_deref() != Some(user) {
        return Standing::Same;
    }
    let before = event.membership_before();
    match event.membership() {
        membership if membership == before => Standing::Same,
        Some(MembershipState::Join | MembershipState::Invite | MembershipState::Knock) => {
            Standing::New
        }
        _ if event.sender != user && before == Some(MembershipState::Join) => Standing::New,
        _ => Standing::Out,
    }
}
