//! Presence: who is there. It is off unless the operator switches it on: who is awake when is nobody's business here. While it
//! is off, clients may set it, and it is forgotten at once; everybody is offline.
//!
//! Where it is on, somebody is there for as long as one of their clients goes on asking for news (or says so), and people who
//! share a room with them are told when that begins, changes and ends. What they would like to say about it is not kept.
//!
//! [Presence](https://spec.matrix.org/v1.18/client-server-api/#presence)

use std::{collections::BTreeSet, time::Duration};

use axum::Router;
use ruma::{
    OwnedUserId, UInt, UserId,
    api::client::presence::{get_presence, set_presence},
    events::presence::{PresenceEvent, PresenceEventContent},
    presence::PresenceState,
    serde::Raw,
};
use serde::{Deserialize, Serialize};

use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    inbox::{self, Entry},
    rooms::membership,
    state::App,
    store::{Page, StoreError, Table, Tx},
};

/// Who is there; whoever is not, has no row.
pub const PRESENCE: Table<OwnedUserId, Present> = Table::new(0x0B11, "presence");
/// The same by the time at which it ends, in milliseconds since 1970.
pub const PRESENCE_ENDS: Table<(u64, OwnedUserId), ()> = Table::new(0x0B12, "presence_ends");

/// How long somebody is there who does not say so again.
const LASTS: Duration = Duration::from_secs(2 * 60);
/// How old it may be before it is written anew: somebody who asks for news all the time costs a write a minute.
const RENEWED_AFTER: Duration = Duration::from_secs(60);
/// How often it is looked whether somebody is gone.
const LOOK: Duration = Duration::from_secs(1);
/// How many are ended before it is looked again who is next.
const BATCH: usize = 64;

/// Somebody who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// But busy with something else.
    pub idle: bool,
    /// When they were last seen, in milliseconds since 1970.
    pub seen: u64,
}

impl Present {
    fn state(self) -> PresenceState {
        match self.idle {
            true => PresenceState::Unavailable,
            false => PresenceState::Online,
        }
    }

    fn ends(self) -> u64 {
        self.seen.saturating_add(millis(LASTS))
    }
}

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(set))
        .merge(endpoint::<_, _, _, _>(get))
}

async fn set(
    app: App,
    me: Device,
    request: set_presence::v3::Request,
) -> Result<set_presence::v3::Response> {
    if me.user != request.user_id {
        return Err(Error::forbidden("You can only say this of yourself."));
    }
    is_known(&request.presence)?;
    if app.config.presence.enabled {
        write(&app, &me.user, &request.presence).await?;
    }
    Ok(set_presence::v3::Response::new())
}

async fn get(
    app: App,
    me: Device,
    request: get_presence::v3::Request,
) -> Result<get_presence::v3::Response> {
    if me.user != request.user_id
        && !membership::neighbours(&app, &me.user)
            .await?
            .contains(&request.user_id)
    {
        return Err(Error::forbidden(
            "You share no room with this user, or there is no such user.",
        ));
    }
    let found = match app.config.presence.enabled {
        true => app.store.get(&PRESENCE, &request.user_id).await?,
        false => None,
    };
    let Some(present) = found else {
        return Ok(get_presence::v3::Response::new(PresenceState::Offline));
    };
    let mut response = get_presence::v3::Response::new(present.state());
    let ago = app.clock.millis().saturating_sub(present.seen);
    response.last_active_ago = Some(Duration::from_millis(ago));
    response.currently_active = Some(!present.idle);
    Ok(response)
}

/// Whether this is something that one can be.
///
/// # Errors
/// 400 `M_INVALID_PARAM` if not.
pub fn is_known(asked: &PresenceState) -> Result<()> {
    let known = [
        PresenceState::Online,
        PresenceState::Unavailable,
        PresenceState::Offline,
    ];
    match known.contains(asked) {
        true => Ok(()),
        false => Err(Error::invalid_param(
            "One is online, unavailable or offline.",
        )),
    }
}

/// Somebody's client asks for news, and says what that means: nothing, if it does so of its own accord.
///
/// # Errors
/// The store's.
pub async fn seen(app: &App, user: &UserId, asked: &PresenceState) -> Result<()> {
    if !app.config.presence.enabled || *asked == PresenceState::Offline {
        return Ok(());
    }
    let now = app.clock.millis();
    let known = app.store.get(&PRESENCE, user).await?;
    let fresh = known.is_some_and(|known| {
        known.state() == *asked && now.saturating_sub(known.seen) < millis(RENEWED_AFTER)
    });
    match fresh {
        true => Ok(()),
        false => write(app, user, asked).await,
    }
}

