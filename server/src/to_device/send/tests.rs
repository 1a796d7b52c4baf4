use respite_protocol::Role;
use ruma::{OwnedDeviceId, events::room::member::MembershipState, serde::Raw};
use serde_json::value::RawValue;

use super::{
    super::share::MAX_SHARE, Addressed, DeviceIdOrAllDevices, Request, deliver, request_hash,
};
use crate::{
    auth::{self, Grant},
    error::Error,
    fixture::{Server, device, store, user},
    rooms::create::{self, NewRoom},
    store::Store,
    to_device::{MAX_PENDING, REMOVED, TO_DEVICE, ToDevice, delivered, forget_device_in},
};

fn messages(sender: &str, count: usize) -> Vec<Addressed> {
    let message = ToDevice {
        kind: "m.room.encrypted".to_owned(),
        sender: user(sender),
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
    send_as(store, "therapist", txn, count).await;
}

async fn send_as(store: &Store, sender: &str, txn: &str, count: usize) {
    let request = request_hash("m.room.encrypted", txn);
    deliver(
        store,
        (&user(sender), "LAPTOP".into()),
        request,
        &messages(sender, count),
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
        send_as(&store, &format!("colleague{round}"), "1", 1_000).await;
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
async fn nobody_washes_away_what_others_have_sent() {
    let (_directory, store) = store();
    send(&store, "room keys", 3).await;
    for round in 0..=MAX_PENDING / 1_000 {
        send_as(&store, "nuisance", &format!("{round}"), 1_000).await;
    }
    let flooded = waiting(&store).await;
    assert!(flooded.len() as u64 <= 3 + MAX_SHARE);
    assert_eq!(flooded[0], 1);
    send(&store, "more room keys", 1).await;
    assert_eq!(waiting(&store).await.len(), flooded.len() + 1);
}

#[tokio::test]
async fn a_hundred_requests_at_once_all_arrive() {
    let (_directory, store) = store();
    let texts: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let sends = texts.iter().map(|txn| send(&store, txn, 1));
    futures_util::future::join_all(sends).await;
    assert_eq!(waiting(&store).await.len(), 100);
}

fn request(content: &str) -> Request {
    let devices = [(
        DeviceIdOrAllDevices::AllDevices,
        Raw::from_json(RawValue::from_string(content.to_owned()).unwrap()),
    )];
    Request::new_raw(
        "m.room_key.withheld".into(),
        "1".into(),
        [(user("nurse"), devices.into())].into(),
    )
}

/// A nurse with a phone, and whether the therapist has invited them.
async fn practice(invited: bool) -> Server {
    let server = Server::new().await;
    server.admit("nurse").await;
    let app = &server.app;
    let room = &NewRoom {
        members: invited
            .then(|| (user("nurse"), MembershipState::Invite))
            .into_iter()
            .collect(),
        ..NewRoom::default()
    };
    app.store
        .transact(async |mut tx| {
            let grant = Grant {
                user: &user("nurse"),
                device: &phone(),
                role: Role::Client,
                refreshable: false,
            };
            auth::log_in(&mut tx, app, grant).await?;
            create::create_in(&mut tx, app, &user("therapist"), room.clone()).await?;
            Ok::<_, Error>((tx, ()))
        })
        .await
        .unwrap();
    server
}

const WITHHELD: &str = r#"{"algorithm":"m.megolm.v1.aes-sha2","code":"m.no_olm","sender_key":"4AT+0KZNmGhVnoYkq1LDqYfCTzH0kBbnhGFCEKiwOF8"}"#;

#[tokio::test]
async fn only_acquaintances_reach_a_phone() {
    for (invited, arrives) in [(true, 1), (false, 0)] {
        let server = practice(invited).await;
        let therapist = device("therapist", "LAPTOP");
        super::send(server.app.clone(), therapist, request(WITHHELD))
            .await
            .unwrap();
        assert_eq!(waiting(&server.app.store).await.len(), arrives);
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    let server = practice(true).await;
    let large = format!(r#"{{"algorithm":"{}"}}"#, "a".repeat(70_000));
    super::send(
        server.app.clone(),
        device("therapist", "LAPTOP"),
        request(&large),
    )
    .await
    .unwrap_err();
    assert!(waiting(&server.app.store).await.is_empty());
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
