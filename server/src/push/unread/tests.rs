use ruma::{EventId, UserId, event_id, push::RuleKind, room_id};

use super::{
    KEPT_NOTIFICATIONS, TRIMMED_AT_ONCE, Within, counts, forget_room, newest_unread, read_up_to_in,
    trim, unread,
};
use crate::{
    account_data::ACCOUNT_DATA,
    fixture::{store, user},
    push::{Incoming, PUSH_RULES, notify_in, ruleset},
    store::{List, Store, StoreError},
};

const TIMELINE: List<String, String> = List::new(0x7777, "timeline of this test");

async fn write(store: &Store, kind: &str, content: &str) {
    write_in(store, None, kind, content).await;
}

async fn write_in(store: &Store, thread: Option<&EventId>, kind: &str, content: &str) {
    let room = room_id!("!night:localhost");
    let (therapist, nurse) = (user("therapist"), user("nurse"));
    let json = &format!(
        r#"{{"type":"{kind}","sender":"{therapist}","room_id":"{room}","content":{content}}}"#
    );
    let (therapist, nurse): (&UserId, &UserId) = (&therapist, &nurse);
    store
        .transact(|mut tx| async move {
            let position = tx.append(&TIMELINE, "room", &String::new())?;
            let event = Incoming {
                room,
                sender: therapist,
                kind,
                event_id: event_id!("$event"),
                thread,
                now: 0,
                position,
                json,
                joined: 2,
                power_levels: None,
            };
            notify_in(&mut tx, &event, [therapist, nurse].into_iter()).await?;
            Ok::<_, StoreError>((tx, ()))
        })
        .await
        .unwrap();
}

async fn read_up_to(store: &Store, position: u64) {
    read_within(store, &Within::Room, position).await;
}

async fn read_within(store: &Store, within: &Within, position: u64) {
    let (nurse, room) = (&user("nurse"), room_id!("!night:localhost"));
    store
        .transact(|mut tx| async move {
            read_up_to_in(&mut tx, nurse, room, (within, position), 0).await?;
            Ok::<_, StoreError>((tx, ()))
        })
        .await
        .unwrap();
}

async fn of(store: &Store, name: &str) -> (u64, u64) {
    unread(store, &user(name), room_id!("!night:localhost"))
        .await
        .unwrap()
}

#[tokio::test]
async fn what_was_written_while_she_slept_is_unread_until_she_reads_it() {
    let (_directory, store) = store();
    for _ in 0..3 {
        write(&store, "m.room.encrypted", "{}").await;
    }
    assert_eq!(of(&store, "nurse").await, (3, 0));
    assert_eq!(of(&store, "therapist").await, (0, 0));
    read_up_to(&store, 2).await;
    assert_eq!(of(&store, "nurse").await, (1, 0));
    read_up_to(&store, 1).await;
    assert_eq!(of(&store, "nurse").await, (1, 0));
    read_up_to(&store, 3).await;
    assert_eq!(of(&store, "nurse").await, (0, 0));
    write(&store, "m.room.encrypted", "{}").await;
    assert_eq!(of(&store, "nurse").await, (1, 0));
}

#[tokio::test]
async fn redactions_and_changes_of_the_room_ring_nowhere() {
    let (_directory, store) = store();
    write(&store, "m.room.redaction", "{}").await;
    write(&store, "m.room.power_levels", "{}").await;
    assert_eq!(of(&store, "nurse").await, (0, 0));
}

#[tokio::test]
async fn a_mention_in_a_plain_room_is_a_highlight() {
    let (_directory, store) = store();
    write(
        &store,
        "m.room.message",
        r#"{"body":"hello","m.mentions":{"user_ids":["@nurse:localhost"]}}"#,
    )
    .await;
    assert_eq!(of(&store, "nurse").await, (1, 1));
}

#[tokio::test]
async fn who_has_silenced_everything_is_not_notified() {
    let (_directory, store) = store();
    let nurse = &user("nurse");
    let mut rules = ruleset(&store, nurse).await.unwrap();
    rules
        .set_enabled(RuleKind::Override, ".m.rule.master", true)
        .unwrap();
    let rules = &serde_json::to_string(&rules).unwrap();
    store
        .transact(|mut tx| async move {
            tx.put(&PUSH_RULES, nurse, rules)?;
            Ok::<_, StoreError>((tx, ()))
        })
        .await
        .unwrap();
    write(&store, "m.room.encrypted", "{}").await;
    assert_eq!(of(&store, "nurse").await, (0, 0));
}

