//! Crashes under load, again and again: what was acknowledged must be there, once, in order.

mod actor;
mod key_claims;
mod messages;
mod prompts;
mod settings;
mod stage;
mod uploads;

use std::{collections::BTreeMap, fmt, ops::RangeInclusive, time::Duration};

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use respite_server::scan::{Flaw, Report};
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

pub use self::stage::Blow;
use self::{actor::Actor, stage::Stage};
use crate::{
    engine::Engine,
    place::{Place, Program},
    raw::{Raw, THERAPY, text_at},
};

/// How many violations are told in words; further ones are only counted.
const MAX_TOLD: usize = 20;

/// What is acknowledged.
const KINDS: [&str; 5] = ["messages", "prompts", "key claims", "uploads", "settings"];

/// How many times as many rounds as planned there may be, until enough was acknowledged.
const MOST_TIMES: u32 = 10;

/// How often, and under how much load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often something is struck.
    pub rounds: u32,
    /// There are more rounds, up to ten times as many, until each kind of load was acknowledged this often.
    pub acknowledged: u64,
    /// What is struck, in turn.
    pub blows: Vec<Blow>,
    /// Clients of one therapist, each in a room with her; both write in it at the same time.
    pub clients: usize,
    /// How many milliseconds everything lives under load, at random.
    pub lives: RangeInclusive<u64>,
    /// Where the moments come from. The order in which requests arrive does not come from it.
    pub seed: u64,
}

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// Something acknowledged is not there.
    Lost,
    /// Something is there twice, or two events have come of one transaction id.
    Duplicated,
    /// Something is not where it was acknowledged to be.
    OutOfOrder,
    /// A prompt was released twice, or never.
    Prompt,
    /// A one-time key was handed out twice.
    Key,
    /// An acknowledged upload cannot be read as it was sent.
    Media,
    /// The server's own scan finds something, or it does not come back.
    Store,
}

impl Violation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Lost,
        Self::Duplicated,
        Self::OutOfOrder,
        Self::Prompt,
        Self::Key,
        Self::Media,
        Self::Store,
    ];
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "acknowledged writes lost",
            Self::Duplicated => "written twice",
            Self::OutOfOrder => "out of order",
            Self::Prompt => "prompts released other than once",
            Self::Key => "one-time keys handed out twice",
            Self::Media => "acknowledged media unreadable",
            Self::Store => "store in disorder",
        })
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What was acknowledged, by kind.
    pub acknowledged: BTreeMap<&'static str, u64>,
    /// How many rounds there were.
    pub rounds: u32,
    /// Requests whose answer nobody has heard, because of a crash.
    pub unheard: u64,
    /// What must never happen, and how often it did.
    pub violations: BTreeMap<Violation, u64>,
    /// The first of those in words.
    pub told: Vec<String>,
}

impl Outcome {
    /// How often that kind was acknowledged which was acknowledged least.
    pub fn least(&self) -> u64 {
        let counts = KINDS.map(|kind| self.acknowledged.get(kind).copied().unwrap_or_default());
        counts.into_iter().min().unwrap_or_default()
    }

    fn heard(&mut self, what: &'static str) {
        *self.acknowledged.entry(what).or_default() += 1;
    }

    fn violated(&mut self, what: Violation, story: String) {
        *self.violations.entry(what).or_default() += 1;
        if self.told.len() < MAX_TOLD {
            self.told.push(story);
        }
    }

    fn add(&mut self, other: Self) {
        self.unheard += other.unheard;
        for (what, count) in other.acknowledged {
            *self.acknowledged.entry(what).or_default() += count;
        }
        for (what, count) in other.violations {
            *self.violations.entry(what).or_default() += count;
        }
        let room = MAX_TOLD.saturating_sub(self.told.len());
        self.told.extend(other.told.into_iter().take(room));
    }
}

