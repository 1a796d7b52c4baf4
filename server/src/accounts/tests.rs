//! Accounts as people meet them, through the whole router and on a real store.

mod codes;
mod owner;
mod registration;
mod session;

use std::{
    sync::{Arc, atomic::AtomicU64},
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

use crate::{
    clock::Clock,
    config::{Config, RegistrationMode},
    invites,
    rooms::membership,
    start::{self, Options},
    state::App,
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
        // Nobody waits for anybody, so that races are races.
        config.passwords.at_once = 100;
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
        let body = match body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        };
        let request = request.body(body).unwrap();
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
        crate::accounts::list(&self.app.store, None, 1_000)
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
