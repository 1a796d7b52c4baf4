//! Filters that clients have stored for their syncs.

use axum::Router;
use ruma::{OwnedUserId, UserId, api::client::filter::FilterDefinition};

use crate::{
    error::{Error, Result},
    state::App,
    store::{Store, Table},
};

/// Filters as JSON text, by user and the hash of the filter.
pub const FILTERS: Table<(OwnedUserId, String), String> = Table::new(0x0321, "filters");

/// How many different filters one user may store.
pub const MAX_FILTERS: usize = 100;
/// The largest filter, in bytes.
pub const MAX_FILTER_BYTES: usize = 16 * 1024;

/// A filter that this user has stored.
///
/// # Errors
/// 404 `M_NOT_FOUND` where there is none; the store's.
pub async fn get(store: &Store, user: &UserId, id: &str) -> Result<FilterDefinition> {
    let json = store
        .get(&FILTERS, (user, id))
        .await?
        .ok_or_else(|| Error::not_found("There is no such filter. Store it again."))?;
    serde_json::from_str(&json)
        .map_err(|error| Error::internal(format_args!("a stored filter cannot be read: {error}")))
}

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
}
