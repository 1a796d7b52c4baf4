//! Rooms that end, and what time alone makes superfluous.

use respite_protocol::{Role, TherapyKind};
use ruma::{OwnedRoomId, UserId, events::room::member::MembershipState};
use serde_json::json;

use super::*;
use crate::{
    account_data, accounts, backup,
    error::Error,
    fixture::{Server, device, user},
    inbox::{Entry, INBOX},
    invites, media, profiles, push,
    rooms::{
        append::{self, NewEvent},
        create::{self, NewRoom},
        deletion, membership,
    },
    scheduler::{self, Fate, Scheduled},
    store::{Page, StoreError},
};

const DAY: u64 = 24 * 60 * 60 * 1000;
const CIPHERTEXT: &str = "AwgAEpABthisIsWhatTheNurseWroteAtFourInTheMorning";

/// A therapist and a night nurse, and a therapy room with everything in it that a room can have.
struct Night {
    server: Server,
    room: OwnedRoomId,
}

impl Night {
    async fn begin() -> Self {
        let server = Server::new().await;
        for name in ["therapist", "nurse", "doctor"] {
            server.admit(name).await;
        }
        let (nurse, profile) = (
            &user("nurse"),
            &profiles::Profile {
                displayname: Some("Night owl".to_owned()),
                ..profiles::Profile::default()
            },
        );
        server
            .app
            .store
            .transact(|mut tx| async move {
                tx.put(&profiles::PROFILES, nurse, profile)?;
                Ok::<_, StoreError>((tx, ()))
            })
            .await
            .unwrap();
        let room = room_of(&server, "nurse").await;
        let night = Self { server, room };
        for number in 0..30 {
            night.write("nurse", number).await;
        }
        night.fill().await;
        night
    }

    async fn write(&self, who: &str, number: u32) {
        let mut content = json!({ "ciphertext": format!("{CIPHERTEXT}{number}") });
        if number > 0 {
            content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": "$root" });
        }
        let content = serde_json::from_value(content).unwrap();
        let event = NewEvent::message("m.room.encrypted", content);
        let (txn, device) = (format!("txn{number}"), device(who, "PHONE"));
        let txn = (&*device.device, txn.as_str().into());
        append::send(&self.server.app, &user(who), &self.room, event, Some(txn))
            .await
            .unwrap();
    }

    /// A check-in that waits, a document, account data and a receipt.
    async fn fill(&self) {
        let app = &self.server.app;
        let check_in = Scheduled {
            room: self.room.clone(),
            sender: user("therapist"),
            addressee: user("nurse"),
            release: app.clock.millis() + DAY,
            expires: None,
            unless_written_since: None,
            follows: None,
            fate: Fate::Waiting,
            ended: None,
            request: [7; 32],
            event: Some(("m.room.encrypted".to_owned(), CIPHERTEXT.to_owned())),
        };
        scheduler::schedule(app, check_in).await.unwrap();
        let bytes = bytes::Bytes::from_static(&[0xa7, 0x1c, 0x93, 0x5e]);
        let body = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
        let therapist = user("therapist");
        let incoming = media::Incoming {
            user: &therapist,
            room: Some(media::InRoom {
                id: &self.room,
                most: 1,
            }),
            size: None,
        };
        media::store_upload(app, incoming, body).await.unwrap();
        let (nurse, room) = (&user("nurse"), &self.room);
        app.store
            .transact(async |mut tx| {
                account_data::set_in(&mut tx, nurse, Some(room), "m.marked_unread", "{}").await?;
                Ok::<_, Error>((tx, ()))
            })
            .await
            .unwrap();
    }

