//! Tokens: places in what is new, and proofs of who asks. Those of others, and those that somebody made up.

use anyhow::{Context, Result, ensure};
use reqwest::{Method, header::HeaderMap};
use respite_tests::{
    canary::Canary,
    practice::Practice,
    raw::{self, Raw, in_query, text_at},
};
use serde_json::{Value, json};

fn next_batch(news: &Value) -> Result<String> {
    text_at(news, "next_batch")
}

#[tokio::test]
async fn a_sync_token_of_somebody_else_is_refused() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    nurse.says(&room, "x").await?;
    let theirs = next_batch(&therapist.syncs(None).await?)?;
    let own = next_batch(&nurse.syncs(None).await?)?;
    nurse.syncs(Some(&own)).await?;
    nurse
        .get(&format!("v3/sync?timeout=0&since={theirs}"))
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    nurse
        .get(&format!("v3/keys/changes?from={theirs}&to={theirs}"))
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    nurse
        .get(&format!("v3/rooms/{room}/messages?dir=b&from={theirs}"))
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    nurse
        .get(&format!("v3/rooms/{room}/members?at={theirs}"))
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    Ok(())
}

#[tokio::test]
async fn a_sync_token_of_another_device_is_refused() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, _) = raw::therapist_and_nurse(&practice).await?;
    let tablet = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    let token = next_batch(&nurse.syncs(None).await?)?;
    tablet
        .get(&format!("v3/sync?timeout=0&since={token}"))
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    Ok(())
}

#[tokio::test]
async fn sync_tokens_that_somebody_made_up_are_refused_and_not_repeated() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let canary = Canary::new();
    let token = next_batch(&nurse.syncs(None).await?)?;
    let mut made_up: Vec<String> = [
        "0",
        "s",
        "s0",
        "s0_0",
        "s0_0_0",
        "s0_0_0_",
        "s1_0_0_x",
        "t1",
        "t0",
        "-1",
        "null",
        "%00",
        "s18446744073709551615_0_0_0",
        "s99999999999999999999_0_0_0",
        "s-1_-1_-1_0",
        canary.text(),
    ]
    .map(str::to_owned)
    .to_vec();
    // Each character of a real one changed, and each beginning of it.
    for (at, character) in token.char_indices() {
        let other = if character == '1' { '2' } else { '1' };
        let (before, after) = token.split_at(at);
        made_up.push(format!("{before}{other}{}", &after[character.len_utf8()..]));
        if at > 0 {
            made_up.push(before.to_owned());
        }
    }
    made_up.extend([
        format!("{token}0"),
        format!("{token}_0"),
        format!(" {token}"),
        format!("{token}\n"),
    ]);
    for since in made_up.iter().filter(|since| **since != token) {
        let answer = nurse
            .get(&format!("v3/sync?timeout=0&since={}", in_query(since)))
            .await?;
        answer
            .refused(400, "M_INVALID_PARAM")
            .map_err(|error| error.context(since.clone()))?;
        ensure!(!canary.is_in(&answer.bytes), "{answer}");
        let path = format!("v3/keys/changes?from={}&to={token}", in_query(since));
        nurse.get(&path).await?.refused(400, "M_INVALID_PARAM")?;
    }
    nurse.syncs(Some(&token)).await?;
    nurse.says(&room, "x").await?;
    Ok(())
}

#[tokio::test]
async fn a_token_of_a_server_whose_data_is_gone_leads_to_nothing_of_the_new_ones() -> Result<()> {
    let old = Practice::open().await?;
    let (_, nurse, room) = raw::therapist_and_nurse(&old).await?;
    for _ in 0..20 {
        nurse.says(&room, "x").await?;
    }
    let token = next_batch(&nurse.syncs(None).await?)?;
    let new = Practice::open().await?;
    let (_, nurse, _) = raw::therapist_and_nurse(&new).await?;
    let answer = nurse
        .get(&format!("v3/sync?timeout=0&since={token}"))
        .await?;
    answer.refused(400, "M_INVALID_PARAM")?;
    Ok(())
}

#[tokio::test]
async fn places_in_a_rooms_history_that_somebody_made_up_are_refused_or_empty() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let canary = Canary::new();
    nurse.says(&room, "x").await?;
    for from in [
        "t",
        "t-1",
        "t+1",
        "t1.5",
        "t 1",
        "x1",
        "1",
        "t99999999999999999999",
        "t1_2",
        "s1",
        canary.text(),
    ] {
        for path in [
            format!("v3/rooms/{room}/messages?dir=b&from={}", in_query(from)),
            format!("v3/rooms/{room}/messages?dir=f&from={}", in_query(from)),
            format!("v3/rooms/{room}/messages?dir=b&to={}", in_query(from)),
            format!("v3/rooms/{room}/members?at={}", in_query(from)),
        ] {
            let answer = nurse.get(&path).await?;
            answer.refused(400, "M_INVALID_PARAM")?;
            ensure!(!canary.is_in(&answer.bytes), "{answer}");
        }
    }
    // A place beyond the end is the end.
    let beyond = nurse
        .get(&format!("v3/rooms/{room}/messages?dir=f&from=t1000000"))
        .await?;
    if beyond.status == 200 {
        ensure!(beyond.body["chunk"] == json!([]), "{beyond}");
    } else {
        beyond.refused(400, "M_INVALID_PARAM")?;
    }
    Ok(())
}

