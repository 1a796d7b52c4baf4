use serde_json::{Value, json};

use super::world::{Person, World};
use crate::{
    rooms::relations::{AGGREGATES, BY_TYPE, INDEXED, RELATIONS, RELATORS, THREAD_ORDER, index},
    store::{Page, Store, StoreError, Tx},
};

async fn refers(who: &Person, room: &ruma::RoomId, how: &str, to: &str, n: usize) -> String {
    let path = format!("/v3/rooms/{room}/send/m.room.message/{how}-{n}");
    let content = json!({
        "msgtype": "m.text", "body": "x", "m.relates_to": { "rel_type": how, "event_id": to },
    });
    let sent = who.put(&path, content).await;
    sent["event_id"].as_str().unwrap().to_owned()
}

/// All that is known of relations, as text.
async fn known(store: &Store) -> Vec<String> {
    let all = Page::first(10_000);
    macro_rules! rows {
        ($($table:expr),*) => {{
            let mut known = Vec::new();
            $(for row in store.scan(&$table, (), all).await.unwrap() {
                known.push(format!("{row:?}"));
            })*
            known
        }};
    }
    rows!(BY_TYPE, RELATORS, AGGREGATES, THREAD_ORDER, RELATIONS)
}

async fn forget_all(store: &Store) {
    store.erase(&BY_TYPE, (), 10_000).await.unwrap();
    store.erase(&RELATORS, (), 10_000).await.unwrap();
    store.erase(&AGGREGATES, (), 10_000).await.unwrap();
    store.erase(&THREAD_ORDER, (), 10_000).await.unwrap();
    let forget = |mut tx: Tx| async move {
        tx.delete(&INDEXED, ());
        Ok::<_, StoreError>((tx, ()))
    };
    store.transact(forget).await.unwrap();
}

#[tokio::test]
async fn the_threads_of_an_older_store_are_worked_out_at_the_start() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let store = &world.app.store;
    for n in 0..2 {
        let room = therapist.room_with(&[&nurse], "11").await;
        let (first, second) = (
            therapist.say(&room, "first").await,
            nurse.say(&room, "second").await,
        );
        for n in 0..5 {
            refers(&nurse, &room, "m.thread", &first, n).await;
            refers(&therapist, &room, "m.reference", &first, n).await;
        }
        refers(&therapist, &room, "m.thread", &first, 9).await;
        refers(&nurse, &room, "m.replace", &second, 1).await;
        refers(&therapist, &room, "m.replace", &second, 1).await;
        refers(&nurse, &room, "m.thread", "$elsewhere", 10).await;
        let last = refers(&nurse, &room, "m.thread", &first, 11).await;
        let path = format!("/v3/rooms/{room}/redact/{last}/{n}");
        nurse.put(&path, json!({})).await;
    }
    let before = known(store).await;
    assert!(before.len() > 30);
    index(store).await.unwrap();
    assert_eq!(known(store).await, before, "it was there already");
    forget_all(store).await;
    assert!(known(store).await.len() < before.len());
    index(store).await.unwrap();
    assert_eq!(known(store).await, before);
    assert!(store.get(&INDEXED, ()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_room_that_is_deleted_leaves_no_threads() {
    let world = World::plain().await;
    let therapist = world.person("therapist").await;
    let room = therapist.room(json!({})).await;
    let root = therapist.say(&room, "root").await;
    for how in ["m.thread", "m.replace", "m.reference"] {
        refers(&therapist, &room, how, &root, 1).await;
    }
    therapist.act(&room, "leave", json!({})).await;
    therapist.act(&room, "forget", json!({})).await;
    let store = &world.app.store;
    while crate::rooms::deletion::erase_events(store, &room, 3)
        .await
        .unwrap()
    {}
    assert_eq!(known(store).await, Vec::<String>::new());
}

#[tokio::test]
async fn who_replies_at_the_same_moment_is_counted() {
    let world = World::plain().await;
    let therapist = world.person("therapist").await;
    let nurse = world.person("nurse").await;
    let room = &therapist.room_with(&[&nurse], "11").await;
    let root = &therapist.say(room, "root").await;
    let replies = (0..20).map(|n| {
        let who = if n % 2 == 0 { &nurse } else { &therapist };
        refers(who, room, "m.thread", root, n)
    });
    futures_util::future::join_all(replies).await;
    let event: Value = nurse.get(&format!("/v3/rooms/{room}/event/{root}")).await;
    let thread = &event["unsigned"]["m.relations"]["m.thread"];
    assert_eq!(thread["count"], 20);
    let newest = world.timeline(room).await.pop().unwrap().1.event_id;
    assert_eq!(thread["latest_event"]["event_id"], newest.as_str());
    let list = nurse.get(&format!("/v1/rooms/{room}/threads")).await;
    assert_eq!(list["chunk"].as_array().unwrap().len(), 1);
}
