//! Stores from before there were threads: what follows from their relations is worked out once, at the first start.

use std::collections::BTreeMap;

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};

use super::{
    AGGREGATES, Aggregate, BY_TYPE, RELATIONS, RELATORS, Related, THREAD, counts, parent,
    relates_to, thread::THREAD_ORDER,
};
use crate::{
    rooms::event::{StoredEvent, TIMELINE},
    store::{Numbered, Page, Store, StoreError, Table, Tx},
};

/// There once the relations of older events are worked out too.
pub const INDEXED: Table<(), ()> = Table::new(0x0414, "relations_indexed");

/// How many relations are read at once.
const PAGE: usize = 500;

/// What refers to one event.
#[derive(Default)]
struct Gathered {
    aggregate: Aggregate,
    newest_reply: u64,
    relators: BTreeMap<(OwnedUserId, String), u64>,
}

type Place = (OwnedRoomId, OwnedEventId, u64);

/// Works out what older relations come to, if that has not been done. Nobody may write meanwhile but servers that do the same:
/// the one that is last finds it done and stops. Doing it again goes through everything from the beginning.
///
/// # Errors
/// The store's.
pub async fn index(store: &Store) -> Result<(), StoreError> {
    if store.get(&INDEXED, ()).await?.is_some() {
        return Ok(());
    }
    let mut current: Option<(OwnedRoomId, OwnedEventId)> = None;
    let mut gathered = Gathered::default();
    let mut page = store.scan(&RELATIONS, (), Page::first(PAGE)).await?;
    while let Some((last, _)) = page.last().cloned() {
        for ((room, target, position), _) in page {
            let of = (room, target);
            if current.as_ref().is_some_and(|current| *current != of) {
                finish(store, current.take(), std::mem::take(&mut gathered)).await?;
            }
            take(store, (of.0.clone(), of.1.clone(), position), &mut gathered).await?;
            current = Some(of);
        }
        page = store
            .scan_after(&RELATIONS, (), last, Page::first(PAGE))
            .await?;
    }
    finish(store, current, gathered).await?;
    store
        .transact(|mut tx: Tx| async move {
            if tx.get(&INDEXED, ()).await?.is_none() {
                tx.put(&INDEXED, (), &())?;
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(())
}

/// Enters one relation; one of a redacted event goes.
async fn take(store: &Store, place: Place, gathered: &mut Gathered) -> Result<(), StoreError> {
    let (room, target, position) = &place;
    let event = event_at(store, &place).await?;
    let relation = event.as_ref().and_then(relates_to);
    let of = parent(store, room, target).await?;
    let counted = match (&event, &relation, of) {
        (Some(event), Some((rel_type, _)), Some(of)) if counts(rel_type, &of, event) => {
            Some((event, rel_type))
        }
        _ => None,
    };
    if let Some((event, rel_type)) = counted {
        gathered.aggregate = gathered.aggregate.with(rel_type);
        if rel_type == THREAD {
            gathered.newest_reply = *position;
        }
        let by = (event.sender.clone(), rel_type.clone());
        *gathered.relators.entry(by).or_default() += 1;
    }
    let gone = relation.is_none();
    store
        .transact(|mut tx: Tx| async move {
            if tx.get(&INDEXED, ()).await?.is_some() {
                return Ok::<_, StoreError>((tx, ()));
            }
            if gone {
                tx.delete(&RELATIONS, (&**room, &**target, *position));
            }
            if let Some((event, rel_type)) = counted {
                let key = (&**room, &**target, &**rel_type, *position);
                tx.put(&BY_TYPE, key, &Related::from(event))?;
            }
            Ok((tx, ()))
        })
        .await?;
    Ok(())
}

async fn event_at(
    store: &Store,
    (room, _, position): &Place,
) -> Result<Option<StoredEvent>, StoreError> {
    let found = store.entries(&TIMELINE, room, &[*position]).await?;
    Ok(found
        .into_iter()
        .next()
        .flatten()
        .filter(|event| event.redacted_because.is_none()))
}

async fn finish(
    store: &Store,
    of: Option<(OwnedRoomId, OwnedEventId)>,
    gathered: Gathered,
) -> Result<(), StoreError> {
    let Some((room, target)) = &of else {
        return Ok(());
    };
    let (gathered, room, target) = (&gathered, &**room, &**target);
    store
        .transact(|mut tx: Tx| async move {
            if gathered.relators.is_empty() || tx.get(&INDEXED, ()).await?.is_some() {
                return Ok::<_, StoreError>((tx, ()));
            }
            for ((user, rel_type), count) in &gathered.relators {
                tx.put(&RELATORS, (room, target, user, rel_type), count)?;
            }
            let newest = gathered.newest_reply;
            let row = Numbered::new(gathered.aggregate, newest);
            tx.put(&AGGREGATES, (room, target), &row)?;
            if newest > 0 {
                tx.put(&THREAD_ORDER, (room, newest), &target.to_owned())?;
            }
            Ok((tx, ()))
        })
        .await?;
    Ok(())
}
