//! The thin client of Respite: `respite` on the command line, and the modules that it is made of,
//! for the demo and the end-to-end tests.
//!
//! The modules are few and deep. [`session`] opens an account on this machine ([`profile`],
//! [`vault`]); [`rooms`] finds a room by name; [`history`] reads it; [`outbox`] sends;
//! [`checkins`], [`instruments`], [`trend`], [`safety`], [`documents`] and [`inbox`] are what therapy adds, and
//! [`ahead`] encrypts what the server releases later. [`commands`] puts them in front of a person.

pub mod accounts;
pub mod ahead;
pub mod checkins;
pub mod commands;
pub mod documents;
pub mod failure;
pub mod form;
pub mod history;
pub mod inbox;
pub mod instruments;
pub mod names;
pub mod outbox;
pub mod output;
pub mod profile;
pub mod progress;
pub mod render;
pub mod rooms;
pub mod safety;
pub mod secrets;
pub mod session;
pub mod terminal;
pub mod time;
pub mod trend;
pub mod vault;
pub mod verification;
