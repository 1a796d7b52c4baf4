//! Placeholder.
/// Room states that were used lately.
#[derive(Default)]
pub struct RoomCache {}
