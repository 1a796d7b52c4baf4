//! The position of a connection: all that an answer goes on from and that is small. It is sealed for the device and the
//! connection, so nobody can make one up.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ruma::OwnedRoomId;
use serde::{Deserialize, Serialize};

use crate::{
    auth::Seal,
    error::{Error, Result},
    hex,
    inbox::{connection::Name, token::Tokens},
};

/// How many members a position names that were told of because they wrote. Those before are told of again.
pub(super) const MAX_SEEN: usize = 24;

/// A member of a room, by hashes of both.
pub(super) type Seen = (u32, u32);

/// Where a connection is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pos {
    /// The epoch of positions in the inbox.
    pub(super) epoch: Option<u64>,
    /// The answer in which rooms were last told that were not told before; 0 for none.
    pub(super) answer: u64,
    /// In the user's inbox.
    pub(super) inbox: u64,
    /// Among the changes of who is typing.
    pub(super) typing: u64,
    /// What the lists of the last request were, by a hash.
    pub(super) lists: u64,
    /// What its subscriptions were.
    pub(super) subscriptions: u64,
    /// Whether the global account data was told.
    pub(super) account_data: bool,
    /// How many rooms each list had.
    pub(super) counts: Vec<u32>,
    /// Members that were told of because they wrote, by a hash; the newest last.
    pub(super) seen: Vec<Seen>,
    /// When threads were last told, in milliseconds since 1970; 0 if they are not wanted.
    pub(super) threads: u64,
    /// Whether something was told that could not be kept.
    pub(super) unkept: bool,
    /// Rooms with more receipts than one answer has a place for, and how many of their events were told.
    pub(super) receipts: Vec<(OwnedRoomId, u8)>,
}

impl Pos {
    /// As the client gets it.
    pub(super) fn write(&self, tokens: &Tokens, connection: Name) -> Result<String> {
        let bytes = postcard::to_stdvec(self)
            .map_err(|_| Error::internal("a position that cannot be written"))?;
        let text = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        Ok(seal(tokens, connection).seal(&text))
    }

    /// What the client brings back; `None` if it is not one of this connection.
    pub(super) fn read(text: &str, tokens: &Tokens, connection: Name) -> Option<Self> {
        let seal = seal(tokens, connection);
        decode(seal.open(text)?)
    }

    /// What a position says that may be anybody's: good for nothing but to look for less.
    pub(super) fn peek(text: &str) -> Option<Self> {
        decode(text.rsplit_once('_')?.0)
    }

    /// Notes members that were told of.
    pub(super) fn sees(&mut self, members: impl IntoIterator<Item = Seen>) {
        for member in members {
            if !self.seen.contains(&member) {
                self.seen.push(member);
            }
        }
        let beyond = self.seen.len().saturating_sub(MAX_SEEN);
        self.seen.drain(..beyond);
    }

    /// Forgets the members of a room.
    pub(super) fn forgets(&mut self, room: u32) {
        self.seen.retain(|(of, _)| *of != room);
    }
}

fn decode(text: &str) -> Option<Pos> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    postcard::from_bytes(&bytes).ok()
}

fn seal(tokens: &Tokens, connection: Name) -> Seal {
    tokens.seal("sliding").of(&hex::encode(&connection))
}
