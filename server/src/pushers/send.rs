//! Sending: beside the requests, many at a time but not more, each pusher in its order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use ruma::UserId;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    badge,
    claim::{self, Claim, Turn},
    gateway::{Failed, Gateways},
};
use crate::{
    metrics,
    push::{PUSHES, Push, Pusher},
    state::App,
    store::StoreError,
};

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(250);
/// How many users' pushers are served at the same time.
const MAX_USERS: usize = 64;
/// How many gateways are called at the same time.
const MAX_CALLS: usize = 32;
/// How many pushes are looked at together: what was read meanwhile does not ring.
const BATCH: usize = 100;
/// How long one turn takes at most, but for the last call: well within the time that a claim holds.
const TURN: Duration = Duration::from_secs(30);

/// Sends what becomes due until the server stops.
pub async fn run(app: App) {
    if !app.config.push.enabled {
        return;
    }
    let gateways = match Gateways::new(&app.config.push.trusted_gateways) {
        Ok(gateways) => gateways,
        Err(_) => return tracing::error!("no TLS client can be made; nothing is pushed"),
    };
    let (gateways, calls) = (Arc::new(gateways), Arc::new(Semaphore::new(MAX_CALLS)));
    let mut turns = JoinSet::new();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        while turns.try_join_next().is_some() {}
        let claims = match claim::due(&app, MAX_USERS.saturating_sub(turns.len())).await {
            Ok(claims) => claims,
            Err(error) => {
                tracing::warn!(
                    ?error,
                    "it is not known what is to be pushed; looking again"
                );
                continue;
            }
        };
        for claim in claims {
            turns.spawn(take_turn(
                app.clone(),
                gateways.clone(),
                calls.clone(),
                claim,
            ));
        }
    }
}

/// Sends what one user's pushers are to be told.
async fn take_turn(app: App, gateways: Arc<Gateways>, calls: Arc<Semaphore>, claim: Claim) {
    let sender = Sender {
        app: &app,
        gateways: &gateways,
        calls: &calls,
        began: Instant::now(),
    };
    let turns = claim.pushers.iter().map(async |pusher| {
        let failed = |error| {
            tracing::warn!(?error, "what is to be pushed cannot be read");
            Turn::Failed(pusher.sent)
        };
        sender
            .serve(&claim.user, pusher)
            .await
            .unwrap_or_else(failed)
    });
    let turns = join_all(turns).await;
    if let Err(error) = claim::settle(&app, &claim, &turns).await {
        tracing::warn!(?error, "pushes may be sent again: they could not be noted");
    }
}

struct Sender<'a> {
    app: &'a App,
    gateways: &'a Gateways,
    calls: &'a Semaphore,
    began: Instant,
}

impl Sender<'_> {
    /// Tells a pusher what it was not told yet, for as long as a turn lasts.
    async fn serve(&self, user: &UserId, pusher: &Pusher) -> Result<Turn, StoreError> {
        let store = &self.app.store;
        let mut sent = pusher.sent;
        loop {
            let batch = store.after(&PUSHES, user, sent, BATCH).await?;
            let Some((last, _)) = batch.last() else {
                return Ok(Turn::Sent(sent));
            };
            let (last, entries): (u64, Vec<_>) = (
                *last,
                batch
                    .iter()
                    .map(|(number, entry)| (*number, entry.number(), &entry.value))
                    .collect(),
            );
            for (number, about) in to_tell(&entries) {
                if self.began.elapsed() > TURN {
                    return Ok(Turn::Sent(sent));
                }
                let unread = badge::unread(store, user).await?;
                match self.call(pusher, &about, unread).await {
                    Err(Failed) => return Ok(Turn::Failed(sent)),
                    Ok(rejected) if rejected.contains(&pusher.pushkey) => {
                        return Ok(Turn::Rejected);
                    }
                    Ok(_) => sent = number,
                }
            }
            sent = last;
        }
    }

    async fn call(
        &self,
        pusher: &Pusher,
        about: &About<'_>,
        unread: u64,
    ) -> Result<Vec<String>, Failed> {
        let body = body(pusher, about, unread);
        let _one_of_many = self.calls.acquire().await.map_err(|_| Failed)?;
        let answer = self
            .gateways
            .notify(&pusher.url, body.to_string().into_bytes())
            .await;
        metrics::pushed(match &answer {
            Ok(rejected) if rejected.contains(&pusher.pushkey) => "rejected",
            Ok(_) => "sent",
            Err(Failed) => "failed",
        });
        answer
    }
}

