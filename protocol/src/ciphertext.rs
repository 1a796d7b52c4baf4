//! The gate: what may reach the server's store, a log line or an error text.
//!
//! One [table](TABLE) has a row for every event type, account-data type, to-device type and
//! free-text field: *keep*, *check*, *blank* or *refuse*. What has no row is refused. The functions
//! here look their row up in that table, so that table and code cannot disagree, and
//! `docs/threat-model.md` shows the same table to people ([`table_markdown`]).
//!
//! Every function takes content by value and gives back what may be stored: fields that clients
//! cannot help sending come back blanked. Passing its own output through the gate again changes
//! nothing, so a stored value that the gate would change is a violation.

mod account_data;
mod address;
mod blob;
mod fields;
mod grammar;
mod keys;
mod message;
mod olm;
mod profile;
mod push;
mod randomness;
mod refusal;
mod state;
mod table;
mod to_device;
mod verification;

pub use account_data::{global_account_data, room_account_data, tag};
pub use address::room_address;
pub use blob::BlobCheck;
pub use grammar::{depth_ok, device_id, transaction_id};
pub use keys::{
    backup_auth_data, backup_ids, backup_session, cross_signing_key, dehydrated_device,
    device_keys, one_time_key, signatures,
};
pub use message::message_event;
pub use profile::{device_name, file_name, media_type, presence_status, profile_field, reason};
pub use push::{filter, push_actions, push_rule, pusher};
pub use refusal::{Refusal, RefusalCode, Verdict};
pub use state::{StateContext, encryption_change, state_event};
pub use table::{Class, Outcome, Row, TABLE, table_markdown};
pub use to_device::to_device_event;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

/// Largest event, as canonical JSON of the whole PDU, in bytes. The server checks it.
pub const MAX_EVENT_BYTES: usize = 65_536;
/// Longest identifier, event type and state key, in bytes.
pub const MAX_ID_BYTES: usize = 255;
/// Longest transaction id of a verification or a key request, in bytes.
pub const MAX_TRANSACTION_ID_BYTES: usize = 128;
/// Longest device id, in bytes.
pub const MAX_DEVICE_ID_BYTES: usize = 64;
/// Longest pseudonym, in characters.
pub const MAX_PSEUDONYM_CHARS: usize = 64;
/// Deepest nesting of objects and lists in any JSON that the server reads.
pub const MAX_JSON_DEPTH: usize = 32;
/// Most entries in any list or map that the gate checks one by one.
pub const MAX_ENTRIES: usize = 1_000;
