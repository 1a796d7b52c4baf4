//! What tests need and Cargo cannot bring: programs of other projects. Where one is missing, the tests that need it are
//! not run, and the last lines of `cargo test` say so; under `RESPITE_TEST_REQUIRE=all` that is a failure.

pub mod part;
pub mod postgres;
pub mod wire;

pub use part::{PARTS, Part};
