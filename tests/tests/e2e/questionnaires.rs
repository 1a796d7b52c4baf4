//! Questionnaires between a therapist and a night nurse, whatever client each of them has.

use anyhow::{Context, Result, ensure};
use respite::checkins;
use respite_protocol::{
    Role,
    events::{Answer, Checkin, MESSAGE},
    instruments::bundled,
};
use respite_tests::{
    desk::{Desk, desks},
    person::{Person, Seen},
    practice::Practice,
};
use ruma::{OwnedRoomId, user_id};
use serde_json::Value;

/// A check-in that somebody sees.
fn asks(seen: &Seen) -> Option<Checkin> {
    Checkin::from_content(&seen.kind, &seen.content)
}

/// A therapist at a desk with ours, and a nurse with any client.
async fn nurse_on_a_plain_client(practice: &Practice) -> Result<(Desk, Person, OwnedRoomId)> {
    let code = practice.code(Role::Therapist).await?;
    let therapist = Desk::of(practice.url(), "therapist", &code).await?;
    let code = therapist.runs(&["invite"]).await?.well()?;
    let nurse = Person::register(practice.url(), "nurse", code.trim()).await?;
    let room = nurse.room_with(user_id!("@therapist:localhost")).await?;
    Ok((therapist, nurse, room))
}

