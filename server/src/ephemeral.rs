//! Placeholder.
use axum::Router;
use crate::state::App;
/// Typing notices.
#[derive(Default)]
pub struct Ephemeral {}
/// The endpoints.
pub fn router() -> Router<App> { Router::new() }
