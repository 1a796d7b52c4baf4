//! Spaces: rooms that list other rooms.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#get_matrixclientv1roomsroomidhierarchy)

mod token;

use std::{collections::BTreeSet, sync::Arc};

use axum::Router;
use ruma::{
    OwnedRoomId, OwnedServerName, RoomId,
    api::client::space::{
        SpaceHierarchyRoomsChunk,
        get_hierarchy::v1::{Request, Response},
    },
    events::space::child::HierarchySpaceChildEvent,
    room::RoomType,
    serde::Raw,
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use self::token::Token;
use super::{
    not_in_room,
    state::{self, RoomState, StateEntry},
    summary,
};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    state::App,
};

const CHILD: &str = "m.space.child";
/// How many rooms one request is answered with, if it does not say.
const DEFAULT_ROOMS: usize = 50;
/// The most rooms that one request is answered with.
const MAX_ROOMS: usize = 100;
/// The most rooms of a tree that are looked at.
const MAX_WALKED: usize = 1_000;
/// How far one may go into a space.
const MAX_DEPTH: u64 = 20;

pub(super) fn router() -> Router<App> {
    endpoint::<Request, _, _, _>(hierarchy)
}

/// Which page of which tree. A page goes through the tree from its root, so that no server has to remember anything; what
/// changes between two pages may be told twice, or not.
async fn hierarchy(app: App, me: Device, request: Request) -> Result<Response> {
    let asked = Token {
        suggested_only: request.suggested_only,
        max_depth: request.max_depth.map(u64::from),
        told: 0,
    };
    let start = match &request.from {
        Some(token) => Token::read(token)?.of_same_tree(&asked)?,
        None => asked,
    };
    let limit = request.limit.map_or(Ok(DEFAULT_ROOMS), |limit| {
        match usize::try_from(u64::from(limit)).unwrap_or(MAX_ROOMS) {
            0 => Err(Error::invalid_param("A limit is a number above 0.")),
            limit => Ok(limit.min(MAX_ROOMS)),
        }
    })?;
    let mut walk = Walk {
        app: &app,
        me: &me,
        suggested_only: start.suggested_only,
        max_depth: start.max_depth.unwrap_or(MAX_DEPTH).min(MAX_DEPTH),
        ahead: vec![(request.room_id.clone(), 0)],
        seen: BTreeSet::new(),
    };
    let mut response = Response::new();
    let mut met = 0;
    while let Some(state) = walk.next().await? {
        met += 1;
        if met <= start.told {
            continue;
        }
        if response.rooms.len() == limit {
            let told = met - 1;
            response.next_batch = Some(Token { told, ..start }.write());
            break;
        }
        let children = children(&state, start.suggested_only);
        let children = children.iter().map(|child| shown(&child.entry));
        let room =
            SpaceHierarchyRoomsChunk::new(summary::of(&state), children.collect::<Result<_>>()?);
        response.rooms.push(room);
    }
    if met == 0 {
        return Err(not_in_room());
    }
    Ok(response)
}

/// A way through a tree, each room before those in it.
struct Walk<'a> {
    app: &'a App,
    me: &'a Device,
    suggested_only: bool,
    max_depth: u64,
    /// What is still to be looked at, the next one last, and how deep it is.
    ahead: Vec<(OwnedRoomId, u64)>,
    seen: BTreeSet<OwnedRoomId>,
}

impl Walk<'_> {
    /// The next room that this user may know of. What lies behind one that they may not is not looked at.
    async fn next(&mut self) -> Result<Option<Arc<RoomState>>> {
        while let Some((room, depth)) = self.ahead.pop() {
            if self.seen.len() >= MAX_WALKED || !self.seen.insert(room.clone()) {
                continue;
            }
            let Some(state) = self.open(&room).await? else {
                continue;
            };
            if depth < self.max_depth {
                let children = children(&state, self.suggested_only);
                let below = children.into_iter().rev();
                self.ahead
                    .extend(below.map(|child| (child.room, depth + 1)));
            }
            return Ok(Some(state));
        }
        Ok(None)
    }

    async fn open(&self, room: &RoomId) -> Result<Option<Arc<RoomState>>> {
        let Some(state) = state::current(self.app, room).await? else {
            return Ok(None);
        };
        let open = summary::is_open_to(self.app, &state, &self.me.user).await?;
        Ok(open.then_some(state))
    }
}

/// A room that is listed in a space.
struct Child {
    room: OwnedRoomId,
    entry: Arc<StateEntry>,
    order: Option<String>,
}

/// What lacks a list of servers is no child.
#[derive(Deserialize)]
struct Content {
    #[serde(rename = "via")]
    _via: Vec<OwnedServerName>,
    #[serde(default)]
    suggested: bool,
    order: Option<serde_json::Value>,
}

/// What a space lists, in the specification's order: nothing, if it is none.
fn children(state: &RoomState, suggested_only: bool) -> Vec<Child> {
    if summary::of(state).room_type != Some(RoomType::Space) {
        return Vec::new();
    }
    let mut children: Vec<Child> = state
        .of_type(CHILD)
        .filter_map(|entry| {
            let content: Content = entry.content()?;
            let room = OwnedRoomId::try_from(entry.event().state_key.as_deref()?).ok()?;
            let wanted = content.suggested || !suggested_only;
            wanted.then(|| Child {
                room,
                entry: entry.clone(),
                order: content.order.as_ref().and_then(order),
            })
        })
        .collect();
    children.sort_by(|one, other| one.place().cmp(&other.place()));
    children
}

/// An order that is none counts as if it were not there.
fn order(value: &serde_json::Value) -> Option<String> {
    const LONGEST: usize = 50;
    let text = value.as_str()?;
    let fits = text.len() <= LONGEST && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    fits.then(|| text.to_owned())
}

impl Child {
    /// Those with an order come first.
    fn place(&self) -> (bool, Option<&str>, u64, &RoomId) {
        let order = self.order.as_deref();
        let sent = self.entry.event().origin_server_ts;
        (order.is_none(), order, sent, &self.room)
    }
}

fn shown(entry: &StateEntry) -> Result<Raw<HierarchySpaceChildEvent>> {
    let event = entry.event();
    let damaged = |_| Error::internal("a stored event is not JSON");
    let content: &RawValue = serde_json::from_str(&event.content).map_err(damaged)?;
    let shown = json!({
        "type": event.kind,
        "state_key": event.state_key,
        "sender": event.sender,
        "origin_server_ts": event.origin_server_ts,
        "content": content,
    });
    Ok(Raw::new(&shown).map_err(damaged)?.cast_unchecked())
}
