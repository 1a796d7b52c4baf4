//! Reports: somebody tells whoever runs the server that something is wrong with a message, a room or a person. Kept is who
//! reported what and when. What they write about it is not: it would be readable, and the operator asks them.
//!
//! [Reporting content](https://spec.matrix.org/v1.18/client-server-api/#reporting-content)

use axum::Router;
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
    api::client::{
        reporting::report_user,
        room::{report_content, report_room},
    },
    room::JoinRuleKind,
};
use serde::{Deserialize, Serialize};

use crate::{
    accounts,
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    limits::Rate,
    rooms::{access, membership, state},
    state::App,
    store::{List, Store, StoreError, Tx},
};

/// The reports, in the order in which they came.
pub const REPORTS: List<(), Report> = List::new(0x0D01, "reports");

/// How many reports are kept; beyond that, the oldest is forgotten with each new one.
pub const MAX_REPORTS: usize = 1_000;
/// How many are forgotten at once.
const FORGET_AT_ONCE: usize = 100;

/// A report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Who made it.
    pub by: OwnedUserId,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Of what.
    pub of: Subject,
}

/// What a report is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A person.
    User(OwnedUserId),
    /// A room.
    Room(OwnedRoomId),
    /// An event, with its room and its sender.
    Event(OwnedRoomId, OwnedEventId, OwnedUserId),
}

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(event))
        .merge(endpoint::<_, _, _, _>(room))
        .merge(endpoint::<_, _, _, _>(user))
}

/// The reports that are kept, the latest first.
///
/// # Errors
/// The store's.
pub async fn list(store: &Store) -> Result<Vec<Report>, StoreError> {
    let reports = store.before(&REPORTS, (), u64::MAX, MAX_REPORTS).await?;
    Ok(reports.into_iter().map(|(_, report)| report).collect())
}

async fn event(
    app: App,
    me: Device,
    request: report_content::v3::Request,
) -> Result<report_content::v3::Response> {
    let (room, event) = (request.room_id, request.event_id);
    let there = access::joined(&app, &me.user, &room).await.is_ok();
    let found = match there {
        true => access::readable(&app, &me.user, &room)
            .await?
            .event(&app, &event)
            .await
            .ok(),
        false => None,
    };
    let (_, found) = found.ok_or_else(|| {
        Error::not_found("There is no such event, or you are not in the room that it is in.")
    })?;
    keep(&app, &me, Subject::Event(room, event, found.sender)).await?;
    Ok(report_content::v3::Response::new())
}

async fn room(
    app: App,
    me: Device,
    request: report_room::v3::Request,
) -> Result<report_room::v3::Response> {
    if !knows(&app, &me.user, &request.room_id).await? {
        return Err(Error::not_found("You know no such room."));
    }
    keep(&app, &me, Subject::Room(request.room_id)).await?;
    Ok(report_room::v3::Response::new())
}

async fn user(
    app: App,
    me: Device,
    request: report_user::v3::Request,
) -> Result<report_user::v3::Response> {
    // Counted before, since the answer tells whether there is such an account.
    count(&app, &me)?;
    if accounts::active(&app.store, &request.user_id)
        .await?
        .is_none()
    {
        return Err(Error::not_found("There is no such user on this server."));
    }
    append(&app, &me, Subject::User(request.user_id)).await?;
    Ok(report_user::v3::Response::new())
}

/// Whether somebody had to do with the room, or anybody may come into it: of others they learn nothing here.
async fn knows(app: &App, user: &UserId, room: &RoomId) -> Result<bool> {
    let Some(state) = state::current(app, room).await? else {
        return Ok(false);
    };
    let had_to_do = membership::of(&app.store, user, room).await?.is_some();
    Ok(had_to_do || state.join_rule() == JoinRuleKind::Public)
}

async fn keep(app: &App, me: &Device, of: Subject) -> Result<()> {
    count(app, me)?;
    append(app, me, of).await
}

fn count(app: &App, me: &Device) -> Result<()> {
    app.limiter
        .take(&app.clock, Rate::reports(), me.user.as_str())
}

async fn append(app: &App, me: &Device, of: Subject) -> Result<()> {
    let report = &Report {
        by: me.user.clone(),
        at: app.clock.millis(),
        of,
    };
    let committed = app
        .store
        .transact(|mut tx: Tx| async move {
            let slot = tx.append(&REPORTS, (), report)?;
            Ok::<_, StoreError>((tx, slot))
        })
        .await?;
    let most = u64::try_from(MAX_REPORTS).unwrap_or(u64::MAX);
    if let Some(up_to) = committed.number(committed.value).checked_sub(most) {
        app.store.trim(&REPORTS, (), up_to, FORGET_AT_ONCE).await?;
    }
    tracing::warn!("somebody made a report; see `respite-server report list`");
    Ok(())
}
