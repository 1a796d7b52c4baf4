//! Kills and cuts under load.

use anyhow::{Result, ensure};
use respite_outside::part::POSTGRESQL;
use respite_tests::{
    crash::{Blow, Plan, run},
    engine::Engine,
};

/// Twenty rounds of less than half a second each; more, until each kind of load was acknowledged twenty times.
async fn survives(engine: Engine, blow: Blow) -> Result<()> {
    let plan = Plan {
        rounds: 20,
        acknowledged: 20,
        blows: vec![blow],
        clients: 3,
        lives: 30..=400,
        seed: rand::random(),
    };
    let outcome = run(engine, &plan).await?;
    ensure!(
        outcome.violations.is_empty(),
        "with the seed {}: {outcome:#?}",
        plan.seed
    );
    ensure!(
        outcome.least() >= plan.acknowledged && outcome.unheard > 0,
        "there was hardly any load: {outcome:#?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_once_and_in_order_after_twenty_kills() -> Result<()> {
    survives(Engine::Redb, Blow::Server).await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_with_sled() -> Result<()> {
    survives(Engine::Sled, Blow::Server).await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_with_postgresql() -> Result<()> {
    if !POSTGRESQL.is_there() {
        return Ok(());
    }
    survives(Engine::Postgres, Blow::Server).await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_when_postgresql_itself_is_killed() -> Result<()> {
    if !POSTGRESQL.is_there() {
        return Ok(());
    }
    survives(Engine::Postgres, Blow::Database).await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_when_the_connections_to_postgresql_are_cut() -> Result<()> {
    if !POSTGRESQL.is_there() {
        return Ok(());
    }
    survives(Engine::Postgres, Blow::Connections).await
}
