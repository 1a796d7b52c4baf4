//! The Respite homeserver: a Matrix homeserver that stores ciphertext only, with a therapy extension.

pub mod account_data;
pub mod accounts;
pub mod admin;
pub mod archive;
pub mod auth;
pub mod backup;
pub mod blobs;
pub mod calls;
pub mod client_config;
pub mod clock;
pub mod config;
pub mod dehydration;
pub mod devices;
pub mod directory;
pub mod discovery;
pub mod endpoint;
pub mod ephemeral;
pub mod error;
pub mod filters;
#[cfg(test)]
mod fixture;
pub mod gate;
pub mod hex;
pub mod inbox;
pub mod invites;
pub mod keys;
pub mod limits;
pub mod logging;
pub mod media;
pub mod metrics;
pub mod migrate;
pub mod presence;
pub mod profiles;
pub mod progress;
pub mod push;
pub mod pushers;
pub mod reports;
pub mod rooms;
pub mod scan;
pub mod scheduler;
pub mod serve;
pub mod start;
pub mod state;
pub mod store;
pub mod sync;
pub mod therapy;
pub mod to_device;
pub mod trimming;
pub mod uia;

pub use serve::{Server, serve};
pub use start::Options;

use axum::Router;

use crate::{error::Error, state::App};

/// Every endpoint of the client-server API, at its paths.
pub fn router(app: App) -> Router {
    Router::new()
        .merge(discovery::router())
        .merge(accounts::router())
        .merge(devices::router())
        .merge(dehydration::router())
        .merge(invites::router())
        .merge(calls::router())
        .merge(client_config::router())
        .merge(directory::router())
        .merge(filters::router())
        .merge(rooms::router())
        .merge(sync::router())
        .merge(ephemeral::router())
        .merge(presence::router())
        .merge(keys::router())
        .merge(backup::router())
        .merge(to_device::router())
        .merge(media::router())
        .merge(push::router())
        .merge(pushers::router())
        .merge(reports::router())
        .merge(therapy::router())
        .fallback(async || Error::unrecognized())
        .method_not_allowed_fallback(async || Error::method_not_allowed())
        .with_state(app)
}
