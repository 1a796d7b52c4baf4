//! A server in a temporary directory, and people with a device each.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{Router, body::Body};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use respite_protocol::Role;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, room_version_rules::RoomVersionRules};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    auth::{ACCESS_TOKENS, PASSWORDS, Session, hash_token},
    clock::{Clock, Random},
    config::{Config, Scope},
    inbox::{Entry, INBOX},
    profiles::{PROFILES, Profile},
    rooms::event::{StoredEvent, TIMELINE},
    start::{self, Options},
    state::App,
    store::{StoreError, Tx},
};

pub(super) struct World {
    pub(super) app: App,
    router: Router,
    time: Arc<AtomicU64>,
    _directory: tempfile::TempDir,
}

#[derive(Clone)]
pub(super) struct Person {
    pub(super) user: OwnedUserId,
    token: String,
    router: Router,
}

impl World {
    /// Plain Matrix in ordinary rooms.
    pub(super) async fn plain() -> Self {
        Self::open(Scope::TherapyRooms).await
    }

    /// Ciphertext only, everywhere.
    pub(super) async fn guarded() -> Self {
        Self::open(Scope::Everywhere).await
    }

    async fn open(scope: Scope) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.data = directory.path().join("data");
        config.gate.scope = scope;
        let time = Arc::new(AtomicU64::new(1_800_000_000_000));
        let options = Options {
            clock: Clock::manual(time.clone()),
            random: Random::system(),
            store: None,
        };
        let app = start::open(config, options).await.unwrap().app;
        let router = crate::router(app.clone());
        Self {
            app,
            router,
            time,
            _directory: directory,
        }
    }

    pub(super) async fn person(&self, name: &str) -> Person {
        let user = UserId::parse(format!("@{name}:localhost")).unwrap();
        let token = format!("token of {name}");
        let (who, hash) = (&user, hash_token(&token));
        let profile = Profile {
            displayname: Some(name.to_uppercase()),
            ..Profile::default()
        };
        let profile = &profile;
        self.app
            .store
            .transact(|mut tx: Tx| async move {
                let session = Session {
                    user: who.clone(),
                    device: format!("{}1", who.localpart()).into(),
                    role: Role::Client,
                    expires: None,
                    unused: false,
                };
                tx.put(&ACCESS_TOKENS, hash, &session)?;
                tx.put(&PASSWORDS, who, &"hash".to_owned())?;
                tx.put(&PROFILES, who, profile)?;
                Ok::<_, StoreError>((tx, ()))
            })
            .await
            .unwrap();
        Person {
            user,
            token,
            router: self.router.clone(),
        }
    }

    pub(super) fn later(&self, millis: u64) {
        self.time.fetch_add(millis, Ordering::Relaxed);
    }

    pub(super) async fn timeline(&self, room: &RoomId) -> Vec<(u64, StoredEvent)> {
        self.app
            .store
            .after(&TIMELINE, room, 0, 10_000)
            .await
            .unwrap()
    }

    /// The positions of a room's events in somebody's inbox, oldest first.
    pub(super) async fn inbox(&self, person: &Person, room: &RoomId) -> Vec<u64> {
        let entries = self
            .app
            .store
            .after(&INBOX, &person.user, 0, 10_000)
            .await
            .unwrap();
        let of_room = |entry: &&(u64, crate::store::Numbered<Entry>)| matches!(&entry.1.value, Entry::Event(of) if of == room);
        entries
            .iter()
            .filter(of_room)
            .map(|(_, entry)| entry.number())
            .collect()
    }

    pub(super) fn rules(version: &str) -> RoomVersionRules {
        ruma::RoomVersionId::try_from(version)
            .unwrap()
            .rules()
            .unwrap()
    }
}

impl Person {
    pub(super) async fn ask(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(&method)
            .uri(format!("/_matrix/client{path}"))
            .header("authorization", format!("Bearer {}", self.token));
        let body = if method == Method::GET {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        let response = self
            .router
            .clone()
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Value {
        let (status, body) = self.ask(Method::PUT, path, body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, body) = self.ask(Method::POST, path, body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// What the server says no with: status and errcode.
    pub(super) async fn refused(&self, method: Method, path: &str, body: Value) -> (u16, String) {
        let (status, body) = self.ask(method, path, body).await;
        assert!(!status.is_success(), "{path}: {body}");
        assert!(
            body["error"].as_str().is_some_and(|text| text.len() > 10),
            "{path}: {body}"
        );
        (
            status.as_u16(),
            body["errcode"].as_str().unwrap_or_default().to_owned(),
        )
    }

    pub(super) async fn room(&self, body: Value) -> OwnedRoomId {
        let body = self.post("/v3/createRoom", body).await;
        body["room_id"].as_str().unwrap().try_into().unwrap()
    }

    pub(super) async fn room_with(&self, others: &[&Person], version: &str) -> OwnedRoomId {
        let invite: Vec<_> = others.iter().map(|person| person.user.clone()).collect();
        let room = self
            .room(json!({ "invite": invite, "room_version": version }))
            .await;
        for person in others {
            person.act(&room, "join", json!({})).await;
        }
        room
    }

    /// `invite`, `join`, `leave` …
    pub(super) async fn act(&self, room: &RoomId, action: &str, body: Value) -> Value {
        self.post(&format!("/v3/rooms/{room}/{action}"), body).await
    }

    pub(super) async fn refused_act(
        &self,
        room: &RoomId,
        action: &str,
        body: Value,
    ) -> (u16, String) {
        self.refused(Method::POST, &format!("/v3/rooms/{room}/{action}"), body)
            .await
    }

    pub(super) async fn say(&self, room: &RoomId, text: &str) -> String {
        let path = format!(
            "/v3/rooms/{room}/send/m.room.message/{}",
            text.replace(' ', "-")
        );
        let sent = self
            .put(&path, json!({ "msgtype": "m.text", "body": text }))
            .await;
        sent["event_id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn set(&self, room: &RoomId, kind: &str, content: Value) -> String {
        let sent = self
            .put(&format!("/v3/rooms/{room}/state/{kind}/"), content)
            .await;
        sent["event_id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn refused_read(&self, room: &RoomId, what: &str) -> (u16, String) {
        self.refused(
            Method::GET,
            &format!("/v3/rooms/{room}/{what}"),
            Value::Null,
        )
        .await
    }

    /// The messages that one may read, newest first.
    pub(super) async fn reads(&self, room: &RoomId) -> Vec<String> {
        let path = format!("/v3/rooms/{room}/messages?dir=b&limit=1000");
        let messages = self.get(&path).await;
        let bodies = messages["chunk"].as_array().unwrap().iter();
        bodies
            .filter_map(|event| event["content"]["body"].as_str().map(ToOwned::to_owned))
            .collect()
    }
}

pub(super) fn forbidden() -> (u16, String) {
    (403, "M_FORBIDDEN".to_owned())
}

pub(super) fn not_found() -> (u16, String) {
    (404, "M_NOT_FOUND".to_owned())
}
