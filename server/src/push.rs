//! Placeholder: push.
use axum::Router;
use crate::state::App;

/// The endpoints.
pub fn router() -> Router<App> { Router::new() }
