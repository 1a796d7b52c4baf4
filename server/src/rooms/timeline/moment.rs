//! `GET /rooms/{roomId}/timestamp_to_event`

use axum::Router;
use ruma::{
    MilliSecondsSinceUnixEpoch, UInt,
    api::{Direction, client::room::get_event_by_timestamp},
};

use super::{MAX_EVENTS, Stretch, Wanted, read};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    rooms::{
        access::{self, Readable},
        event::TIMELINE,
    },
    state::App,
};

pub(in crate::rooms) fn router() -> Router<App> {
    Router::new().merge(endpoint::<_, _, _, _>(event))
}

async fn event(
    app: App,
    me: Device,
    request: get_event_by_timestamp::v1::Request,
) -> Result<get_event_by_timestamp::v1::Response> {
    let readable = access::readable(&app, &me.user, &request.room_id).await?;
    let moment = u64::from(request.ts.0);
    let from = match request.dir {
        Direction::Forward => last_before(&app, &readable, moment).await?,
        Direction::Backward => last_before(&app, &readable, moment.saturating_add(1)).await?,
    };
    let stretch = Stretch {
        from,
        to: None,
        direction: request.dir,
        limit: MAX_EVENTS,
    };
    let found = read(&app.store, &readable, stretch, Wanted::default()).await?;
    let (_, event) = found.events.into_iter().next().ok_or_else(|| {
        Error::not_found("You can read no event of this room on that side of that time.")
    })?;
    let sent = MilliSecondsSinceUnixEpoch(UInt::new_saturating(event.origin_server_ts));
    Ok(get_event_by_timestamp::v1::Response::new(
        event.event_id,
        sent,
    ))
}

/// The position of the last event sent before a moment; one less than the first that can be read, if there is none.
///
/// It is found by halving, because a room's events are appended in the order of time. Where a server's clock was set
/// back, it is one of the places at which the time passes the moment.
async fn last_before(app: &App, readable: &Readable, moment: u64) -> Result<u64> {
    let room = &readable.room_id;
    let mut before = readable.first().saturating_sub(1);
    let mut end = readable.last().min(app.store.head(&TIMELINE, room).await?);
    while before < end {
        let middle = before + (end - before) / 2;
        let next = app.store.after(&TIMELINE, room, middle, 1).await?;
        match next.first() {
            Some((at, event)) if *at <= end && event.origin_server_ts < moment => before = *at,
            _ => end = middle,
        }
    }
    Ok(before)
}
