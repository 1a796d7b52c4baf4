//! Runs the history checker.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;
use respite_tests::history::{Plan, run};

/// Lets people write and read through several servers on one PostgreSQL, kills a server or cuts a connection every few seconds,
/// and compares what everybody saw.
///
/// Exit code 0 if nothing was lost, twice or out of order; 1 otherwise.
///
/// Example: cargo run --release --bin history -- --minutes 60
#[derive(Parser)]
#[command(name = "history", version)]
struct Arguments {
    /// How long.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// How many servers share the database.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    servers: u8,
    /// How many clients the therapist has.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=50))]
    clients: u8,
    /// Where the random moments come from; a new one each time, if it is not said.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let asked = Arguments::parse();
    let plan = Plan {
        servers: asked.servers.into(),
        clients: asked.clients.into(),
        lasts: Duration::from_secs(asked.minutes * 60),
        seed: asked.seed.unwrap_or_else(rand::random),
    };
    println!(
        "{} servers, {} clients, {} minutes, --seed {}",
        plan.servers, plan.clients, asked.minutes, plan.seed
    );
    let outcome = Box::pin(run(&plan)).await?;
    print!("{outcome}");
    Ok(match outcome.violations.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
