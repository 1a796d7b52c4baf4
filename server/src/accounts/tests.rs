//! Accounts as people meet them, through the whole router and on a real store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http::{Method, Request, StatusCode, header::AUTHORIZATION};
use http_body_util::BodyExt;
use respite_protocol::Role;
use ruma::UserId;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::ACCOUNTS;
use crate::{
    clock::Clock,
    config::{Config, RegistrationMode},
    invites,
    rooms::{membership, state},
    start::{self, Options},
    state::App,
    store::Page,
};

const PASSWORD: &str = "between two shifts";
const DAY: u64 = 24 * 60 * 60 * 1000;

/// A server of which the test moves the time.
struct Server {
    app: App,
    time: Arc<AtomicU64>,
    _data: TempDir,
}

/// Somebody who is logged in.
struct Person {
    id: String,
    token: String,
    refresh: Option<String>,
}

impl Server {
    async fn start(mode: RegistrationMode) -> Self {
        let data = tempfile::tempdir().unwrap();
        let time = Arc::new(AtomicU64::new(1_700_000_000_000));
        let mut config = Config::default();
        config.server.data = data.path().join("data");
        config.registration.mode = mode;
        config.passwords.memory_kib = 8;
        config.passwords.passes = 1;
        config.limits.registrations = 10_000;
        let options = Options {
            clock: Clock::manual(Arc::clone(&time)),
            ..Options::default()
        };
        let app = start::open(config, options).await.unwrap().app;
        Self {
            app,
            time,
            _data: data,
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Value,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/_matrix/client{path}"));
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = crate::router(self.app.clone())
            .oneshot(request)
            .await
            .unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn post(&self, path: &str, token: Option<&str>, body: Value) -> (StatusCode, Value) {
        self.ask(Method::POST, path, token, body).await
    }

    async fn get(&self, path: &str, token: &str) -> (StatusCode, Value) {
        self.ask(Method::GET, path, Some(token), Value::Null).await
    }

    /// A code from whoever runs the server.
    async fn code(&self, role: Role, uses: u32) -> String {
        let lifetime = Duration::from_secs(60 * 60);
        invites::make(&self.app, None, role, uses, lifetime)
            .await
            .unwrap()
            .code
            .into_answer()
    }

    async fn register(&self, name: &str, code: &str) -> (StatusCode, Value) {
        let (_, asked) = self
            .post("/v3/register", None, json!({ "username": name }))
            .await;
        let body = json!({
            "username": name,
            "password": PASSWORD,
            "auth": {
                "type": "m.login.registration_token",
                "token": code,
                "session": asked["session"],
            },
        });
        self.post("/v3/register", None, body).await
    }

    async fn person(&self, name: &str, code: &str) -> Person {
        let (status, body) = self.register(name, code).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        Person::of(&body)
    }

    async fn therapist(&self, name: &str) -> Person {
        self.person(name, &self.code(Role::Therapist, 1).await)
            .await
    }

    async fn client_code(&self, therapist: &Person, kind: &str, uses: u32) -> String {
        let body = json!({ "kind": kind, "uses": uses });
        let path = "/unstable/chat.respite/invites";
        let (status, body) = self.post(path, Some(&therapist.token), body).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["code"].as_str().unwrap().to_owned()
    }

    async fn login(&self, name: &str, password: &str) -> (StatusCode, Value) {
        let body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": name },
            "password": password,
            "refresh_token": true,
        });
        self.post("/v3/login", None, body).await
    }

    async fn works(&self, token: &str) -> bool {
        self.get("/v3/account/whoami", token).await.0 == StatusCode::OK
    }

    async fn accounts(&self) -> usize {
        super::list(&self.app.store, None, 1_000)
            .await
            .unwrap()
            .len()
    }

    async fn rooms_of(&self, person: &Person) -> Vec<ruma::OwnedRoomId> {
        let user = UserId::parse(&person.id).unwrap();
        membership::joined_rooms(&self.app.store, &user)
            .await
            .unwrap()
    }
}

impl Person {
    fn of(answer: &Value) -> Self {
        let text = |field: &str| answer[field].as_str().map(str::to_owned);
        Self {
            id: text("user_id").unwrap(),
            token: text("access_token").unwrap(),
            refresh: text("refresh_token"),
        }
    }

    /// The proof that an interactive authentication asks for.
    fn proof(&self, password: &str) -> Value {
        json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": self.id },
            "password": password,
        })
    }
}

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
            .ask(Method::DELETE, &path, Some(&person.token), Value::Null)
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
