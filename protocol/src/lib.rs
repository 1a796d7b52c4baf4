//! What both sides of Respite say: the blocks inside encrypted messages ([`events`]), the
//! questionnaires in them ([`instruments`]), the crisis lines of countries ([`crisis`]), the therapy
//! endpoints ([`api`]) and the gate that lets only ciphertext reach the server's store
//! ([`ciphertext`]).
//!
//! Types and pure functions only: no I/O, no clock, no randomness.

pub mod api;
pub mod ciphertext;
pub mod crisis;
#[cfg(test)]
mod documented;
pub mod events;
pub mod instruments;
pub mod role;
pub mod text;
pub mod therapy;

pub use role::Role;
pub use therapy::TherapyKind;
