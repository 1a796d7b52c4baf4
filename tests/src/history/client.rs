//! A client behind a plain load balancer: each request goes to some server, and is made again at another one until there is an
//! answer.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::raw::{Answer, Raw};

/// The longest that anybody goes on asking for one thing.
const GIVE_UP: Duration = Duration::from_secs(60);
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
        let there = match self.servers.get(turn) {
            Some(server) => self.raw.at(server),
            None => bail!("there are no servers"),
        };
        there.ask(method, path, body).await
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
    let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
    random.random_range(0..limit.max(1))
}
