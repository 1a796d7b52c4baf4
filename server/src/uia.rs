//! Placeholder: interactive authentication.
/// Interactive authentications under way.
#[derive(Default)]
pub struct Sessions {}
