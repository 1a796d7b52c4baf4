//! What wants attention, across all rooms.

use anyhow::Result;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use matrix_sdk::{Client, Room};
use ruma::{
    OwnedRoomId, UserId,
    events::receipt::{ReceiptThread, ReceiptType},
};
use serde::Serialize;

use crate::{
    checkins::{self, Asked},
    documents,
    history::{self, Entry, Said},
    render::Names,
    rooms, safety, time,
};
use respite_protocol::events::DocumentKind;

/// How far back a room is looked through, in entries.
pub const WINDOW: usize = 100;
/// Rooms that are looked through at the same time.
pub const PARALLEL_ROOMS: usize = 8;

/// Something that wants attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Where.
    pub room_id: OwnedRoomId,
    /// Who is in that room; safe to print.
    pub people: String,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
}

/// What wants attention. The order is that of the inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum What {
    /// A check-in that is to be answered.
    Checkin {
        /// The check-in.
        id: String,
        /// What is asked.
        text: String,
        /// When it was asked.
        time: Timestamp,
        /// When an answer is no longer expected.
        expires: Option<Timestamp>,
    },
    /// A worksheet or a consent form that is to be returned.
    ToReturn {
        /// The document.
        id: String,
        /// What it is called.
        title: String,
        /// When it should be back.
        due: Option<Timestamp>,
        /// When it came.
        time: Timestamp,
    },
    /// An answer to one's own check-in.
    Answer {
        /// Who answered; safe to print.
        by: String,
        /// What was asked.
        text: String,
        /// The number.
        value: Option<i64>,
        /// What the answers to a questionnaire add up to.
        scores: Vec<String>,
        /// The words.
        note: Option<String>,
        /// They should not be left alone with it. It stays until something is written to them.
        urgent: bool,
        /// It came after the check-in had expired.
        late: bool,
        /// When.
        time: Timestamp,
    },
    /// What looks like an answer to one's own check-in and is not understood.
    Unclear {
        /// Who wrote it; safe to print.
        by: String,
        /// What was asked.
        text: String,
        /// What they wrote, or its beginning.
        body: String,
        /// When.
        time: Timestamp,
    },
    /// A document that came, perhaps filled in.
    Document {
        /// Who sent it; safe to print.
        by: String,
        /// The document.
        id: String,
        /// What it is called.
        title: String,
        /// It is the filled-in form of one's own.
        returned: bool,
        /// When.
        time: Timestamp,
    },
    /// Messages that were not read.
    Unread {
        /// How many, up to the [`WINDOW`].
        count: usize,
        /// There may be more.
        more: bool,
        /// Who wrote the newest; safe to print.
        by: String,
        /// When.
        time: Timestamp,
    },
    /// An invitation to a room.
    Invitation,
}

impl What {
    /// What comes first: what is urgent; what has a deadline, by deadline; then what is for the
    /// asker; then what waited longest.
    fn order(&self) -> (u8, Timestamp) {
        match self {
            Self::Answer {
                urgent: true, time, ..
            } => (0, *time),
            Self::Checkin { expires, time, .. } => (1, expires.unwrap_or(*time)),
            Self::ToReturn { due, .. } => (2, due.unwrap_or(Timestamp::MAX)),
            Self::Answer { time, .. } | Self::Unclear { time, .. } => (3, *time),
            Self::Document { time, .. } => (4, *time),
            Self::Unread { time, .. } => (5, *time),
            Self::Invitation => (6, Timestamp::MIN),
        }
    }
}

/// Everything that wants attention, most pressing first.
///
/// # Errors
///
/// If the server cannot be reached or refuses.
pub async fn items(client: &Client, now: Timestamp) -> Result<Vec<Item>> {
    let rooms = client.joined_rooms();
    let found = stream::iter(rooms.iter().map(|room| of_room(room, now)));
    let mut items: Vec<Item> = found.buffer_unordered(PARALLEL_ROOMS).try_concat().await?;
    for room in client.invited_rooms() {
        let summary = rooms::summary(&room).await?;
        items.push(Item {
            people: summary.shown(),
            room_id: summary.room_id,
            what: What::Invitation,
        });
    }
    items.sort_by_cached_key(|item| (item.what.order(), item.room_id.clone()));
    Ok(items)
}

async fn of_room(room: &Room, now: Timestamp) -> Result<Vec<Item>> {
    let entries = history::recent(room, WINDOW).await?;
    let own = room.own_user_id();
    safety::keep(room, &entries).await?;
    checkins::remember(room, &checkins::agenda(&entries)).await?;
    let read = read_up_to(room, &entries).await?;
    let names = Names::of(room, &entries).await?;
    let people = rooms::summary(room).await?.shown();
    let whats = attention(&entries, own, read, &names, now);
    let item = |what| Item {
        room_id: room.room_id().to_owned(),
        people: people.clone(),
        what,
    };
    Ok(whats.into_iter().map(item).collect())
}

/// Up to when the room was read: the own receipt, or one's own last words.
async fn read_up_to(room: &Room, entries: &[Entry]) -> Result<Timestamp> {
    let own = room.own_user_id();
    let mut read = Timestamp::MIN;
    for receipt_type in [ReceiptType::Read, ReceiptType::ReadPrivate] {
        for thread in [ReceiptThread::Unthreaded, ReceiptThread::Main] {
            let receipt = room
                .load_user_receipt(receipt_type.clone(), thread, own)
                .await?;
            let Some((event_id, receipt)) = receipt else {
                continue;
            };
            let event = entries
                .iter()
                .find(|entry| entry.event_id == event_id)
                .map(|entry| entry.at);
            let at = event
                .or_else(|| receipt.ts.map(time::from_matrix))
                .unwrap_or(Timestamp::MIN);
            read = read.max(at);
        }
    }
    Ok(read.max(spoken_up_to(entries, own)))
}

