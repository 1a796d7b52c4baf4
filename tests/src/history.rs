//! The history checker: people write and read through several servers on one PostgreSQL while every few seconds a server is
//! killed or a connection cut, and in the end everybody must have seen one and the same history, with everything in it that
//! was acknowledged, once.

mod asker;
mod client;
mod judge;
mod key_claims;
mod ledger;
mod reader;
mod servers;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

pub use self::ledger::{Figures, Outcome, Waits};
use self::{
    asker::Asker,
    client::{Client, Clients},
    judge::{Sent, View},
    key_claims::Claims,
    servers::{Blow, Servers},
};
pub use crate::crash::Violation;
use crate::raw::{Raw, client_at};

/// How long, and by whom.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many servers share the database.
    pub servers: usize,
    /// How many clients one therapist has, each in a room with her; at least one.
    pub clients: usize,
    /// How long people write.
    pub lasts: Duration,
    /// Where the blows and everybody's choices come from. The order in which requests arrive does not come from it.
    pub seed: u64,
}

/// How long there is peace between two blows, in milliseconds.
const PEACE: std::ops::Range<u64> = 500..3_000;
/// How long a server that was killed is away, in milliseconds.
const AWAY: std::ops::Range<u64> = 50..1_000;
/// How many claim the same device's keys at the same time.
const CLAIMERS: usize = 3;
/// The longest pause of the writers in each room, in milliseconds; further rooms begin anew. A busy room lets commits meet; in
/// a quiet one, nothing else wakes a poll.
const PACES: [u64; 4] = [80, 400, 1_500, 5_000];

/// Runs the plan with the real program and a real PostgreSQL.
///
/// # Errors
/// The load cannot be made: PostgreSQL is not installed, something is refused that should not be, or a server does not come
/// back. What must never happen is in the outcome instead.
pub async fn run(plan: &Plan) -> Result<Outcome> {
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut servers = Servers::start(plan.servers).await?;
    let clients = Clients::of(servers.urls(), random.random());
    let rooms = gather(&servers, &clients, plan.clients).await?;
    let work = Work::begin(&clients, &rooms).await?;
    let mut outcome = Outcome::default();
    strike(&mut servers, &mut random, plan.lasts, &mut outcome).await?;
    work.end(&clients, &rooms, &mut outcome).await?;
    outcome.figures.resumed = clients.resumed();
    outcome.figures.unanswered = clients.unanswered();
    servers.end(&mut outcome).await?;
    Ok(outcome)
}

/// A room and who is in it.
struct Room {
    id: String,
    therapist: Client,
    client: Client,
    pace: Duration,
}

/// A therapist and her clients, each in a room with her.
async fn gather(servers: &Servers, clients: &Clients, count: usize) -> Result<Vec<Room>> {
    let (url, code) = servers.first_code()?;
    let url = &url;
    let therapist = Raw::register(url, "therapist", code).await?;
    let mut rooms = Vec::new();
    for (number, pace) in (1..=count).zip(PACES.into_iter().cycle()) {
        let client = client_at(url, &therapist, &format!("client{number}")).await?;
        let id = client.rooms().await?.pop().context("no room")?;
        therapist.joins(&id).await?;
        rooms.push(Room {
            id,
            therapist: clients.client(therapist.clone()),
            client: clients.client(client),
            pace: Duration::from_millis(pace),
        });
    }
    Ok(rooms)
}

/// Everybody at work.
struct Work {
    over: CancellationToken,
    written: CancellationToken,
    writing: JoinSet<Result<(String, Vec<Sent>)>>,
    asking: JoinSet<Result<Asker>>,
    reading: JoinSet<Result<Vec<(String, View)>>>,
    claims: Arc<Claims>,
    claiming: JoinSet<Result<()>>,
}

