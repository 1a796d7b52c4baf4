//! The therapy endpoints, under `/_matrix/client/unstable/chat.respite/`, one a file; and others that ruma lacks, or does
//! not describe as clients need them.
//!
//! Each module has ruma's `Request` and `Response`, so that the server's and the client's side
//! are one definition. Times are milliseconds since the epoch and are named `*_ts`; durations are
//! milliseconds and are named `*_ms`.

pub mod act_on_delayed_event;
pub mod cancel_prompt;
pub mod capability;
pub mod create_invite;
pub mod create_room;
pub mod delete_document;
pub mod list_delayed_events;
pub mod list_documents;
pub mod list_invites;
pub mod list_prompts;
pub mod mutual_rooms;
pub mod postpone_prompt;
pub mod revoke_invite;
pub mod schedule_prompt;
pub mod thread_updates;
pub mod turn_server;
pub mod upload_document;

/// Most people that can be invited when a therapy room is opened.
pub const MAX_INVITED_AT_CREATION: usize = 50;

/// Most registrations one code may serve.
pub const MAX_INVITE_USES: u32 = 100;
/// Registrations a code serves unless told otherwise.
pub const DEFAULT_INVITE_USES: u32 = 1;
/// A code lives for seven days unless told otherwise.
pub const DEFAULT_INVITE_LIFETIME_MS: u64 = 7 * DAY_MS;
/// Longest life of a code: ninety days.
pub const MAX_INVITE_LIFETIME_MS: u64 = 90 * DAY_MS;
/// Most codes of one therapist that may be open at a time.
pub const MAX_OPEN_INVITES: usize = 500;

/// Most prompts that may wait in one room.
pub const MAX_PROMPTS_PER_ROOM: usize = 400;
/// Furthest a prompt's release may lie ahead: 400 days, so that a yearly one fits.
pub const MAX_PROMPT_AHEAD_MS: u64 = 400 * DAY_MS;

/// Largest document, in bytes of ciphertext.
pub const MAX_DOCUMENT_BYTES: u64 = 100 * 1024 * 1024;
/// Most documents bound to one room.
pub const MAX_DOCUMENTS_PER_ROOM: usize = 5_000;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
