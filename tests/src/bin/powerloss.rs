//! What an engine loses when the power fails: `cargo run --release --bin powerloss -- run --engine redb --cuts 500`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

use std::time::Instant;

use anyhow::Result;
use clap::{Args, Parser};
use respite_server::store::Address;
use respite_tests::{
    engine::Engine,
    powerloss::{Plan, Writers, look, run, work},
};

#[derive(Parser)]
#[command(about = "What an engine loses when the power fails.")]
enum Command {
    /// Lets an engine work under strace, and opens what had been synced at many moments of it.
    Run {
        /// redb or sled.
        #[arg(long)]
        engine: Engine,
        /// At how many moments the power fails.
        #[arg(long, default_value_t = 100)]
        cuts: usize,
        #[command(flatten)]
        writers: Who,
        /// What chance begins with.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// For comparison: after the first acknowledgement no sync reaches the disk.
        #[arg(long)]
        deaf: bool,
    },
    /// Only works, without strace, and says at the end how fast that went.
    Work {
        /// Where, as in the setting `store`.
        #[arg(long)]
        store: String,
        #[command(flatten)]
        writers: Who,
    },
    /// Only looks.
    #[command(hide = true)]
    Look {
        #[arg(long)]
        store: String,
    },
}

#[derive(Args)]
struct Who {
    /// How many write at the same time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    writers: u32,
    /// How many commits each of them makes.
    #[arg(long, default_value_t = 150)]
    commits: u32,
}

impl From<Who> for Writers {
    fn from(who: Who) -> Self {
        Self {
            number: who.writers,
            commits: who.commits,
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    match Command::parse() {
        Command::Run {
            engine,
            cuts,
            writers,
            seed,
            deaf,
        } => {
            let program = std::env::current_exe()?;
            let plan = Plan {
                program,
                engine,
                cuts,
                writers: writers.into(),
                seed,
                deaf,
            };
            println!("{}: {}", plan.engine, run(&plan).await?);
        }
        Command::Work { store, writers } => {
            let started = Instant::now();
            let done = work(&store.parse::<Address>()?, writers.into()).await?;
            let seconds = started.elapsed().as_secs_f64();
            eprintln!(
                "{done} commits in {seconds:.2} s: {:.0}/s",
                f64::from(done) / seconds
            );
        }
        Command::Look { store } => {
            let found = look(&store.parse::<Address>()?).await?;
            println!("{}", serde_json::to_string(&found)?);
        }
    }
    Ok(())
}
