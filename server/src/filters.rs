//! Filters that clients have stored for their syncs.
//!
//! [Filtering](https://spec.matrix.org/v1.18/client-server-api/#filtering)

use axum::Router;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use respite_protocol::ciphertext;
use ruma::{
    OwnedUserId, UserId,
    api::client::filter::{FilterDefinition, create_filter, get_filter},
};
use sha2::{Digest, Sha256};

use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    gate,
    state::App,
    store::{Page, Store, Table},
};

/// Filters as JSON text, by user and the hash of the filter.
pub const FILTERS: Table<(OwnedUserId, String), String> = Table::new(0x0321, "filters");

/// How many different filters one user may store.
pub const MAX_FILTERS: usize = 100;
/// The largest filter, in bytes.
pub const MAX_FILTER_BYTES: usize = 16 * 1024;
/// How many bytes of a filter's hash are its id.
const ID_BYTES: usize = 15;

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(create))
        .merge(endpoint::<_, _, _, _>(read))
}

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

/// The same filter always has the same id: storing it again changes nothing.
async fn create(
    app: App,
    me: Device,
    request: create_filter::v3::Request,
) -> Result<create_filter::v3::Response> {
    own(&me, &request.user_id)?;
    let json = serde_json::to_string(&request.filter)
        .map_err(|_| Error::bad_json("This filter cannot be stored."))?;
    let filter = ciphertext::filter(gate::canonical(&json)?)?;
    let json = serde_json::to_string(&filter)
        .map_err(|_| Error::bad_json("This filter cannot be stored."))?;
    if json.len() > MAX_FILTER_BYTES {
        return Err(Error::too_large(
            "This filter is larger than the server takes.",
        ));
    }
    let hash = Sha256::digest(&json);
    let id = BASE64_URL_SAFE_NO_PAD.encode(hash.get(..ID_BYTES).unwrap_or(&hash));
    let key = (&*me.user, &*id);
    if app.store.get(&FILTERS, key).await?.is_none() {
        let stored = app
            .store
            .scan(&FILTERS, (&*me.user,), Page::first(MAX_FILTERS))
            .await?;
        if stored.len() >= MAX_FILTERS {
            return Err(Error::invalid_param(
                "You have stored too many filters. Send the filter with each sync instead.",
            ));
        }
        app.store
            .transact(async |mut tx| {
                tx.put(&FILTERS, key, &json)?;
                Ok::<_, Error>((tx, ()))
            })
            .await?;
    }
    Ok(create_filter::v3::Response::new(id))
}

async fn read(
    app: App,
    me: Device,
    request: get_filter::v3::Request,
) -> Result<get_filter::v3::Response> {
    own(&me, &request.user_id)?;
    get(&app.store, &me.user, &request.filter_id)
        .await
        .map(get_filter::v3::Response::new)
}

fn own(me: &Device, user: &UserId) -> Result<()> {
    if me.user == user {
        Ok(())
    } else {
        Err(Error::forbidden("These filters are somebody else's."))
    }
}