async fn inbox(desk: &Desk) -> Result<Vec<Value>> {
    desk.says(&["inbox"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nurse_answers_a_whole_questionnaire_by_typing_in_any_client() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, room) = nurse_on_a_plain_client(&practice).await?;
    therapist
        .answers(&[
            "checkin",
            "ask",
            "nurse",
            "--instrument",
            "phq-9",
            "--expires",
            "8h",
        ])
        .await?;
    let asked = nurse
        .waits_for(&room, "the PHQ-9", |seen| asks(seen).is_some())
        .await?;
    let body = asked.body();
    ensure!(
        body.contains("1. Little interest") && body.contains("9 numbers in this order"),
        "{body}"
    );

    nurse.says(&room, "2 1 0 0 1 2").await?;
    let found = inbox(&therapist).await?;
    ensure!(
        found
            .iter()
            .any(|item| item["type"] == "unclear" && item["body"] == "2 1 0 0 1 2"),
        "nobody asks back: {found:?}"
    );
    nurse
        .says(&room, "2 1 0 0 1 2 0 1 0 slept in pieces")
        .await?;
    let found = inbox(&therapist).await?;
    let answer = found
        .iter()
        .find(|item| item["type"] == "answer")
        .with_context(|| format!("no answer: {found:?}"))?;
    ensure!(answer["scores"][0] == "total 7 (mild)", "{answer}");
    ensure!(
        answer["note"] == "slept in pieces" && answer["urgent"] == false,
        "{answer}"
    );
    ensure!(
        !found.iter().any(|item| item["type"] == "unclear"),
        "{found:?}"
    );

    let listed = therapist.says(&["checkin", "list", "nurse"]).await?;
    let said = &listed[0]["answers"][0]["answers"];
    ensure!(
        said[0]["answer"] == "More than half the days" && said[8]["weight"] == 0,
        "{said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_question_is_tapped_in_any_client_and_followed_over_time() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, room) = nurse_on_a_plain_client(&practice).await?;
    let mut last = None;
    for mood in ["3", "6"] {
        therapist
            .answers(&["checkin", "ask", "nurse", "--instrument", "mood"])
            .await?;
        let asked = nurse
            .waits_for(&room, "a new question", |seen| {
                asks(seen).is_some() && last.as_ref() != Some(&seen.event_id)
            })
            .await?;
        ensure!(
            asked.kind == "org.matrix.msc3381.poll.start",
            "no poll: {}",
            asked.kind
        );
        let vote = serde_json::json!({
            "m.relates_to": { "rel_type": "m.reference", "event_id": asked.event_id },
            "org.matrix.msc3381.poll.response": { "answers": [mood] },
        });
        let nurses = nurse.room(&room)?;
        nurses
            .send_raw("org.matrix.msc3381.poll.response", vote)
            .await?;
        last = Some(asked.event_id);
    }
    let trend = therapist
        .answers(&["checkin", "trend", "nurse", "--instrument", "mood"])
        .await?;
    let points = &trend["series"][0]["points"];
    ensure!(
        points[0]["value"] == 3 && points[1]["value"] == 6,
        "{trend}"
    );
    ensure!(trend["series"][0]["since_last"]["by"] == 3, "{trend}");
    ensure!(trend["counts"]["answered"] == 2, "{trend}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_therapist_on_any_client_reads_what_a_nurse_answers_with_ours() -> Result<()> {
    let practice = Practice::open().await?;
    let therapist = Person::register(
        practice.url(),
        "therapist",
        &practice.code(Role::Therapist).await?,
    )
    .await?;
    let nurse = Desk::of(
        practice.url(),
        "nurse",
        &therapist.invites_a_client().await?,
    )
    .await?;
    let room = therapist.room_with(user_id!("@nurse:localhost")).await?;
    // Any client that can send what another has prepared, such as a script of the practice.
    let gad_7 = bundled::named("gad-7").context("no GAD-7")?;
    let question = checkins::Question {
        text: gad_7.title.clone(),
        answer: respite::instruments::asked(gad_7),
        expires: None,
    };
    let now = jiff::Timestamp::now();
    let wait = respite::outbox::SEND_WAIT;
    checkins::ask(&therapist.room(&room)?, &question, now, wait).await?;

    let form =
        "1\nseveral days\n9\n2\n<\n1\n0\n0\n0\nnearly every day\nthe phone never stops\nyes\n";
    let answered = nurse
        .told(
            &["--json", "checkin", "answer", "therapist", "--form"],
            form,
        )
        .await?
        .well()?;
    let answered: Value = serde_json::from_str(answered.trim())?;
    ensure!(
        answered["status"] == "sent" && answered["scores"][0] == "total 6 (mild)",
        "{answered}"
    );
    let seen = therapist
        .waits_for(&room, "the answer", |seen| {
            Answer::from_content(&seen.kind, &seen.content).is_some()
        })
        .await?;
    let body = seen.body();
    for line in [
        "GAD-7: anxiety",
        "total 6 (mild)",
        "might happen: 3, Nearly every day",
        "the phone never stops",
    ] {
        ensure!(body.contains(line), "{body}");
    }
    ensure!(seen.kind == MESSAGE && !body.contains("URGENT"), "{body}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_urgent_answer_shows_whom_to_call_at_once_and_comes_first_to_the_therapist() -> Result<()>
{
    let mut practice = Practice::open().await?;
    let code = practice.code(Role::Therapist).await?;
    let (therapist, nurse) = desks(practice.url(), &code).await?;
    nurse
        .answers(&[
            "safety-plan",
            "edit",
            "therapist",
            "--alone",
            "a cold shower, then a walk",
            "--country",
            "ie",
        ])
        .await?;
    let plan = therapist.answers(&["safety-plan", "show", "nurse"]).await?;
    ensure!(
        plan["plan"]["alone"] == "a cold shower, then a walk",
        "{plan}"
    );
    therapist
        .answers(&["checkin", "ask", "nurse", "--text", "Anything else?"])
        .await?;
    therapist
        .answers(&["checkin", "ask", "nurse", "--instrument", "phq-9"])
        .await?;
    nurse.says(&["inbox"]).await?;

    // The network is gone, and the lines are there all the same.
    practice.stop().await?;
    let offline = nurse
        .runs(&[
            "checkin",
            "answer",
            "therapist",
            "0",
            "0",
            "0",
            "0",
            "0",
            "0",
            "0",
            "0",
            "1",
        ])
        .await?
        .well()?;
    for shown in [
        "116 123",
        "112 or 999",
        "a cold shower, then a walk",
        "not for emergencies",
        "queued",
    ] {
        ensure!(offline.contains(shown), "{offline}");
    }
    let alone = nurse.runs(&["safety-plan", "show"]).await?.well()?;
    ensure!(
        alone.contains("116 123") && alone.contains("a cold shower"),
        "{alone}"
    );
    practice.start().await?;
    nurse.says(&["inbox"]).await?;
    nurse
        .answers(&["send", "therapist", "and a good morning"])
        .await?;

    let found = inbox(&therapist).await?;
    let first = found.first().context("the inbox is empty")?;
    ensure!(
        first["type"] == "answer" && first["urgent"] == true,
        "{found:?}"
    );
    ensure!(first["scores"][0] == "total 1 (minimal)", "{first}");
    let shown = therapist.runs(&["inbox"]).await?.well()?;
    ensure!(
        shown
            .lines()
            .next()
            .is_some_and(|line| line.contains("URGENT")),
        "{shown}"
    );
    therapist.runs(&["read", "nurse"]).await?.well()?;
    ensure!(
        inbox(&therapist).await?[0]["urgent"] == true,
        "reading is not answering"
    );
    therapist
        .answers(&["send", "nurse", "I am here. Can we talk at nine?"])
        .await?;
    let found = inbox(&therapist).await?;
    ensure!(
        !found.iter().any(|item| item["urgent"] == true),
        "{found:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_questionnaire_of_ones_own_is_imported_asked_late_answered_and_exported() -> Result<()> {
    let practice = Practice::open().await?;
    let code = practice.code(Role::Therapist).await?;
    let (therapist, nurse) = desks(practice.url(), &code).await?;
    let file = therapist.argument("mine.json");
    therapist
        .answers(&["instruments", "export", "gad-2", "-o", &file])
        .await?;
    let bands = [
        "--sum",
        "--band",
        "0-2:low",
        "--band",
        "3-6:high",
        "--missing",
        "1",
    ];
    let import = [
        &["instruments", "import", &file, "--id", "mine"][..],
        &bands,
    ]
    .concat();
    therapist.answers(&import).await?;
    let again = therapist.runs(&import).await?;
    ensure!(
        again.code == Some(1) && again.err.contains("--replace"),
        "{again:?}"
    );
    let listed = therapist.says(&["instruments", "list"]).await?;
    ensure!(
        listed
            .iter()
            .any(|line| line["id"] == "mine" && line["bundled"] == false),
        "{listed:?}"
    );

    let asked = therapist
        .answers(&[
            "checkin",
            "ask",
            "nurse",
            "--instrument",
            "mine",
            "--expires",
            "1s",
        ])
        .await?;
    let id = asked["id"].as_str().context("no id")?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let none = nurse
        .runs(&["checkin", "answer", "therapist", "1", "3"])
        .await?;
    ensure!(none.err.contains("no open check-in"), "{none:?}");
    nurse
        .answers(&[
            "checkin",
            "answer",
            "therapist",
            "--id",
            id,
            "--set",
            "1=3",
            "--set",
            "2=nearly every day",
        ])
        .await?;
    let (csv, svg) = (
        therapist.argument("mine.csv"),
        therapist.argument("mine.svg"),
    );
    let (png, fhir) = (
        therapist.argument("mine.png"),
        therapist.argument("mine.fhir"),
    );
    let files = ["--csv", &csv, "--svg", &svg, "--png", &png, "--fhir", &fhir];
    let trend = [
        &["checkin", "trend", "nurse", "--instrument", "mine"][..],
        &files,
    ]
    .concat();
    let shown = therapist.runs(&trend).await?.well()?;
    ensure!(
        shown.contains("1 asked: 0 answered (0 %), 1 late (100 %)"),
        "{shown}"
    );
    ensure!(shown.contains("total: 6 (high)"), "{shown}");
    let read = |name: &str| std::fs::read(therapist.path(name));
    ensure!(
        String::from_utf8(read("mine.csv")?)?.contains("nurse,mine,"),
        "no line in the CSV"
    );
    ensure!(read("mine.png")?.starts_with(b"\x89PNG") && read("mine.svg")?.starts_with(b"<svg"));
    let bundle: Value = serde_json::from_slice(&read("mine.fhir")?)?;
    ensure!(
        bundle["entry"]
            .as_array()
            .is_some_and(|entries| entries.len() == 3),
        "{bundle}"
    );
    therapist
        .answers(&["instruments", "remove", "mine"])
        .await?;
    Ok(())
}
