//! What long polls cost while nothing happens to them, and how soon somebody hears among them.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;

use crate::{
    measure::{self, Latencies, Plan},
    people::People,
    target::Target,
};

/// How long the polls are held open.
const WAIT: Duration = Duration::from_secs(50);
/// How long all of them have to arrive, which they do one after the other.
const ARRIVING: Duration = Duration::from_secs(20);
/// Over how much of that they spread.
const ONE_AFTER_THE_OTHER: Duration = Duration::from_secs(15);
/// How long one is woken among them; they are all there until then.
const WOKEN: Duration = Duration::from_secs(20);

/// Memory of the server while many wait, and the way of a message beside them.
pub(crate) struct IdlePolls {
    pub(crate) polls: usize,
    pub(crate) before_kib: Option<u64>,
    pub(crate) with_kib: Option<u64>,
    /// From sender to a receiver whose poll waits among the others.
    pub(crate) woken: Latencies,
}

impl IdlePolls {
    /// What each of them takes of the server's memory.
    pub(crate) fn kib_each(&self) -> Option<f64> {
        Some(self.with_kib?.saturating_sub(self.before_kib?) as f64 / self.polls.max(1) as f64)
    }
}

/// Holds `count` long polls open, each on a connection of its own, looks at the server's memory, and lets the first two
/// people write to each other meanwhile.
pub(crate) async fn idle(
    target: &Target,
    people: &People,
    count: usize,
    plan: &Plan,
) -> Result<IdlePolls> {
    let (talking, waiting) = people.all.split_at(2);
    let mut tokens = Vec::new();
    for person in waiting {
        tokens.push(person.sync(None, 0).await?.0);
    }
    let before_kib = target.resident_kib();
    let apart = ONE_AFTER_THE_OTHER / u32::try_from(count.max(1))?;
    let all = waiting.iter().zip(&tokens).cycle().zip((0..).take(count));
    let polls = join_all(all.map(async |((person, since), earlier)| {
        tokio::time::sleep(apart * earlier).await;
        person
            .sync(Some(since), u64::try_from(WAIT.as_millis()).unwrap_or(0))
            .await
    }));
    let meanwhile = async {
        tokio::time::sleep(ARRIVING).await;
        let with_kib = target.resident_kib();
        let plan = Plan {
            duration: plan.duration.min(WOKEN),
            ..*plan
        };
        anyhow::Ok((with_kib, measure::receipt(talking, &plan).await?))
    };
    let (answers, meanwhile) = tokio::join!(polls, meanwhile);
    answers.into_iter().collect::<Result<Vec<_>>>()?;
    let (with_kib, woken) = meanwhile?;
    Ok(IdlePolls {
        polls: count,
        before_kib,
        with_kib,
        woken,
    })
}
