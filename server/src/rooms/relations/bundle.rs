//! What an event is shown with: its newest edit, its thread, and what refers to it.
//!
//! [Specification](https://spec.matrix.org/v1.18/client-server-api/#aggregations-of-child-events)

use ruma::{EventId, OwnedEventId, events::AnyTimelineEvent, serde::Raw};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{AGGREGATES, Aggregate, BY_TYPE, REFERENCE, RELATORS, REPLACE, Related, THREAD};
use crate::{
    auth::Device,
    error::{Error, Result},
    rooms::{
        access::Readable,
        event::{StoredEvent, TIMELINE, Viewer},
    },
    state::App,
    store::{Numbered, Page, StoreError},
};

/// How many references an event is shown with: the newest.
const MAX_REFERENCES: usize = 100;
/// How many replies of a thread are looked at for the newest one that may be shown, or counted for somebody who has left.
const MAX_REPLIES: usize = 500;

/// Shows events as the answers to most requests have them, each with what refers to it.
pub struct Bundler<'a> {
    app: &'a App,
    readable: &'a Readable,
    viewer: Viewer<'a>,
}

#[derive(Default, Serialize)]
struct Bundle {
    #[serde(rename = "m.thread", skip_serializing_if = "Option::is_none")]
    thread: Option<Thread>,
    #[serde(rename = "m.replace", skip_serializing_if = "Option::is_none")]
    replace: Option<Raw<AnyTimelineEvent>>,
    #[serde(rename = "m.reference", skip_serializing_if = "Option::is_none")]
    reference: Option<References>,
}

#[derive(Serialize)]
struct Thread {
    latest_event: Raw<AnyTimelineEvent>,
    count: u64,
    current_user_participated: bool,
}

#[derive(Serialize)]
struct References {
    chunk: Vec<Reference>,
}

#[derive(Serialize)]
struct Reference {
    event_id: OwnedEventId,
}

impl<'a> Bundler<'a> {
    /// Whether something may have to be shown with one of these events of one room; to be asked before what a bundler
    /// needs is read.
    ///
    /// # Errors
    /// The store's.
    pub async fn is_needed(app: &App, events: &[(u64, StoredEvent)]) -> Result<bool, StoreError> {
        let keys = events
            .iter()
            .map(|(_, event)| (&*event.room_id, &*event.event_id));
        let aggregates = app.store.get_many(&AGGREGATES, keys).await?;
        Ok(aggregates.iter().any(Option::is_some))
    }

    /// For a device that reads a room.
    pub fn new(app: &'a App, me: &'a Device, readable: &'a Readable) -> Self {
        Self {
            app,
            readable,
            viewer: Viewer::new(app, me),
        }
    }

    /// The events as they are shown.
    ///
    /// # Errors
    /// The store's, or what is stored is not JSON.
    pub async fn show<T>(&self, events: &[(u64, StoredEvent)]) -> Result<Vec<Raw<T>>> {
        let bundles = self.bundles(events).await?;
        let show = |((position, event), bundle): (&(u64, StoredEvent), &Option<Box<RawValue>>)| {
            event.to_client(self.as_of(*position).with(bundle.as_deref()))
        };
        events.iter().zip(&bundles).map(show).collect()
    }

    /// What each of the events is shown with, if anything: as JSON, for `m.relations` in its `unsigned`.
    ///
    /// # Errors
    /// The store's, or what is stored is not JSON.
    pub async fn bundles(
        &self,
        events: &[(u64, StoredEvent)],
    ) -> Result<Vec<Option<Box<RawValue>>>> {
        let keys = events
            .iter()
            .map(|(_, event)| (&*event.room_id, &*event.event_id));
        let aggregates = self.app.store.get_many(&AGGREGATES, keys).await?;
        let mut bundles = Vec::new();
        for ((_, event), aggregate) in events.iter().zip(aggregates) {
            bundles.push(match aggregate {
                Some(aggregate) => self.bundle(event, &aggregate).await?,
                None => None,
            });
        }
        Ok(bundles)
    }

    async fn bundle(
        &self,
        event: &StoredEvent,
        row: &Numbered<Aggregate>,
    ) -> Result<Option<Box<RawValue>>> {
        let mut bundle = Bundle::default();
        if row.value.replies > 0 {
            bundle.thread = self.thread(event, row).await?;
        }
        if event.redacted_because.is_none() {
            bundle.replace = self.edit(event, &row.value).await?;
            bundle.reference = self.references(event, &row.value).await?;
        }
        if bundle.thread.is_none() && bundle.replace.is_none() && bundle.reference.is_none() {
            return Ok(None);
        }
        to_raw_value(&bundle)
            .map(Some)
            .map_err(|_| Error::internal("JSON that cannot be written"))
    }

