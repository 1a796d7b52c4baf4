//! Which rooms something may be said of: those that the request wants, and those in which something is new.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::OwnedRoomId;

use super::{
    answer::Answerer,
    gone,
    lists::{self, Entry, Facts, Places},
    pos::Pos,
    wanted::{self, Wanted},
};
use crate::{
    error::Result,
    inbox::{
        Entry as Came, INBOX,
        connection::{Ledger, Name, Told},
    },
    store::Numbered,
    sync::window::{Window, follows},
};

/// How many entries of an inbox one answer covers. A client that is further behind begins anew.
const MAX_ENTRIES: usize = 10_000;
/// Account data that decides which rooms are in a list.
const MOVING: [&str; 2] = ["m.direct", "m.ignored_user_list"];
/// What came since the client's position.
pub(super) struct Since {
    pub(super) window: Window,
    /// The number of the last event's entry, for each room.
    pub(super) last: BTreeMap<OwnedRoomId, u64>,
    /// Whether rooms may have come into lists or gone out of them.
    pub(super) moved: bool,
}

/// A room that something may be said of.
pub(super) struct Candidate {
    pub(super) entry: Entry,
    pub(super) wanted: Arc<Wanted>,
    pub(super) told: Option<Told>,
}

/// The rooms that something may be said of, and how many rooms the lists have.
pub(super) struct Plan {
    pub(super) rooms: Vec<Candidate>,
    pub(super) counts: Vec<u32>,
    pub(super) direct: BTreeSet<OwnedRoomId>,
    /// What the client was told of rooms in which something is new, and of which nothing is said.
    pub(super) others: BTreeMap<OwnedRoomId, Told>,
}