/// What a gateway is told.
#[derive(Debug, PartialEq, Eq)]
enum About<'a> {
    /// There is something to read.
    Event {
        room: &'a str,
        event: &'a str,
        urgent: bool,
    },
    /// There is less to read.
    Less,
}

/// What is to be told of pushes (with their numbers and the positions that they are about): events that were not read
/// since, and once that there is less, if nothing else tells how much there is.
fn to_tell<'a>(pushes: &[(u64, u64, &'a Push)]) -> Vec<(u64, About<'a>)> {
    let mut told: Vec<(u64, About<'a>)> = Vec::new();
    let mut last_read = None;
    for (place, (number, position, push)) in pushes.iter().enumerate() {
        let Push::Ring {
            room,
            thread,
            event_id,
            urgent,
        } = push
        else {
            last_read = Some(*number);
            continue;
        };
        let reads_it = |(_, up_to, push): &(u64, u64, &Push)| {
            matches!(push, Push::Read { room: of, within }
                if of == room && within.holds(thread.as_deref()) && up_to >= position)
        };
        if !pushes.iter().skip(place).any(reads_it) {
            let (room, event, urgent) = (room.as_str(), event_id.as_str(), *urgent);
            let about = About::Event {
                room,
                event,
                urgent,
            };
            told.push((*number, about));
        }
    }
    if let Some(read) = last_read
        && told.last().is_none_or(|(number, _)| *number < read)
    {
        told.push((read, About::Less));
    }
    told
}

/// The body of a call: what `event_id_only` allows, and whether it is to be heard at once.
fn body(pusher: &Pusher, about: &About<'_>, unread: u64) -> Value {
    let data: Value = serde_json::from_str(&pusher.data).unwrap_or_default();
    let mut notification = json!({
        // Zero is told too: otherwise no client would ever take the number away.
        "counts": { "unread": unread },
        "devices": [{
            "app_id": pusher.app_id,
            "pushkey": pusher.pushkey,
            "pushkey_ts": pusher.set / 1_000,
            "data": data,
        }],
    });
    if let (
        About::Event {
            room,
            event,
            urgent,
        },
        Some(fields),
    ) = (about, notification.as_object_mut())
    {
        fields.insert("event_id".to_owned(), (*event).into());
        fields.insert("room_id".to_owned(), (*room).into());
        let prio = if *urgent { "high" } else { "low" };
        fields.insert("prio".to_owned(), prio.into());
    }
    json!({ "notification": notification })
}

#[cfg(test)]
mod tests {
    use ruma::{owned_event_id, owned_room_id};

    use super::*;
    use crate::push::Within;

    fn ring(position: u64) -> Push {
        Push::Ring {
            room: owned_room_id!("!night:localhost"),
            thread: None,
            event_id: owned_event_id!("$event"),
            urgent: position > 1,
        }
    }

    fn read(within: Within) -> Push {
        Push::Read {
            room: owned_room_id!("!night:localhost"),
            within,
        }
    }

    #[test]
    fn what_was_read_meanwhile_does_not_ring() {
        let (one, two) = (ring(1), ring(2));
        let thread = read(Within::Thread(owned_event_id!("$root")));
        let main = read(Within::Main);
        let told = to_tell(&[(7, 1, &one), (8, 2, &two), (9, 2, &thread), (10, 1, &main)]);
        let numbers: Vec<u64> = told.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [8, 10]);
        assert_eq!(told[1].1, About::Less);
    }

    #[test]
    fn a_gateway_is_told_an_id_and_a_number() {
        let pusher = Pusher {
            app_id: "app".to_owned(),
            pushkey: "key".to_owned(),
            device: "PHONE".into(),
            lang: "en".to_owned(),
            url: "https://push.example.org/_matrix/push/v1/notify".to_owned(),
            data: r#"{"format":"event_id_only"}"#.to_owned(),
            set: 1_234_567,
            sent: 0,
            until: 0,
            sending: true,
            again: false,
            failures: 0,
            failing_since: 0,
        };
        let about = About::Event {
            room: "!night:localhost",
            event: "$event",
            urgent: true,
        };
        assert_eq!(
            body(&pusher, &about, 3),
            json!({ "notification": {
                "event_id": "$event", "room_id": "!night:localhost", "prio": "high", "counts": { "unread": 3 },
                "devices": [{
                    "app_id": "app", "pushkey": "key", "pushkey_ts": 1234, "data": { "format": "event_id_only" },
                }],
            } })
        );
        let less = body(&pusher, &About::Less, 0);
        assert_eq!(less["notification"]["counts"]["unread"], 0);
        assert!(less["notification"].get("event_id").is_none());
    }
}
