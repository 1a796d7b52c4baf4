//! A filter for events that others refer to, which ruma's filters leave out.

use ruma::{OwnedUserId, exports::serde_html_form};
use serde::Deserialize;

use super::RELATORS;
use crate::{
    rooms::{access::Readable, event::StoredEvent},
    store::{Page, Store, StoreError},
};

/// How many ways in which people refer to an event are looked at.
const MAX_RELATORS: usize = 1_000;

/// By whom, and how, an event must be referred to.
#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::rooms) struct RelatedBy {
    related_by_senders: Option<Vec<OwnedUserId>>,
    related_by_rel_types: Option<Vec<String>>,
}

impl RelatedBy {
    /// What the `filter` in a query says of it.
    ///
    /// # Errors
    /// It has the wrong form.
    pub(in crate::rooms) fn in_query(query: Option<&str>) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Query {
            filter: Option<String>,
        }
        let query = serde_html_form::from_str::<Query>(query.unwrap_or_default());
        match query.ok().and_then(|query| query.filter) {
            Some(filter) => serde_json::from_str(&filter),
            None => Ok(Self::default()),
        }
    }

    /// Whether it lets everything through.
    pub(in crate::rooms) fn is_empty(&self) -> bool {
        self.related_by_senders.is_none() && self.related_by_rel_types.is_none()
    }

    /// Whether it lets an event through.
    ///
    /// # Errors
    /// The store's.
    pub(in crate::rooms) async fn matches(
        &self,
        store: &Store,
        readable: &Readable,
        event: &StoredEvent,
    ) -> Result<bool, StoreError> {
        if self.is_empty() {
            return Ok(true);
        }
        let of = (&*event.room_id, &*event.event_id);
        let page = Page::first(MAX_RELATORS);
        let found = store.scan(&RELATORS, of, page).await?;
        let (senders, rel_types) = (&self.related_by_senders, &self.related_by_rel_types);
        Ok(found.iter().any(|((_, _, user, rel_type), _)| {
            senders.as_ref().is_none_or(|only| only.contains(user))
                && rel_types
                    .as_ref()
                    .is_none_or(|only| only.contains(rel_type))
                && !readable.ignores_user(user)
        }))
    }
}
