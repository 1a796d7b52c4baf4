//! Whether an event may be added to a room.

use respite_protocol::ciphertext;
use ruma::{
    events::{StateEventType, room::member::MembershipState},
    state_res::{check_state_dependent_auth_rules, check_state_independent_auth_rules},
};

use super::{event::StoredEvent, not_in_room, pdu::Pdu, state::RoomState};
use crate::{
    error::{Error, Result},
    gate,
    state::App,
};

/// The most people that may be in a room: every event is told to each of them.
pub const MAX_MEMBERS: usize = 1_000;

/// Whether an event may follow on a room's state: by the specification's rules, and by what a room promises beyond them.
///
/// # Errors
/// 403 `M_FORBIDDEN` if its sender is not in the room, or may not send it.
pub(super) fn authorise(app: &App, state: &RoomState, pdu: &Pdu) -> Result<()> {
    let rules = &state.rules().authorization;
    if pdu.event.state_key.is_some() {
        let find = |id: &ruma::EventId| {
            let mut entries = state.entries();
            entries
                .find(|entry| entry.event().event_id == id)
                .map(|entry| &entry.pdu)
        };
        check_state_independent_auth_rules(rules, pdu, find).map_err(|_| not_allowed())?;
    }
    let fetch = |kind: &StateEventType, key: &str| state.fetch(kind, key);
    check_state_dependent_auth_rules(rules, pdu, fetch).map_err(|_| {
        if state.is_joined(&pdu.event.sender) {
            not_allowed()
        } else {
            not_in_room()
        }
    })?;
    keeps_its_promises(app, state, &pdu.event)
}

/// What a room promises beyond the specification's rules.
fn keeps_its_promises(app: &App, state: &RoomState, event: &StoredEvent) -> Result<()> {
    if event.membership() == Some(MembershipState::Join)
        && state.joined().len() >= MAX_MEMBERS
        && !state.is_joined(&event.sender)
    {
        return Err(Error::forbidden("This room is full."));
    }
    let therapy = state.is_therapy();
    if event.state_key.as_deref() != Some("") || !gate::guards(&app.config, therapy) {
        return Ok(());
    }
    if event.kind == "m.room.encryption"
        && let Some(old) = state.get("m.room.encryption", "")
    {
        let old = old.event().parsed_content()?;
        ciphertext::encryption_change(&old, &event.parsed_content()?)?;
    }
    // A therapy room is made with these; they can only be said again.
    let fixed = [
        ("m.room.join_rules", r#""join_rule":"invite""#),
        (
            "m.room.history_visibility",
            r#""history_visibility":"invited""#,
        ),
        ("m.room.guest_access", r#""guest_access":"forbidden""#),
    ];
    let changed =
        |(kind, says): &(&str, &str)| event.kind == *kind && !event.content.contains(says);
    if therapy && fixed.iter().any(changed) {
        return Err(Error::forbidden(
            "Who may enter and read a therapy room cannot be changed.",
        ));
    }
    Ok(())
}

pub(super) fn not_allowed() -> Error {
    Error::forbidden("You do not have the power to do this in this room.")
}
