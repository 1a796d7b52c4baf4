//! Check-ins that the server releases: once, in time, and only if they are still wanted.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use respite::checkins::{self, Question};
use respite_protocol::{
    api::list_prompts::{self, PromptState},
    events::{AnswerKind, Checkin},
};
use respite_tests::{
    person::{Person, pair, pair_at},
    place::{Place, free_address},
    practice::Practice,
};
use ruma::RoomId;
use tokio::time::sleep;

const HOUR: Duration = Duration::from_secs(3_600);

fn question(text: &str, expires: Option<Duration>) -> Question {
    Question {
        text: text.to_owned(),
        answer: AnswerKind::Text,
        expires,
    }
}

fn in_ms(millis: u64) -> Result<Timestamp> {
    Ok(Timestamp::now().checked_add(Duration::from_millis(millis))?)
}

/// Schedules a question for the nurse. Returns the prompt's id.
async fn schedule(
    therapist: &Person,
    nurse: &Person,
    room: &RoomId,
    text: &str,
    at: Timestamp,
) -> Result<String> {
    let room = therapist.room(room)?;
    let (_, scheduled) = checkins::schedule(&room, &question(text, None), at, nurse.id()).await?;
    Ok(scheduled.prompt_id)
}

/// What became of each prompt.
async fn fates(person: &Person, room: &RoomId) -> Result<BTreeMap<String, PromptState>> {
    let listed = person
        .client
        .send(list_prompts::Request::new(room.to_owned()))
        .await?;
    Ok(listed
        .prompts
        .into_iter()
        .map(|prompt| (prompt.prompt_id, prompt.state))
        .collect())
}

/// The texts of the check-ins in the room, in order.
async fn asked(person: &Person, room: &RoomId) -> Result<Vec<String>> {
    let seen = person.reads(room).await?;
    let texts = seen
        .iter()
        .filter_map(|seen| Checkin::from_content(&seen.kind, &seen.content));
    Ok(texts.map(|checkin| checkin.text).collect())
}

