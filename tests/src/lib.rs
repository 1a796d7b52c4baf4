//! End-to-end tests of Respite in the words of the people who use it: a real server, real matrix-sdk clients, the real
//! `respite` binary. What is here is shared by the tests, the demo and the tools.
#![expect(
    clippy::indexing_slicing,
    reason = "JSON is looked into by name, which never panics"
)]

pub mod balancer;
pub mod binaries;
pub mod bucket;
pub mod canary;
pub mod crash;
pub mod desk;
pub mod engine;
pub mod gateway;
pub mod held;
pub mod history;
pub mod keys;
pub mod person;
pub mod place;
pub mod powerloss;
pub mod practice;
pub mod raw;
pub mod story;
pub mod wiretap;
pub mod worksheet;
