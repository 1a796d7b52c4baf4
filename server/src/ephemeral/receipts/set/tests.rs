use ruma::{EventId, OwnedRoomId, events::room::member::MembershipState};
use serde_json::json;

use super::*;
use crate::{
    ephemeral::receipts,
    fixture::{Server, device, user},
    inbox::INBOX,
    rooms::{
        append::{self, NewEvent},
        create::{self, NewRoom},
    },
};

/// A room of a therapist and a nurse, with three messages of the therapist's.
async fn room(server: &Server) -> (OwnedRoomId, Vec<OwnedEventId>) {
    let app = &server.app;
    let new = &NewRoom {
        members: vec![(user("nurse"), MembershipState::Join)],
        ..NewRoom::default()
    };
    let created = app
        .store
        .transact(async |mut tx| {
            let id = create::create_in(&mut tx, app, &user("therapist"), new.clone()).await?;
            Ok::<_, Error>((tx, id))
        })
        .await
        .unwrap();
    let mut messages = Vec::new();
    for _ in 0..3 {
        let content = serde_json::from_value(json!({})).unwrap();
        let message = NewEvent::message("m.room.encrypted", content);
        let sent = append::send(app, &user("therapist"), &created.value, message, None).await;
        messages.push(sent.unwrap());
    }
    (created.value, messages)
}

fn request(room: &OwnedRoomId, kind: Asked, event: &EventId) -> create_receipt::v3::Request {
    create_receipt::v3::Request::new(room.clone(), kind, event.to_owned())
}

async fn read(server: &Server, request: create_receipt::v3::Request) -> Result<()> {
    set_receipt(server.app.clone(), device("nurse", "PHONE"), request)
        .await
        .map(drop)
}

async fn told(server: &Server, name: &str) -> usize {
    let entries = server
        .app
        .store
        .after(&INBOX, user(name), 0, 1_000)
        .await
        .unwrap();
    entries
        .iter()
        .filter(|(_, entry)| matches!(entry.value, Entry::Receipt(..)))
        .count()
}

#[tokio::test]
async fn a_receipt_is_told_to_the_room_and_a_private_one_to_nobody_else() {
    let server = Server::new().await;
    let (room, messages) = room(&server).await;
    read(&server, request(&room, Asked::ReadPrivate, &messages[1]))
        .await
        .unwrap();
    assert_eq!(
        (
            told(&server, "nurse").await,
            told(&server, "therapist").await
        ),
        (1, 0)
    );
    read(&server, request(&room, Asked::Read, &messages[0]))
        .await
        .unwrap();
    assert_eq!(
        (
            told(&server, "nurse").await,
            told(&server, "therapist").await
        ),
        (2, 1)
    );
}

#[tokio::test]
async fn what_was_read_stays_read() {
    let server = Server::new().await;
    let (room, messages) = room(&server).await;
    read(&server, request(&room, Asked::Read, &messages[2]))
        .await
        .unwrap();
    read(&server, request(&room, Asked::Read, &messages[0]))
        .await
        .unwrap();
    let receipts = receipts::in_room(&server.app.store, &room).await.unwrap();
    let [(_, _, receipt)] = &*receipts else {
        panic!("there is one receipt")
    };
    assert_eq!(receipt.event_id, messages[2]);
    let unread = push::unread(&server.app.store, &user("nurse"), &room)
        .await
        .unwrap();
    assert_eq!(unread, (0, 0));
}

#[tokio::test]
async fn reading_a_thread_reads_nothing_outside_of_it() {
    let server = Server::new().await;
    let (room, messages) = room(&server).await;
    let unread = async || {
        push::unread(&server.app.store, &user("nurse"), &room)
            .await
            .unwrap()
    };
    let before = unread().await;
    let mut thread = request(&room, Asked::Read, &messages[1]);
    thread.thread = ReceiptThread::Thread(messages[1].clone());
    read(&server, thread).await.unwrap();
    assert_eq!(unread().await, before);
    let mut main = request(&room, Asked::Read, &messages[1]);
    main.thread = ReceiptThread::Main;
    read(&server, main).await.unwrap();
    assert_eq!(unread().await, (1, 0));
}

#[tokio::test]
async fn an_event_of_another_room_cannot_be_read_here() {
    let server = Server::new().await;
    let ((here, _), (_, there)) = (room(&server).await, room(&server).await);
    let refused = read(&server, request(&here, Asked::Read, &there[0])).await;
    assert!(matches!(
        refused,
        Err(Error::Matrix {
            status: http::StatusCode::NOT_FOUND,
            ..
        })
    ));
}

#[tokio::test]
async fn a_stranger_is_told_nothing_about_the_room() {
    let server = Server::new().await;
    let (room, messages) = room(&server).await;
    let stranger = device("stranger", "PHONE");
    let asked = request(&room, Asked::Read, &messages[0]);
    let refused = set_receipt(server.app.clone(), stranger, asked).await;
    assert!(matches!(
        refused,
        Err(Error::Matrix {
            status: http::StatusCode::FORBIDDEN,
            ..
        })
    ));
}

#[tokio::test]
async fn the_read_marker_moves_forward_only() {
    let server = Server::new().await;
    let (room, messages) = room(&server).await;
    for place in [1, 2, 0] {
        let mut marker = set_read_marker::v3::Request::new(room.clone());
        marker.fully_read = Some(messages[place].clone());
        let set = set_markers(server.app.clone(), device("nurse", "PHONE"), marker).await;
        set.unwrap();
    }
    let kept = account_data::get(&server.app.store, &user("nurse"), Some(&room), FULLY_READ).await;
    assert!(kept.unwrap().unwrap().contains(messages[2].as_str()));
}
