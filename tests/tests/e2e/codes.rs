//! Codes: who has one comes in, once, and lands where they should.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use respite_protocol::Role;
use respite_tests::{
    canary::Canary,
    practice::Practice,
    raw::{self, Answer, Raw, THERAPY, text_at},
};
use serde_json::{Value, json};

fn registration(name: &str, code: &str) -> Value {
    json!({
        "username": name, "password": "between two shifts",
        "auth": { "type": "m.login.registration_token", "token": code },
    })
}

/// Looks for the answer that asks for another code, and returns what it says to the person.
fn asks_again(answer: &Answer) -> Result<&str> {
    ensure!(
        answer.body["flows"][0]["stages"][0] == "m.login.registration_token",
        "{answer}"
    );
    ensure!(answer.body["session"].is_string(), "{answer}");
    answer.refused(401, "M_UNAUTHORIZED")
}

async fn accounts(practice: &Practice) -> Result<usize> {
    Ok(
        respite_server::accounts::list(&practice.app()?.store, None, 1_000)
            .await?
            .len(),
    )
}

#[tokio::test]
async fn without_a_code_the_server_asks_for_one() -> Result<()> {
    let practice = Practice::open().await?;
    let nobody = Raw::nobody(practice.url())?;
    let answer = nobody
        .post(
            "v3/register",
            json!({ "username": "nurse", "password": "between two shifts" }),
        )
        .await?;
    ensure!(
        answer.status == 401 && answer.errcode().is_empty(),
        "{answer}"
    );
    ensure!(
        answer.body["flows"] == json!([{ "stages": ["m.login.registration_token"] }]),
        "{answer}"
    );
    let dummy = json!({ "username": "nurse", "password": "between two shifts", "auth": { "type": "m.login.dummy", "session": answer.body["session"] } });
    ensure!(nobody.post("v3/register", dummy).await?.status == 401);
    ensure!(accounts(&practice).await? == 0);
    Ok(())
}

#[tokio::test]
async fn a_wrong_code_opens_nothing_and_is_not_repeated() -> Result<()> {
    let mut practice = Practice::open().await?;
    let nobody = Raw::nobody(practice.url())?;
    let canary = Canary::new();
    for code in [
        canary.text(),
        "",
        "x",
        &"a".repeat(10_000),
        "räuber",
        "a b",
        "../..",
        &canary.text().to_uppercase(),
    ] {
        let answer = nobody
            .post("v3/register", registration("nurse", code))
            .await?;
        let sentence = asks_again(&answer)?;
        ensure!(sentence.contains("wrong or has expired"), "{answer}");
        ensure!(!canary.is_in(&answer.bytes), "{answer}");
    }
    let path = format!(
        "v1/register/m.login.registration_token/validity?token={}",
        canary.text()
    );
    ensure!(nobody.get(&path).await?.ok()? == json!({ "valid": false }));
    ensure!(accounts(&practice).await? == 0);
    practice.stop().await?;
    ensure!(
        canary.search(practice.data())?.is_empty(),
        "the code was kept"
    );
    Ok(())
}

#[tokio::test]
async fn a_code_that_was_used_says_so() -> Result<()> {
    let practice = Practice::open().await?;
    let therapist = raw::therapist(&practice, "therapist").await?;
    let code = text_at(
        &therapist
            .post(
                &format!("{THERAPY}/invites"),
                json!({ "kind": "individual" }),
            )
            .await?
            .ok()?,
        "code",
    )?;
    let validity = format!("v1/register/m.login.registration_token/validity?token={code}");
    let nobody = Raw::nobody(practice.url())?;
    ensure!(nobody.get(&validity).await?.ok()?["valid"] == true);
    Raw::register(practice.url(), "nurse", &code).await?;
    ensure!(nobody.get(&validity).await?.ok()?["valid"] == false);
    let answer = nobody
        .post("v3/register", registration("paramedic", &code))
        .await?;
    ensure!(asks_again(&answer)?.contains("used already"), "{answer}");
    ensure!(accounts(&practice).await? == 2);
    Ok(())
}

#[tokio::test]
async fn a_code_that_has_expired_opens_nothing() -> Result<()> {
    let practice = Practice::open().await?;
    let therapist = raw::therapist(&practice, "therapist").await?;
    let body = json!({ "kind": "individual", "expires_in_ms": 1 });
    let made = therapist
        .post(&format!("{THERAPY}/invites"), body)
        .await?
        .ok()?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let answer = Raw::nobody(practice.url())?
        .post(
            "v3/register",
            registration("nurse", &text_at(&made, "code")?),
        )
        .await?;
    ensure!(
        asks_again(&answer)?.contains("wrong or has expired"),
        "{answer}"
    );
    ensure!(accounts(&practice).await? == 1);
    Ok(())
}

