//! `GET /_matrix/client/v1/mutual_rooms`: the rooms that one shares with somebody. ruma knows an earlier form of it only.

use axum::Router;
use ruma::{
    OwnedRoomId, OwnedUserId, UInt,
    api::{auth_scheme::AccessToken, metadata, request, response},
};

use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    rooms::membership,
    state::App,
};

/// The most rooms of one answer.
const PAGE: usize = 200;

metadata! {
    method: GET,
    rate_limited: true,
    authentication: AccessToken,
    history: {
        unstable("uk.half-shot.msc2666.query_mutual_rooms") => "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms",
        1.18 => "/_matrix/client/v1/mutual_rooms",
    }
}

/// Asks for the rooms that the caller shares with somebody.
#[request]
pub struct Request {
    /// With whom.
    #[ruma_api(query)]
    pub user_id: OwnedUserId,
    /// Where to go on.
    #[ruma_api(query)]
    #[serde(alias = "batch_token")]
    pub from: Option<String>,
}

/// The rooms, in the order of their ids.
#[response]
pub struct Response {
    /// The rooms that both are in.
    pub joined: Vec<OwnedRoomId>,
    /// How many there are, on all pages.
    pub count: UInt,
    /// Where to go on, if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
    /// The same, as it was called before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch_token: Option<String>,
}

pub(super) fn router() -> Router<App> {
    endpoint::<Request, _, _, _>(mutual_rooms)
}

/// Nobody learns here who has an account: with whom one shares nothing, one shares nothing.
async fn mutual_rooms(app: App, me: Device, request: Request) -> Result<Response> {
    if request.user_id == me.user {
        return Err(Error::invalid_param(
            "Name somebody else: you share all of your rooms with yourself.",
        ));
    }
    if request.user_id.validate_strict().is_err() {
        return Err(Error::invalid_param("This is no user id."));
    }
    let from = match request.from.map(OwnedRoomId::try_from) {
        Some(Ok(room)) => Some(room),
        Some(Err(_)) => return Err(Error::invalid_param("This is no token of these pages.")),
        None => None,
    };
    let all = membership::shared(&app.store, &me.user, &request.user_id).await?;
    let count = UInt::try_from(all.len()).unwrap_or(UInt::MAX);
    let mut joined: Vec<_> = all
        .into_iter()
        .filter(|room| from.as_ref().is_none_or(|from| room > from))
        .collect();
    let more = joined.len() > PAGE;
    joined.truncate(PAGE);
    let next = joined.last().filter(|_| more).map(ToString::to_string);
    Ok(Response {
        joined,
        count,
        next_batch: next.clone(),
        next_batch_token: next,
    })
}
