//! Kills a server under load, again and again, and compares what is there with what was acknowledged.
#![expect(clippy::print_stdout, reason = "printing is what a measurement is for")]

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use clap::Parser;
use respite_tests::{
    crash::{Outcome, Plan, Violation, run},
    engine::Engine,
    place::Place,
};

/// Kills a server under load from real requests, restarts it, and compares what is there with what was acknowledged.
///
/// Exit code 0 if nothing was lost, twice or out of order; 1 otherwise.
///
/// Example: cargo run --release --bin crash -- --engine redb --rounds 500
#[derive(Parser)]
#[command(name = "crash", version)]
struct Arguments {
    /// The engine that keeps the store.
    #[arg(long, value_enum, default_value = "redb")]
    engine: Engine,
    /// How often something is killed.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
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
    let plan = Plan {
        rounds: arguments.rounds,
        clients: arguments.clients,
        lives: 30.min(arguments.longest)..=arguments.longest,
        seed: arguments.seed.unwrap_or_else(rand::random),
    };
    let place = Place::on(arguments.engine)?;
    let begun = Instant::now();
    let outcome = run(&place, &plan).await;
    println!(
        "{:?}, {} rounds in {:.0} s, --seed {}",
        arguments.engine,
        plan.rounds,
        begun.elapsed().as_secs_f64(),
        plan.seed
    );
    let outcome = outcome?;
    table(&outcome);
    Ok(match outcome.violations.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn table(outcome: &Outcome) {
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
