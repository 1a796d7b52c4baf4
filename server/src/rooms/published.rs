//! The rooms that their members want to be found: the published room directory.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#published-room-directory)

mod endpoints;

use std::cmp::Reverse;

use ruma::{
    OwnedRoomId, RoomId, UInt,
    directory::{Filter, PublicRoomsChunk},
};

pub(super) use self::endpoints::router;
use super::{state, summary};
use crate::{
    error::{Error, Result},
    state::App,
    store::{Page, Table, Tx},
};

/// The rooms that are in the directory.
pub const PUBLISHED: Table<OwnedRoomId, ()> = Table::new(0x0442, "published_rooms");

/// The most rooms in the directory: all of them are looked at to answer a page, since the largest come first.
pub const MAX_PUBLISHED: usize = 1_000;
/// The most rooms of one answer.
const MAX_PAGE: usize = 100;

/// Puts a room into the directory.
///
/// # Errors
/// 403 `M_FORBIDDEN` if it is full.
pub(super) async fn publish_in(tx: &mut Tx, room: &RoomId) -> Result<()> {
    // Those who publish at the same moment may be one too many.
    let all = tx.store().scan(&PUBLISHED, (), Page::first(MAX_PUBLISHED));
    if all.await?.len() >= MAX_PUBLISHED {
        return Err(Error::forbidden(
            "The directory of this server holds no more rooms.",
        ));
    }
    tx.put(&PUBLISHED, room, &())?;
    Ok(())
}

/// A room that takes another one's place has its place in the directory too.
pub(super) async fn move_in(tx: &mut Tx, old: &RoomId, new: &RoomId) -> Result<()> {
    if tx.get(&PUBLISHED, old).await?.is_some() {
        tx.delete(&PUBLISHED, old);
        tx.put(&PUBLISHED, new, &())?;
    }
    Ok(())
}

/// Some rooms of the directory, and the tokens of those before and after them.
struct Found {
    chunk: Vec<PublicRoomsChunk>,
    before: Option<String>,
    after: Option<String>,
    total: UInt,
}

/// The rooms that fit, the largest first, from a token on.
async fn find(
    app: &App,
    filter: &Filter,
    limit: Option<UInt>,
    since: Option<&str>,
) -> Result<Found> {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.filter(|limit| (1..MAX_PAGE).contains(limit));
    let limit = limit.unwrap_or(MAX_PAGE);
    let first = since.map_or(Ok(0), place)?;
    let term = filter.generic_search_term.as_deref().map(str::to_lowercase);
    let mut rooms = Vec::new();
    let published = app.store.scan(&PUBLISHED, (), Page::first(MAX_PUBLISHED));
    for (room, ()) in published.await? {
        if let Some(state) = state::current(app, &room).await? {
            rooms.push(PublicRoomsChunk::from(summary::of(&state)));
        }
    }
    let of_type = |room: &PublicRoomsChunk| {
        filter
            .room_types
            .iter()
            .any(|it| *it == room.room_type.clone().into())
    };
    rooms.retain(|room| {
        room.num_joined_members > UInt::MIN
            && term.as_deref().is_none_or(|term| says(room, term))
            && (filter.room_types.is_empty() || of_type(room))
    });
    rooms.sort_by_cached_key(|room| (Reverse(room.num_joined_members), room.room_id.clone()));
    let total = rooms.len();
    let chunk: Vec<_> = rooms.into_iter().skip(first).take(limit).collect();
    let next = first.saturating_add(chunk.len());
    Ok(Found {
        before: (first > 0).then(|| token(first.saturating_sub(limit))),
        after: (next < total).then(|| token(next)),
        total: UInt::try_from(total).unwrap_or(UInt::MAX),
        chunk,
    })
}

/// Where a page begins.
fn token(place: usize) -> String {
    format!("p{place}")
}

fn place(token: &str) -> Result<usize> {
    token
        .strip_prefix('p')
        .and_then(|place| place.parse().ok())
        .filter(|place| *place <= MAX_PUBLISHED)
        .ok_or_else(|| Error::invalid_param("This is no token of the room directory."))
}

/// Whether the words of a room have a term in them. Only rooms that the gate does not guard have any but an address.
fn says(room: &PublicRoomsChunk, term: &str) -> bool {
    let alias = room.canonical_alias.as_ref().map(|alias| alias.as_str());
    [room.name.as_deref(), room.topic.as_deref(), alias]
        .into_iter()
        .flatten()
        .any(|text| text.to_lowercase().contains(term))
}
