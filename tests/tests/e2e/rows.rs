//! Every endpoint that is served, row by row: asked rightly, by the wrong caller, of the wrong room, in words that are none, with
//! the wrong method and too often.
//!
//! The rows are those that a homeserver must serve by the specification; each is one request that succeeds.

mod people;
mod rooms;
mod row;
mod world;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use respite_tests::{
    practice::Practice,
    raw::{self, Answer, Raw},
};
use serde_json::{Value, json};

use self::{
    row::{Body, Row, Who},
    world::World,
};

/// The endpoints that a homeserver must serve by the specification: method and path, one a line.
const SERVED: &str = include_str!("rows/served.txt");

/// A room and an event that do not exist.
const NOWHERE: &str = "!AbCdEfGhIjKlMnOpQr:localhost";
const NOTHING: &str = "$31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM";

/// All rows, in an order in which each succeeds after those before it.
fn rows(world: &World) -> Result<Vec<Row>> {
    let mut rows = people::server(world);
    rows.extend(people::own(world));
    rows.extend(people::keys(world)?);
    rows.extend(people::administration(world));
    rows.extend(rooms::within(world)?);
    rows.extend(rooms::members(world));
    rows.extend(rooms::directory(world));
    rows.extend(people::sessions(world));
    Ok(rows)
}

async fn practice() -> Result<Practice> {
    Practice::open_with(|config| {
        config.server.public_url = Some("https://respite.example.org".to_owned())
    })
    .await
}

async fn asked(row: &Row, who: &Raw) -> Result<Answer> {
    who.ask(row.method.clone(), &row.path, row.bytes()).await
}

/// As the row wants it.
async fn asked_rightly(row: &Row, nobody: &Raw) -> Result<Answer> {
    match (&row.who, &row.body) {
        (Who::Anybody, _) => asked(row, nobody).await,
        (Who::Proved(who), Body::Json(body)) => {
            who.with_password(row.method.clone(), &row.path, body.clone())
                .await
        }
        (Who::One(who) | Who::Proved(who), _) => asked(row, who).await,
    }
}

