//! Placeholder.
use crate::state::App;
use axum::Router;
/// Typing notices.
#[derive(Default)]
pub struct Ephemeral {}
/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
}
