//! The power fails, and the store is opened on what had been synced.

use anyhow::{Result, ensure};
use respite_outside::part::STRACE;
use respite_tests::{
    engine::Engine,
    powerloss::{Plan, Report, run},
};

async fn power_fails(engine: Engine, deaf: bool) -> Result<Report> {
    let plan = Plan {
        program: env!("CARGO_BIN_EXE_powerloss").into(),
        engine,
        cuts: 30,
        commits: 40,
        seed: rand::random(),
        deaf,
    };
    let report = run(&plan).await?;
    println!("{engine}, seed {}: {report}", plan.seed);
    Ok(report)
}

#[tokio::test]
async fn redb_keeps_what_it_has_acknowledged() -> Result<()> {
    if STRACE.is_there() {
        let report = power_fails(Engine::Redb, false).await?;
        ensure!(report.is_clean(), "{report}");
    }
    Ok(())
}

#[tokio::test]
async fn sled_keeps_what_it_has_acknowledged() -> Result<()> {
    if STRACE.is_there() {
        let report = power_fails(Engine::Sled, false).await?;
        ensure!(report.is_clean(), "{report}");
    }
    Ok(())
}

#[tokio::test]
async fn without_syncs_something_is_missing() -> Result<()> {
    if STRACE.is_there() {
        for engine in [Engine::Redb, Engine::Sled] {
            let report = power_fails(engine, true).await?;
            ensure!(report.unopenable + report.with_losses > 0, "{report}");
        }
    }
    Ok(())
}
