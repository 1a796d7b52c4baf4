//! Stories of rooms, told through the endpoints, on a real store.

mod access;
mod creating;
mod later;
mod membership;
mod redaction;
mod sending;
mod threads;
mod world;
