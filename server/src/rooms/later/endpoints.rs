//! Seeing what waits, and changing when it is sent.

use std::time::Duration;

use axum::Router;
use http::StatusCode;
use respite_protocol::api::{act_on_delayed_event, list_delayed_events};
use ruma::{
    MilliSecondsSinceUnixEpoch, UInt, UserId,
    api::client::delayed_events::update_delayed_event::unstable::{
        Request as Update, Response as Updated, UpdateAction,
    },
};
use serde_json::{json, value::RawValue};

use super::{
    DELAYED, DELAYED_DUE, DELAYED_OF, Delayed, MAX_DELAY, MAX_WAITING,
    release::{self, Whose},
    remove_in,
};
use crate::{
    auth::{Anyone, Device},
    endpoint::endpoint,
    error::{Error, Result},
    limits::Rate,
    state::App,
    store::{Page, Tx},
};

/// How often something may be done with one event that waits, by whoever knows its id.
const ACTIONS: Rate = Rate::new("delayed events", 100, Duration::from_secs(60));

pub(in crate::rooms) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(list))
        .merge(endpoint::<_, _, _, _>(update))
        .merge(endpoint::<_, _, _, _>(act))
}

/// The delay that a request asks for, in milliseconds.
///
/// # Errors
/// 400 `M_INVALID_PARAM` if it is none; 400 with the proposal's code if it is too long.
pub(in crate::rooms) fn delay_of(asked: &str) -> Result<u64> {
    let delay = asked.parse().ok().filter(|delay| *delay > 0);
    let delay = delay.ok_or_else(|| {
        Error::invalid_param("The delay is a number of milliseconds, and more than nothing.")
    })?;
    let longest = u64::try_from(MAX_DELAY.as_millis()).unwrap_or(u64::MAX);
    if delay > longest {
        return Err(Error::extended(
            StatusCode::BAD_REQUEST,
            json!({
                "errcode": "M_UNKNOWN",
                "error": "An event can wait for 30 days at most.",
                "org.matrix.msc4140.errcode": "M_MAX_DELAY_EXCEEDED",
                "org.matrix.msc4140.max_delay": longest,
            }),
        ));
    }
    Ok(delay)
}

pub(super) fn too_many() -> Error {
    Error::extended(
        StatusCode::BAD_REQUEST,
        json!({
            "errcode": "M_UNKNOWN",
            "error": "Too many of your events wait to be sent. Cancel some first.",
            "org.matrix.msc4140.errcode": "M_MAX_DELAYED_EVENTS_EXCEEDED",
        }),
    )
}

pub(super) fn gone() -> Error {
    Error::not_found("No event waits under this id: it was sent or cancelled, or never was.")
}

/// `GET /delayed_events`
async fn list(
    app: App,
    me: Device,
    _: list_delayed_events::Request,
) -> Result<list_delayed_events::Response> {
    let page = Page::first(MAX_WAITING);
    let ids = app.store.scan(&DELAYED_OF, (&*me.user,), page).await?;
    let ids: Vec<String> = ids.into_iter().map(|((_, id), ())| id).collect();
    let found = app.store.get_many(&DELAYED, &ids).await?;
    let mut waiting: Vec<(String, Delayed)> = ids
        .into_iter()
        .zip(found)
        .filter_map(|(id, item)| Some((id, item?)))
        .collect();
    waiting.sort_by_key(|(_, item)| item.due());
    let shown: Result<_> = waiting.into_iter().map(show).collect();
    Ok(list_delayed_events::Response::new(shown?))
}

fn show((delay_id, item): (String, Delayed)) -> Result<list_delayed_events::DelayedEvent> {
    Ok(list_delayed_events::DelayedEvent {
        delay_id,
        room_id: item.room,
        kind: item.kind,
        state_key: item.state_key,
        delay: item.delay,
        running_since: MilliSecondsSinceUnixEpoch(UInt::new_saturating(item.since)),
        content: RawValue::from_string(item.content).map_err(Error::internal)?,
    })
}

/// `POST /delayed_events/{delayId}`
async fn update(app: App, me: Device, request: Update) -> Result<Updated> {
    act_on(&app, Some(&me.user), &request.delay_id, &request.action).await?;
    Ok(Updated::new())
}

/// `POST /delayed_events/{delayId}/{action}`
async fn act(
    app: App,
    _: Anyone,
    request: act_on_delayed_event::Request,
) -> Result<act_on_delayed_event::Response> {
    let known = [
        UpdateAction::Restart,
        UpdateAction::Send,
        UpdateAction::Cancel,
    ];
    if !known.contains(&request.action) {
        return Err(Error::unrecognized());
    }
    app.limiter.take(&app.clock, ACTIONS, &request.delay_id)?;
    act_on(&app, None, &request.delay_id, &request.action).await?;
    Ok(act_on_delayed_event::Response::new())
}

async fn act_on(app: &App, of: Whose<'_>, id: &str, action: &UpdateAction) -> Result<()> {
    match action {
        UpdateAction::Restart => restart(app, of, id).await,
        UpdateAction::Send => release::send(app, of, id).await,
        UpdateAction::Cancel => cancel(app, of, id).await,
        _ => Err(Error::invalid_param(
            "One can restart, send or cancel an event that waits.",
        )),
    }
}

async fn restart(app: &App, of: Whose<'_>, id: &str) -> Result<()> {
    let now = app.clock.millis();
    app.store
        .transact(|mut tx: Tx| async move {
            let mut item = waiting(&mut tx, of, id).await?;
            tx.delete(&DELAYED_DUE, (item.due(), id));
            item.since = now;
            tx.put(&DELAYED_DUE, (item.due(), id), &())?;
            tx.put(&DELAYED, id, &item)?;
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

async fn cancel(app: &App, of: Whose<'_>, id: &str) -> Result<()> {
    app.store
        .transact(|mut tx: Tx| async move {
            let item = waiting(&mut tx, of, id).await?;
            remove_in(&mut tx, id, &item);
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

/// What waits under an id, of that user if it matters whose it is.
pub(super) async fn waiting(tx: &mut Tx, of: Option<&UserId>, id: &str) -> Result<Delayed> {
    tx.get(&DELAYED, id)
        .await?
        .filter(|item| of.is_none_or(|user| item.sender == *user))
        .ok_or_else(gone)
}
