//! Strikes a server or its database under load, again and again, and compares what is there with what was acknowledged.
#![expect(clippy::print_stdout, reason = "printing is what a measurement is for")]

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use clap::Parser;
use respite_tests::{
    crash::{Blow, Outcome, Plan, Violation, run},
    engine::Engine,
};

/// Kills a server under load from real requests, restarts it, and compares what is there with what was acknowledged. With
/// PostgreSQL, which it starts itself, in turn: kills the server, kills the database, cuts the connections between the two.
///
/// Exit code 0 if nothing was lost, twice or out of order; 1 otherwise, or if too little was acknowledged to tell.
///
/// Examples:
///
/// cargo run --release --bin crash -- --engine redb --rounds 500
///
/// cargo run --release --bin crash -- --engine postgres --strike connections --rounds 500
#[derive(Parser)]
#[command(name = "crash", version)]
struct Arguments {
    /// The engine that keeps the store.
    #[arg(long, value_enum, default_value = "redb")]
    engine: Engine,
    /// How often something is struck.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// What is struck, in turn, separated by commas; without it, everything that there is. Only with PostgreSQL is there more
    /// than the server.
    #[arg(long, value_enum, value_delimiter = ',')]
    strike: Vec<Blow>,
    /// How many messages, prompts, claimed keys, uploads and settings each have to be acknowledged. There are more rounds
    /// until it is so, up to ten times as many.
    #[arg(long, default_value_t = 20)]
    acknowledged: u64,
    /// Clients of one therapist; each writes with her in a room.
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// The longest life under load, in milliseconds; each is of a random length.
    #[arg(long, default_value_t = 600)]
    longest: u64,
    /// Where the random moments come from; a new one each time, if it is not said.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let blows = match arguments.strike.is_empty() {
        true => Blow::all(arguments.engine),
        false => arguments.strike,
    };
    let plan = Plan {
        rounds: arguments.rounds,
        acknowledged: arguments.acknowledged,
        blows,
        clients: arguments.clients,
        lives: 30.min(arguments.longest)..=arguments.longest,
        seed: arguments.seed.unwrap_or_else(rand::random),
    };
    let begun = Instant::now();
    let outcome = run(arguments.engine, &plan).await;
    println!(
        "{}, {:.0} s, --seed {}",
        arguments.engine,
        begun.elapsed().as_secs_f64(),
        plan.seed
    );
    let outcome = outcome?;
    table(&outcome);
    let enough = outcome.least() >= plan.acknowledged;
    if !enough {
        println!("There was hardly any load: nothing is shown by this.");
    }
    Ok(match outcome.violations.is_empty() && enough {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn table(outcome: &Outcome) {
    println!("{:>10}  rounds", outcome.rounds);
    for (what, count) in &outcome.acknowledged {
        println!("{count:>10}  {what} acknowledged");
    }
    println!("{:>10}  requests unanswered", outcome.unheard);
    for what in Violation::ALL {
        let count = outcome.violations.get(&what).copied().unwrap_or_default();
        println!("{count:>10}  {what}");
    }
    for story in &outcome.told {
        println!("            {story}");
    }
}
