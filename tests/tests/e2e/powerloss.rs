//! The power fails, and the store is opened on what had been synced.

use anyhow::{Result, ensure};
use respite_outside::part::STRACE;
use respite_tests::{
    engine::Engine,
    powerloss::{Plan, Report, Writers, run},
};

/// What came of it, and in words with what chance began with.
async fn power_fails(engine: Engine, deaf: bool) -> Result<(Report, String)> {
    let plan = Plan {
        program: env!("CARGO_BIN_EXE_powerloss").into(),
        engine,
        cuts: 30,
        writers: Writers {
            number: 24,
            commits: 20,
        },
        seed: rand::random(),
        deaf,
    };
    let report = run(&plan).await?;
    let words = format!("{engine}, seed {}: {report}", plan.seed);
    Ok((report, words))
}

#[tokio::test]
async fn redb_keeps_what_it_has_acknowledged() -> Result<()> {
    if STRACE.is_there() {
        let (report, words) = power_fails(Engine::Redb, false).await?;
        ensure!(report.is_clean(), "{words}");
    }
    Ok(())
}

#[tokio::test]
async fn sled_keeps_what_it_has_acknowledged() -> Result<()> {
    if STRACE.is_there() {
        let (report, words) = power_fails(Engine::Sled, false).await?;
        ensure!(report.is_clean(), "{words}");
    }
    Ok(())
}

#[tokio::test]
async fn without_syncs_something_is_missing() -> Result<()> {
    if STRACE.is_there() {
        for engine in [Engine::Redb, Engine::Sled] {
            let (report, words) = power_fails(engine, true).await?;
            ensure!(report.unopenable + report.with_losses > 0, "{words}");
        }
    }
    Ok(())
}