impl Answerer<'_> {
    /// The inbox after a position.
    pub(super) async fn came(&self, pos: &Pos) -> Result<Since> {
        let (store, user) = (&self.app.store, &*self.me.user);
        let mut entries = store.after(&INBOX, user, pos.inbox, MAX_ENTRIES).await?;
        if entries.is_empty() {
            match store.head(&INBOX, user).await?.cmp(&pos.inbox) {
                Ordering::Equal => return Ok(Since::of(pos.inbox, Vec::new())),
                Ordering::Less => return Err(gone()),
                // It came between the two reads, or it was trimmed: what is there now says which.
                Ordering::Greater => {
                    entries = store.after(&INBOX, user, pos.inbox, MAX_ENTRIES).await?;
                }
            }
        }
        let fits = !entries.is_empty() && entries.len() < MAX_ENTRIES;
        if !fits || !follows(pos.inbox, &entries) {
            return Err(gone());
        }
        Ok(Since::of(pos.inbox, entries))
    }

    pub(super) fn digest_of_lists(&self) -> u64 {
        let lists = serde_json::to_string(&self.body.lists).unwrap_or_default();
        let extensions = &self.body.extensions;
        let scopes = [
            &extensions.account_data,
            &extensions.receipts,
            &extensions.typing,
        ];
        let scopes = serde_json::to_string(&scopes).unwrap_or_default();
        wanted::hash(self.tokens, "lists", &format!("{lists}{scopes}"))
    }

    pub(super) fn digest_of_subscriptions(&self) -> u64 {
        let all = serde_json::to_string(&self.body.room_subscriptions).unwrap_or_default();
        wanted::hash(self.tokens, "subscriptions", &all)
    }

    pub(super) async fn plan(
        &self,
        since: Option<&Pos>,
        came: Option<&Since>,
        ledger: &Ledger<'_>,
    ) -> Result<Plan> {
        let (app, user, lists) = (self.app, &*self.me.user, &self.body.lists);
        let same_lists = since.is_some_and(|since| since.lists == self.digest_of_lists());
        let same_subscriptions =
            since.is_some_and(|since| since.subscriptions == self.digest_of_subscriptions());
        let nothing = Since::of(0, Vec::new());
        let came = came.unwrap_or(&nothing);
        let quiet = came.window.rooms.is_empty() && !came.moved;
        if let Some(since) = since
            && same_lists
            && same_subscriptions
            && quiet
        {
            return Ok(Plan::nothing(since.counts.clone()));
        }
        let facts = Facts::read(app, user, lists.values()).await?;
        let news: BTreeSet<OwnedRoomId> = came.window.rooms.keys().cloned().collect();
        let new = Entry::some(app, user, &news).await?;
        let (mut places, counts, mut entries);
        let all = !same_lists || came.moved || self.moves(came, &new);
        match since {
            Some(since) if !all => {
                // Rooms with new events are above all others, so that their places follow from them alone.
                entries = new;
                let last = |entry: &Entry| came.last.get(&entry.room).copied().unwrap_or_default();
                lists::sort(&mut entries, last);
                let with_events = entries.iter().take_while(|entry| last(entry) > 0);
                let with_events: Vec<Entry> = with_events
                    .filter(|entry| entry.is_listed())
                    .cloned()
                    .collect();
                (places, _) = lists::place(&with_events, &facts, lists.values());
                counts = since.counts.clone();
            }
            _ if lists.is_empty() => {
                (places, counts, entries) = (Places::new(), Vec::new(), new);
            }
            _ => {
                entries = Entry::all(app, user).await?;
                lists::sort(&mut entries, |entry| entry.recency.anything);
                (places, counts) = lists::place(&entries, &facts, lists.values());
                entries.extend(new.into_iter().filter(|entry| !entry.is_listed()));
            }
        }
        if !same_subscriptions || all {
            let known: BTreeSet<&OwnedRoomId> = entries.iter().map(|entry| &entry.room).collect();
            let missing = self.body.room_subscriptions.keys();
            let missing = missing.filter_map(|room| OwnedRoomId::try_from(room.as_str()).ok());
            let missing = missing.filter(|room| !known.contains(room)).collect();
            entries.extend(Entry::some(app, user, &missing).await?);
        }
        let mut plan = Plan::nothing(counts);
        plan.direct = facts.direct;
        self.choose(entries, &mut places, came, ledger, &mut plan)
            .await?;
        Ok(plan)
    }

    /// Whether what came may move rooms into lists or out of them, other than to the top.
    fn moves(&self, came: &Since, new: &[Entry]) -> bool {
        let filters = self.body.lists.values();
        let filters = filters.filter_map(|list| list.filters.as_ref());
        let by_state = filters
            .clone()
            .any(|filters| filters.is_encrypted.is_some() || filters.spaces.is_some());
        let by_tags = filters
            .clone()
            .any(|filters| filters.tags.is_some() || filters.not_tags.is_some());
        let window = &came.window;
        new.iter().any(|entry| {
            let Some(news) = window.rooms.get(&entry.room) else {
                return false;
            };
            let first = news.events.first();
            first.is_some_and(|first| by_state || entry.membership.position >= *first)
                || (by_tags && news.account_data.contains("m.tag"))
        })
    }

    /// Puts what is wanted of a room, and what the client knows of it, beside it.
    async fn choose(
        &self,
        entries: Vec<Entry>,
        places: &mut Places,
        came: &Since,
        ledger: &Ledger<'_>,
        plan: &mut Plan,
    ) -> Result<()> {
        let subscriptions = &self.body.room_subscriptions;
        let mut chosen = Vec::new();
        for entry in entries {
            let lists = places.remove(&entry.room);
            let subscription = subscriptions.get_key_value(entry.room.as_str());
            let is_news = came.window.rooms.contains_key(&entry.room);
            if lists.is_some() || subscription.is_some() || is_news {
                chosen.push((entry, lists.unwrap_or_default(), subscription));
            }
        }
        let names: Vec<Name> = chosen.iter().map(|(entry, ..)| self.name(entry)).collect();
        let told = ledger.told(&names).await?;
        let everywhere: Vec<usize> = (0..self.body.lists.len()).collect();
        let mut known = BTreeMap::<Vec<usize>, Arc<Wanted>>::new();
        for ((entry, mut lists, subscription), told) in chosen.into_iter().zip(told) {
            if !entry.is_listed() && told.is_some() {
                // Who has left is told so, whatever list the room was in.
                lists.clone_from(&everywhere);
            }
            let is_out = !entry.is_listed() && told.is_none();
            if (lists.is_empty() && subscription.is_none()) || is_out {
                plan.others
                    .extend(told.map(|told| (entry.room.clone(), told)));
                continue;
            }
            let wanted = match subscription {
                Some((room, details)) => {
                    let subscription = Some((room.as_str(), details));
                    Arc::new(Wanted::of(self.body, self.tokens, &lists, subscription))
                }
                None => known
                    .entry(lists)
                    .or_insert_with_key(|lists| {
                        Arc::new(Wanted::of(self.body, self.tokens, lists, None))
                    })
                    .clone(),
            };
            plan.rooms.push(Candidate {
                entry,
                wanted,
                told,
            });
        }
        Ok(())
    }

    pub(super) fn name(&self, entry: &Entry) -> Name {
        self.tokens.name("room", entry.room.as_str())
    }
}

impl Since {
    pub(super) fn of(after: u64, entries: Vec<(u64, Numbered<Came>)>) -> Self {
        let (mut last, mut moved) = (BTreeMap::new(), false);
        for (number, entry) in &entries {
            match &entry.value {
                Came::Event(room) => {
                    last.insert(room.clone(), *number);
                }
                Came::Forgotten(_) | Came::Deleted(_, _) => moved = true,
                Came::AccountData(None, kind) => moved |= MOVING.contains(&&**kind),
                _ => {}
            }
        }
        Self {
            window: Window::of(after, entries),
            last,
            moved,
        }
    }
}

impl Plan {
    pub(super) fn nothing(counts: Vec<u32>) -> Self {
        Self {
            rooms: Vec::new(),
            counts,
            direct: BTreeSet::new(),
            others: BTreeMap::new(),
        }
    }
}
