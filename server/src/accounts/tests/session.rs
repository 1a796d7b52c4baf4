//! Logging in, staying so, and bad input.

use std::sync::atomic::Ordering;

use http::StatusCode;
use respite_protocol::Role;
use serde_json::{Value, json};

use super::{DAY, PASSWORD, Person, Server};
use crate::config::RegistrationMode;

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_get_the_same_answer() {
    let server = Server::start(RegistrationMode::Code).await;
    server
        .person("nurse", &server.code(Role::Client, 1).await)
        .await;
    let wrong = server.login("nurse", "something else").await;
    assert_eq!(wrong.0, StatusCode::FORBIDDEN);
    assert_eq!(wrong, server.login("nobody", "something else").await);
    assert_eq!(wrong, server.login("no body", "something else").await);
    assert_eq!(wrong, server.login("nurse", &"x".repeat(10_000)).await);
    for name in ["Nurse", "@nurse:localhost"] {
        assert_eq!(server.login(name, PASSWORD).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn guessing_passwords_gets_slower_and_slower() {
    let server = Server::start(RegistrationMode::Code).await;
    server
        .person("nurse", &server.code(Role::Client, 1).await)
        .await;
    for _ in 0..server.app.config.limits.failed_logins {
        assert_eq!(
            server.login("nurse", "a guess").await.0,
            StatusCode::FORBIDDEN
        );
    }
    let (status, body) = server.login("nurse", PASSWORD).await;
    assert_eq!(
        (status, &body["errcode"]),
        (StatusCode::TOO_MANY_REQUESTS, &json!("M_LIMIT_EXCEEDED"))
    );
    let wait = body["retry_after_ms"].as_u64().unwrap();
    server.time.fetch_add(wait, Ordering::Relaxed);
    assert_eq!(server.login("nurse", PASSWORD).await.0, StatusCode::OK);
}

#[tokio::test]
async fn whoever_guesses_from_elsewhere_does_not_keep_the_owner_out_of_their_own_devices() {
    let server = Server::start(RegistrationMode::Code).await;
    let code = server.code(Role::Client, 1).await;
    let phone = server.person("nurse", &code).await;
    let (_, me) = server.get("/v3/account/whoami", &phone.token).await;
    for _ in 0..=server.app.config.limits.failed_logins {
        server.login("nurse", "a guess").await;
    }
    assert_eq!(
        server.login("nurse", PASSWORD).await.0,
        StatusCode::TOO_MANY_REQUESTS
    );
    let again = async |device: &Value, password: &str| {
        let body = json!({
            "type": "m.login.password", "password": password, "device_id": device,
            "identifier": { "type": "m.id.user", "user": "nurse" },
        });
        server.post("/v3/login", None, body).await.0
    };
    assert_eq!(
        again(&json!("NOTHERS"), PASSWORD).await,
        StatusCode::TOO_MANY_REQUESTS
    );
    assert_eq!(again(&me["device_id"], PASSWORD).await, StatusCode::OK);
    // Guessing with the id of a device gets slower all the same.
    for _ in 0..server.app.config.limits.failed_logins {
        assert_eq!(
            again(&me["device_id"], "guess").await,
            StatusCode::FORBIDDEN
        );
    }
    assert_eq!(
        again(&me["device_id"], "guess").await,
        StatusCode::TOO_MANY_REQUESTS
    );
}

#[tokio::test]
async fn tokens_are_refreshed_once_and_expire() {
    let server = Server::start(RegistrationMode::Code).await;
    server
        .person("nurse", &server.code(Role::Client, 1).await)
        .await;
    let first = Person::of(&server.login("nurse", PASSWORD).await.1);
    let refresh = async |token: &str| {
        server
            .post("/v3/refresh", None, json!({ "refresh_token": token }))
            .await
    };
    let token = |body: &Value| body["access_token"].as_str().unwrap().to_owned();
    let old = first.refresh.clone().unwrap();

    // The answer is lost on the way: the client asks again, and only the last pair counts.
    let lost = token(&refresh(&old).await.1);
    let (status, second) = refresh(&old).await;
    assert_eq!(status, StatusCode::OK);
    assert!(!server.works(&lost).await);
    assert!(
        server.works(&first.token).await,
        "nothing new has been used yet"
    );

    assert!(server.works(&token(&second)).await);
    assert!(!server.works(&first.token).await, "its successor was used");
    let (status, refused) = refresh(&old).await;
    assert_eq!(
        (status, &refused["errcode"]),
        (StatusCode::UNAUTHORIZED, &json!("M_UNKNOWN_TOKEN"))
    );

    server.time.fetch_add(DAY, Ordering::Relaxed);
    let (_, expired) = server.get("/v3/account/whoami", &token(&second)).await;
    assert_eq!(expired["soft_logout"], true);
    let (_, third) = refresh(second["refresh_token"].as_str().unwrap()).await;
    assert!(server.works(&token(&third)).await);
    server
        .post("/v3/logout", Some(&token(&third)), json!({}))
        .await;
    assert!(!server.works(&token(&third)).await);
    let (status, _) = refresh(third["refresh_token"].as_str().unwrap()).await;
    assert_eq!(
        status,
        StatusCode::UNAUTHORIZED,
        "who logged out cannot come back by refreshing"
    );
}

#[tokio::test]
async fn malformed_requests_are_answered() {
    let server = Server::start(RegistrationMode::Code).await;
    for path in ["/v3/login", "/v3/register", "/v3/refresh"] {
        for body in [
            json!([]),
            json!("text"),
            json!({ "type": 1, "auth": 1, "username": [] }),
        ] {
            let (status, answer) = server.post(path, None, body).await;
            assert!(
                status.is_client_error() && answer["errcode"].is_string(),
                "{path}: {answer}"
            );
        }
    }
    let (status, _) = server.post("/v3/login", None, json!({})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}
