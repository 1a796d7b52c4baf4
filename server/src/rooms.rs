//! Rooms: real Matrix rooms, each one line of signed events, with the state, the members and the history that follow
//! from it.

pub mod access;
pub mod aliases;
pub mod append;
mod authorise;
pub mod cache;
pub mod create;
pub mod deletion;
pub mod draft;
pub mod erasure;
pub mod event;
pub mod filter;
pub mod membership;
mod named;
pub mod pdu;
pub mod position;
pub mod published;
mod reading;
mod redaction;
pub mod relations;
mod send;
pub mod sketch;
mod spaces;
pub mod state;
mod summary;
pub mod timeline;
pub mod version;

use axum::Router;

use crate::{error::Error, state::App};

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(create::router())
        .merge(membership::router())
        .merge(aliases::router())
        .merge(published::router())
        .merge(send::router())
        .merge(reading::router())
        .merge(timeline::router())
        .merge(relations::router())
        .merge(spaces::router())
        .merge(summary::router())
}

/// Where a state event with an empty key is found too.
const WITHOUT_STATE_KEY: [&str; 4] = [
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}",
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}/",
    "/_matrix/client/r0/rooms/{room_id}/state/{event_type}",
    "/_matrix/client/r0/rooms/{room_id}/state/{event_type}/",
];

/// The answer to whoever asks for a room that they are not in: the same whether it exists or not.
pub fn not_in_room() -> Error {
    Error::forbidden("You are not in this room, or it does not exist.")
}

/// The answer to whoever asks for an event that is not in the room, or that they may not read.
pub(crate) fn no_such_event() -> Error {
    Error::not_found("There is no such event in this room.")
}

#[cfg(test)]
mod tests;
