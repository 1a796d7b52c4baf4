//! A load tool for any Matrix server: how fast durable sends are, how soon a message reaches the one who waits for it, what
//! an idle long poll costs, how fast keys and attachments travel, how long clients with few and many rooms wait, and how all of
//! it changes as events pile up.
//!
//! Without `--server` it starts Respite servers of its own in a fresh directory, each in a process of its own, and measures
//! those: one engine after the other, the figures side by side.
#![expect(
    clippy::indexing_slicing,
    reason = "JSON is looked into by name, which never panics"
)]

mod keys;
mod lists;
mod measure;
mod media;
mod people;
mod polls;
mod report;
mod target;

use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use respite_tests::engine::Engine;

use crate::{
    measure::Plan,
    people::People,
    report::Report,
    target::{Case, Target},
};

/// Measures a Matrix server: durable sends, send to receipt, syncs, keys, attachments, idle long polls.
///
/// Example: cargo run --release --bin load -- --events 1000,100000 --engine redb,sled
#[derive(Parser)]
#[command(name = "load", version)]
struct Arguments {
    /// The server's address; without it, a Respite server is started for the measurement.
    #[arg(long)]
    server: Option<String>,
    /// The engines of the servers that are started, one after the other.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "redb",
        conflicts_with = "server"
    )]
    engine: Vec<Engine>,
    /// A store of your own for the servers that are started, as the setting `store` names it. What it holds stays in it.
    #[arg(long, conflicts_with_all = ["server", "engine"])]
    store: Option<String>,
    /// How many servers are started on one store, one measurement for each number; requests go to all in turn.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1",
        conflicts_with = "server"
    )]
    servers: Vec<usize>,
    /// The server's process, to read its memory from; known by itself for a server that was started here.
    #[arg(long)]
    pid: Option<u32>,
    /// A registration token good for all accounts, where the server asks for one.
    #[arg(long)]
    token: Option<String>,
    /// Senders at the same time; each two share a room.
    #[arg(long, default_value_t = 32)]
    senders: usize,
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Messages a second while the way from sender to receiver is measured.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// Idle long polls held open at once.
    #[arg(long, default_value_t = 1000)]
    idle: usize,
    /// The numbers of stored events at which everything is measured.
    #[arg(long, value_delimiter = ',', default_value = "1000,100000")]
    events: Vec<u64>,
    /// The numbers of rooms for which opening a client is measured, with both kinds of sync.
    #[arg(long, value_delimiter = ',', default_value = "1,50,500")]
    rooms: Vec<usize>,
    /// Prints one JSON document instead of a table.
    #[arg(long)]
    json: bool,
    /// Internal: be the server, in the given directory.
    #[arg(long, hide = true)]
    be_server: Option<std::path::PathBuf>,
    /// Internal: where that server tells its address.
    #[arg(long, hide = true, default_value = "address")]
    tell: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(data) = &arguments.be_server {
        return target::be_server(data, arguments.store.as_deref(), &arguments.tell);
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(run(arguments))
}

async fn run(arguments: Arguments) -> Result<()> {
    let mut reports = Vec::new();
    if let Some(url) = &arguments.server {
        let target = Target::given(url, arguments.pid);
        reports.push(measured(target, &arguments).await?);
    } else {
        for case in cases(&arguments) {
            reports.push(measured(Target::start(&case).await?, &arguments).await?);
        }
    }
    report::print(&reports, arguments.json);
    Ok(())
}

/// What is measured, one after the other.
fn cases(arguments: &Arguments) -> Vec<Case> {
    let stores: Vec<_> = match &arguments.store {
        Some(address) => vec![Case::given(address)],
        None => arguments.engine.iter().copied().map(Case::of).collect(),
    };
    let with = |case: &Case| {
        let case = case.clone();
        arguments
            .servers
            .iter()
            .map(move |servers| case.clone().on(*servers))
    };
    stores.iter().flat_map(with).collect()
}

async fn measured(target: Target, arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new(&target);
    report.idle_server(target.resident_kib());

    let people = People::register(&target, arguments.senders, arguments.token.as_deref()).await?;
    let plan = Plan {
        duration: Duration::from_secs(arguments.seconds),
        rate: arguments.rate,
    };
    let mut stored = 0;
    for level in &arguments.events {
        stored += measure::fill(&people, level.saturating_sub(stored)).await?;
        let incremental = measure::incremental_sync(&people).await?;
        let sends = measure::sends(&people, &plan).await?;
        let receipt = measure::receipt(&people.all, &plan).await?;
        stored += sends.count() + receipt.count();
        report.level(*level, sends, receipt, incremental);
    }
    report.keys(keys::keys(&people, &plan).await?);
    report.media(media::media(&people, &plan).await?);
    for rooms in &arguments.rooms {
        report.opened(lists::measure(&target, *rooms, arguments.token.as_deref()).await?);
    }
    let polls = polls::idle(&target, &people, arguments.idle, &plan).await?;
    report.idle_polls(polls);
    target.stop().await?;
    Ok(report)
}
