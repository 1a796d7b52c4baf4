//! Placeholder.
use crate::state::App;
use axum::Router;
pub(super) fn router() -> Router<App> {
    Router::new()
}
