//! What was measured, as a table for people or as JSON for programs.

#![expect(clippy::print_stdout, reason = "printing is what a report is for")]

use serde_json::{Value, json};

use crate::{
    measure::{IdlePolls, Latencies},
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
    line("resident after it, MiB", &|report| {
        Some(report.polls.as_ref()?.before_kib? as f64 / 1024.0)
    });
}

/// The measurements so far.
pub(crate) struct Report {
    server: String,
    idle_kib: Option<u64>,
    levels: Vec<Level>,
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

    pub(crate) fn idle_polls(&mut self, polls: IdlePolls) {
        self.polls = Some(polls);
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
        json!({
            "server": self.server, "idle_resident_kib": self.idle_kib, "levels": levels,
            "idle_polls": self.polls.as_ref().map(|polls| json!({ "polls": polls.polls, "kib_each": polls.kib_each() })),
        })
    }
}

impl IdlePolls {
    fn kib_each(&self) -> Option<f64> {
        Some(self.with_kib?.saturating_sub(self.before_kib?) as f64 / self.polls.max(1) as f64)
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
