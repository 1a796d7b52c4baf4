//! What makes a person's client ring, and how much of it is unread. Rules and counts only: the server reads no content,
//! and no content leaves it. What is to be pushed is noted here; `pushers` sends it.
//!
//! [Push notifications](https://spec.matrix.org/v1.18/client-server-api/#push-notifications)

mod due;
mod notify;
mod rules;
mod unread;

use axum::Router;
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};

pub use self::{
    due::{
        DUE, PUSHERS, PUSHES, PUSHKEYS, Push, Pusher, UNREAD_ROOMS, forget_device_in, keep_in,
        remove_in,
    },
    notify::{Incoming, notify_in},
    rules::{room_follows_in, ruleset},
    unread::{
        Counts, KEPT_NOTIFICATIONS, Unread, Within, counts, forget_room, newest_unread,
        read_up_to_in, trim, unread,
    },
};
use crate::{
    state::App,
    store::{List, Numbered, Table},
};

/// What a user has been notified of in a room, outside of threads, and has not read. The number at an entry's end is the
/// event's position.
pub const NOTIFICATIONS: List<(OwnedUserId, OwnedRoomId), Numbered<Notification>> =
    List::new(0x0801, "notifications");

/// Those of them that concern the user in particular.
pub const HIGHLIGHTS: List<(OwnedUserId, OwnedRoomId), Numbered<()>> =
    List::new(0x0804, "highlights");

/// How much of these lists a user has read.
pub const READ: Table<(OwnedUserId, OwnedRoomId), Read> = Table::new(0x0802, "notifications_read");

/// What a user has been notified of in a room's threads and has not read: by room, the event that the thread began with, and
/// position. Threads come and go, so that nothing is kept of one that is read.
pub const IN_THREADS: Table<(OwnedUserId, OwnedRoomId, OwnedEventId, u64), Notification> =
    Table::new(0x0805, "thread_notifications");

/// How much a user has read of a room's notifications: numbers of the lists' entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The last of [`NOTIFICATIONS`] that is read.
    pub notified: u64,
    /// The last of [`HIGHLIGHTS`] that is read.
    pub highlighted: u64,
    /// The last that is removed.
    pub trimmed: u64,
}

/// The push rules of users who have changed them, as JSON; all others have the specification's.
pub const PUSH_RULES: Table<OwnedUserId, String> = Table::new(0x0803, "push_rules");

/// One notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Whether it concerns the user in particular.
    pub highlight: bool,
}

/// The endpoints.
pub fn router() -> Router<App> {
    rules::router()
}
