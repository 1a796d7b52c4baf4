//! The log of the real program: it tells what happened, and nothing of what was said.

use anyhow::{Context, Result, ensure};
use respite_tests::{
    canary::Canary,
    raw::{Raw, THERAPY, text_at},
};
use serde_json::json;

use super::Scene;
use crate::directory::Place;

#[tokio::test]
async fn words_tokens_and_passwords_are_in_no_line_of_the_log() -> Result<()> {
    let place = Place::new("[log]\nlevel = \"debug\"\n")?;
    let server = place.serve().await?;
    let code = server.first_code.clone().context("no code")?;
    let therapist = Raw::register(&server.url, "therapist", &code).await?;
    let made = therapist
        .post(
            &format!("{THERAPY}/invites"),
            json!({ "kind": "individual" }),
        )
        .await?
        .ok()?;
    let invited = text_at(&made, "code")?;
    let nurse = Raw::register(&server.url, "nurse", &invited).await?;
    let room = nurse.rooms().await?.first().context("no room")?.clone();
    let event = nurse.says(&room, "x").await?;
    let secrets = [
        Some(code),
        Some(invited),
        nurse.token.clone(),
        Some(nurse.password.clone()),
    ];
    let scene = Scene {
        canary: Canary::new(),
        room,
        event,
        therapist,
        nurse,
    };
    scene.try_all(super::messages::plain(&scene)).await?;
    scene.try_all(super::messages::pretended(&scene)?).await?;
    scene.try_all(super::messages::beside(&scene)?).await?;
    scene.try_all(super::messages::along(&scene)).await?;
    scene.try_all(super::account::data(&scene)).await?;
    scene.try_all(super::account::emptied(&scene)).await?;
    scene.try_all(super::account::profiles(&scene)).await?;
    scene.try_all(super::account::names(&scene)).await?;
    scene.try_all(super::account::rules(&scene)).await?;
    scene.try_all(super::keys::between_devices(&scene)?).await?;
    scene.try_all(super::keys::published(&scene)).await?;
    scene.try_all(super::media::files(&scene)).await?;
    scene.try_all(super::media::prompts(&scene)?).await?;
    scene.try_all(super::rooms::settings(&scene)).await?;
    scene.try_all(super::rooms::creations(&scene)).await?;
    scene.try_all(super::rooms::along(&scene)).await?;
    let words = scene.words();
    for path in [
        format!("v3/{words}"),
        format!("v3/user_directory/{words}"),
        format!("v3/sync?since={words}&note={words}"),
    ] {
        let answer = scene.nurse.get(&path).await?;
        ensure!(
            answer.status >= 400 && !scene.canary.is_in(&answer.bytes),
            "{answer}"
        );
    }
    let scan = place.run(&["scan"]).await?;
    ensure!(scan.code == Some(0), "{scan:?}");
    server.stop().await?;
    let found = scene.canary.search(&place.data())?;
    ensure!(found.is_empty(), "the words were kept in {found:?}");
    let log = place.log()?;
    ensure!(
        log.contains("serving") && log.lines().count() > 100,
        "the log is not at its loudest: {log}"
    );
    ensure!(
        !scene.canary.is_in(log.as_bytes()),
        "the words are in the log"
    );
    for secret in secrets
        .iter()
        .flatten()
        .chain([&scene.nurse.user, &scene.room])
    {
        ensure!(
            !log.contains(secret),
            "the log names somebody, or holds a secret"
        );
    }
    ensure!(!log.contains("127.0.0.1"), "the log holds addresses");
    Ok(())
}
