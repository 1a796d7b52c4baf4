//! kill -9 under load.

use anyhow::{Result, ensure};
use respite_tests::{
    crash::{Plan, run},
    place::Place,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_once_and_in_order_after_twenty_kills() -> Result<()> {
    let place = Place::new("")?;
    let outcome = run(
        &place,
        &Plan {
            rounds: 20,
            clients: 4,
            lives: 50..=400,
        },
    )
    .await?;
    ensure!(
        outcome.acknowledged > 200,
        "there was hardly any load: {outcome:?}"
    );
    Ok(())
}
