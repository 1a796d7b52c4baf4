//! Making an account.

use std::sync::Arc;

use http::StatusCode;
use respite_protocol::Role;
use ruma::UserId;
use serde_json::json;

use super::{PASSWORD, Person, Server};
use crate::{accounts::ACCOUNTS, config::RegistrationMode, store::Page};

#[tokio::test]
async fn registering_takes_a_code_and_says_so() {
    let server = Server::start(RegistrationMode::Code).await;
    let (status, asked) = server.post("/v3/register", None, json!({})).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        asked["flows"],
        json!([{ "stages": ["m.login.registration_token"] }])
    );
    let dummy = json!({
        "username": "nurse", "password": PASSWORD,
        "auth": { "type": "m.login.dummy", "session": asked["session"] },
    });
    let (status, _) = server.post("/v3/register", None, dummy).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "a dummy stage is no code");

    let (status, refused) = server.register("nurse", "abcd-efgh-ijkm-nopq").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused["errcode"], "M_UNAUTHORIZED");
    assert!(refused["flows"].is_array(), "one may try again: {refused}");
    assert_eq!(server.accounts().await, 0);

    let code = server.code(Role::Client, 1).await;
    let nurse = server
        .person("nurse", &code.to_uppercase().replace('-', " "))
        .await;
    assert!(server.works(&nurse.token).await);
    let (status, refused) = server.register("doctor", &code).await;
    assert_eq!(
        (status, &refused["errcode"]),
        (StatusCode::UNAUTHORIZED, &json!("M_UNAUTHORIZED"))
    );
}

#[tokio::test]
async fn a_taken_name_costs_no_code_and_the_session_remembers_it() {
    let server = Server::start(RegistrationMode::Code).await;
    server
        .person("nurse", &server.code(Role::Client, 1).await)
        .await;
    let code = server.code(Role::Client, 1).await;
    let (status, refused) = server.register("Nurse", &code).await;
    assert_eq!(
        (status, &refused["errcode"]),
        (StatusCode::BAD_REQUEST, &json!("M_USER_IN_USE"))
    );
    let weak = json!({ "username": "doctor", "password": "short" });
    let (_, refused) = server.post("/v3/register", None, weak).await;
    assert_eq!(refused["errcode"], "M_WEAK_PASSWORD");
    let odd = json!({ "username": "night nurse", "password": PASSWORD });
    let (_, refused) = server.post("/v3/register", None, odd).await;
    assert_eq!(refused["errcode"], "M_INVALID_USERNAME");
    server.person("doctor", &code).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_registrations_racing_for_one_code_make_one_account() {
    let server = Arc::new(Server::start(RegistrationMode::Code).await);
    let therapist = server.therapist("therapist").await;
    let code = server.client_code(&therapist, "individual", 1).await;
    let racers: Vec<_> = (0..100)
        .map(|racer| {
            let (server, code) = (Arc::clone(&server), code.clone());
            tokio::spawn(async move { server.register(&format!("racer{racer}"), &code).await })
        })
        .collect();
    let mut winners = Vec::new();
    for racer in racers {
        match racer.await.unwrap() {
            (StatusCode::OK, body) => winners.push(Person::of(&body)),
            (status, body) => assert_eq!(status, StatusCode::UNAUTHORIZED, "{body}"),
        }
    }
    let [winner] = &winners[..] else {
        panic!("{} accounts for one code", winners.len())
    };
    assert_eq!(server.accounts().await, 2);
    assert_eq!(
        server.rooms_of(winner).await,
        server.rooms_of(&therapist).await
    );
    assert_eq!(server.rooms_of(winner).await.len(), 1);
    let devices = server
        .app
        .store
        .scan(&crate::auth::DEVICES, (), Page::first(200))
        .await
        .unwrap();
    assert_eq!(devices.len(), 2, "the losers left no device behind");
}

#[tokio::test]
async fn an_open_server_asks_for_nothing_but_takes_codes() {
    let server = Server::start(RegistrationMode::Open).await;
    let body = json!({
        "username": "nurse", "password": PASSWORD, "auth": { "type": "m.login.dummy" },
    });
    assert_eq!(
        server.post("/v3/register", None, body).await.0,
        StatusCode::OK
    );
    server.therapist("therapist").await;
    let user = UserId::parse("@therapist:localhost").unwrap();
    let account = server
        .app
        .store
        .get(&ACCOUNTS, &user)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(account.role, Role::Therapist);
    let (status, refused) = server
        .post("/v3/register?kind=guest", None, json!({}))
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(refused["errcode"], "M_GUEST_ACCESS_FORBIDDEN");
}

#[tokio::test]
async fn a_crowd_without_codes_does_not_close_the_door_for_who_has_one() {
    let server = Server::start(RegistrationMode::Code).await;
    server
        .person("doctor", &server.code(Role::Client, 1).await)
        .await;
    let limits = &server.app.config.limits;
    for _ in 0..=limits.registrations.max(limits.lookups) {
        let (status, _) = server
            .post("/v3/register", None, json!({ "username": "nurse" }))
            .await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    // Nor do they find out any more who is here.
    let (status, asked) = server
        .post("/v3/register", None, json!({ "username": "doctor" }))
        .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{asked}");
    let code = server.code(Role::Client, 1).await;
    let body = json!({
        "username": "nurse", "password": PASSWORD,
        "auth": { "type": "m.login.registration_token", "token": code },
    });
    let (status, body) = server.post("/v3/register", None, body).await;
    assert_eq!(status, StatusCode::OK, "{body}");
}
