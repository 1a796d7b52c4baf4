//! `GET /notifications`: what a user was notified of and has not read. What has been read is not remembered.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#get_matrixclientv3notifications)

use axum::Router;
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedRoomId, UInt,
    api::client::push::get_notifications::v3::{Notification, Request, Response},
    push::{Action, HighlightTweakValue, Tweak},
};

use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    push,
    rooms::{
        event::{StoredEvent, TIMELINE, Viewer},
        membership,
    },
    state::App,
};

/// How many notifications an answer has, if the client does not say.
const DEFAULT_LIMIT: usize = 20;
/// Most notifications of one answer.
const MAX_LIMIT: usize = 100;
/// How far one can page back.
const MAX_PAGED: usize = 1_000;

/// Something unread.
struct Unread {
    room: OwnedRoomId,
    event: StoredEvent,
    highlight: bool,
}

pub(super) fn router() -> Router<App> {
    endpoint::<_, _, _, _>(notifications)
}

async fn notifications(app: App, me: Device, request: Request) -> Result<Response> {
    let skip: usize = match request.from.as_deref().map(str::parse) {
        None => 0,
        Some(Ok(skip)) if skip <= MAX_PAGED => skip,
        Some(_) => {
            return Err(Error::invalid_param(
                "The token in \"from\" is not one of this endpoint.",
            ));
        }
    };
    let limit = request
        .limit
        .and_then(|limit| usize::try_from(u64::from(limit)).ok());
    let limit = limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let only_highlights = request
        .only
        .is_some_and(|only| only.split(',').any(|only| only == "highlight"));

    let mut all = unread(&app, &me, skip + limit + 1, only_highlights).await?;
    all.sort_by_key(|unread| std::cmp::Reverse(unread.event.origin_server_ts));
    let more = all.len() > skip + limit;
    let viewer = Viewer::new(&app, &me);
    let page = all.into_iter().skip(skip).take(limit);
    let shown = page
        .map(|unread| unread.show(viewer))
        .collect::<Result<Vec<_>>>()?;
    let mut response = Response::new(shown);
    response.next_token = more.then(|| (skip + limit).to_string());
    Ok(response)
}

/// The newest unread of each room that the user is in.
async fn unread(app: &App, me: &Device, most: usize, only_highlights: bool) -> Result<Vec<Unread>> {
    let mut all = Vec::new();
    for room in membership::joined_rooms(&app.store, &me.user).await? {
        let newest = push::newest_unread(&app.store, &me.user, &room, most).await?;
        let wanted: Vec<(u64, bool)> = newest
            .into_iter()
            .filter(|(_, highlight)| *highlight || !only_highlights)
            .collect();
        let positions: Vec<u64> = wanted.iter().map(|(position, _)| *position).collect();
        let events = app.store.entries(&TIMELINE, &room, &positions).await?;
        all.extend(
            wanted
                .into_iter()
                .zip(events)
                .filter_map(|((_, highlight), event)| {
                    Some(Unread {
                        room: room.clone(),
                        event: event?,
                        highlight,
                    })
                }),
        );
    }
    Ok(all)
}

impl Unread {
    fn show(self, viewer: Viewer<'_>) -> Result<Notification> {
        let mut actions = vec![Action::Notify];
        if self.highlight {
            actions.push(Action::SetTweak(Tweak::Highlight(HighlightTweakValue::Yes)));
        }
        let ts = MilliSecondsSinceUnixEpoch(UInt::new_saturating(self.event.origin_server_ts));
        Ok(Notification::new(
            actions,
            self.event.to_sync(viewer)?,
            false,
            self.room,
            ts,
        ))
    }
}