#[tokio::test]
async fn a_code_that_was_taken_back_opens_nothing() -> Result<()> {
    let practice = Practice::open().await?;
    let therapist = raw::therapist(&practice, "therapist").await?;
    let other = raw::therapist(&practice, "colleague").await?;
    let made = therapist
        .post(
            &format!("{THERAPY}/invites"),
            json!({ "kind": "individual" }),
        )
        .await?
        .ok()?;
    let path = format!("{THERAPY}/invites/{}", text_at(&made, "invite_id")?);
    other.delete(&path).await?.refused(404, "M_NOT_FOUND")?;
    therapist.delete(&path).await?.ok()?;
    let answer = Raw::nobody(practice.url())?
        .post(
            "v3/register",
            registration("nurse", &text_at(&made, "code")?),
        )
        .await?;
    asks_again(&answer)?;
    ensure!(accounts(&practice).await? == 2);
    Ok(())
}

#[tokio::test]
async fn a_name_that_is_taken_does_not_use_the_code_up() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, ..) = raw::therapist_and_nurse(&practice).await?;
    let code = text_at(
        &therapist
            .post(
                &format!("{THERAPY}/invites"),
                json!({ "kind": "individual" }),
            )
            .await?
            .ok()?,
        "code",
    )?;
    let nobody = Raw::nobody(practice.url())?;
    nobody
        .post("v3/register", registration("nurse", &code))
        .await?
        .refused(400, "M_USER_IN_USE")?;
    for name in ["", "@", "two words", "näh", "a:b", &"n".repeat(300)] {
        nobody
            .post("v3/register", registration(name, &code))
            .await?
            .refused(400, "M_INVALID_USERNAME")?;
    }
    let mut short = registration("paramedic", &code);
    short["password"] = json!("x");
    nobody
        .post("v3/register", short)
        .await?
        .refused(400, "M_WEAK_PASSWORD")?;
    Raw::register(practice.url(), "paramedic", &code).await?;
    Ok(())
}

#[tokio::test]
async fn clients_and_strangers_make_no_codes_and_no_therapy_rooms() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, _) = raw::therapist_and_nurse(&practice).await?;
    let body = json!({ "kind": "individual" });
    for path in ["invites", "rooms"] {
        nurse
            .post(&format!("{THERAPY}/{path}"), body.clone())
            .await?
            .refused(403, "M_FORBIDDEN")?;
        let nobody = nurse.with_token(None);
        nobody
            .post(&format!("{THERAPY}/{path}"), body.clone())
            .await?
            .refused(401, "M_MISSING_TOKEN")?;
    }
    nurse
        .get(&format!("{THERAPY}/invites"))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    Ok(())
}

#[tokio::test]
async fn each_client_lands_in_a_room_of_their_own() -> Result<()> {
    let practice = Practice::open().await?;
    let therapist = raw::therapist(&practice, "therapist").await?;
    let made = therapist
        .post(
            &format!("{THERAPY}/invites"),
            json!({ "kind": "individual", "uses": 2 }),
        )
        .await?
        .ok()?;
    let code = text_at(&made, "code")?;
    let mut rooms = BTreeSet::new();
    for name in ["nurse", "paramedic"] {
        let client = Raw::register(practice.url(), name, &code).await?;
        let own = client.rooms().await?;
        ensure!(own.len() == 1, "{name} is in {own:?}");
        let members = client
            .get(&format!("v3/rooms/{}/joined_members", own[0]))
            .await?
            .ok()?;
        let members: Vec<&String> = members["joined"]
            .as_object()
            .context("no members")?
            .keys()
            .collect();
        ensure!(members == [&client.user, &therapist.user], "{members:?}");
        rooms.extend(own);
    }
    ensure!(rooms.len() == 2 && therapist.rooms().await?.len() == 2);
    Ok(())
}