#[tokio::test]
async fn a_sync_token_is_a_place_in_a_rooms_history_too() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let first = nurse.says(&room, "first").await?;
    let token = next_batch(&nurse.syncs(None).await?)?;
    let second = therapist.says(&room, "second").await?;
    let ids = |page: &Value| -> Vec<String> {
        let chunk = page["chunk"].as_array().cloned().unwrap_or_default();
        chunk
            .iter()
            .filter_map(|event| event["event_id"].as_str())
            .map(str::to_owned)
            .collect()
    };
    let back = ids(&nurse
        .get(&format!(
            "v3/rooms/{room}/messages?dir=b&from={token}&limit=100"
        ))
        .await?
        .ok()?);
    ensure!(back.contains(&first) && !back.contains(&second), "{back:?}");
    let on = ids(&nurse
        .get(&format!("v3/rooms/{room}/messages?dir=f&from={token}"))
        .await?
        .ok()?);
    ensure!(on == [second], "{on:?}");
    Ok(())
}

#[tokio::test]
async fn access_tokens_that_are_none_are_refused() -> Result<()> {
    let mut practice = Practice::open().await?;
    let (_, nurse, _) = raw::therapist_and_nurse(&practice).await?;
    let canary = Canary::new();
    let real = nurse.token.clone().context("no token")?;
    let shorter = real
        .get(..real.len() - 1)
        .context("an empty token")?
        .to_owned();
    for token in [
        canary.text().to_owned(),
        shorter,
        format!("{real}x"),
        real.to_uppercase(),
        "x".repeat(5_000),
    ] {
        let answer = nurse
            .with_token(Some(&token))
            .get("v3/account/whoami")
            .await?;
        answer.refused(401, "M_UNKNOWN_TOKEN")?;
        ensure!(
            answer.body["soft_logout"] != true && !canary.is_in(&answer.bytes),
            "{answer}"
        );
    }
    nurse
        .with_token(None)
        .get("v3/account/whoami")
        .await?
        .refused(401, "M_MISSING_TOKEN")?;
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Basic bnVyc2U6eA==".parse()?);
    let basic = nurse
        .with_token(None)
        .ask_with(Method::GET, "v3/account/whoami", None, headers)
        .await?;
    ensure!(basic.status == 401, "{basic}");
    practice.stop().await?;
    ensure!(canary.search(practice.data())?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_access_token_ends_with_its_device_and_is_not_kept_readable() -> Result<()> {
    let mut practice = Practice::open().await?;
    let (_, nurse, _) = raw::therapist_and_nurse(&practice).await?;
    let tablet = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    tablet.post("v3/logout", json!({})).await?.ok()?;
    tablet
        .get("v3/account/whoami")
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    nurse.get("v3/account/whoami").await?.ok()?;
    let token = nurse.token.clone().context("no token")?;
    practice.stop().await?;
    for (path, bytes) in crate::directory::everything(practice.data())? {
        for secret in [&token, &nurse.password] {
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            ensure!(!found, "a secret is readable in {}", path.display());
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_refresh_token_is_no_access_token_and_works_once() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, _) = raw::therapist_and_nurse(&practice).await?;
    let login = json!({
        "type": "m.login.password", "password": nurse.password, "refresh_token": true,
        "identifier": { "type": "m.id.user", "user": nurse.user },
    });
    let nobody = Raw::nobody(practice.url())?;
    let session = nobody.post("v3/login", login).await?.ok()?;
    let (access, refresh) = (
        text_at(&session, "access_token")?,
        text_at(&session, "refresh_token")?,
    );
    ensure!(session["expires_in_ms"].is_u64(), "{session}");
    nurse
        .with_token(Some(&refresh))
        .get("v3/account/whoami")
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    nobody
        .post("v3/refresh", json!({ "refresh_token": access }))
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    let second = nobody
        .post("v3/refresh", json!({ "refresh_token": refresh }))
        .await?
        .ok()?;
    let fresh = text_at(&second, "access_token")?;
    nurse
        .with_token(Some(&fresh))
        .get("v3/account/whoami")
        .await?
        .ok()?;
    // The old pair is over once the new one was used.
    nurse
        .with_token(Some(&access))
        .get("v3/account/whoami")
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    nobody
        .post("v3/refresh", json!({ "refresh_token": refresh }))
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    Ok(())
}
