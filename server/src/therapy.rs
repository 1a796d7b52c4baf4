//! The therapy extension: rooms, prompts and documents, made of `rooms`, `scheduler` and `media`, none of which knows therapy.

mod documents;
mod prompts;
mod rooms;

use axum::Router;

use crate::state::App;

/// The therapy endpoints, under `/_matrix/client/unstable/chat.respite/`.
pub fn router() -> Router<App> {
    Router::new()
        .merge(rooms::router())
        .merge(prompts::router())
        .merge(documents::router())
}
