//! What is new in a stretch of a user's inbox, by room.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedRoomId, OwnedUserId};

use crate::{inbox::Entry, store::Numbered};

/// What a stretch of an inbox tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// The number of the last entry.
    pub(super) end: u64,
    /// What is new in rooms.
    pub(super) rooms: BTreeMap<OwnedRoomId, News>,
    /// Types of global account data that were set.
    pub(super) account_data: BTreeSet<String>,
    /// Users whose devices or keys have changed.
    pub(super) devices: BTreeSet<OwnedUserId>,
    /// Users whose presence has changed.
    pub(super) presence: BTreeSet<OwnedUserId>,
    /// Rooms that were deleted, and when.
    pub(super) deleted: BTreeMap<OwnedRoomId, u64>,
}

/// What is new in a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// The positions of new events, lowest first.
    pub(super) events: Vec<u64>,
    /// The receipts that were moved: whose, and which.
    pub(super) receipts: BTreeSet<(OwnedUserId, String)>,
    /// Types of account data that were set.
    pub(super) account_data: BTreeSet<String>,
    /// Whether somebody has begun or stopped typing.
    pub(super) typing: bool,
}

/// Whether these entries are all there are right after number `after`, as far as they go: nothing of them was trimmed.
pub(super) fn follows(after: u64, entries: &[(u64, Numbered<Entry>)]) -> bool {
    let mut expected = after;
    entries.iter().all(|(number, _)| {
        expected = expected.saturating_add(1);
        *number == expected
    })
}

impl Window {
    /// Sorts the entries after entry number `after` by what they are about.
    pub(super) fn of(after: u64, entries: Vec<(u64, Numbered<Entry>)>) -> Self {
        let mut window = Self {
            end: after,
            ..Self::default()
        };
        for (number, entry) in entries {
            window.end = number;
            let position = entry.number();
            window.add(entry.value, position);
        }
        window
    }

    fn add(&mut self, entry: Entry, position: u64) {
        match entry {
            Entry::Event(room) => self.room(room).events.push(position),
            Entry::Receipt(room, user, of) => {
                self.room(room).receipts.insert((user, of));
            }
            Entry::AccountData(Some(room), kind) => {
                self.room(room).account_data.insert(kind);
            }
            Entry::AccountData(None, kind) => {
                self.account_data.insert(kind);
            }
            Entry::Devices(user) => {
                self.devices.insert(user);
            }
            Entry::Presence(user) => {
                self.presence.insert(user);
            }
            // The user's other devices still have to hear that they left it.
            Entry::Forgotten(_) | Entry::Nothing => {}
            Entry::Deleted(room, when) => {
                self.deleted.insert(room, when);
            }
        }
    }

    fn room(&mut self, room: OwnedRoomId) -> &mut News {
        self.rooms.entry(room).or_default()
    }
}

impl News {
    /// The first and the last new event.
    pub(super) fn bounds(&self) -> Option<(u64, u64)> {
        Some((*self.events.first()?, *self.events.last()?))
    }

    /// Whether no event of the room is missing between the first and the last: one is missing where the user was not in
    /// the room for a while.
    pub(super) fn unbroken(&self) -> bool {
        self.bounds()
            .is_none_or(|(first, last)| last - first + 1 == self.events.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use ruma::{owned_room_id, owned_user_id};

    use super::*;

    fn event(room: &OwnedRoomId, position: u64) -> Numbered<Entry> {
        Numbered::new(Entry::Event(room.clone()), position)
    }

    #[test]
    fn two_conversations_at_once_are_told_apart() {
        let (night, day) = (owned_room_id!("!night:x"), owned_room_id!("!day:x"));
        let nurse = owned_user_id!("@nurse:x");
        let read = Entry::Receipt(night.clone(), nurse.clone(), "m.read ".to_owned());
        let window = Window::of(
            6,
            vec![
                (7, event(&night, 4)),
                (8, event(&day, 9)),
                (9, Numbered::new(read, 0)),
                (10, event(&night, 5)),
                (11, Numbered::new(Entry::Devices(nurse.clone()), 0)),
                (
                    12,
                    Numbered::new(Entry::AccountData(None, "m.direct".to_owned()), 0),
                ),
            ],
        );
        assert_eq!(window.end, 12);
        assert_eq!(window.rooms[&night].events, [4, 5]);
        assert_eq!(
            window.rooms[&night].receipts,
            [(nurse.clone(), "m.read ".to_owned())].into()
        );
        assert_eq!(window.rooms[&day].events, [9]);
        assert_eq!(window.devices, [nurse].into());
        assert_eq!(window.account_data, ["m.direct".to_owned()].into());
    }

    #[test]
    fn nothing_new_leaves_the_place_where_it_was() {
        assert_eq!(
            Window::of(6, Vec::new()),
            Window {
                end: 6,
                ..Window::default()
            }
        );
    }

    #[test]
    fn somebody_who_left_and_came_back_has_a_gap() {
        let seen = |events: &[u64]| News {
            events: events.to_vec(),
            ..News::default()
        };
        assert!(seen(&[]).unbroken());
        assert!(seen(&[3]).unbroken());
        assert!(seen(&[3, 4, 5]).unbroken());
        assert!(!seen(&[3, 4, 9]).unbroken());
    }

    #[test]
    fn that_a_room_was_left_is_told_also_after_it_was_forgotten() {
        let room = owned_room_id!("!night:x");
        let window = Window::of(
            0,
            vec![
                (1, event(&room, 4)),
                (2, Numbered::new(Entry::Forgotten(room.clone()), 0)),
            ],
        );
        assert_eq!(window.rooms[&room].events, [4]);
        assert_eq!(window.end, 2);
    }
}
