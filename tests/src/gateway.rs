//! A push gateway of one's own: speaks the push gateway API on a port of its own, rejects what it is told to, fails when it
//! is told to, and remembers what it was told.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::person::PATIENCE;

/// The path of every push gateway.
pub const NOTIFY: &str = "/_matrix/push/v1/notify";

/// How often it is looked whether the gateway was told something.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a gateway does with a push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// It takes it.
    #[default]
    Willing,
    /// It answers 502.
    Failing,
    /// It sends whoever asks elsewhere.
    Redirecting(String),
    /// Its answer has no end.
    Talkative,
}

/// A push gateway that listens.
pub struct Gateway {
    /// Scheme, host and port.
    pub base: String,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    mood: Mood,
    rejected: BTreeSet<String>,
    taken: Vec<Value>,
    asked: usize,
    bytes: Vec<u8>,
}

impl Gateway {
    /// A gateway on a port of its own.
    pub async fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let router = Router::new()
            .route(NOTIFY, post(notify))
            .with_state(seen.clone());
        let task = tokio::spawn(async move {
            drop(axum::serve(listener, router).await);
        });
        Ok(Self { base, seen, task })
    }

    /// The address that pushers name.
    pub fn url(&self) -> String {
        format!("{}{NOTIFY}", self.base)
    }

    /// What it does from now on.
    pub fn is(&self, mood: Mood) {
        self.with(|seen| seen.mood = mood);
    }

    /// It does not know this pushkey any more.
    pub fn rejects(&self, pushkey: &str) {
        self.with(|seen| seen.rejected.insert(pushkey.to_owned()));
    }

    /// How often it was asked, whatever it answered.
    pub fn asked(&self) -> usize {
        self.with(|seen| seen.asked)
    }

    /// The notifications that it took, in their order.
    pub fn taken(&self) -> Vec<Value> {
        self.with(|seen| seen.taken.clone())
    }

    /// The events that it was told of, in their order.
    pub fn events(&self) -> Vec<String> {
        let taken = self.taken();
        let ids = taken.iter().filter_map(|told| told["event_id"].as_str());
        ids.map(str::to_owned).collect()
    }

    /// Every byte that it was sent.
    pub fn bytes(&self) -> Vec<u8> {
        self.with(|seen| seen.bytes.clone())
    }

    /// Waits until it was asked so often in all.
    pub async fn is_asked(&self, times: usize) -> Result<()> {
        self.until(|| self.asked() >= times)
            .await
            .with_context(|| format!("it was asked {} times, not {times}", self.asked()))
    }

    /// Waits until it has taken a notification that is like this.
    pub async fn takes(&self, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        let found = || self.taken().into_iter().find(&is_it);
        self.until(|| found().is_some())
            .await
            .with_context(|| format!("it took only {:?}", self.taken()))?;
        found().context("it has gone again")
    }

    /// Waits until it was told of an event.
    pub async fn hears_of(&self, event: &str) -> Result<Value> {
        self.takes(|told| told["event_id"] == event).await
    }

    async fn until(&self, done: impl Fn() -> bool) -> Result<()> {
        let waiting = async {
            while !done() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        ensure!(!self.task.is_finished(), "the gateway is gone");
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(()) => Ok(()),
            Err(_) => bail!("the gateway was not told in time"),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Seen) -> T) -> T {
        let mut seen = self
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        act(&mut seen)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn notify(State(seen): State<Arc<Mutex<Seen>>>, body: Bytes) -> Response {
    let Ok(mut seen) = seen.lock() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    seen.asked += 1;
    seen.bytes.extend_from_slice(&body);
    match seen.mood.clone() {
        Mood::Failing => StatusCode::BAD_GATEWAY.into_response(),
        Mood::Redirecting(elsewhere) => {
            (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, elsewhere)]).into_response()
        }
        Mood::Talkative => {
            let endless = "\"a\",".repeat(1024 * 1024);
            format!("{{\"rejected\":[{endless}\"a\"]}}").into_response()
        }
        Mood::Willing => {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let told = &body["notification"];
            let keys = told["devices"].as_array().into_iter().flatten();
            let keys = keys.filter_map(|device| device["pushkey"].as_str());
            let rejected: Vec<&str> = keys.filter(|key| seen.rejected.contains(*key)).collect();
            let answer = json!({ "rejected": rejected }).to_string();
            seen.taken.push(told.clone());
            answer.into_response()
        }
    }
}
