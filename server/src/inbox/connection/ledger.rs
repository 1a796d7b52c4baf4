//! One request's view of what its client was told, and what its answer adds.

use std::collections::{BTreeMap, HashMap};

use super::{
    CONNECTIONS, Connection, MAX_CONNECTIONS, MAX_PENDING, MAX_TERMS, Name, Of, PENDING, Pending,
    TOLD, Terms, Told, today,
};
use crate::{
    clock::Clock,
    store::{Page, Store, StoreError, Tx},
};

/// How many rows are read or removed at once.
const PAGE: usize = 500;

/// What the client of one request was told, and what is added to it.
pub struct Ledger<'a> {
    store: &'a Store,
    clock: &'a Clock,
    of: Of<'a>,
    /// The answer that the client has; 0 for one that has none in which there was a room.
    answer: u64,
    life: u64,
    terms: Vec<Terms>,
    /// What that answer told, if its receipt was not certain before.
    uncertain: HashMap<Name, Told>,
    /// Whether that answer is to be noted as received.
    acknowledges: bool,
    /// Whether it is to be noted that the connection is in use.
    outdated: bool,
    added: BTreeMap<Name, Told>,
    added_terms: Vec<Terms>,
}

/// What a [`Ledger`] may answer instead.
pub enum Failure {
    /// The connection has moved on, or is gone: the client must begin anew.
    Gone,
    /// The store's.
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<'a> Ledger<'a> {
    /// A client that was told nothing.
    pub fn empty(store: &'a Store, clock: &'a Clock, of: Of<'a>) -> Self {
        Self {
            store,
            clock,
            of,
            answer: 0,
            life: 0,
            terms: Vec::new(),
            uncertain: HashMap::new(),
            acknowledges: false,
            outdated: false,
            added: BTreeMap::new(),
            added_terms: Vec::new(),
        }
    }

    /// A client that has the answer with this number.
    ///
    /// # Errors
    /// [`Failure::Gone`] if nothing is known of it.
    pub async fn after(
        store: &'a Store,
        clock: &'a Clock,
        of: Of<'a>,
        answer: u64,
    ) -> Result<Self, Failure> {
        let mut ledger = Self::empty(store, clock, of);
        if answer == 0 {
            return Ok(ledger);
        }
        let row = store
            .get(&CONNECTIONS, (of.user, of.device, of.name))
            .await?
            .filter(|row| row.day > 0)
            .ok_or(Failure::Gone)?;
        ledger.answer = answer;
        ledger.life = row.life;
        ledger.outdated = row.day != today(clock);
        ledger.terms = row.terms;
        if answer == row.acknowledged {
            return Ok(ledger);
        }
        if !row.pending.contains(&answer) {
            return Err(Failure::Gone);
        }
        let pending = store.get(&PENDING, (of.name, answer)).await?;
        let pending = pending.ok_or(Failure::Gone)?;
        if pending.fresh {
            ledger.life = answer;
            ledger.terms.clear();
        }
        ledger.acknowledges = true;
        ledger.uncertain = pending.rooms.into_iter().collect();
        ledger.terms.extend(pending.terms);
        Ok(ledger)
    }

    /// What the client was told of these rooms, in their order.
    ///
    /// # Errors
    /// The store's.
    pub async fn told(&self, rooms: &[Name]) -> Result<Vec<Option<Told>>, StoreError> {
        if self.answer == 0 {
            return Ok(rooms
                .iter()
                .map(|room| self.added.get(room).cloned())
                .collect());
        }
        let keys = rooms.iter().map(|room| (self.of.name, self.life, *room));
        let rows = self.store.get_many(&TOLD, keys).await?;
        let newest = |room: &Name| self.added.get(room).or_else(|| self.uncertain.get(room));
        Ok(rooms
            .iter()
            .zip(rows)
            .map(|(room, row)| newest(room).cloned().or(row))
            .collect())
    }

    /// The terms with this id, as far as they are remembered.
    pub fn terms(&self, id: u64) -> Option<&Terms> {
        let mut all = self.added_terms.iter().chain(self.terms.iter().rev());
        all.find(|terms| terms.id == id)
    }

    /// Adds that the client was told something of a room.
    pub fn add(&mut self, room: Name, told: Told, terms: Option<&Terms>) {
        self.added.insert(room, told);
        if let Some(terms) = terms
            && self.terms(terms.id).is_none()
        {
            self.added_terms.push(terms.clone());
        }
    }

    /// Keeps what was added, and notes what is certain now; the number of the answer that tells it, which is the last one's
    /// if nothing was added.
    ///
    /// # Errors
    /// [`Failure::Gone`] if the connection has moved on meanwhile.
    pub async fn save(&mut self) -> Result<u64, Failure> {
        if self.added.is_empty() && !self.acknowledges && !self.outdated {
            return Ok(self.answer);
        }
        let this = &*self;
        let committed = self
            .store
            .transact(|mut tx| async move {
                let kept = this.save_in(&mut tx).await?;
                Ok::<_, StoreError>((tx, kept))
            })
            .await?;
        let Some(saved) = committed.value else {
            return Err(Failure::Gone);
        };
        if self.acknowledges {
            self.forget_other_lives().await?;
        }
        (self.acknowledges, self.outdated) = (false, false);
        self.uncertain.clear();
        Ok(saved)
    }

    /// Whether the client can go on if what was added is not kept: it is then told again of rooms that it knows. It cannot if
    /// something was left unsaid.
    pub fn can_be_lost(&self) -> bool {
        self.added.values().all(|told| told.live)
    }

    /// Whether the store takes something: writes the connection's row as it is. A connection that has none gets none by this.
    pub async fn keeps_again(&self) -> bool {
        let key = (self.of.user, self.of.device, self.of.name);
        let written = self.store.transact(|mut tx| async move {
            let row = tx.get(&CONNECTIONS, key).await?;
            let is_there = row.is_some();
            tx.put(&CONNECTIONS, key, &row.unwrap_or_default())?;
            Ok::<_, StoreError>((tx, is_there))
        });
        match written.await {
            Ok(written) if written.value => true,
            Ok(_) => {
                let removed = self.store.transact(|mut tx| async move {
                    tx.delete(&CONNECTIONS, key);
                    Ok::<_, StoreError>((tx, ()))
                });
                removed.await.is_ok()
            }
            Err(_) => false,
        }
    }

    /// Whether nothing was added.
    pub fn is_unchanged(&self) -> bool {
        self.added.is_empty()
    }

    /// Whether something is to be kept that is no answer's: best done while the client waits anyway.
    pub fn is_behind(&self) -> bool {
        self.acknowledges || self.outdated
    }

    async fn save_in(&self, tx: &mut Tx) -> Result<Option<u64>, StoreError> {
        let key = (self.of.user, self.of.device, self.of.name);
        let found = tx.get(&CONNECTIONS, key).await?;
        let is_new = found.as_ref().is_none_or(|row| row.day == 0);
        let mut row = found.unwrap_or_default();
        if is_new {
            row = Connection {
                last: row.last,
                ..Connection::default()
            };
        }
        let follows = self.answer == 0
            || (!is_new && (row.acknowledged == self.answer || row.pending.contains(&self.answer)));
        if !follows {
            return Ok(None);
        }
        if is_new {
            self.make_room(tx).await?;
        }
        if self.answer != 0 && row.acknowledged != self.answer {
            self.acknowledge(tx, &mut row)?;
        }
        row.day = today(self.clock);
        let mut answer = self.answer;
        if !self.added.is_empty() {
            answer = self.clock.millis().max(row.last + 1);
            self.append(tx, &mut row, answer)?;
        }
        tx.put(&CONNECTIONS, key, &row)?;
        Ok(Some(answer))
    }

    /// What the client has is certain now, and no other answer is possible any more.
    fn acknowledge(&self, tx: &mut Tx, row: &mut Connection) -> Result<(), StoreError> {
        for (room, told) in &self.uncertain {
            tx.put(&TOLD, (self.of.name, self.life, *room), told)?;
        }
        for pending in row.pending.drain(..) {
            tx.delete(&PENDING, (self.of.name, pending));
        }
        row.acknowledged = self.answer;
        row.life = self.life;
        row.terms.clone_from(&self.terms);
        let beyond = row.terms.len().saturating_sub(MAX_TERMS);
        row.terms.drain(..beyond);
        Ok(())
    }

    fn append(&self, tx: &mut Tx, row: &mut Connection, answer: u64) -> Result<(), StoreError> {
        let pending = Pending {
            fresh: self.answer == 0,
            rooms: self.added.clone().into_iter().collect(),
            terms: self.added_terms.clone(),
        };
        tx.put(&PENDING, (self.of.name, answer), &pending)?;
        row.last = answer;
        row.pending.push(answer);
        if row.pending.len() > MAX_PENDING {
            tx.delete(&PENDING, (self.of.name, row.pending.remove(0)));
        }
        Ok(())
    }

    /// Ends the device's connection that was used longest ago, if there are too many.
    async fn make_room(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let of = (self.of.user, self.of.device);
        let all = Page::first(MAX_CONNECTIONS * 2);
        let store = tx.store().clone();
        let mut others = store.scan(&CONNECTIONS, of, all).await?;
        others.retain(|((_, _, name), row)| *name != self.of.name && row.day > 0);
        if others.len() < MAX_CONNECTIONS {
            return Ok(());
        }
        let oldest = others
            .into_iter()
            .min_by_key(|(_, row)| (row.day, row.last));
        if let Some((key, mut row)) = oldest {
            row.day = 0;
            tx.put(&CONNECTIONS, key, &row)?;
        }
        Ok(())
    }

    /// Removes what earlier lives of the connection were told.
    async fn forget_other_lives(&self) -> Result<(), StoreError> {
        loop {
            let first = self.store.scan(&TOLD, (self.of.name,), Page::first(1));
            match first.await?.first() {
                Some(((_, life, _), _)) if *life < self.life => {
                    let of = (self.of.name, *life);
                    self.store.erase(&TOLD, of, PAGE).await?;
                }
                _ => return Ok(()),
            }
        }
    }
}
