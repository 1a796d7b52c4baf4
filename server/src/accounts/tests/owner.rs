//! What the owner of an account sees and changes.

use http::{Method, StatusCode};
use respite_protocol::Role;
use serde_json::{Value, json};

use super::{PASSWORD, Person, Server};
use crate::config::RegistrationMode;

#[tokio::test]
async fn a_new_password_logs_the_other_devices_out() {
    let server = Server::start(RegistrationMode::Code).await;
    let phone = server
        .person("nurse", &server.code(Role::Client, 1).await)
        .await;
    let laptop = Person::of(&server.login("nurse", PASSWORD).await.1);
    let mut body = json!({ "new_password": "after the night shift" });
    let path = "/v3/account/password";
    let (status, asked) = server.post(path, Some(&phone.token), body.clone()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(asked["flows"], json!([{ "stages": ["m.login.password"] }]));
    body["auth"] = phone.proof("a guess");
    let (status, asked) = server.post(path, Some(&phone.token), body.clone()).await;
    assert_eq!(
        (status, &asked["errcode"]),
        (StatusCode::UNAUTHORIZED, &json!("M_FORBIDDEN"))
    );
    body["auth"] = phone.proof(PASSWORD);
    assert_eq!(
        server.post(path, Some(&phone.token), body).await.0,
        StatusCode::OK
    );
    assert!(server.works(&phone.token).await);
    assert!(!server.works(&laptop.token).await);
    assert_eq!(
        server.login("nurse", PASSWORD).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        server.login("nurse", "after the night shift").await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_logged_in_device_shows_its_password_however_many_guess_elsewhere() {
    let server = Server::start(RegistrationMode::Code).await;
    let code = server.code(Role::Client, 1).await;
    let phone = server.person("nurse", &code).await;
    for _ in 0..=server.app.config.limits.failed_logins {
        server.login("nurse", "a guess").await;
    }
    let body = json!({ "new_password": "nobody guesses this", "auth": phone.proof(PASSWORD) });
    let path = "/v3/account/password";
    let (status, body) = server.post(path, Some(&phone.token), body).await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

#[tokio::test]
async fn a_lost_phone_is_removed_with_the_password() {
    let server = Server::start(RegistrationMode::Code).await;
    let phone = server
        .person("nurse", &server.code(Role::Client, 1).await)
        .await;
    let laptop = Person::of(&server.login("nurse", PASSWORD).await.1);
    let (_, me) = server.get("/v3/account/whoami", &phone.token).await;
    let path = format!("/v3/devices/{}", me["device_id"].as_str().unwrap());
    let named = json!({ "display_name": "Nurse's own telephone" });
    let (status, _) = server
        .ask(Method::PUT, &path, Some(&laptop.token), named)
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        server.get(&path, &laptop.token).await.1["display_name"],
        Value::Null
    );
    let delete = async |body: Value| {
        server
            .ask(Method::DELETE, &path, Some(&laptop.token), body)
            .await
            .0
    };
    assert_eq!(delete(json!({})).await, StatusCode::UNAUTHORIZED);
    assert!(server.works(&phone.token).await);
    assert_eq!(
        delete(json!({ "auth": laptop.proof(PASSWORD) })).await,
        StatusCode::OK
    );
    assert!(!server.works(&phone.token).await);
    let (_, listed) = server.get("/v3/devices", &laptop.token).await;
    assert_eq!(listed["devices"].as_array().unwrap().len(), 1);
    assert_eq!(
        server.get(&path, &laptop.token).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn who_leaves_for_good_leaves_the_rooms_and_cannot_come_back() {
    let server = Server::start(RegistrationMode::Code).await;
    let therapist = server.therapist("therapist").await;
    let code = server.client_code(&therapist, "individual", 1).await;
    let nurse = server.person("nurse", &code).await;
    let body = json!({ "auth": nurse.proof(PASSWORD) });
    let (status, _) = server
        .post("/v3/account/deactivate", Some(&nurse.token), body)
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(!server.works(&nurse.token).await);
    assert!(server.rooms_of(&nurse).await.is_empty());
    let refused = server.login("nurse", PASSWORD).await;
    assert_eq!(refused, server.login("nobody", PASSWORD).await);
    let code = server.code(Role::Client, 1).await;
    assert_eq!(
        server.register("nurse", &code).await.1["errcode"],
        "M_USER_IN_USE"
    );
}

#[tokio::test]
async fn pseudonyms_are_seen_by_people_in_the_same_room_only() {
    let server = Server::start(RegistrationMode::Code).await;
    let therapist = server.therapist("therapist").await;
    let nurse = server
        .person(
            "nurse",
            &server.client_code(&therapist, "individual", 1).await,
        )
        .await;
    let stranger = server
        .person("stranger", &server.code(Role::Client, 1).await)
        .await;
    let path = format!("/v3/profile/{}", nurse.id);
    let set = async |field: &str, body: Value| {
        server
            .ask(
                Method::PUT,
                &format!("{path}/{field}"),
                Some(&nurse.token),
                body,
            )
            .await
            .0
    };
    assert_eq!(
        set("displayname", json!({ "displayname": "Owl" })).await,
        StatusCode::OK
    );
    assert_eq!(
        server.get(&path, &therapist.token).await.1,
        json!({ "displayname": "Owl" })
    );
    assert_eq!(
        server.get(&path, &stranger.token).await.0,
        StatusCode::NOT_FOUND
    );
    let nobody = server
        .get("/v3/profile/@nobody:localhost", &stranger.token)
        .await;
    assert_eq!(server.get(&path, &stranger.token).await, nobody);

    let avatar = json!({ "avatar_url": "mxc://localhost/face" });
    assert_eq!(set("avatar_url", avatar).await, StatusCode::FORBIDDEN);
    for unset in [
        json!({ "avatar_url": "" }),
        json!({ "avatar_url": null }),
        json!({}),
    ] {
        assert_eq!(set("avatar_url", unset).await, StatusCode::OK);
    }
    assert_eq!(set("displayname", json!({})).await, StatusCode::OK);
    assert_eq!(server.get(&path, &therapist.token).await.1, json!({}));
    let other = format!("/v3/profile/{}/displayname", therapist.id);
    let body = json!({ "displayname": "Owl" });
    let (status, _) = server
        .ask(Method::PUT, &other, Some(&nurse.token), body)
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_server_says_what_it_is() {
    let server = Server::start(RegistrationMode::Code).await;
    let (_, versions) = server
        .ask(Method::GET, "/versions", None, Value::Null)
        .await;
    assert_eq!(versions["unstable_features"]["chat.respite.therapy"], true);
    let therapist = server.therapist("therapist").await;
    let (_, answer) = server.get("/v3/capabilities", &therapist.token).await;
    let can = &answer["capabilities"];
    assert_eq!(
        can["chat.respite.therapy"],
        json!({ "enabled": true, "role": "therapist" })
    );
    assert_eq!(can["m.set_avatar_url"]["enabled"], false);
    assert_eq!(can["m.room_versions"]["default"], "11");
    assert_eq!(
        server.get("/v3/account/3pid", &therapist.token).await.0,
        StatusCode::OK
    );
}
