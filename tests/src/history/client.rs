//! A client behind a plain load balancer: each request goes to some server, and is made again at another one until there is an
//! answer.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::raw::{Answer, Raw};

/// The longest that anybody goes on asking for one thing.
const GIVE_UP: Duration = Duration::from_secs(120);
/// How long anybody waits for one answer before they ask elsewhere: longer than any poll.
const LOSE_PATIENCE: Duration = Duration::from_secs(30);
/// How long somebody waits after a request that came to nothing.
const PAUSE: Duration = Duration::from_millis(20);

/// What all clients have in common.
pub(super) struct Clients {
    shared: Arc<Shared>,
}

struct Shared {
    servers: Vec<String>,
    begun: Instant,
    seed: Mutex<StdRng>,
    resumed: AtomicU64,
    unanswered: Mutex<Vec<String>>,
}

/// Somebody's device, as one thing that it does at a time.
pub(super) struct Client {
    raw: Raw,
    /// Where it goes: everywhere, or to one server only.
    servers: Vec<String>,
    shared: Arc<Shared>,
    random: Mutex<StdRng>,
}

impl Clients {
    pub(super) fn of(servers: Vec<String>, seed: u64) -> Self {
        let shared = Shared {
            servers,
            begun: Instant::now(),
            seed: Mutex::new(StdRng::seed_from_u64(seed)),
            resumed: AtomicU64::new(0),
            unanswered: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Somebody whose requests go anywhere.
    pub(super) fn client(&self, raw: Raw) -> Client {
        Client {
            raw,
            servers: self.shared.servers.clone(),
            shared: self.shared.clone(),
            random: Mutex::new(StdRng::seed_from_u64(below(&self.shared.seed, u64::MAX))),
        }
    }

    /// Somebody who goes to one server only.
    pub(super) fn client_at(&self, raw: Raw, server: &str) -> Client {
        Client {
            servers: vec![server.to_owned()],
            ..self.client(raw)
        }
    }

    /// The addresses of all servers.
    pub(super) fn servers(&self) -> &[String] {
        &self.shared.servers
    }

    /// How many requests were answered only when they were made again.
    pub(super) fn resumed(&self) -> u64 {
        self.shared.resumed.load(Ordering::Relaxed)
    }

    /// Requests that hung until whoever asked lost patience, in words.
    pub(super) fn unanswered(&self) -> Vec<String> {
        lock(&self.shared.unanswered).clone()
    }
}

impl Client {
    pub(super) fn raw(&self) -> &Raw {
        &self.raw
    }

    /// How long everything has been going on.
    pub(super) fn now(&self) -> Duration {
        self.shared.begun.elapsed()
    }

    /// A random number below this one.
    pub(super) fn roll(&self, limit: u64) -> u64 {
        below(&self.random, limit)
    }

    /// Pauses at most so long.
    pub(super) async fn pauses(&self, longest: Duration) {
        let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        sleep(Duration::from_millis(self.roll(millis + 1))).await;
    }

    /// Asks some server once.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let body = body.map(|body| body.to_string().into_bytes());
        let turn = self.roll(self.servers.len() as u64) as usize;
        let server = self.servers.get(turn).context("there are no servers")?;
        let (there, begun) = (self.raw.at(server), self.now());
        let Ok(answer) = timeout(LOSE_PATIENCE, there.ask(method, path, body)).await else {
            let story = format!(
                "{path} at {server}, begun at {:.1} s, was never answered",
                begun.as_secs_f64()
            );
            lock(&self.shared.unanswered).push(story.clone());
            bail!(story)
        };
        answer
    }

    /// Asks until somebody answers, as clients do when the network or a server fails.
    ///
    /// # Errors
    /// Nobody answers.
    pub(super) async fn insist(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let (end, mut again) = (Instant::now() + GIVE_UP, false);
        loop {
            match self.ask(method.clone(), path, body).await {
                Ok(answer) if answer.status < 500 && answer.status != 429 => {
                    self.shared
                        .resumed
                        .fetch_add(u64::from(again), Ordering::Relaxed);
                    return Ok(answer);
                }
                failed if Instant::now() > end => bail!("no answer in time: {failed:?}"),
                _ => again = true,
            }
            sleep(PAUSE).await;
        }
    }
}

fn below(random: &Mutex<StdRng>, limit: u64) -> u64 {
    lock(random).random_range(0..limit.max(1))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