    async fn thread(
        &self,
        root: &StoredEvent,
        row: &Numbered<Aggregate>,
    ) -> Result<Option<Thread>> {
        let store = &self.app.store;
        let of = |user| (&*root.room_id, &*root.event_id, user, THREAD);
        let ignored: Vec<_> = self.readable.ignored().map(of).collect();
        let unheard = store.get_many(&RELATORS, ignored).await?;
        let unheard: u64 = unheard.into_iter().flatten().sum();
        let mut count = row.value.replies.saturating_sub(unheard);
        let mut newest = row.number();
        if unheard > 0 || !self.readable.sees(newest) {
            let visible = self.related(&root.event_id, THREAD, MAX_REPLIES).await?;
            newest = visible.first().map_or(0, |(at, _)| *at);
            if newest < row.number() && self.readable.last() < u64::MAX {
                count = visible.len() as u64;
            }
        }
        let found = store.entries(&TIMELINE, &root.room_id, &[newest]).await?;
        let Some(latest) = found.into_iter().next().flatten().filter(|_| count > 0) else {
            return Ok(None);
        };
        let participated = root.sender == self.readable.user
            || store
                .get(&RELATORS, of(&*self.readable.user))
                .await?
                .is_some();
        Ok(Some(Thread {
            latest_event: self.show_edited(newest, &latest).await?,
            count,
            current_user_participated: participated,
        }))
    }

    /// The newest reply of a thread has its own newest edit with it, and nothing else.
    async fn show_edited(
        &self,
        position: u64,
        event: &StoredEvent,
    ) -> Result<Raw<AnyTimelineEvent>> {
        let key = (&*event.room_id, &*event.event_id);
        let mut bundle = Bundle::default();
        if let Some(row) = self.app.store.get(&AGGREGATES, key).await? {
            bundle.replace = self.edit(event, &row.value).await?;
        }
        let relations = bundle
            .replace
            .is_some()
            .then(|| to_raw_value(&bundle))
            .transpose()
            .map_err(|_| Error::internal("JSON that cannot be written"))?;
        event.to_client(self.as_of(position).with(relations.as_deref()))
    }

    async fn edit(
        &self,
        event: &StoredEvent,
        aggregate: &Aggregate,
    ) -> Result<Option<Raw<AnyTimelineEvent>>> {
        if !aggregate.edited {
            return Ok(None);
        }
        let newest = self.related(&event.event_id, REPLACE, 1).await?;
        let Some((position, _)) = newest.first() else {
            return Ok(None);
        };
        let found = self
            .app
            .store
            .entries(&TIMELINE, &event.room_id, &[*position])
            .await?;
        let edit = found.into_iter().next().flatten();
        edit.map(|edit| edit.to_client(self.as_of(*position)))
            .transpose()
    }

    async fn references(
        &self,
        event: &StoredEvent,
        aggregate: &Aggregate,
    ) -> Result<Option<References>> {
        if !aggregate.referenced {
            return Ok(None);
        }
        let mut found = self
            .related(&event.event_id, REFERENCE, MAX_REFERENCES)
            .await?;
        found.reverse();
        let chunk: Vec<Reference> = found
            .into_iter()
            .map(|(_, related)| Reference {
                event_id: related.event_id,
            })
            .collect();
        Ok((!chunk.is_empty()).then_some(References { chunk }))
    }

    /// What refers to an event in one way and may be shown, the newest first: what is found among the newest `most`.
    async fn related(
        &self,
        event: &EventId,
        rel_type: &str,
        most: usize,
    ) -> Result<Vec<(u64, Related)>> {
        let room = &*self.readable.room_id;
        let end = self.readable.last().saturating_add(1);
        let found = self
            .app
            .store
            .scan_after(
                &BY_TYPE,
                (room, event, rel_type),
                (room, event, rel_type, end),
                Page::last(most),
            )
            .await?;
        let placed = found
            .into_iter()
            .map(|((.., position), related)| (position, related));
        Ok(placed
            .filter(|(position, related)| {
                self.readable.sees(*position) && !self.readable.ignores_user(&related.sender)
            })
            .collect())
    }

    fn as_of(&self, position: u64) -> Viewer<'_> {
        self.viewer.as_of(self.readable.membership(position))
    }
}
