//! kill -9 under load, again and again: what was acknowledged must be there, once, in order.

use std::{ops::RangeInclusive, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};
use vodozemac::megolm::{GroupSession, InboundGroupSession, MegolmMessage, SessionConfig};

use crate::{
    place::{Place, Program, free_address},
    raw::{Raw, THERAPY, text_at},
};

/// Megolm, as far as the rooms know.
const ENCRYPTED: &str = "m.room.encrypted";

/// How often, and under how much load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often the server is killed.
    pub rounds: u32,
    /// Clients of one therapist, each in a room with her; both write in it at the same time.
    pub clients: usize,
    /// How many milliseconds the server lives under load, at random.
    pub lives: RangeInclusive<u64>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Messages that the server has acknowledged; all of them are there.
    pub acknowledged: usize,
    /// Messages that were under way when the server was killed and are there nevertheless. Sent again with the same
    /// transaction id, they got the same event.
    pub unheard: usize,
}

/// Runs the plan with the real program in this place.
///
/// # Errors
/// Something that was acknowledged is lost, there twice, or out of order; the server does not come back; or its own scan
/// finds a violation.
pub async fn run(place: &Place, plan: &Plan) -> Result<Outcome> {
    let address = free_address()?;
    let mut server = place.serve_at(&address).await?;
    let mut writers = gather(&server, plan.clients).await?;
    let mut outcome = Outcome::default();
    for round in 1..=plan.rounds {
        let lives = Duration::from_millis(rand::random_range(plan.lives.clone()));
        writers = all_write(writers, server, lives)
            .await
            .with_context(|| format!("round {round}"))?;
        server = place
            .serve_at(&address)
            .await
            .with_context(|| format!("after round {round}"))?;
        for writer in &mut writers {
            outcome.unheard += usize::from(
                writer
                    .check()
                    .await
                    .with_context(|| format!("after round {round}"))?,
            );
        }
    }
    outcome.acknowledged = writers.iter().map(|writer| writer.acknowledged.len()).sum();
    server.stop().await?;
    let scan = place.run(&["scan"]).await?;
    ensure!(scan.code == Some(0), "the scan after it all: {scan:?}");
    Ok(outcome)
}

/// A therapist and her clients, each room with its two writers.
async fn gather(server: &Program, clients: usize) -> Result<Vec<Writer>> {
    let code = server
        .first_code
        .as_deref()
        .context("the server has told no code")?;
    let therapist = Raw::register(&server.url, "therapist", code).await?;
    let mut writers = Vec::new();
    for number in 1..=clients {
        let made = therapist
            .post(
                &format!("{THERAPY}/invites"),
                json!({ "kind": "individual" }),
            )
            .await?
            .ok()?;
        let client = Raw::register(
            &server.url,
            &format!("client{number}"),
            &text_at(&made, "code")?,
        )
        .await?;
        let room = client
            .rooms()
            .await?
            .first()
            .context("the client is in no room")?
            .clone();
        for person in [client, therapist.clone()] {
            writers.push(Writer::new(person, room.clone()).await?);
        }
    }
    Ok(writers)
}

/// Lets everybody write until the server is killed.
async fn all_write(writers: Vec<Writer>, server: Program, lives: Duration) -> Result<Vec<Writer>> {
    let mut writing = JoinSet::new();
    for writer in writers {
        writing.spawn(writer.write_until_the_server_is_gone());
    }
    sleep(lives).await;
    server.kill().await?;
    writing.join_all().await.into_iter().collect()
}

/// Somebody who writes one message after the other in one room, and remembers what was acknowledged.
struct Writer {
    person: Raw,
    room: String,
    keys: GroupSession,
    reads: InboundGroupSession,
    /// The events of the messages 0, 1, 2 … that the server has acknowledged.
    acknowledged: Vec<String>,
    /// The message after those, if it is under way.
    open: Option<Value>,
    /// How far this device has synced.
    since: String,
}