/// Runs the plan with the real program on a new store of this engine's.
///
/// # Errors
/// The load cannot be made: something is refused that should not be, or what was struck does not come back.
pub async fn run(engine: Engine, plan: &Plan) -> Result<Outcome> {
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut stage = Stage::set(engine, &plan.blows).await?;
    let mut actors = gather(&stage.server, plan.clients).await?;
    let mut outcome = Outcome::default();
    let mut blows = plan.blows.iter().cycle();
    loop {
        outcome.rounds += 1;
        let round = outcome.rounds;
        let blow = *blows.next().context("nothing is to be struck")?;
        let lives = Duration::from_millis(random.random_range(plan.lives.clone()));
        actors = work_until_the_blow(actors, &mut stage, blow, lives, &mut outcome)
            .await
            .with_context(|| format!("round {round}"))?;
        let enough =
            outcome.least() >= plan.acknowledged || round >= plan.rounds.saturating_mul(MOST_TIMES);
        let last = round >= plan.rounds && enough;
        for actor in &mut actors {
            actor
                .check(last, &mut outcome)
                .await
                .with_context(|| format!("after round {round}"))?;
        }
        if last {
            break;
        }
    }
    let ended = stage.end().await?;
    scan(&ended.place, &mut outcome).await?;
    Ok(outcome)
}

/// The server's own look at what it holds. An upload whose answer nobody heard may have left a blob that nothing refers to;
/// it is removed later.
async fn scan(place: &Place, outcome: &mut Outcome) -> Result<()> {
    let scan = place.run(&["scan", "--json"]).await?;
    let report: Report = serde_json::from_str(&scan.out).context("no report")?;
    let (orphans, others): (Vec<_>, Vec<_>) = report
        .violations
        .into_iter()
        .partition(|violation| violation.flaw == Flaw::Orphan);
    for violation in others {
        outcome.violated(Violation::Store, format!("the scan finds {violation:?}"));
    }
    if orphans.len() as u64 > outcome.unheard {
        let story = format!("{} blobs belong to nothing", orphans.len());
        outcome.violated(Violation::Store, story);
    }
    Ok(())
}

/// Lets everybody work until the blow, and waits until all is back.
async fn work_until_the_blow(
    actors: Vec<Actor>,
    stage: &mut Stage,
    blow: Blow,
    lives: Duration,
    outcome: &mut Outcome,
) -> Result<Vec<Actor>> {
    let end = CancellationToken::new();
    let mut working = JoinSet::new();
    for mut actor in actors {
        let end = end.clone();
        working.spawn(async move {
            let mut outcome = Outcome::default();
            actor.work(&end, &mut outcome).await?;
            anyhow::Ok((actor, outcome))
        });
    }
    sleep(lives).await;
    stage.strike(blow).await?;
    end.cancel();
    let mut back = Vec::new();
    for done in working.join_all().await {
        let (actor, theirs) = done?;
        outcome.add(theirs);
        back.push(actor);
    }
    stage.restore(blow).await?;
    Ok(back)
}

/// A therapist and her clients, each room with its two writers; and those who do everything else.
async fn gather(server: &Program, clients: usize) -> Result<Vec<Actor>> {
    let code = server
        .first_code
        .as_deref()
        .context("the server has told no code")?;
    let therapist = Raw::register(&server.url, "therapist", code).await?;
    let mut actors = Vec::new();
    for number in 1..=clients {
        let (client, room) = joins_a_client(server, &therapist, &format!("client{number}")).await?;
        for person in [client, therapist.clone()] {
            actors.push(Actor::writes(person, room.clone()).await?);
        }
    }
    let (asked, room) = joins_a_client(server, &therapist, "asked").await?;
    actors.push(Actor::asks(therapist, asked.user.clone(), room.clone()));
    actors.push(Actor::claims(asked.clone()).await?);
    actors.push(Actor::uploads(asked.clone()));
    actors.push(Actor::sorts(asked, room));
    Ok(actors)
}

/// A client with a code of the therapist's, and their room.
async fn joins_a_client(server: &Program, therapist: &Raw, name: &str) -> Result<(Raw, String)> {
    let path = format!("{THERAPY}/invites");
    let made = therapist
        .post(&path, json!({ "kind": "individual" }))
        .await?;
    let code = text_at(&made.ok()?, "code")?;
    let client = Raw::register(&server.url, name, &code).await?;
    let room = client
        .rooms()
        .await?
        .pop()
        .context("the client is in no room")?;
    Ok((client, room))
}
