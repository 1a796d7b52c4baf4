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

mod refusal;

pub use refusal::{Refusal, RefusalCode, Verdict};
use ruma::{CanonicalJsonObject, CanonicalJsonValue};

/// Largest event, as canonical JSON of the whole PDU, in bytes. The server checks it.
pub const MAX_EVENT_BYTES: usize = 65_536;
/// Longest identifier, event type and state key, in bytes.
pub const MAX_ID_BYTES: usize = 255;
/// Longest transaction id, in bytes.
pub const MAX_TRANSACTION_ID_BYTES: usize = 128;
/// Longest device id, in bytes.
pub const MAX_DEVICE_ID_BYTES: usize = 64;
/// Longest pseudonym, in characters.
pub const MAX_PSEUDONYM_CHARS: usize = 64;
/// Deepest nesting of objects and lists in any JSON that the server reads.
pub const MAX_JSON_DEPTH: usize = 32;
/// Most entries in any list or map that the gate checks one by one.
pub const MAX_ENTRIES: usize = 1_000;

const REFUSED: Refusal = Refusal::forbidden("This server takes encrypted content only.");

/// What the room is like when a state event reaches the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateContext {
    /// The event is part of the room's creation.
    pub at_creation: bool,
    /// The room has `m.room.encryption` already.
    pub encrypted: bool,
}

/// A timeline event's content.
pub fn message_event(_event_type: &str, _content: CanonicalJsonObject) -> Verdict {
    Err(REFUSED)
}
/// A state event's content.
pub fn state_event(
    _event_type: &str,
    _state_key: &str,
    _content: CanonicalJsonObject,
    _ctx: StateContext,
) -> Verdict {
    Err(REFUSED)
}
/// Whether `m.room.encryption` may change from `old` to `new`: never weaker.
pub fn encryption_change(_old: &CanonicalJsonObject, _new: &CanonicalJsonObject) -> Verdict<()> {
    Err(REFUSED)
}
/// A to-device event's content.
pub fn to_device_event(_event_type: &str, _content: CanonicalJsonObject) -> Verdict {
    Err(REFUSED)
}
/// Global account data.
pub fn global_account_data(_event_type: &str, _content: CanonicalJsonObject) -> Verdict {
    Err(REFUSED)
}
/// Account data of a room.
pub fn room_account_data(_event_type: &str, _content: CanonicalJsonObject) -> Verdict {
    Err(REFUSED)
}
/// A room tag's name.
pub fn tag(_name: &str) -> Verdict<()> {
    Err(REFUSED)
}
/// A profile field: null if it is to be stored as absent.
pub fn profile_field(_name: &str, _value: serde_json::Value) -> Verdict<serde_json::Value> {
    Err(REFUSED)
}
/// A device's display name: always blanked.
pub fn device_name(_name: &str) -> Option<String> {
    None
}
/// A presence status message: always blanked.
pub fn presence_status(_status: &str) -> Option<String> {
    None
}
/// A device id chosen by a client.
pub fn device_id(_id: &str) -> Verdict<()> {
    Err(REFUSED)
}
/// A transaction id chosen by a client.
pub fn transaction_id(_id: &str) -> Verdict<()> {
    Err(REFUSED)
}
/// Whether JSON text nests no deeper than [`MAX_JSON_DEPTH`].
pub fn depth_ok(_bytes: &[u8]) -> bool {
    false
}
/// `device_keys` of `/keys/upload`.
pub fn device_keys(_keys: CanonicalJsonObject) -> Verdict {
    Err(REFUSED)
}
/// One entry of `one_time_keys` or `fallback_keys` of `/keys/upload`: `algorithm:id` and the key.
pub fn one_time_key(_key_id: &str, _key: CanonicalJsonValue) -> Verdict<CanonicalJsonValue> {
    Err(REFUSED)
}
/// One key of `/keys/device_signing/upload`.
pub fn cross_signing_key(_key: CanonicalJsonObject) -> Verdict {
    Err(REFUSED)
}
/// The body of `/keys/signatures/upload`: user id, then key or device id, then the signed object.
pub fn signatures(_body: CanonicalJsonObject) -> Verdict {
    Err(REFUSED)
}
/// `auth_data` of a key backup version with this algorithm.
pub fn backup_auth_data(_algorithm: &str, _auth_data: CanonicalJsonObject) -> Verdict {
    Err(REFUSED)
}
/// One session of a key backup.
pub fn backup_session(_session: CanonicalJsonObject) -> Verdict {
    Err(REFUSED)
}
/// A push rule: `kind` and `rule_id` from the path, the body as the client sent it.
pub fn push_rule(_kind: &str, _rule_id: &str, _rule: CanonicalJsonObject) -> Verdict {
    Err(REFUSED)
}
/// The `actions` list of a push rule.
pub fn push_actions(_actions: CanonicalJsonValue) -> Verdict<CanonicalJsonValue> {
    Err(REFUSED)
}
/// The body of `/pushers/set`.
pub fn pusher(_pusher: CanonicalJsonObject) -> Verdict {
    Err(REFUSED)
}
/// A sync filter.
pub fn filter(_filter: CanonicalJsonObject) -> Verdict {
    Err(REFUSED)
}

/// Judges a blob as it streams by, in constant memory.
#[derive(Debug, Default)]
pub struct BlobCheck {}
impl BlobCheck {
    /// Begins a blob.
    pub fn new() -> Self {
        Self {}
    }
    /// Looks at the next bytes.
    pub fn feed(&mut self, _bytes: &[u8]) {}
    /// The verdict on the whole blob.
    pub fn finish(self) -> Verdict<()> {
        Err(REFUSED)
    }
}

/// What a row of the table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /** Timeline events. */
    Message,
    /** State events. */
    State,
    /** To-device events. */
    ToDevice,
    /** Global account data. */
    GlobalAccountData,
    /** Account data of a room. */
    RoomAccountData,
    /** Room tags. */
    Tag,
    /** Profile fields. */
    Profile,
    /** Other free text. */
    FreeText,
    /** Keys. */
    Key,
    /** Push rules and pushers. */
    Push,
    /** Blobs. */
    Media,
}
/// What the gate does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /** Stored as it is. */
    Keep,
    /** Checked field by field. */
    Checked,
    /** Stored empty. */
    Blank,
    /** Refused. */
    Refuse,
}
/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /** What the row is about. */
    pub class: Class,
    /** The type or field. */
    pub name: &'static str,
    /** What the gate does. */
    pub outcome: Outcome,
    /** Why. */
    pub why: &'static str,
}
/// The gate's table.
pub const TABLE: &[Row] = &[];
/// The table as Markdown.
pub fn table_markdown() -> String {
    String::new()
}
