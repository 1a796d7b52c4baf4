//! How often whom may try what. Kept in memory only; keys are hashed, so that nothing of them stays readable.

/// Counts attempts.
#[derive(Default)]
pub struct Limiter {}
