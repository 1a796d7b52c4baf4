//! Placeholder until the blobs land.
/// Encrypted blobs.
pub struct Blobs {}
