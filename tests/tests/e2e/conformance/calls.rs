//! Calls: credentials for TURN servers.

use anyhow::{Context, Result, ensure};
use respite_tests::{practice::Practice, raw};
use serde_json::json;

#[tokio::test]
async fn without_a_turn_server_there_is_nothing_to_use() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let answer = nurse.get("v3/voip/turnServer").await?.ok()?;
    ensure!(answer == json!({}), "{answer}");
    let nobody = nurse.with_token(None);
    nobody
        .get("v3/voip/turnServer")
        .await?
        .refused(401, "M_MISSING_TOKEN")?;
    Ok(())
}

#[tokio::test]
async fn with_one_everybody_gets_credentials_of_their_own() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let secret = directory.path().join("turn-secret");
    std::fs::write(&secret, "north\n")?;
    let uri = "turn:turn.example.org:3478?transport=udp";
    let practice = Practice::open_with(|config| {
        config.turn.uris = vec![uri.to_owned()];
        config.turn.secret = Some(secret);
    })
    .await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let answer = nurse.get("v3/voip/turnServer").await?.ok()?;
    let username = answer["username"].as_str().context("no user name")?;
    ensure!(username.ends_with(&format!(":{}", nurse.user)), "{answer}");
    ensure!(answer["uris"] == json!([uri]), "{answer}");
    ensure!(answer["ttl"] == 86_400, "{answer}");
    ensure!(
        answer["password"].as_str().is_some_and(|it| it.len() == 28),
        "{answer}"
    );
    Ok(())
}
