//! The Respite homeserver.
pub mod store;