async fn write(app: &App, user: &UserId, asked: &PresenceState) -> Result<()> {
    let present = (*asked != PresenceState::Offline).then(|| Present {
        idle: *asked == PresenceState::Unavailable,
        seen: app.clock.millis(),
    });
    let neighbours = &membership::neighbours(app, user).await?;
    app.store
        .transact(|mut tx: Tx| async move {
            let before = tx.get(&PRESENCE, user).await?;
            replace_in(&mut tx, user, (before, present), neighbours)?;
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

fn replace_in(
    tx: &mut Tx,
    user: &UserId,
    (before, now): (Option<Present>, Option<Present>),
    neighbours: &BTreeSet<OwnedUserId>,
) -> Result<(), StoreError> {
    if let Some(before) = before {
        tx.delete(&PRESENCE_ENDS, (before.ends(), user));
    }
    match now {
        Some(now) => {
            tx.put(&PRESENCE, user, &now)?;
            tx.put(&PRESENCE_ENDS, (now.ends(), user), &())?;
        }
        None => tx.delete(&PRESENCE, user),
    }
    if before.map(Present::state) != now.map(Present::state) {
        for person in neighbours {
            inbox::deliver(tx, person, Entry::Presence(user.to_owned()))?;
        }
    }
    Ok(())
}

/// How all those are who share a room with a user, for a client that begins.
///
/// # Errors
/// The store's.
pub async fn of_everybody(app: &App, user: &UserId) -> Result<Vec<Raw<PresenceEvent>>> {
    if !app.config.presence.enabled {
        return Ok(Vec::new());
    }
    let everybody = membership::neighbours(app, user).await?;
    shown(app, everybody.iter(), &BTreeSet::new()).await
}

/// How those are whose presence has `changed`, and those of whom a user `met` who share a room with them now.
///
/// # Errors
/// The store's.
pub async fn news(
    app: &App,
    user: &UserId,
    changed: &BTreeSet<OwnedUserId>,
    met: &BTreeSet<OwnedUserId>,
) -> Result<Vec<Raw<PresenceEvent>>> {
    if !app.config.presence.enabled || (changed.is_empty() && met.is_empty()) {
        return Ok(Vec::new());
    }
    let mut people = changed.clone();
    if !met.is_empty() {
        let neighbours = membership::neighbours(app, user).await?;
        people.extend(met.intersection(&neighbours).cloned());
    }
    shown(app, people.iter(), changed).await
}

async fn shown(
    app: &App,
    people: impl Iterator<Item = &OwnedUserId> + Clone,
    changed: &BTreeSet<OwnedUserId>,
) -> Result<Vec<Raw<PresenceEvent>>> {
    let found = app.store.get_many(&PRESENCE, people.clone()).await?;
    let now = app.clock.millis();
    let mut events = Vec::new();
    for (person, present) in people.zip(found) {
        // A client takes those for offline of whom it has heard nothing.
        if present.is_none() && !changed.contains(person) {
            continue;
        }
        let state = present.map_or(PresenceState::Offline, Present::state);
        let mut content = PresenceEventContent::new(state);
        content.currently_active = present.map(|present| !present.idle);
        content.last_active_ago =
            present.map(|present| UInt::new_saturating(now.saturating_sub(present.seen)));
        let event = serde_json::json!({
            "type": "m.presence", "sender": person, "content": content,
        });
        events.push(Raw::from_json_string(event.to_string()).map_err(Error::internal)?);
    }
    Ok(events)
}

/// Ends the presence of those who are gone, until the server stops.
pub async fn run(app: App) {
    if !app.config.presence.enabled {
        return;
    }
    loop {
        if let Err(error) = end_overdue(&app).await {
            tracing::warn!(?error, "who is gone could not be told; it is tried again");
        }
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn end_overdue(app: &App) -> Result<()> {
    loop {
        let now = app.clock.millis();
        let page = Page::first(BATCH);
        let ends = app.store.scan(&PRESENCE_ENDS, (), page).await?;
        let over: Vec<_> = ends
            .into_iter()
            .take_while(|((time, _), ())| *time <= now)
            .collect();
        if over.is_empty() {
            return Ok(());
        }
        for ((time, user), ()) in over {
            end(app, &user, time).await?;
        }
    }
}

async fn end(app: &App, user: &UserId, time: u64) -> Result<()> {
    let neighbours = &membership::neighbours(app, user).await?;
    app.store
        .transact(|mut tx: Tx| async move {
            tx.delete(&PRESENCE_ENDS, (time, user));
            let before = tx.get(&PRESENCE, user).await?;
            // They may have been seen since.
            if before.is_some_and(|before| before.ends() == time) {
                replace_in(&mut tx, user, (before, None), neighbours)?;
            }
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

/// Forgets that somebody was there, whose account is ended.
///
/// # Errors
/// The store's.
pub async fn forget_in(tx: &mut Tx, user: &UserId) -> Result<(), StoreError> {
    if let Some(before) = tx.get(&PRESENCE, user).await? {
        tx.delete(&PRESENCE_ENDS, (before.ends(), user));
        tx.delete(&PRESENCE, user);
    }
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