    /// How many entries of the store, and blobs, have to do with the room.
    async fn traces(&self) -> usize {
        let app = &self.server.app;
        let snapshot = app.store.engine().snapshot().await.unwrap();
        let entries = snapshot.page(None, 100_000).await.unwrap();
        let has =
            |bytes: &[u8], what: &str| bytes.windows(what.len()).any(|w| w == what.as_bytes());
        let about = entries.iter().filter(|(key, value)| {
            [key, value]
                .into_iter()
                .any(|bytes| has(bytes, self.room.as_str()) || has(bytes, CIPHERTEXT))
        });
        let blobs = self.server.directory.path().join("data/blobs/kept");
        let blobs: usize = std::fs::read_dir(blobs)
            .unwrap()
            .map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap().count())
            .sum();
        about.count() + blobs
    }

    /// Whether these words are in a value of the store.
    async fn knows_of(&self, words: &str) -> bool {
        let snapshot = self.server.app.store.engine().snapshot().await.unwrap();
        let entries = snapshot.page(None, 100_000).await.unwrap();
        let has = |value: &[u8]| value.windows(words.len()).any(|w| w == words.as_bytes());
        entries.iter().any(|(_, value)| has(value))
    }

    async fn steps_until_done(&self) -> usize {
        let mut steps = 0;
        while room::step(&self.server.app).await.unwrap() {
            steps += 1;
        }
        steps
    }
}

async fn room_of(server: &Server, client: &str) -> OwnedRoomId {
    let members = vec![(user(client), MembershipState::Join)];
    let room = &NewRoom::therapy(TherapyKind::Individual, members);
    let app = &server.app;
    let made = app.store.transact(async |mut tx| {
        let id = create::create_in(&mut tx, app, &user("therapist"), room.clone()).await?;
        Ok::<_, Error>((tx, id))
    });
    made.await.unwrap().value
}

/// The deletions that are told in an inbox: what is left of a deleted room until all have heard of it.
async fn told_of_the_end(night: &Night, who: &UserId) -> usize {
    let entries = night.server.app.store.after(&INBOX, who, 0, 10_000).await;
    let entries = entries.unwrap().into_iter();
    entries
        .filter(|(_, entry)| matches!(&entry.value, Entry::Deleted(room, _) if *room == night.room))
        .count()
}

#[tokio::test]
async fn a_deleted_room_leaves_nothing_but_the_news_of_it() {
    let night = Night::begin().await;
    let other = room_of(&night.server, "doctor").await;
    assert!(night.traces().await > 100);
    erase_room(&night.server.app, &night.room).await.unwrap();
    let (therapist, nurse) = (user("therapist"), user("nurse"));
    for member in [&therapist, &nurse] {
        assert_eq!(told_of_the_end(&night, member).await, 1);
    }
    assert_eq!(night.traces().await, 2);
    let left = membership::joined_rooms(&night.server.app.store, &therapist).await;
    assert_eq!(left.unwrap(), [other]);
    erase_room(&night.server.app, &night.room)
        .await
        .unwrap_err();
}

#[tokio::test]
async fn nobody_enters_or_reads_a_room_whose_deletion_has_begun() {
    let night = Night::begin().await;
    let (app, room) = (&night.server.app, &night.room);
    deletion::begin(app, room).await.unwrap();
    deletion::begin(app, room).await.unwrap();
    let nurse = user("nurse");
    let message = NewEvent::message("m.room.encrypted", Default::default());
    append::send(app, &nurse, room, message, None)
        .await
        .unwrap_err();
    membership::join(app, &nurse, room).await.unwrap_err();
    membership::invite(app, &user("therapist"), room, &user("doctor"))
        .await
        .unwrap_err();
    assert!(rooms::access::readable(app, &nurse, room).await.is_err());
    assert!(rooms::access::joined(app, &nurse, room).await.is_err());
    night.server.wait(2 * DAY);
    scheduler::release_due(app).await.unwrap();
    night.steps_until_done().await;
    assert_eq!(night.traces().await, 2);
}

#[tokio::test]
async fn a_deletion_that_was_interrupted_is_finished_by_whoever_comes_next() {
    let whole = {
        let night = Night::begin().await;
        deletion::begin(&night.server.app, &night.room)
            .await
            .unwrap();
        night.steps_until_done().await
    };
    assert!(whole > 8, "{whole} steps");
    for done in 0..whole {
        let night = Night::begin().await;
        deletion::begin(&night.server.app, &night.room)
            .await
            .unwrap();
        for _ in 0..done {
            room::step(&night.server.app).await.unwrap();
        }
        // Two servers at once take it up.
        let both = futures_util::future::join(night.steps_until_done(), night.steps_until_done());
        both.await;
        assert_eq!(night.traces().await, 2, "after {done} steps");
    }
}