#[tokio::test]
async fn a_hundred_who_race_with_one_code_make_one_account_and_one_room() -> Result<()> {
    let practice = Practice::open_with(|config| {
        config.passwords.memory_kib = 64;
        config.passwords.passes = 1;
    })
    .await?;
    let therapist = raw::therapist(&practice, "therapist").await?;
    let code = text_at(
        &therapist
            .post(
                &format!("{THERAPY}/invites"),
                json!({ "kind": "individual" }),
            )
            .await?
            .ok()?,
        "code",
    )?;
    let nobody = Raw::nobody(practice.url())?;
    let racers = (0..100).map(|n| {
        let (nobody, body) = (nobody.clone(), registration(&format!("racer{n}"), &code));
        tokio::spawn(async move { nobody.post("v3/register", body).await })
    });
    let mut winners = Vec::new();
    for answer in join_all(racers).await {
        let answer = answer??;
        match answer.status {
            200 => winners.push(text_at(&answer.body, "user_id")?),
            // Somebody may meet so many others that the server asks them to come again; the code is gone by then.
            503 => drop(answer.refused(503, "M_UNKNOWN")?),
            _ => drop(asks_again(&answer)?),
        }
    }
    ensure!(winners.len() == 1, "{winners:?}");
    ensure!(accounts(&practice).await? == 2);
    let rooms = therapist.rooms().await?;
    ensure!(rooms.len() == 1, "{rooms:?}");
    let members = therapist
        .get(&format!("v3/rooms/{}/members", rooms[0]))
        .await?
        .ok()?;
    let members: BTreeSet<&str> = members["chunk"]
        .as_array()
        .context("no members")?
        .iter()
        .filter_map(|event| event["state_key"].as_str())
        .collect();
    ensure!(
        members == BTreeSet::from([therapist.user.as_str(), &winners[0]]),
        "{members:?}"
    );
    Ok(())
}

#[tokio::test]
async fn one_name_for_twenty_goes_to_one_of_them() -> Result<()> {
    let practice = Practice::open().await?;
    let code = practice.codes(Role::Client, 20).await?;
    let nobody = Raw::nobody(practice.url())?;
    let racers = (0..20).map(|_| nobody.post("v3/register", registration("nurse", &code)));
    let mut won = 0;
    for answer in join_all(racers).await {
        let answer = answer?;
        match answer.status {
            200 => won += 1,
            503 => {}
            _ => drop(answer.refused(400, "M_USER_IN_USE")?),
        }
    }
    ensure!(won == 1 && accounts(&practice).await? == 1, "{won}");
    // Only the account used the code.
    for n in 0..19 {
        Raw::register(practice.url(), &format!("nurse{n}"), &code).await?;
    }
    let answer = nobody
        .post("v3/register", registration("late", &code))
        .await?;
    ensure!(asks_again(&answer)?.contains("used already"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn terms_of_a_code_that_make_no_sense_are_refused() -> Result<()> {
    let practice = Practice::open().await?;
    let therapist = raw::therapist(&practice, "therapist").await?;
    for body in [
        json!({ "kind": "individual", "uses": 0 }),
        json!({ "kind": "individual", "uses": 101 }),
        json!({ "kind": "individual", "expires_in_ms": 0 }),
        json!({ "kind": "individual", "expires_in_ms": 91_u64 * 24 * 60 * 60 * 1000 }),
    ] {
        therapist
            .post(&format!("{THERAPY}/invites"), body)
            .await?
            .refused(400, "M_INVALID_PARAM")?;
    }
    for body in [
        json!({}),
        json!({ "kind": "secret" }),
        json!({ "kind": "individual", "uses": -1 }),
        json!({ "kind": "individual", "uses": "many" }),
    ] {
        therapist
            .post(&format!("{THERAPY}/invites"), body)
            .await?
            .refused(400, "M_BAD_JSON")?;
    }
    let left = therapist.get(&format!("{THERAPY}/invites")).await?.ok()?;
    ensure!(left["invites"] == json!([]), "{left}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_closed_lets_nobody_in_and_an_open_one_everybody() -> Result<()> {
    use respite_server::config::RegistrationMode::{Closed, Open};
    let closed = Practice::open_with(|config| config.registration.mode = Closed).await?;
    let code = closed.code(Role::Client).await?;
    let nobody = Raw::nobody(closed.url())?;
    nobody
        .post("v3/register", registration("nurse", &code))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    let open = Practice::open_with(|config| config.registration.mode = Open).await?;
    let nobody = Raw::nobody(open.url())?;
    let body = json!({ "username": "nurse", "password": "between two shifts", "auth": { "type": "m.login.dummy" } });
    nobody.post("v3/register", body).await?.ok()?;
    nobody
        .post("v3/register?kind=guest", json!({}))
        .await?
        .refused(403, "M_GUEST_ACCESS_FORBIDDEN")?;
    Ok(())
}