impl Work {
    async fn begin(clients: &Clients, rooms: &[Room]) -> Result<Self> {
        let (over, written) = (CancellationToken::new(), CancellationToken::new());
        let (mut writing, mut asking, mut reading) =
            (JoinSet::new(), JoinSet::new(), JoinSet::new());
        for room in rooms {
            for person in [&room.therapist, &room.client] {
                let (person, id) = (clients.client(person.raw().clone()), room.id.clone());
                writing.spawn(writer::write(person, id, room.pace, over.clone()));
            }
            let therapist = clients.client(room.therapist.raw().clone());
            let asker = Asker::new(therapist, room.client.raw(), room.id.clone(), room.pace);
            asking.spawn(asker.work(over.clone()));
        }
        for (person, rooms) in readers(rooms) {
            reading.spawn(reader::read(clients.client(person), rooms, written.clone()));
        }
        let first = rooms.first().context("no rooms")?;
        let claims = Arc::new(Claims::of(clients.client(first.client.raw().clone())).await?);
        let mut claiming = JoinSet::new();
        claiming.spawn(claims.clone().keep_up(over.clone()));
        for _ in 0..CLAIMERS {
            let claimer = clients.client(first.therapist.raw().clone());
            claiming.spawn(claims.clone().claim(claimer, over.clone()));
        }
        Ok(Self {
            over,
            written,
            writing,
            asking,
            reading,
            claims,
            claiming,
        })
    }

    /// Lets everybody finish, and compares.
    async fn end(mut self, clients: &Clients, rooms: &[Room], outcome: &mut Outcome) -> Result<()> {
        self.over.cancel();
        let mut sent: BTreeMap<String, Vec<Sent>> = BTreeMap::new();
        while let Some(written) = self.writing.join_next().await {
            let (room, messages) = written??;
            outcome.figures.messages += messages.len();
            sent.entry(room).or_default().extend(messages);
        }
        while let Some(asker) = self.asking.join_next().await {
            let (room, prompts) = asker??.all_released(outcome).await?;
            outcome.figures.prompts += prompts.len();
            sent.entry(room).or_default().extend(prompts);
        }
        self.written.cancel();
        let mut views: BTreeMap<String, Vec<View>> = BTreeMap::new();
        while let Some(read) = self.reading.join_next().await {
            for (room, view) in read?? {
                views.entry(room).or_default().push(view);
            }
        }
        while let Some(claimed) = self.claiming.join_next().await {
            claimed??;
        }
        for room in rooms {
            let views = views.entry(room.id.clone()).or_default();
            for person in [&room.therapist, &room.client] {
                for (number, url) in clients.servers().iter().enumerate() {
                    let client = clients.client_at(person.raw().clone(), url);
                    views.push(reader::history(&client, &room.id, number + 1).await?);
                }
            }
            let sent = sent.remove(&room.id).unwrap_or_default();
            judge::judge(&room.id, &sent, views, outcome);
            outcome.figures.waited(&sent, views);
        }
        self.claims.judge(clients, outcome).await
    }
}

/// Everybody once, with their rooms.
fn readers(rooms: &[Room]) -> Vec<(Raw, BTreeSet<String>)> {
    let mut readers: BTreeMap<&str, (Raw, BTreeSet<String>)> = BTreeMap::new();
    for room in rooms {
        for person in [&room.therapist, &room.client] {
            let reader = readers
                .entry(&person.raw().user)
                .or_insert_with(|| (person.raw().clone(), BTreeSet::new()));
            reader.1.insert(room.id.clone());
        }
    }
    readers.into_values().collect()
}

/// Every few seconds a server dies, or a connection, in the middle of whatever it does.
async fn strike(
    servers: &mut Servers,
    random: &mut StdRng,
    lasts: Duration,
    outcome: &mut Outcome,
) -> Result<()> {
    let end = Instant::now() + lasts;
    for blow in Blow::IN_TURN.into_iter().cycle() {
        let peace = Duration::from_millis(random.random_range(PEACE));
        if Instant::now() + peace > end {
            break;
        }
        sleep(peace).await;
        let server = random.random_range(0..servers.count());
        servers.strike(server, blow).await?;
        if blow == Blow::Server {
            sleep(Duration::from_millis(random.random_range(AWAY))).await;
            servers.bring_back(server).await?;
        }
        outcome.figures.struck(blow);
    }
    Ok(())
}