#[tokio::test]
async fn every_row_is_answered_rightly() -> Result<()> {
    let practice = practice().await?;
    let world = World::of(&practice).await?;
    let nobody = Raw::nobody(practice.url())?;
    let rows = rows(&world)?;
    for row in &rows {
        let answer = asked_rightly(row, &nobody).await?;
        ensure!(answer.status == row.status, "{answer}");
        if row.status == 404 {
            answer.refused(404, "M_NOT_FOUND")?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_row_is_missing() -> Result<()> {
    let practice = practice().await?;
    let world = World::of(&practice).await?;
    let rows = rows(&world)?;
    for served in SERVED.lines() {
        let (method, path) = served.split_once(' ').context("no path")?;
        let is_it = |row: &&Row| row.method == method && row.is_at(path);
        ensure!(rows.iter().any(|row| is_it(&row)), "no row for {served}");
    }
    Ok(())
}

#[tokio::test]
async fn no_row_answers_who_has_no_token_or_one_that_is_none() -> Result<()> {
    let practice = practice().await?;
    let world = World::of(&practice).await?;
    let nobody = Raw::nobody(practice.url())?;
    for row in rows(&world)? {
        let Some(asker) = row.asker() else { continue };
        asked(&row, &nobody)
            .await?
            .refused(401, "M_MISSING_TOKEN")?;
        let made_up = asker.with_token(Some("rsp_AbCdEfGhIjKlMnOpQrStUvWxYz"));
        asked(&row, &made_up)
            .await?
            .refused(401, "M_UNKNOWN_TOKEN")?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_somebodys_own_is_nobody_elses() -> Result<()> {
    let practice = practice().await?;
    let world = World::of(&practice).await?;
    let own = format!("/user/{}", world.nurse.user);
    let mut met = 0;
    for row in rows(&world)? {
        let writes = row.method != Method::GET;
        let hers = row.path.contains(&own)
            || (writes && row.path.contains(&format!("/profile/{}", world.nurse.user)))
            || (writes
                && row
                    .path
                    .contains(&format!("/presence/{}", world.nurse.user)))
            || row.path.contains("/admin/");
        if !hers {
            continue;
        }
        met += 1;
        let answer = asked(&row, &world.doctor).await?;
        answer.refused(403, "M_FORBIDDEN")?;
    }
    ensure!(met > 15, "{met} rows");
    Ok(())
}

#[tokio::test]
async fn of_a_room_one_is_not_in_every_row_says_the_same_as_of_none() -> Result<()> {
    let practice = practice().await?;
    let world = World::of(&practice).await?;
    let stranger = raw::stranger(&practice, "stranger").await?;
    let mut met = 0;
    for row in rows(&world)? {
        let names = |text: &str| text.contains(&world.room);
        let json = match &row.body {
            Body::Json(json) => json.clone(),
            _ => Value::Null,
        };
        if !(names(&row.path) || names(&json.to_string())) || row.path.contains("room_keys") {
            continue;
        }
        met += 1;
        let ask = async |room: &str, event: &str| {
            let path = rooms::about(&row.path, &world, room, event);
            let path = path.replace(&world.nurse.user, &stranger.user);
            let body = rooms::body_about(&json, &world, room, event);
            let body = (row.method != Method::GET).then_some(body);
            stranger.ask(row.method.clone(), &path, body).await
        };
        let there = ask(&world.room, &world.event).await?;
        let nowhere = ask(NOWHERE, NOTHING).await?;
        // A rule for notifications about a room, and a tag on it, are one's own: whether it is there is not looked at.
        let same = there.status == nowhere.status
            && (there.bytes == nowhere.bytes || row.path.contains("pushrules"));
        ensure!(same, "{there}\nbut of no room: {nowhere}");
        let is_own = ["pushrules", "/tags", "/account_data/"];
        let is_own = is_own.iter().any(|what| row.path.contains(what));
        ensure!(is_own || matches!(there.status, 403 | 404), "{there}");
    }
    ensure!(met > 35, "{met} rows");
    Ok(())
}

#[tokio::test]
async fn every_row_that_reads_json_refuses_what_is_none() -> Result<()> {
    let practice = practice().await?;
    let world = World::of(&practice).await?;
    let nobody = Raw::nobody(practice.url())?;
    for row in rows(&world)? {
        // Deletions have no body but a proof, and one can reserve a place for a file without a word.
        if !matches!(row.body, Body::Json(_)) || row.method == Method::DELETE {
            continue;
        }
        let who = row.asker().unwrap_or(&nobody);
        let ask = async |body: &[u8]| {
            who.ask(row.method.clone(), &row.path, Some(body.to_vec()))
                .await
        };
        ask(b"{\"a\": ").await?.refused(400, "M_NOT_JSON")?;
        ask(b"{\"a\": \"\xff\"}")
            .await?
            .refused(400, "M_NOT_JSON")?;
        ask(b"[]").await?.refused(400, "M_BAD_JSON")?;
        ask(b"17").await?.refused(400, "M_BAD_JSON")?;
    }
    Ok(())
}

#[tokio::test]
async fn every_row_knows_the_methods_that_it_takes() -> Result<()> {
    let practice = practice().await?;
    let world = World::of(&practice).await?;
    for row in rows(&world)? {
        let answer = world
            .nurse
            .ask(Method::PATCH, &row.path, Some(b"{}".to_vec()))
            .await?;
        answer.refused(405, "M_UNRECOGNIZED")?;
        let answer = world.nurse.ask(Method::OPTIONS, &row.path, None).await?;
        ensure!(
            matches!(answer.status, 200 | 204)
                && answer.headers.contains_key("access-control-allow-origin"),
            "{answer}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn who_asks_too_often_has_to_wait_whatever_it_is() -> Result<()> {
    let practice = practice().await?;
    let world = World::of(&practice).await?;
    let calm = rows(&world)?;
    let hasty = Practice::open_with(|config| config.limits.requests = 1).await?;
    let nurse = raw::stranger(&hasty, "nurse").await?;
    // Who is no operator is told so first.
    let hers = |row: &&Row| row.asker().is_some() && !row.path.contains("/admin/");
    for row in calm.iter().filter(hers) {
        // Once is allowed, each ten seconds.
        nurse.get("v3/account/whoami").await?;
        let answer = asked(row, &nurse).await?;
        answer.refused(429, "M_LIMIT_EXCEEDED")?;
        let wait = answer.body["retry_after_ms"].as_u64();
        let wait = wait.with_context(|| format!("{answer} does not say for how long"))?;
        ensure!(
            wait <= 10_000 && answer.headers.contains_key("retry-after"),
            "{answer}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_is_left_out_is_an_empty_object() -> Result<()> {
    let practice = practice().await?;
    let world = World::of(&practice).await?;
    let left = format!("v3/rooms/{}/forget", world.left);
    world.nurse.ask(Method::POST, &left, None).await?.ok()?;
    let answer = world
        .nurse
        .ask(Method::POST, "v3/createRoom", None)
        .await?
        .ok()?;
    ensure!(answer["room_id"].is_string(), "{answer}");
    ensure!(world.nurse.post("v3/logout", json!({})).await?.ok()? == json!({}));
    Ok(())
}