#[tokio::test]
async fn a_room_that_everybody_has_left_and_forgotten_is_deleted() {
    let night = Night::begin().await;
    let (app, room) = (&night.server.app, &night.room);
    let (therapist, nurse) = (user("therapist"), user("nurse"));
    membership::leave(app, &nurse, room).await.unwrap();
    membership::forget(app, &nurse, room).await.unwrap();
    membership::leave(app, &therapist, room).await.unwrap();
    assert!(deletion::next(&app.store).await.unwrap().is_none());
    membership::forget(app, &therapist, room).await.unwrap();
    assert!(night.steps_until_done().await > 0);
    assert_eq!(night.traces().await, 0, "nobody has to be told");
}

#[tokio::test]
async fn a_room_that_somebody_was_invited_to_stays_for_them() {
    let night = Night::begin().await;
    let (app, room) = (&night.server.app, &night.room);
    let (therapist, nurse) = (user("therapist"), user("nurse"));
    membership::invite(app, &therapist, room, &user("doctor"))
        .await
        .unwrap();
    for user in [&nurse, &therapist] {
        membership::leave(app, user, room).await.unwrap();
        membership::forget(app, user, room).await.unwrap();
    }
    assert!(deletion::next(&app.store).await.unwrap().is_none());
    membership::leave(app, &user("doctor"), room).await.unwrap();
    membership::forget(app, &user("doctor"), room)
        .await
        .unwrap();
    assert!(deletion::next(&app.store).await.unwrap().is_some());
}

/// Goes once round everybody.
async fn round(app: &App, round: &mut Round) {
    for _ in 0..1_000 {
        step(app, round).await.unwrap();
    }
}