#[tokio::test]
async fn who_ignores_the_sender_is_not_notified() {
    let (_directory, store) = store();
    let nurse = &user("nurse");
    let list = &r#"{"ignored_users":{"@therapist:localhost":{}}}"#.to_owned();
    store
        .transact(|mut tx| async move {
            tx.put(&ACCOUNT_DATA, (nurse, "", "m.ignored_user_list"), list)?;
            Ok::<_, StoreError>((tx, ()))
        })
        .await
        .unwrap();
    write(&store, "m.room.encrypted", "{}").await;
    assert_eq!(of(&store, "nurse").await, (0, 0));
}

#[tokio::test]
async fn after_a_long_absence_one_receipt_clears_everything() {
    let (_directory, store) = store();
    let many = (2 * TRIMMED_AT_ONCE + 10) as u64;
    for _ in 0..many {
        write(&store, "m.room.encrypted", "{}").await;
    }
    assert_eq!(of(&store, "nurse").await, (many, 0));
    read_up_to(&store, many - 1).await;
    assert_eq!(of(&store, "nurse").await, (1, 0));
    write(&store, "m.room.encrypted", "{}").await;
    assert_eq!(of(&store, "nurse").await, (2, 0));
    let newest = newest_unread(&store, &user("nurse"), room_id!("!night:localhost"), 10).await;
    assert_eq!(newest.unwrap(), [(many + 1, false), (many, false)]);
}

#[tokio::test]
async fn reading_to_the_middle_leaves_the_rest_unread_with_its_mentions() {
    let (_directory, store) = store();
    let mention = r#"{"body":"hello","m.mentions":{"user_ids":["@nurse:localhost"]}}"#;
    for _ in 0..40 {
        write(&store, "m.room.encrypted", "{}").await;
        write(&store, "m.room.message", mention).await;
    }
    for read in [1, 2, 33, 79] {
        read_up_to(&store, read).await;
        let left = 80 - read;
        assert_eq!(
            of(&store, "nurse").await,
            (left, left.div_ceil(2)),
            "after {read}"
        );
    }
    read_up_to(&store, 80).await;
    assert_eq!(of(&store, "nurse").await, (0, 0));
}

#[tokio::test]
async fn each_thread_is_read_for_itself_and_all_of_them_at_once() {
    let (_directory, store) = store();
    let (one, other) = (event_id!("$one"), event_id!("$other"));
    let mention = r#"{"body":"hello","m.mentions":{"user_ids":["@nurse:localhost"]}}"#;
    write(&store, "m.room.encrypted", "{}").await;
    write_in(&store, Some(one), "m.room.encrypted", "{}").await;
    write_in(&store, Some(one), "m.room.message", mention).await;
    write_in(&store, Some(other), "m.room.encrypted", "{}").await;
    let now = async || {
        counts(&store, &user("nurse"), room_id!("!night:localhost"))
            .await
            .unwrap()
    };
    let of_one = async || {
        let thread = now().await.threads.get(one).copied().unwrap_or_default();
        (thread.notified, thread.highlighted)
    };
    assert_eq!(of(&store, "nurse").await, (4, 1));
    assert_eq!(now().await.main.notified, 1);
    assert_eq!(of_one().await, (2, 1));
    read_within(&store, &Within::Thread(one.to_owned()), 2).await;
    assert_eq!(of_one().await, (1, 1));
    read_within(&store, &Within::Main, 4).await;
    assert_eq!(of(&store, "nurse").await, (2, 1));
    assert_eq!(now().await.main.notified, 0);
    let newest = newest_unread(&store, &user("nurse"), room_id!("!night:localhost"), 10).await;
    assert_eq!(newest.unwrap(), [(4, false), (3, true)]);
    read_up_to(&store, 4).await;
    assert_eq!(of(&store, "nurse").await, (0, 0));
    assert!(now().await.threads.is_empty());
}

#[tokio::test]
async fn of_a_thread_that_nobody_reads_the_oldest_go() {
    let (_directory, store) = store();
    let (thread, nurse) = (event_id!("$one"), user("nurse"));
    for _ in 0..KEPT_NOTIFICATIONS + 3 {
        write_in(&store, Some(thread), "m.room.encrypted", "{}").await;
    }
    let room = room_id!("!night:localhost");
    assert_eq!(trim(&store, &nurse, room, 2).await.unwrap(), 2);
    assert_eq!(trim(&store, &nurse, room, 2).await.unwrap(), 1);
    assert_eq!(trim(&store, &nurse, room, 2).await.unwrap(), 0);
    let newest = newest_unread(&store, &nurse, room, 1).await.unwrap();
    assert_eq!(newest, [(KEPT_NOTIFICATIONS + 3, false)]);
    assert!(forget_room(&store, &nurse, room, 500).await.unwrap());
}
