//! What people are called: a pseudonym of their own choice, and nothing else.

use axum::Router;
use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    state::App,
    store::{Store, StoreError, Table},
};

/// The profiles that are not empty.
pub const PROFILES: Table<OwnedUserId, Profile> = Table::new(0x0301, "profiles");

/// What a person is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The pseudonym.
    pub displayname: Option<String>,
}

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
}

/// Somebody's profile, empty where nothing was set.
///
/// # Errors
/// The store's.
pub async fn get(store: &Store, user: &UserId) -> Result<Profile, StoreError> {
    Ok(store.get(&PROFILES, user).await?.unwrap_or_default())
}
