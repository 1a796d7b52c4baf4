//! What was measured, as a table for people or as JSON for programs.

#![expect(clippy::print_stdout, reason = "printing is what a report is for")]

use serde_json::{Value, json};

use crate::{
    keys::KeyWork, lists::Opened, measure::Latencies, media::MediaWork, polls::IdlePolls,
    target::Target,
};

/// Prints each report, and what is most worth comparing side by side.
pub(crate) fn print(reports: &[Report], as_json: bool) {
    if as_json {
        let all: Vec<Value> = reports.iter().map(Report::json).collect();
        println!("{}", Value::from(all));
        return;
    }
    for report in reports {
        report.table();
        println!();
    }
    if reports.len() > 1 {
        side_by_side(reports);
    }
}

/// The highest level of each report.
fn side_by_side(reports: &[Report]) {
    let line = |name: &str, figure: &dyn Fn(&Report) -> Option<f64>| {
        let figures: String = reports
            .iter()
            .map(|report| figure(report).map_or(format!("{:>14}", "-"), |it| format!("{it:>14.2}")))
            .collect();
        println!("{name:<28}{figures}");
    };
    let names: String = reports
        .iter()
        .map(|report| format!("{:>14}", report.server))
        .collect();
    println!("{:<28}{names}", "side by side");
    line("durable sends/s", &|report| {
        Some(report.last()?.sends.per_second())
    });
    line("  p50 ms", &|report| {
        Some(report.last()?.sends.millis(50.0))
    });
    line("  p99 ms", &|report| {
        Some(report.last()?.sends.millis(99.0))
    });
    line("send to receipt, p50 ms", &|report| {
        Some(report.last()?.receipt.millis(50.0))
    });
    line("  p99 ms", &|report| {
        Some(report.last()?.receipt.millis(99.0))
    });
    line("incremental sync, p50 ms", &|report| {
        Some(report.last()?.sync.millis(50.0))
    });
    line("key claims/s", &|report| {
        Some(report.keys.as_ref()?.claim.per_second())
    });
    line("woken among idle, p99 ms", &|report| {
        Some(report.polls.as_ref()?.woken.millis(99.0))
    });
    line("resident after it, MiB", &|report| {
        Some(report.polls.as_ref()?.before_kib? as f64 / 1024.0)
    });
}

/// The measurements so far.
pub(crate) struct Report {
    server: String,
    idle_kib: Option<u64>,
    levels: Vec<Level>,
    keys: Option<KeyWork>,
    media: Option<MediaWork>,
    opened: Vec<Opened>,
    polls: Option<IdlePolls>,
}

struct Level {
    events: u64,
    sends: Latencies,
    receipt: Latencies,
    sync: Latencies,
}

impl Report {
    pub(crate) fn new(target: &Target) -> Self {
        Self {
            server: target.name.clone(),
            idle_kib: None,
            levels: Vec::new(),
            keys: None,
            media: None,
            opened: Vec::new(),
            polls: None,
        }
    }

    pub(crate) fn idle_server(&mut self, kib: Option<u64>) {
        self.idle_kib = kib;
    }

    pub(crate) fn level(
        &mut self,
        events: u64,
        sends: Latencies,
        receipt: Latencies,
        sync: Latencies,
    ) {
        self.levels.push(Level {
            events,
            sends,
            receipt,
            sync,
        });
    }

    pub(crate) fn keys(&mut self, keys: KeyWork) {
        self.keys = Some(keys);
    }

    pub(crate) fn media(&mut self, media: MediaWork) {
        self.media = Some(media);
    }

    pub(crate) fn opened(&mut self, opened: Opened) {
        self.opened.push(opened);
    }

    pub(crate) fn idle_polls(&mut self, polls: IdlePolls) {
        self.polls = Some(polls);
    }

    /// What does not depend on how many events there are.
    fn others(&self) -> Vec<(&'static str, &Latencies)> {
        let mut rows = Vec::new();
        if let Some(keys) = &self.keys {
            rows.push(("upload of 50 one-time keys", &keys.upload));
            rows.push(("key query", &keys.query));
            rows.push(("key claim", &keys.claim));
        }
        if let Some(media) = &self.media {
            rows.push(("upload of 256 KiB", &media.upload));
            rows.push(("download of 256 KiB", &media.download));
        }
        if let Some(polls) = &self.polls {
            rows.push(("woken among idle polls", &polls.woken));
        }
        rows
    }

    fn last(&self) -> Option<&Level> {
        self.levels.last()
    }

    fn table(&self) {
        println!("server                      {}", self.server);
        if let Some(kib) = self.idle_kib {
            println!("resident, idle              {:.1} MiB", kib as f64 / 1024.0);
        }
        println!(
            "{:<28}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "milliseconds", "per s", "p50", "p90", "p99", "max"
        );
        for level in &self.levels {
            println!("at {} stored events", level.events);
            row("  durable send", &level.sends);
            row("  send to receipt", &level.receipt);
            row("  incremental sync", &level.sync);
        }
        for (name, latencies) in self.others() {
            row(name, latencies);
        }
        for opened in &self.opened {
            println!("with {} rooms", opened.rooms);
            for (name, latencies) in &opened.figures {
                row(&format!("  {name}"), latencies);
            }
        }
        if let (Some(first), Some(last)) = (self.levels.first(), self.levels.last())
            && self.levels.len() > 1
        {
            println!(
                "from {} to {} events (ratio of medians)",
                first.events, last.events
            );
            println!(
                "  durable send              {:>10.2}",
                last.sends.millis(50.0) / first.sends.millis(50.0)
            );
            println!(
                "  incremental sync          {:>10.2}",
                last.sync.millis(50.0) / first.sync.millis(50.0)
            );
        }
        if let Some(polls) = &self.polls
            && let Some(kib) = polls.kib_each()
        {
            println!("each of {} idle long polls  {kib:.1} KiB", polls.polls);
        }
    }

    fn json(&self) -> Value {
        let figures = |latencies: &Latencies| {
            json!({
                "count": latencies.count(), "per_second": latencies.per_second(), "p50_ms": latencies.millis(50.0),
                "p90_ms": latencies.millis(90.0), "p99_ms": latencies.millis(99.0), "max_ms": latencies.millis(100.0),
            })
        };
        let levels: Vec<_> = self.levels.iter().map(|level| {
            json!({
                "events": level.events, "durable_send": figures(&level.sends),
                "send_to_receipt": figures(&level.receipt), "incremental_sync": figures(&level.sync),
            })
        }).collect();
        let others: serde_json::Map<_, _> = self
            .others()
            .into_iter()
            .map(|(name, latencies)| (name.to_owned(), figures(latencies)))
            .collect();
        let opened = self.opened.iter().map(|opened| {
            let all = opened.figures.iter();
            let all: serde_json::Map<_, _> = all
                .map(|(name, latencies)| ((*name).to_owned(), figures(latencies)))
                .collect();
            json!({ "rooms": opened.rooms, "figures": all })
        });
        let opened: Vec<_> = opened.collect();
        json!({
            "opened": opened, "server": self.server, "idle_resident_kib": self.idle_kib, "levels": levels, "others": others,
            "idle_polls": self.polls.as_ref().map(|polls| json!({ "polls": polls.polls, "kib_each": polls.kib_each() })),
        })
    }
}

fn row(name: &str, latencies: &Latencies) {
    println!(
        "{name:<28}{:>10.0}{:>10.2}{:>10.2}{:>10.2}{:>10.2}",
        latencies.per_second(),
        latencies.millis(50.0),
        latencies.millis(90.0),
        latencies.millis(99.0),
        latencies.millis(100.0),
    );
}
