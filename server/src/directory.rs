//! Placeholder: directory.
use crate::state::App;
use axum::Router;

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
}
