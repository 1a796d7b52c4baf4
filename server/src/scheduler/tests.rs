//! The schedule on a real store, with a clock that the test moves.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use respite_protocol::TherapyKind;
use ruma::{OwnedRoomId, OwnedUserId, events::room::member::MembershipState, user_id};
use tempfile::TempDir;

use super::*;
use crate::{
    clock::Clock,
    config::Config,
    rooms::{
        append::{self, NewEvent},
        create::{self, NewRoom},
        event::TIMELINE,
        membership,
    },
    start::{self, Options},
    store::engine::{Cell, Write, WriteSet},
};

const NINE: u64 = 1_800_000_000_000;
const HOUR: u64 = 3_600_000;

/// A therapist and a night nurse in a therapy room, at nine o'clock.
struct Night {
    app: App,
    time: Arc<AtomicU64>,
    room: OwnedRoomId,
    therapist: OwnedUserId,
    nurse: OwnedUserId,
    directory: TempDir,
}

impl Night {
    async fn begin() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let time = Arc::new(AtomicU64::new(NINE));
        let app = open(&directory, &time).await;
        let therapist = user_id!("@therapist:localhost").to_owned();
        let nurse = user_id!("@nurse:localhost").to_owned();
        let members = vec![(nurse.clone(), MembershipState::Join)];
        let room = &NewRoom::therapy(TherapyKind::Individual, members);
        let (server, creator) = (&app, &therapist);
        let made = app
            .store
            .transact(|mut tx: Tx| async move {
                let id = create::create_in(&mut tx, server, creator, room.clone()).await?;
                Ok::<_, Error>((tx, id))
            })
            .await
            .unwrap();
        Self {
            app,
            time,
            room: made.value,
            therapist,
            nurse,
            directory,
        }
    }

    /// A check-in for the nurse, this many hours after nine.
    fn check_in(&self, hours: u64) -> Scheduled {
        Scheduled {
            room: self.room.clone(),
            sender: self.therapist.clone(),
            addressee: self.nurse.clone(),
            release: NINE + hours * HOUR,
            expires: None,
            unless_written_since: None,
            follows: None,
            fate: Fate::Waiting,
            ended: None,
            request: [0; 32],
            event: Some((
                "m.room.encrypted".to_owned(),
                r#"{"algorithm":"m.megolm.v1.aes-sha2"}"#.to_owned(),
            )),
        }
    }

    async fn plan(&self, number: u8, event: Scheduled) -> String {
        let event = Scheduled {
            request: [number; 32],
            ..event
        };
        schedule(&self.app, event).await.unwrap()
    }

    /// How many check-ins are in the room, and what became of each of these.
    async fn at(&self, hours: u64, ids: &[&String]) -> (usize, Vec<Fate>) {
        self.time.store(NINE + hours * HOUR, Ordering::Relaxed);
        release_due(&self.app).await.unwrap();
        let all = self
            .app
            .store
            .after(&TIMELINE, &*self.room, 0, 1000)
            .await
            .unwrap();
        let released = all
            .iter()
            .filter(|(_, event)| event.kind == "m.room.encrypted")
            .count();
        let mut fates = Vec::new();
        for id in ids {
            fates.push(
                self.app
                    .store
                    .get(&SCHEDULED, *id)
                    .await
                    .unwrap()
                    .unwrap()
                    .fate,
            );
        }
        (released, fates)
    }

    async fn nurse_writes(&self) {
        let event = NewEvent::message("m.room.encrypted", ruma::CanonicalJsonObject::new());
        append::send(&self.app, &self.nurse, &self.room, event, None)
            .await
            .unwrap();
    }
}

async fn open(directory: &TempDir, time: &Arc<AtomicU64>) -> App {
    let mut config = Config::default();
    config.server.data = directory.path().join("data");
    let options = Options {
        clock: Clock::manual(time.clone()),
        ..Options::default()
    };
    start::open(config, options).await.unwrap().app
}

#[tokio::test]
async fn a_check_in_is_released_when_it_is_due_and_once() {
    let night = Night::begin().await;
    let id = night.plan(1, night.check_in(8)).await;
    assert_eq!(night.at(7, &[&id]).await, (0, vec![Fate::Waiting]));
    assert_eq!(night.at(8, &[&id]).await, (1, vec![Fate::Released]));
    assert_eq!(night.at(9, &[&id]).await, (1, vec![Fate::Released]));
    let kept = night.app.store.get(&SCHEDULED, &id).await.unwrap().unwrap();
    assert_eq!(
        kept.event, None,
        "the ciphertext is in the room, and nowhere else"
    );
}

#[tokio::test]
async fn two_servers_that_release_at_the_same_time_release_once() {
    let night = Night::begin().await;
    for number in 0..20 {
        night.plan(number, night.check_in(1)).await;
    }
    night.time.store(NINE + HOUR, Ordering::Relaxed);
    let (first, second) = tokio::join!(release_due(&night.app), release_due(&night.app));
    first.unwrap();
    second.unwrap();
    assert_eq!(night.at(1, &[]).await.0, 20);
}