/// When one last said something. A check-in may have been planned long before: it does not show that anybody was there.
fn spoken_up_to(entries: &[Entry], own: &UserId) -> Timestamp {
    let is_said = |entry: &&Entry| !matches!(entry.said, Said::Checkin(_));
    let mut own = entries.iter().filter(|entry| entry.sender == own);
    let spoken = own.rfind(is_said);
    spoken.map_or(Timestamp::MIN, |entry| entry.at)
}

/// What of these entries wants the attention of `own`.
fn attention(
    entries: &[Entry],
    own: &UserId,
    read: Timestamp,
    names: &Names,
    now: Timestamp,
) -> Vec<What> {
    let agenda = checkins::agenda(entries);
    let mut whats: Vec<What> = agenda
        .iter()
        .filter(|asked| asked.is_open_for(own, now))
        .map(to_answer)
        .collect();
    whats.extend(to_return(entries, own));
    whats.extend(answers(
        &agenda,
        own,
        read,
        spoken_up_to(entries, own),
        names,
    ));
    whats.extend(unclear(&agenda, own, read, names));
    whats.extend(documents_that_came(entries, own, read, names));
    whats.extend(unread(entries, &agenda, own, read, names));
    whats
}

fn to_answer(asked: &Asked) -> What {
    What::Checkin {
        id: asked.checkin.original().to_string(),
        text: asked.checkin.text.clone(),
        time: asked.at,
        expires: asked.expires,
    }
}

fn to_return(entries: &[Entry], own: &UserId) -> Vec<What> {
    let wants_return = |kind| matches!(kind, DocumentKind::Worksheet | DocumentKind::Consent);
    documents::shelf(entries)
        .into_iter()
        .filter(|shared| shared.sender != own && shared.document.returns.is_none())
        .filter(|shared| wants_return(shared.document.kind))
        .filter(|shared| !shared.returned.iter().any(|(who, _)| who == own))
        .map(|shared| What::ToReturn {
            id: shared.document.id.to_string(),
            title: shared.document.title,
            due: shared.document.due_ts.map(time::from_matrix),
            time: shared.at,
        })
        .collect()
}

fn answers(
    agenda: &[Asked],
    own: &UserId,
    read: Timestamp,
    spoken: Timestamp,
    names: &Names,
) -> Vec<What> {
    let mine = agenda.iter().filter(|asked| asked.sender == own);
    mine.flat_map(|asked| asked.answers.iter().map(move |given| (asked, given)))
        .filter(|(_, given)| given.at > read || (given.urgent && given.at > spoken))
        .map(|(asked, given)| What::Answer {
            by: names.of_user(&given.by),
            text: asked.checkin.text.clone(),
            value: given.value,
            scores: given
                .scores
                .iter()
                .map(|score| score.shown.clone())
                .collect(),
            note: given.note.clone(),
            urgent: given.urgent,
            late: given.late,
            time: given.at,
        })
        .collect()
}

fn unclear(agenda: &[Asked], own: &UserId, read: Timestamp, names: &Names) -> Vec<What> {
    let mine = agenda.iter().filter(|asked| asked.sender == own);
    mine.flat_map(|asked| asked.unclear.iter().map(move |unclear| (asked, unclear)))
        .filter(|(_, unclear)| unclear.at > read)
        .map(|(asked, unclear)| What::Unclear {
            by: names.of_user(&unclear.by),
            text: asked.checkin.text.clone(),
            body: unclear.body.clone(),
            time: unclear.at,
        })
        .collect()
}

fn documents_that_came(
    entries: &[Entry],
    own: &UserId,
    read: Timestamp,
    names: &Names,
) -> Vec<What> {
    let new = entries
        .iter()
        .filter(|entry| entry.sender != own && entry.at > read);
    new.filter_map(|entry| match &entry.said {
        // What is to be returned is already listed.
        Said::Document(document)
            if document.returns.is_some()
                || document.kind == DocumentKind::Report
                || document.kind == DocumentKind::Resource =>
        {
            Some(What::Document {
                by: names.of_user(&entry.sender),
                id: document.id.to_string(),
                title: document.title.clone(),
                returned: document.returns.is_some(),
                time: entry.at,
            })
        }
        _ => None,
    })
    .collect()
}

fn unread(
    entries: &[Entry],
    agenda: &[Asked],
    own: &UserId,
    read: Timestamp,
    names: &Names,
) -> Option<What> {
    let is_answer = |entry: &&Entry| {
        let given = agenda
            .iter()
            .filter(|asked| asked.sender == own)
            .flat_map(|asked| &asked.answers);
        !given
            .into_iter()
            .any(|given| given.event_id == entry.event_id)
    };
    let says = |entry: &&Entry| matches!(entry.said, Said::Text { .. } | Said::Unreadable { .. });
    let new: Vec<_> = entries
        .iter()
        .filter(|entry| entry.sender != own && entry.at > read)
        .filter(says)
        .filter(is_answer)
        .collect();
    let newest = new.last()?;
    Some(What::Unread {
        count: new.len(),
        more: entries.len() >= WINDOW && entries.first().is_some_and(|entry| entry.at > read),
        by: names.of_user(&newest.sender),
        time: newest.at,
    })
}

#[cfg(test)]
mod tests;