#[tokio::test]
async fn who_never_reads_keeps_as_many_notifications_as_they_could_page_back_to() {
    let night = Night::begin().await;
    let (app, therapist) = (&night.server.app, &user("therapist"));
    app.store
        .transact(async |mut tx| {
            let account = accounts::Account {
                role: Role::Therapist,
                created: 0,
                deactivated: None,
            };
            tx.put(&accounts::ACCOUNTS, therapist, &account)?;
            for _ in 0..push::KEPT_NOTIFICATIONS + 700 {
                let unread =
                    crate::store::Numbered::new(push::Notification { highlight: false }, 1);
                tx.append(&push::NOTIFICATIONS, (therapist, &*night.room), &unread)?;
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await
        .unwrap();
    let (unread, _) = push::unread(&app.store, therapist, &night.room)
        .await
        .unwrap();
    assert!(unread > push::KEPT_NOTIFICATIONS + 700);
    round(app, &mut Round::default()).await;
    let kept = app
        .store
        .after(&push::NOTIFICATIONS, (therapist, &*night.room), 0, 10_000);
    assert_eq!(kept.await.unwrap().len() as u64, push::KEPT_NOTIFICATIONS);
    let still = push::unread(&app.store, therapist, &night.room)
        .await
        .unwrap();
    assert_eq!(still.0, unread, "the count stays");
}

#[tokio::test]
async fn codes_that_no_longer_work_are_forgotten_and_the_others_are_not() {
    let night = Night::begin().await;
    let app = &night.server.app;
    let therapist = user("therapist");
    let lasting = |days: u64| std::time::Duration::from_millis(days * DAY);
    for (maker, days) in [
        (None, 1),
        (None, 60),
        (Some(&*therapist), 1),
        (Some(&*therapist), 60),
    ] {
        invites::make(app, maker, Role::Client, 1, lasting(days))
            .await
            .unwrap();
    }
    let mut going = Round::default();
    night.server.wait(29 * DAY);
    round(app, &mut going).await;
    let codes = async || {
        app.store
            .scan(&invites::INVITES, (), Page::first(10))
            .await
            .unwrap()
            .len()
    };
    assert_eq!(codes().await, 4);
    night.server.wait(2 * DAY);
    round(app, &mut going).await;
    assert_eq!(codes().await, 2);
    let made = app
        .store
        .scan(&invites::MADE, (), Page::first(10))
        .await
        .unwrap();
    assert_eq!(made.len(), 1);
}

#[tokio::test]
async fn a_request_is_known_for_a_week_and_then_forgotten() {
    let night = Night::begin().await;
    let app = &night.server.app;
    let known = async || {
        app.store
            .scan(&append::TRANSACTIONS, (), Page::first(100))
            .await
            .unwrap()
            .len()
    };
    assert_eq!(known().await, 30);
    let head = async || {
        app.store
            .head(&rooms::event::TIMELINE, &*night.room)
            .await
            .unwrap()
    };
    let before = head().await;
    night.server.wait(7 * DAY);
    round(app, &mut Round::default()).await;
    night.write("nurse", 3).await;
    assert_eq!((head().await, known().await), (before, 30));
    night.server.wait(7 * DAY);
    round(app, &mut Round::default()).await;
    assert_eq!(known().await, 0);
}

#[tokio::test]
async fn it_stops_with_the_server() {
    let night = Night::begin().await;
    let app = night.server.app.clone();
    let running = tokio::spawn(run(app.clone()));
    app.shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn of_an_ended_account_nothing_is_left_but_its_name_and_what_it_said_to_others() {
    let night = Night::begin().await;
    let (app, nurse) = (&night.server.app, &user("nurse"));
    let phone = device("nurse", "PHONE");
    night.server.log_in(&phone).await;
    let secret = "m.secret_storage.default_key";
    app.store
        .transact(async |mut tx| {
            let account = accounts::Account {
                role: Role::Client,
                created: 0,
                deactivated: None,
            };
            tx.put(&accounts::ACCOUNTS, nurse, &account)?;
            account_data::set_in(&mut tx, nurse, None, secret, "{}").await?;
            for number in 0..3 * STEP as u64 {
                let session = session_of(number);
                tx.put(
                    &backup::BACKED_UP,
                    (nurse, 1, &*night.room, number.to_string()),
                    &session,
                )?;
            }
            Ok::<_, Error>((tx, ()))
        })
        .await
        .unwrap();
    assert!(
        night.knows_of("Night owl").await,
        "the room's events name the nurse"
    );
    accounts::deactivate(app, nurse, false).await.unwrap();
    while step(app, &mut Round::default()).await.unwrap() {}
    let snapshot = app.store.engine().snapshot().await.unwrap();
    let entries = snapshot.page(None, 100_000).await.unwrap();
    let about = |pair: &&(Vec<u8>, Vec<u8>)| {
        pair.0
            .windows(nurse.as_str().len())
            .any(|w| w == nurse.as_bytes())
    };
    let mut tables: Vec<u16> = entries
        .iter()
        .filter(about)
        .map(|(key, _)| u16::from_be_bytes([key[0], key[1]]))
        .filter(|table| *table != 0)
        .collect();
    tables.dedup();
    // Their name, that they were in the room, and their membership events there.
    assert_eq!(tables, [0x0106, 0x0404, 0x0407]);
    assert!(!night.knows_of("Night owl").await);
    let state = rooms::state::current(app, &night.room)
        .await
        .unwrap()
        .unwrap();
    let member = state.get("m.room.member", nurse.as_str()).unwrap();
    assert_eq!(member.event().content, r#"{"membership":"leave"}"#);
    let left = membership::of(&app.store, nurse, &night.room)
        .await
        .unwrap()
        .unwrap();
    assert!(left.forgotten);
}

fn session_of(number: u64) -> backup::Session {
    backup::Session {
        first_message_index: number,
        forwarded_count: 0,
        is_verified: true,
        session_data: "{}".to_owned(),
    }
}