#[tokio::test]
async fn a_check_in_that_cannot_be_released_holds_up_no_other_one() {
    let night = Night::begin().await;
    let damaged = night.plan(1, night.check_in(1)).await;
    for number in 2..100 {
        night.plan(number, night.check_in(2)).await;
    }
    let key = SCHEDULED.key(&damaged);
    let good = night.app.store.engine().get(vec![key.clone()]).await;
    let good = good.unwrap().pop().unwrap().unwrap();
    let write = |value: Vec<u8>| {
        let writes = vec![Write::Put {
            key: Cell::plain(key.clone()),
            value: Cell::plain(value),
        }];
        let checks = Vec::new();
        night.app.store.engine().commit(WriteSet { checks, writes })
    };
    write(b"\xff".to_vec()).await.unwrap();
    night.time.store(NINE + 2 * HOUR, Ordering::Relaxed);
    release_due(&night.app).await.unwrap_err();
    write(good).await.unwrap();
    let entries = night.app.store.head(&TIMELINE, &*night.room).await.unwrap();
    assert_eq!(night.at(2, &[&damaged]).await, (99, vec![Fate::Released]));
    let after = night.app.store.head(&TIMELINE, &*night.room).await.unwrap();
    assert_eq!(after, entries + 1, "the others were released before");
}

#[tokio::test]
async fn the_same_request_schedules_once_even_after_the_release() {
    let night = Night::begin().await;
    let id = night.plan(1, night.check_in(1)).await;
    assert_eq!(night.plan(1, night.check_in(1)).await, id);
    assert_eq!(night.at(1, &[]).await.0, 1);
    assert_eq!(night.plan(1, night.check_in(1)).await, id);
    assert_eq!(night.at(2, &[]).await.0, 1);
}

#[tokio::test]
async fn what_is_overdue_after_a_stop_is_released_at_once_or_dropped_if_it_has_expired() {
    let night = Night::begin().await;
    let overdue = night.plan(1, night.check_in(1)).await;
    let expired = night
        .plan(
            2,
            Scheduled {
                expires: Some(NINE + 2 * HOUR),
                ..night.check_in(1)
            },
        )
        .await;
    let Night {
        app,
        time,
        room,
        therapist,
        nurse,
        directory,
    } = night;
    drop(app);
    let app = open(&directory, &time).await;
    let night = Night {
        app,
        time,
        room,
        therapist,
        nurse,
        directory,
    };
    let fates = night.at(10, &[&overdue, &expired]).await;
    assert_eq!(fates, (1, vec![Fate::Released, Fate::Dropped]));
}

#[tokio::test]
async fn a_reminder_is_dropped_if_the_nurse_has_written_since() {
    let night = Night::begin().await;
    let reminder = |since| Scheduled {
        unless_written_since: Some(since),
        ..night.check_in(4)
    };
    night.time.store(NINE + HOUR, Ordering::Relaxed);
    night.nurse_writes().await;
    let answered = night.plan(1, reminder(NINE)).await;
    let unanswered = night.plan(2, reminder(NINE + 2 * HOUR)).await;
    let fates = night.at(4, &[&answered, &unanswered]).await;
    assert_eq!(
        fates,
        (2, vec![Fate::Dropped, Fate::Released]),
        "the nurse's own message and one reminder"
    );
}

#[tokio::test]
async fn a_reminder_moves_and_ends_with_the_check_in_that_it_follows() {
    let night = Night::begin().await;
    let first = night.plan(1, night.check_in(1)).await;
    let follower = Scheduled {
        follows: Some(first.clone()),
        unless_written_since: Some(NINE + HOUR),
        expires: Some(NINE + 4 * HOUR),
        ..night.check_in(3)
    };
    let second = night.plan(2, follower).await;
    postpone(&night.app, &night.nurse, &first, NINE + 5 * HOUR)
        .await
        .unwrap();
    assert_eq!(
        night.at(3, &[&first, &second]).await,
        (0, vec![Fate::Waiting, Fate::Waiting])
    );
    let moved = night
        .app
        .store
        .get(&SCHEDULED, &second)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (moved.release, moved.expires),
        (NINE + 7 * HOUR, Some(NINE + 8 * HOUR))
    );
    assert_eq!(moved.unless_written_since, Some(NINE + 5 * HOUR));
    cancel(&night.app, &night.therapist, &first).await.unwrap();
    assert_eq!(
        night.at(9, &[&first, &second]).await,
        (0, vec![Fate::Cancelled, Fate::Cancelled])
    );
}

