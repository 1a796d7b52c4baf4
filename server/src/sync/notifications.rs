//! `GET /notifications`: what a user was notified of and has not read. What has been read is not remembered.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#get_matrixclientv3notifications)

use std::collections::BTreeSet;

use axum::Router;
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedRoomId, RoomId, UInt,
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

/// How many of the user's rooms are looked at.
const MAX_ROOMS: usize = 1_000;
/// How many events of a room are read before it is asked whether further ones could be new enough.
const CHUNK: usize = 10;

/// Where something unread is; what is newer is greater.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Unread {
    origin_server_ts: u64,
    room: OwnedRoomId,
    position: u64,
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

    let newest = newest(&app, &me, skip + limit + 1, only_highlights).await?;
    let more = newest.len() > skip + limit;
    let viewer = Viewer::new(&app, &me);
    let mut shown = Vec::new();
    for unread in newest.into_iter().rev().skip(skip).take(limit) {
        let (room, position) = (&unread.room, unread.position);
        let event = app.store.entries(&TIMELINE, room, &[position]).await?;
        if let Some(event) = event.into_iter().flatten().next() {
            shown.push(unread.show(&event, viewer)?);
        }
    }
    let mut response = Response::new(shown);
    response.next_token = more.then(|| (skip + limit).to_string());
    Ok(response)
}

/// The newest unread in the user's rooms. Reads little more of each room than is among them.
async fn newest(
    app: &App,
    me: &Device,
    most: usize,
    only_highlights: bool,
) -> Result<BTreeSet<Unread>> {
    let mut newest = BTreeSet::new();
    let rooms = membership::joined_rooms(&app.store, &me.user).await?;
    for room in rooms.into_iter().take(MAX_ROOMS) {
        let unread = push::newest_unread(&app.store, &me.user, &room, most).await?;
        let unread: Vec<(u64, bool)> = unread
            .into_iter()
            .filter(|(_, highlight)| *highlight || !only_highlights)
            .collect();
        for chunk in unread.chunks(CHUNK) {
            if !add(app, &mut newest, most, &room, chunk).await? {
                break;
            }
        }
    }
    Ok(newest)
}

/// Adds what is new enough to be among so many; whether anything was.
async fn add(
    app: &App,
    newest: &mut BTreeSet<Unread>,
    most: usize,
    room: &RoomId,
    unread: &[(u64, bool)],
) -> Result<bool> {
    let positions: Vec<u64> = unread.iter().map(|(position, _)| *position).collect();
    let events = app.store.entries(&TIMELINE, room, &positions).await?;
    let mut added = false;
    for (&(position, highlight), event) in unread.iter().zip(events) {
        let Some(event) = event else { continue };
        let unread = Unread {
            origin_server_ts: event.origin_server_ts,
            room: room.to_owned(),
            position,
            highlight,
        };
        newest.insert(unread.clone());
        let dropped = (newest.len() > most).then(|| newest.pop_first()).flatten();
        added |= dropped != Some(unread);
    }
    Ok(added)
}

impl Unread {
    fn show(&self, event: &StoredEvent, viewer: Viewer<'_>) -> Result<Notification> {
        let mut actions = vec![Action::Notify];
        if self.highlight {
            actions.push(Action::SetTweak(Tweak::Highlight(HighlightTweakValue::Yes)));
        }
        let ts = MilliSecondsSinceUnixEpoch(UInt::new_saturating(self.origin_server_ts));
        Ok(Notification::new(
            actions,
            event.to_sync(viewer)?,
            false,
            self.room.clone(),
            ts,
        ))
    }
}

#[cfg(test)]
mod tests {
    use ruma::OwnedEventId;

    use super::*;
    use crate::{
        fixture::{device, user},
        sync::practice::{Act, Practice, message},
    };

    #[tokio::test]
    async fn the_newest_of_all_rooms_come_first_page_by_page() {
        let practice = Practice::open().await;
        let app = &practice.server.app;
        for act in [Act::Invite, Act::Join] {
            practice.act(1, act).await;
        }
        let mut sent = Vec::new();
        for number in 0..30 {
            practice.server.wait(1_000);
            let event = practice
                .send(&user("therapist"), number % 2, message())
                .await;
            sent.push(event.unwrap());
        }
        sent.reverse();
        let (mut shown, mut from) = (Vec::<OwnedEventId>::new(), None);
        while shown.len() < sent.len() {
            let mut request = Request::new();
            request.limit = Some(UInt::from(7_u32));
            request.from = from;
            let page = notifications(app.clone(), device("nurse", "PHONE"), request)
                .await
                .unwrap();
            for notification in page.notifications {
                shown.push(notification.event.get_field("event_id").unwrap().unwrap());
            }
            from = page.next_token;
            if from.is_none() {
                break;
            }
        }
        shown.truncate(sent.len());
        assert_eq!(shown, sent);
    }
}
