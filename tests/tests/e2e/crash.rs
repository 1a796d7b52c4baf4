//! kill -9 under load.

use anyhow::{Result, ensure};
use respite_outside::part::POSTGRESQL;
use respite_tests::{
    crash::{Plan, run},
    engine::Engine,
    place::Place,
};

/// Twenty rounds of about half a second each.
async fn survives(engine: Engine) -> Result<()> {
    let plan = Plan {
        rounds: 20,
        clients: 3,
        lives: 30..=400,
        seed: rand::random(),
    };
    let outcome = run(&Place::on(engine)?, &plan).await?;
    ensure!(
        outcome.violations.is_empty(),
        "with the seed {}: {outcome:#?}",
        plan.seed
    );
    for what in ["messages", "prompts", "key claims", "uploads", "settings"] {
        let heard = outcome.acknowledged.get(what).copied().unwrap_or_default();
        ensure!(heard > 20, "there was hardly any load: {outcome:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_once_and_in_order_after_twenty_kills() -> Result<()> {
    survives(Engine::Redb).await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_with_sled() -> Result<()> {
    survives(Engine::Sled).await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_with_postgresql() -> Result<()> {
    if !POSTGRESQL.is_there() {
        return Ok(());
    }
    survives(Engine::Postgres).await
}