/// Waits until a check-in with this text has come.
async fn is_asked(person: &Person, room: &RoomId, text: &str) -> Result<()> {
    let is_it = |seen: &respite_tests::person::Seen| {
        Checkin::from_content(&seen.kind, &seen.content).is_some_and(|checkin| checkin.text == text)
    };
    person.waits_for(room, text, is_it).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_released_once_though_the_server_is_killed_meanwhile() -> Result<()> {
    let (place, address) = (Place::new("")?, free_address()?);
    let server = place.serve_at(&address).await?;
    let code = server.first_code.clone().context("no code")?;
    let (therapist, nurse, room) = pair_at(&server.url, &code).await?;
    let first = in_ms(4_000)?;
    let mut texts = Vec::new();
    for number in 0..20_u32 {
        let text = format!("question {number:02}");
        let at = first.checked_add(Duration::from_millis(50) * number)?;
        schedule(&therapist, &nurse, &room, &text, at).await?;
        texts.push(text);
    }
    // The server dies before the first is due, and twice while they go out.
    let mut server = server;
    for kill_at in [
        first.checked_sub(Duration::from_millis(300))?,
        first,
        first.checked_add(Duration::from_millis(600))?,
    ] {
        sleep(
            kill_at
                .duration_since(Timestamp::now())
                .try_into()
                .unwrap_or_default(),
        )
        .await;
        server.kill().await?;
        server = place.serve_at(&address).await?;
    }
    is_asked(&nurse, &room, "question 19").await?;
    for text in &texts {
        is_asked(&nurse, &room, text).await?;
    }
    server.stop().await?;
    let server = place.serve_at(&address).await?;
    let mut came = asked(&nurse, &room).await?;
    came.sort();
    ensure!(came == texts, "{came:?}");
    let fates = fates(&therapist, &room).await?;
    ensure!(
        fates.len() == 20 && fates.values().all(|fate| *fate == PromptState::Released),
        "{fates:?}"
    );
    server.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_what_is_overdue_is_released_and_what_has_expired_is_dropped() -> Result<()> {
    let (place, address) = (Place::new("")?, free_address()?);
    let server = place.serve_at(&address).await?;
    let code = server.first_code.clone().context("no code")?;
    let (therapist, nurse, room) = pair_at(&server.url, &code).await?;
    let due = in_ms(3_000)?;
    let overdue = schedule(&therapist, &nurse, &room, "still of use", due).await?;
    let question = question("too late by then", Some(Duration::from_millis(500)));
    let (_, expired) =
        checkins::schedule(&therapist.room(&room)?, &question, due, nurse.id()).await?;
    server.kill().await?;
    let back = due.checked_add(Duration::from_secs(1))?;
    sleep(
        back.duration_since(Timestamp::now())
            .try_into()
            .unwrap_or_default(),
    )
    .await;

    let server = place.serve_at(&address).await?;
    is_asked(&nurse, &room, "still of use").await?;
    let fate = therapist
        .sync_until("the expired prompt to be dropped", async |me| {
            Ok(fates(me, &room)
                .await?
                .remove(&expired.prompt_id)
                .filter(|fate| *fate != PromptState::Waiting))
        })
        .await?;
    ensure!(fate == PromptState::Dropped, "{fate:?}");
    ensure!(fates(&therapist, &room).await?.get(&overdue) == Some(&PromptState::Released));
    ensure!(asked(&nurse, &room).await? == ["still of use"]);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_written_is_not_reminded_and_who_has_not_is() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, room) = pair(&practice).await?;
    let (own, long) = (therapist.room(&room)?, Some(HOUR));
    let ask = async |text: &str| {
        checkins::ask(
            &own,
            &question(text, long),
            Timestamp::now(),
            Duration::from_secs(20),
        )
        .await
    };

    let (heard, _) = ask("Did you sleep?").await?;
    let needless = checkins::remind(&own, &heard, None, in_ms(4_000)?, nurse.id()).await?;
    is_asked(&nurse, &room, "Did you sleep?").await?;
    let answer = nurse.says(&room, "A little.").await?;
    therapist.hears(&room, "A little.").await?;
    // The clock of the room's events has to move on before the next question counts as later.
    sleep(Duration::from_millis(20)).await;
    let (unheard, _) = ask("Did you eat?").await?;
    let needed = checkins::remind(&own, &unheard, None, in_ms(1_500)?, nurse.id()).await?;
    let fate = nurse
        .sync_until("the reminder", async |me| {
            Ok(fates(me, &room)
                .await?
                .remove(&needed)
                .filter(|fate| *fate != PromptState::Waiting))
        })
        .await?;
    ensure!(fate == PromptState::Released, "{fate:?}");
    let dropped = nurse
        .sync_until("the needless reminder to be dropped", async |me| {
            Ok(fates(me, &room)
                .await?
                .remove(&needless)
                .filter(|fate| *fate != PromptState::Waiting))
        })
        .await?;
    ensure!(
        dropped == PromptState::Dropped,
        "{dropped:?} although there is {answer}"
    );
    ensure!(asked(&nurse, &room).await? == ["Did you sleep?", "Did you eat?", "Did you eat?"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_asked_may_postpone_and_cancel_and_a_stranger_may_not() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, room) = pair(&practice).await?;
    let stranger = Person::register(
        practice.url(),
        "stranger",
        &therapist.invites_a_client().await?,
    )
    .await?;
    let own = nurse.room(&room)?;
    let in_an_hour = Timestamp::now().checked_add(HOUR)?;
    let moved = schedule(&therapist, &nurse, &room, "to be moved", in_an_hour).await?;
    let unwanted = schedule(&therapist, &nurse, &room, "to be cancelled", in_an_hour).await?;

    let elsewhere = stranger.only_room().await?;
    let exists = checkins::cancel(&elsewhere, &unwanted)
        .await
        .err()
        .context("a stranger may cancel")?;
    let invented = checkins::cancel(&elsewhere, "abcdefghijkmnpqrstuvwxyz22")
        .await
        .err()
        .context("nothing was cancelled")?;
    ensure!(
        format!("{exists:#}") == format!("{invented:#}"),
        "a stranger learns that it exists: {exists:#} / {invented:#}"
    );
    ensure!(
        checkins::postpone(&elsewhere, &moved, in_ms(500)?)
            .await
            .is_err(),
        "a stranger may postpone"
    );
    ensure!(
        fates(&stranger, &room).await.is_err(),
        "a stranger may look"
    );

    checkins::cancel(&own, &unwanted).await?;
    checkins::postpone(&own, &moved, in_ms(500)?).await?;
    is_asked(&nurse, &room, "to be moved").await?;
    let fates = fates(&nurse, &room).await?;
    ensure!(
        fates.get(&unwanted) == Some(&PromptState::Cancelled)
            && fates.get(&moved) == Some(&PromptState::Released),
        "{fates:?}"
    );
    ensure!(
        checkins::cancel(&own, &moved).await.is_err(),
        "what is out can be taken back"
    );
    Ok(())
}