impl Writer {
    async fn new(person: Raw, room: String) -> Result<Self> {
        let since = text_at(&person.syncs(None).await?, "next_batch")?;
        let keys = GroupSession::new(SessionConfig::version_1());
        let reads = InboundGroupSession::new(&keys.session_key(), SessionConfig::version_1());
        Ok(Self {
            person,
            room,
            keys,
            reads,
            acknowledged: Vec::new(),
            open: None,
            since,
        })
    }

    async fn write_until_the_server_is_gone(mut self) -> Result<Self> {
        loop {
            let number = self.acknowledged.len();
            let content = match self.open.take() {
                Some(content) => content,
                None => self.encrypted(number),
            };
            let path = format!("v3/rooms/{}/send/{ENCRYPTED}/{number}", self.room);
            match self.person.put(&path, content.clone()).await {
                Ok(answer) => self.acknowledged.push(text_at(&answer.ok()?, "event_id")?),
                Err(_) => {
                    self.open = Some(content);
                    return Ok(self);
                }
            }
        }
    }

    fn encrypted(&mut self, number: usize) -> Value {
        json!({
            "algorithm": "m.megolm.v1.aes-sha2",
            "ciphertext": self.keys.encrypt(message(number)).to_base64(),
            "session_id": self.keys.session_id(),
        })
    }

    /// Compares what is in the room with what was acknowledged. Returns whether the message under way got through too.
    async fn check(&mut self) -> Result<bool> {
        let path = format!("v3/rooms/{}/messages?dir=f&limit=1000", self.room);
        let (mut mine, mut last, mut from) = (Vec::new(), None, String::new());
        loop {
            let page = self.person.get(&format!("{path}{from}")).await?.ok()?;
            let events = page["chunk"].as_array().context("no events")?;
            for event in events {
                if event["type"] == ENCRYPTED && event["sender"] == self.person.user.as_str() {
                    mine.push((self.number_in(event)?, text_at(event, "event_id")?));
                }
                last = Some(event["event_id"].clone());
            }
            match page["end"].as_str() {
                Some(end) if !events.is_empty() => from = format!("&from={end}"),
                _ => break,
            }
        }
        let counted = mine.iter().map(|(number, _)| *number).eq(0..mine.len());
        ensure!(
            counted,
            "{} finds messages lost, twice or out of order: {mine:?}",
            self.person.user
        );
        let kept: Vec<&String> = mine.iter().map(|(_, id)| id).collect();
        let known = kept.get(..self.acknowledged.len()).unwrap_or_default();
        ensure!(
            known
                .iter()
                .eq(&self.acknowledged.iter().collect::<Vec<_>>()),
            "{} lost what was acknowledged",
            self.person.user
        );
        self.catches_up(last).await?;
        match mine.len() - self.acknowledged.len() {
            0 => Ok(false),
            1 if self.open.is_some() => Ok(true),
            more => bail!(
                "{more} messages of {} that nobody has sent",
                self.person.user
            ),
        }
    }

    fn number_in(&mut self, event: &Value) -> Result<usize> {
        let ciphertext = text_at(&event["content"], "ciphertext")?;
        let plaintext = self
            .reads
            .decrypt(&MegolmMessage::from_base64(&ciphertext)?)?
            .plaintext;
        let message: Value = serde_json::from_slice(&plaintext)?;
        Ok(text_at(&message["content"], "body")?.parse()?)
    }

    /// A sync from where they were brings them to the room's newest event.
    async fn catches_up(&mut self, last: Option<Value>) -> Result<()> {
        let news = self.person.syncs(Some(&self.since)).await?;
        self.since = text_at(&news, "next_batch")?;
        let timeline = news["rooms"]["join"][&self.room]["timeline"]["events"].as_array();
        if let Some(newest) = timeline.and_then(|events| events.last()) {
            ensure!(
                Some(&newest["event_id"]) == last.as_ref(),
                "{} misses the newest event",
                self.person.user
            );
        }
        Ok(())
    }
}

fn message(number: usize) -> String {
    json!({ "type": "m.room.message", "content": { "msgtype": "m.text", "body": number.to_string() } }).to_string()
}
