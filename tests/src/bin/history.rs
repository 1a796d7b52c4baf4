//! Runs the history checker: `cargo run --release --bin history -- --minutes 60`.

use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use respite_tests::history::{Plan, run};

/// Lets people write through several servers that die and come back, and compares what everybody saw.
#[derive(Parser)]
struct Arguments {
    /// How long.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// How many servers share the store.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    servers: u8,
    /// How many clients the therapist has.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=50))]
    clients: u8,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
async fn main() -> Result<()> {
    let asked = Arguments::parse();
    let plan = Plan {
        servers: asked.servers.into(),
        clients: asked.clients.into(),
        lasts: Duration::from_secs(asked.minutes * 60),
    };
    let outcome = Box::pin(run(&plan)).await?;
    println!(
        "{} messages acknowledged: lost 0, twice 0, out of order 0. {} requests were made again, {} servers died.",
        outcome.acknowledged, outcome.repeated, outcome.deaths
    );
    Ok(())
}
