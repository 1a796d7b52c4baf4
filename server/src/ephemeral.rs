//! What passes: who is typing, and who has read how far.

pub mod receipts;
pub mod typing;

use axum::Router;

use crate::state::App;

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(receipts::router())
        .merge(typing::router())
}
