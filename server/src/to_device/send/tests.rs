use ruma::OwnedDeviceId;

use super::{Addressed, deliver, request_hash};
use crate::{
    fixture::{store, user},
    store::Store,
    to_device::{MAX_PENDING, REMOVED, TO_DEVICE, ToDevice, delivered, forget_device_in},
};

fn messages(count: usize) -> Vec<Addressed> {
    let message = ToDevice {
        kind: "m.room.encrypted".to_owned(),
        sender: user("therapist"),
        content: "{}".to_owned(),
    };
    (0..count)
        .map(|_| (user("nurse"), "PHONE".into(), message.clone()))
        .collect()
}

fn phone() -> OwnedDeviceId {
    "PHONE".into()
}

async fn send(store: &Store, txn: &str, count: usize) {
    let therapist = user("therapist");
    let request = request_hash("m.room.encrypted", txn);
    deliver(
        store,
        (&therapist, "LAPTOP".into()),
        request,
        &messages(count),
    )
    .await
    .unwrap();
}

async fn waiting(store: &Store) -> Vec<u64> {
    let list = store
        .after(&TO_DEVICE, (user("nurse"), phone()), 0, 100_000)
        .await
        .unwrap();
    list.into_iter().map(|(number, _)| number).collect()
}

#[tokio::test]
async fn a_request_that_is_sent_twice_arrives_once() {
    let (_directory, store) = store();
    send(&store, "1", 2).await;
    send(&store, "1", 2).await;
    assert_eq!(waiting(&store).await, [1, 2]);
    send(&store, "2", 1).await;
    assert_eq!(waiting(&store).await, [1, 2, 3]);
}

#[tokio::test]
async fn twenty_copies_of_one_request_at_once_arrive_once() {
    let (_directory, store) = store();
    let sends = futures_util::future::join_all((0..20).map(|_| send(&store, "1", 1)));
    sends.await;
    assert_eq!(waiting(&store).await, [1]);
}

#[tokio::test]
async fn what_was_delivered_is_removed_once_and_for_all() {
    let (_directory, store) = store();
    send(&store, "1", 5).await;
    let nurse = user("nurse");
    delivered(&store, &nurse, "PHONE".into(), 3).await.unwrap();
    assert_eq!(waiting(&store).await, [4, 5]);
    delivered(&store, &nurse, "PHONE".into(), 3).await.unwrap();
    delivered(&store, &nurse, "PHONE".into(), 1).await.unwrap();
    assert_eq!(waiting(&store).await, [4, 5]);
    // A position beyond the end removes nothing that comes later.
    delivered(&store, &nurse, "PHONE".into(), 1_000)
        .await
        .unwrap();
    send(&store, "2", 1).await;
    assert_eq!(waiting(&store).await, [6]);
}

#[tokio::test]
async fn a_forgotten_phone_stops_nobody_and_loses_the_oldest_messages_only() {
    let (_directory, store) = store();
    for round in 0..MAX_PENDING / 1_000 {
        send(&store, &format!("{round}"), 1_000).await;
    }
    send(&store, "more", 10).await;
    let waiting = waiting(&store).await;
    assert_eq!(waiting.len() as u64, MAX_PENDING);
    assert_eq!(waiting[0], 11);
    assert_eq!(
        store.get(&REMOVED, (user("nurse"), phone())).await.unwrap(),
        Some(10)
    );
}

#[tokio::test]
async fn a_device_that_is_made_again_under_the_same_id_finds_nothing_of_the_old_one() {
    let (_directory, store) = store();
    send(&store, "1", 3).await;
    let nurse = &user("nurse");
    store
        .transact(|mut tx| async move {
            forget_device_in(&mut tx, nurse, "PHONE".into()).await?;
            Ok::<_, crate::store::StoreError>((tx, ()))
        })
        .await
        .unwrap();
    assert!(waiting(&store).await.is_empty());
}