#[tokio::test]
async fn nobody_else_can_move_or_cancel_a_check_in() {
    let night = Night::begin().await;
    let id = night.plan(1, night.check_in(1)).await;
    let stranger = user_id!("@stranger:localhost").to_owned();
    postpone(&night.app, &stranger, &id, NINE + 5 * HOUR)
        .await
        .unwrap_err();
    cancel(&night.app, &stranger, &id).await.unwrap_err();
    assert_eq!(night.at(1, &[&id]).await, (1, vec![Fate::Released]));
    cancel(&night.app, &night.nurse, &id).await.unwrap_err();
}

#[tokio::test]
async fn a_check_in_of_someone_who_has_left_is_dropped() {
    let night = Night::begin().await;
    let id = night.plan(1, night.check_in(1)).await;
    membership::leave(&night.app, &night.therapist, &night.room)
        .await
        .unwrap();
    assert_eq!(night.at(1, &[&id]).await, (0, vec![Fate::Dropped]));
    night.at(30 * 24 + 2, &[]).await;
    let store = &night.app.store;
    assert!(
        store
            .scan(&DUE, (), Page::first(1))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(of_room(store, &night.room).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_became_of_a_check_in_is_forgotten_after_a_month() {
    let night = Night::begin().await;
    let released = night.plan(1, night.check_in(1)).await;
    let cancelled = night.plan(2, night.check_in(2)).await;
    night.at(1, &[]).await;
    cancel(&night.app, &night.nurse, &cancelled).await.unwrap();
    let waiting = night.plan(3, night.check_in(31 * 24)).await;
    let fates = vec![Fate::Released, Fate::Cancelled, Fate::Waiting];
    let ids = [&released, &cancelled, &waiting];
    assert_eq!(night.at(30 * 24, &ids).await, (1, fates));
    assert_eq!(night.at(30 * 24 + 1, &[]).await.0, 1);
    let store = &night.app.store;
    let kept = of_room(store, &night.room).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].0, waiting);
    let all = Page::first(10);
    assert_eq!(store.scan(&SCHEDULED, (), all).await.unwrap().len(), 1);
    assert_eq!(store.scan(&OF_ROOM, (), all).await.unwrap().len(), 1);
    assert_eq!(store.scan(&REQUESTS, (), all).await.unwrap().len(), 1);
    assert_eq!(store.scan(&DUE, (), all).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_room_holds_a_limited_number_and_forgets_what_is_long_over() {
    let night = Night::begin().await;
    for number in 0..u16::try_from(MAX_PROMPTS_PER_ROOM).unwrap() {
        let event = numbered(night.check_in(1), number);
        schedule(&night.app, event).await.unwrap();
    }
    let late = Scheduled {
        release: NINE + 2 * REMEMBERED_MS,
        request: [255; 32],
        ..night.check_in(0)
    };
    schedule(&night.app, late.clone()).await.unwrap_err();
    night.at(1, &[]).await;
    night
        .time
        .store(NINE + HOUR + REMEMBERED_MS + 1, Ordering::Relaxed);
    schedule(&night.app, late).await.unwrap();
    assert_eq!(
        of_room(&night.app.store, &night.room).await.unwrap().len(),
        1
    );
}

fn numbered(event: Scheduled, number: u16) -> Scheduled {
    let mut request = [0; 32];
    request[..2].copy_from_slice(&number.to_be_bytes());
    Scheduled { request, ..event }
}

#[tokio::test]
async fn the_nurse_cannot_keep_the_therapist_from_planning() {
    let night = Night::begin().await;
    let own = Scheduled {
        sender: night.nurse.clone(),
        ..night.check_in(1)
    };
    for number in 0..u16::try_from(MAX_OF_OTHERS).unwrap() {
        schedule(&night.app, numbered(own.clone(), number))
            .await
            .unwrap();
    }
    schedule(&night.app, numbered(own, 999)).await.unwrap_err();
    night.plan(255, night.check_in(1)).await;
}

#[tokio::test]
async fn what_was_cancelled_is_forgotten_with_its_request_however_far_ahead_it_was_planned() {
    let night = Night::begin().await;
    let id = night.plan(1, night.check_in(24 * 365)).await;
    cancel(&night.app, &night.therapist, &id).await.unwrap();
    let later = NINE + REMEMBERED_MS + 1;
    night.time.store(later, Ordering::Relaxed);
    night.plan(2, night.check_in(24 * 365)).await;
    let store = &night.app.store;
    assert_eq!(of_room(store, &night.room).await.unwrap().len(), 1);
    assert_eq!(store.get(&REQUESTS, [1; 32]).await.unwrap(), None);
}

#[tokio::test]
async fn who_has_left_moves_and_cancels_nothing() {
    let night = Night::begin().await;
    let id = night.plan(1, night.check_in(1)).await;
    membership::leave(&night.app, &night.nurse, &night.room)
        .await
        .unwrap();
    postpone(&night.app, &night.nurse, &id, NINE + 5 * HOUR)
        .await
        .unwrap_err();
    cancel(&night.app, &night.nurse, &id).await.unwrap_err();
    assert_eq!(night.at(1, &[&id]).await, (1, vec![Fate::Released]));
}
