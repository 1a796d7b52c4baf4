//! The measurements.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures_util::future::join_all;
use hdrhistogram::Histogram;

use crate::people::{People, Person};

/// How long and how hard.
pub(crate) struct Plan {
    pub(crate) duration: Duration,
    pub(crate) rate: u32,
}

/// Latencies in microseconds, and how long the measurement took.
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
    took: Duration,
}

impl Latencies {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            histogram: Histogram::new(3)?,
            took: Duration::ZERO,
        })
    }

    fn record(&mut self, latency: Duration) {
        // It grows with what it is given; one that cannot be allocated is one measurement less.
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let _ = self.histogram.record(micros);
    }

    /// Records one that ran by itself.
    pub(crate) fn add(&mut self, latency: Duration) {
        self.record(latency);
        self.took += latency;
    }

    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.histogram.len() as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// A percentile in milliseconds.
    pub(crate) fn millis(&self, percentile: f64) -> f64 {
        self.histogram.value_at_quantile(percentile / 100.0) as f64 / 1000.0
    }
}

/// Stores `count` events as fast as the server takes them.
pub(crate) async fn fill(people: &People, count: u64) -> Result<u64> {
    let each = count.div_ceil(people.all.len() as u64);
    people
        .each(async |person| {
            for _ in 0..each {
                person.send(person.ciphertext()).await?;
            }
            Ok(())
        })
        .await?;
    Ok(each * people.all.len() as u64)
}

/// Everybody sends, one message after the other, for the plan's duration.
pub(crate) async fn sends(people: &People, plan: &Plan) -> Result<Latencies> {
    let begin = Instant::now();
    repeated(people, async |person, _| {
        if begin.elapsed() >= plan.duration {
            return Ok(None);
        }
        let content = person.ciphertext();
        let start = Instant::now();
        person.send(content).await?;
        Ok(Some(start.elapsed()))
    })
    .await
}

/// Everybody at once does something again and again, until they return that there is nothing more to do. It is told how
/// often they have done it, and tells how long it took.
pub(crate) async fn repeated(
    people: &People,
    act: impl AsyncFn(&Person, usize) -> Result<Option<Duration>>,
) -> Result<Latencies> {
    let begin = Instant::now();
    let each = people
        .each(async |person| {
            let mut mine = Latencies::new()?;
            let mut times = 0;
            while let Some(took) = act(person, times).await? {
                mine.record(took);
                times += 1;
            }
            Ok(mine)
        })
        .await?;
    let mut all = Latencies::new()?;
    all.took = begin.elapsed();
    for mine in each {
        all.histogram.add(mine.histogram)?;
    }
    Ok(all)
}

/// Sends at a fixed rate, whatever the answers do, while the receivers wait in long polls: from just before the send to the
/// moment the receiver has the ciphertext.
pub(crate) async fn receipt(people: &[Person], plan: &Plan) -> Result<Latencies> {
    let sent: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let latencies = Arc::new(Mutex::new(Latencies::new()?));
    let end = Instant::now() + plan.duration;
    let (senders, receivers): (Vec<_>, Vec<_>) = people
        .chunks_exact(2)
        .filter_map(|pair| Some((pair.first()?, pair.get(1)?)))
        .unzip();
    let receiving = join_all(
        receivers
            .into_iter()
            .map(|person| receive(person, end, &sent, &latencies)),
    );
    let sending = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let gap = Duration::from_secs(1) / plan.rate.max(1);
        let mut next = tokio::time::interval(gap);
        let mut under_way = futures_util::stream::FuturesUnordered::new();
        let mut turn = senders.iter().cycle();
        while Instant::now() + Duration::from_secs(1) < end {
            next.tick().await;
            let person: &Person = turn.next().context("nobody to send")?;
            let content = person.ciphertext();
            let key = content["ciphertext"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            sent.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(key, Instant::now());
            under_way.push(person.send(content));
            while let Some(Some(done)) =
                futures_util::FutureExt::now_or_never(futures_util::StreamExt::next(&mut under_way))
            {
                done?;
            }
        }
        while let Some(done) = futures_util::StreamExt::next(&mut under_way).await {
            done?;
        }
        anyhow::Ok(())
    };
    let begin = Instant::now();
    let (received, sending) = tokio::join!(receiving, sending);
    sending?;
    received.into_iter().collect::<Result<Vec<()>>>()?;
    let mut latencies = Arc::into_inner(latencies)
        .context("still in use")?
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    latencies.took = begin.elapsed();
    Ok(latencies)
}

async fn receive(
    person: &Person,
    end: Instant,
    sent: &Mutex<HashMap<String, Instant>>,
    latencies: &Mutex<Latencies>,
) -> Result<()> {
    let (mut since, _) = person.sync(None, 0).await?;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let wait = u64::try_from(left.as_millis()).unwrap_or(0).min(2000);
        let (next, ciphertexts) = person.sync(Some(&since), wait).await?;
        let now = Instant::now();
        since = next;
        for ciphertext in ciphertexts {
            let start = sent
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&ciphertext);
            if let Some(start) = start {
                latencies
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .record(now - start);
            }
        }
    }
    Ok(())
}

/// Incremental syncs that bring one message each.
pub(crate) async fn incremental_sync(people: &People) -> Result<Latencies> {
    const SYNCS: usize = 300;
    let mut latencies = Latencies::new()?;
    let begin = Instant::now();
    let [sender, receiver, ..] = people.all.as_slice() else {
        return Ok(latencies);
    };
    let (mut since, _) = receiver.sync(None, 0).await?;
    for _ in 0..SYNCS {
        sender.send(sender.ciphertext()).await?;
        let start = Instant::now();
        (since, _) = receiver.sync(Some(&since), 0).await?;
        latencies.record(start.elapsed());
    }
    latencies.took = begin.elapsed();
    Ok(latencies)
}
