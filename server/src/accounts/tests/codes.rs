//! Codes, and where they lead.

use std::sync::{Arc, atomic::Ordering};

use http::{Method, StatusCode};
use respite_protocol::{Role, api};
use ruma::UserId;
use serde_json::json;

use super::{DAY, Person, Server};
use crate::{config::RegistrationMode, invites, push, rooms::state, store::Page};

#[tokio::test]
async fn an_expired_code_opens_nothing() {
    let server = Server::start(RegistrationMode::Code).await;
    let code = server.code(Role::Client, 1).await;
    let path = format!("/v1/register/m.login.registration_token/validity?token={code}");
    assert_eq!(server.get(&path, "").await.1, json!({ "valid": true }));
    server.time.fetch_add(DAY, Ordering::Relaxed);
    assert_eq!(server.get(&path, "").await.1, json!({ "valid": false }));
    assert_eq!(
        server.register("nurse", &code).await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(server.accounts().await, 0);
}

#[tokio::test]
async fn a_therapists_code_leads_into_a_room_with_the_therapist() {
    let server = Server::start(RegistrationMode::Code).await;
    let therapist = server.therapist("therapist").await;
    let nurse = server.client_code(&therapist, "individual", 2).await;
    let (one, other) = (
        server.person("one", &nurse).await,
        server.person("other", &nurse).await,
    );
    assert_ne!(server.rooms_of(&one).await, server.rooms_of(&other).await);
    assert_eq!(server.rooms_of(&therapist).await.len(), 2);

    let group = server.client_code(&therapist, "group", 3).await;
    let first = server.person("first", &group).await;
    let second = server.person("second", &group).await;
    let rooms = server.rooms_of(&first).await;
    assert_eq!(rooms, server.rooms_of(&second).await);
    let room = state::current(&server.app, &rooms[0])
        .await
        .unwrap()
        .unwrap();
    assert!(room.is_therapy() && room.is_encrypted());
    assert_eq!(room.joined().len(), 3);
    for newcomer in [&first, &second] {
        let user = UserId::parse(&newcomer.id).unwrap();
        let unread = push::unread(&server.app.store, &user, &rooms[0]).await;
        assert_eq!(unread.unwrap(), (0, 0), "nobody was invited to anything");
    }
}

#[tokio::test]
async fn only_therapists_make_codes_and_only_their_own_are_revoked() {
    let server = Server::start(RegistrationMode::Code).await;
    let therapist = server.therapist("therapist").await;
    let colleague = server.therapist("colleague").await;
    let code = server.client_code(&therapist, "individual", 2).await;
    let nurse = server.person("nurse", &code).await;
    let path = "/unstable/chat.respite/invites";
    let (status, _) = server
        .post(path, Some(&nurse.token), json!({ "kind": "group" }))
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);

    let (_, listed) = server.get(path, &therapist.token).await;
    let invite = &listed["invites"][0];
    assert_eq!(
        (&invite["used"], &invite["uses_left"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        server.get(path, &colleague.token).await.1,
        json!({ "invites": [] })
    );
    let path = format!("{path}/{}", invite["invite_id"].as_str().unwrap());
    let delete = async |person: &Person| {
        server
            .ask(Method::DELETE, &path, Some(&person.token), json!({}))
            .await
            .0
    };
    assert_eq!(delete(&colleague).await, StatusCode::NOT_FOUND);
    assert_eq!(delete(&therapist).await, StatusCode::OK);
    assert_eq!(
        server.register("doctor", &code).await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_has_more_codes_open_than_allowed_however_fast_they_ask() {
    let server = Arc::new(Server::start(RegistrationMode::Code).await);
    let therapist = Arc::new(server.therapist("therapist").await);
    for _ in 0..api::MAX_OPEN_INVITES - 5 {
        server.client_code(&therapist, "individual", 1).await;
    }
    let asking: Vec<_> = (0..30)
        .map(|_| {
            let (server, therapist) = (Arc::clone(&server), Arc::clone(&therapist));
            tokio::spawn(async move {
                let path = "/unstable/chat.respite/invites";
                let body = json!({ "kind": "individual" });
                server.post(path, Some(&therapist.token), body).await.0
            })
        })
        .collect();
    let mut made = 0;
    for asked in asking {
        match asked.await.unwrap() {
            StatusCode::OK => made += 1,
            status => assert_eq!(status, StatusCode::FORBIDDEN),
        }
    }
    assert_eq!(made, 5);
}

#[tokio::test]
async fn the_codes_of_a_therapist_who_has_gone_open_nothing() {
    let server = Server::start(RegistrationMode::Code).await;
    let therapist = server.therapist("therapist").await;
    let code = server.client_code(&therapist, "individual", 1).await;
    let user = UserId::parse(&therapist.id).unwrap();
    crate::accounts::deactivate(&server.app, &user, false)
        .await
        .unwrap();
    assert_eq!(
        server.register("nurse", &code).await.0,
        StatusCode::UNAUTHORIZED
    );
    let left = server
        .app
        .store
        .scan(&invites::INVITES, (), Page::first(9))
        .await;
    assert!(
        left.unwrap()
            .iter()
            .all(|(_, invite)| invite.made_by.is_none())
    );
}
