//! Addresses of rooms (aliases): names on this server that lead to a room.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#room-aliases)

mod canonical;
mod endpoints;

use http::StatusCode;
use respite_protocol::ciphertext::{self, MAX_ID_BYTES};
use ruma::{
    OwnedRoomAliasId, OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, RoomAliasId, RoomId, UserId,
    api::error::ErrorKind,
};
use serde::{Deserialize, Serialize};

pub(super) use self::{
    canonical::{KIND, bad_alias, check, may_say, named},
    endpoints::router,
};
use crate::{
    error::{Error, Result},
    gate,
    state::App,
    store::{Table, Tx},
};

/// The addresses, by the part between `#` and the colon.
pub const ALIASES: Table<String, Alias> = Table::new(0x0440, "room_aliases");
/// The addresses of each room, by the same part.
pub const ALIASES_OF: Table<OwnedRoomId, Vec<String>> = Table::new(0x0441, "room_aliases_of");

/// The most addresses that a room may have.
pub const MAX_ALIASES: usize = 32;

/// Where an address leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The room.
    pub room: OwnedRoomId,
    /// Who gave it.
    pub by: OwnedUserId,
}

/// The room that an address leads to.
///
/// # Errors
/// 404 `M_NOT_FOUND` if it leads nowhere.
pub async fn resolve(app: &App, alias: &RoomAliasId) -> Result<OwnedRoomId> {
    let found = match of_this_server(app, alias) {
        Ok(localpart) => app.store.get(&ALIASES, localpart).await?,
        Err(_) => None,
    };
    found.map(|alias| alias.room).ok_or_else(no_such_alias)
}

/// The room that a request names by its id or an address.
///
/// # Errors
/// 404 `M_NOT_FOUND` for an address that leads nowhere.
pub async fn room_of(app: &App, named: OwnedRoomOrAliasId) -> Result<OwnedRoomId> {
    match OwnedRoomId::try_from(named) {
        Ok(room) => Ok(room),
        Err(alias) => resolve(app, &alias).await,
    }
}

/// The part of an address that a new room is to have which a client chose: a whole one of this server, in a room that the
/// gate guards or not.
///
/// # Errors
/// 400 `M_INVALID_PARAM` if it can be no address here, 403 `M_FORBIDDEN` from the gate.
pub(super) fn chosen(app: &App, localpart: &str) -> Result<OwnedRoomAliasId> {
    let alias = RoomAliasId::parse(format!("#{localpart}:{}", app.server_name()));
    let alias = alias.map_err(|_| invalid())?;
    if of_this_server(app, &alias)? != localpart {
        return Err(invalid());
    }
    if gate::guards(&app.config, false) {
        ciphertext::room_address(localpart)?;
    }
    Ok(alias)
}

/// Gives a room an address.
///
/// # Errors
/// 409 `M_UNKNOWN` if it is taken, 403 `M_FORBIDDEN` if the room has [`MAX_ALIASES`].
pub(super) async fn add_in(tx: &mut Tx, localpart: &str, room: &RoomId, by: &UserId) -> Result<()> {
    if tx.get(&ALIASES, localpart).await?.is_some() {
        return Err(Error::new(
            StatusCode::CONFLICT,
            ErrorKind::Unknown,
            "This address is taken. Choose another one.",
        ));
    }
    let mut all = tx.get(&ALIASES_OF, room).await?.unwrap_or_default();
    if all.len() >= MAX_ALIASES {
        return Err(Error::forbidden(
            "This room has as many addresses as a room may have. Remove one first.",
        ));
    }
    all.push(localpart.to_owned());
    let alias = Alias {
        room: room.to_owned(),
        by: by.to_owned(),
    };
    tx.put(&ALIASES, localpart, &alias)?;
    tx.put(&ALIASES_OF, room, &all)?;
    Ok(())
}

async fn remove_in(tx: &mut Tx, localpart: &str, room: &RoomId) -> Result<()> {
    let mut all = tx.get(&ALIASES_OF, room).await?.unwrap_or_default();
    all.retain(|other| other != localpart);
    tx.delete(&ALIASES, localpart);
    match all.is_empty() {
        true => tx.delete(&ALIASES_OF, room),
        false => tx.put(&ALIASES_OF, room, &all)?,
    }
    Ok(())
}

/// The addresses of a room lead to the one that takes its place.
pub(super) async fn move_in(tx: &mut Tx, old: &RoomId, new: &RoomId) -> Result<()> {
    let all = tx.get(&ALIASES_OF, old).await?.unwrap_or_default();
    for localpart in &all {
        if let Some(alias) = tx.get(&ALIASES, localpart).await? {
            let room = new.to_owned();
            tx.put(&ALIASES, localpart, &Alias { room, ..alias })?;
        }
    }
    if !all.is_empty() {
        tx.delete(&ALIASES_OF, old);
        tx.put(&ALIASES_OF, new, &all)?;
    }
    Ok(())
}

/// A room is being deleted: its addresses lead nowhere any more, and may be given again.
pub(super) async fn forget_room_in(tx: &mut Tx, room: &RoomId) -> Result<()> {
    let all = tx.get(&ALIASES_OF, room).await?.unwrap_or_default();
    for localpart in &all {
        tx.delete(&ALIASES, localpart);
    }
    if !all.is_empty() {
        tx.delete(&ALIASES_OF, room);
    }
    Ok(())
}

/// The part between `#` and the colon.
fn of_this_server<'a>(app: &App, alias: &'a RoomAliasId) -> Result<&'a str> {
    let strange = |letter: char| letter.is_whitespace() || letter.is_control() || letter == ':';
    let localpart = alias.alias();
    if alias.server_name() != app.server_name()
        || localpart.is_empty()
        || localpart.contains(strange)
        || alias.as_str().len() > MAX_ID_BYTES
    {
        return Err(invalid());
    }
    Ok(localpart)
}

fn invalid() -> Error {
    Error::invalid_param(
        "This is no address that a room can have here. Addresses look like #room-12:name-of-the-server.",
    )
}

fn no_such_alias() -> Error {
    Error::not_found("No room has this address. Check it for typing errors.")
}
