//! The program `respite` as a person uses it.

use std::fs;

use anyhow::{Context, Result, ensure};
use respite_protocol::Role;
use respite_tests::{
    desk::{Desk, PASSWORD, desks},
    practice::Practice,
    worksheet,
};
use serde_json::Value;

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key]
        .as_str()
        .with_context(|| format!("no {key} in {value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_a_therapist_and_a_night_nurse() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse) = desks(practice.url(), &practice.code(Role::Therapist).await?).await?;

    let rooms = nurse.answers(&["rooms"]).await?;
    ensure!(
        rooms["kind"] == "individual" && rooms["people"][0]["user_id"] == "@therapist:localhost",
        "{rooms}"
    );
    let sent = nurse
        .answers(&["send", "therapist", "Home.", "Long", "night."])
        .await?;
    ensure!(
        sent["status"] == "sent" && text(&sent, "event_id")?.starts_with('$'),
        "{sent}"
    );
    ensure!(therapist.reads("nurse").await? == ["Home. Long night."]);
    therapist
        .told(&["send", "nurse", "-"], "Sleep first.\nThen write.\n")
        .await?
        .well()?;
    ensure!(nurse.reads("therapist").await? == ["Home. Long night.", "Sleep first.\nThen write."]);
    let shown = nurse.runs(&["read", "therapist"]).await?.well()?;
    ensure!(
        shown.contains("Then write.") && !shown.contains('{'),
        "{shown}"
    );

    check_in(&therapist, &nurse).await?;
    worksheet(&therapist, &nurse).await
}

async fn check_in(therapist: &Desk, nurse: &Desk) -> Result<()> {
    let question = [
        "checkin",
        "ask",
        "nurse",
        "--text",
        "How did you sleep?",
        "--scale",
        "1-5:awful:well",
    ];
    let asked = therapist.answers(&question).await?;
    ensure!(asked["status"] == "sent", "{asked}");
    let due = nurse.says(&["inbox"]).await?;
    ensure!(
        due.iter()
            .any(|item| item.to_string().contains("How did you sleep?")),
        "{due:?}"
    );
    let open = nurse.answers(&["checkin", "list", "therapist"]).await?;
    ensure!(
        open["state"] == "open" && open["id"] == asked["id"],
        "{open}"
    );
    let refused = nurse.runs(&["checkin", "answer", "therapist", "9"]).await?;
    ensure!(
        refused.code == Some(1) && refused.err.contains("from 1 to 5"),
        "{refused:?}"
    );
    nurse
        .answers(&[
            "checkin",
            "answer",
            "therapist",
            "3",
            "--note",
            "slept in two halves",
        ])
        .await?;
    let answered = therapist.answers(&["checkin", "list", "nurse"]).await?;
    ensure!(
        answered["state"] == "answered" && answered["answers"][0]["value"] == 3,
        "{answered}"
    );
    ensure!(
        answered["answers"][0]["note"] == "slept in two halves",
        "{answered}"
    );

    let later = [
        "checkin",
        "ask",
        "nurse",
        "--text",
        "And tonight?",
        "--at",
        "+2h",
        "--expires",
        "8h",
    ];
    let scheduled = therapist.answers(&later).await?;
    let prompt = text(&scheduled, "prompt_id")?;
    let listed = therapist.says(&["checkin", "list", "nurse"]).await?;
    ensure!(
        listed
            .iter()
            .any(|line| line["prompt_id"] == prompt && line["text"] == "And tonight?"),
        "{listed:?}"
    );
    nurse
        .answers(&["checkin", "postpone", "therapist", prompt, "--by", "1h"])
        .await?;
    nurse
        .answers(&["checkin", "cancel", "therapist", prompt])
        .await?;
    let listed = therapist.says(&["checkin", "list", "nurse"]).await?;
    ensure!(listed.len() == 1, "{listed:?}");
    Ok(())
}

async fn worksheet(therapist: &Desk, nurse: &Desk) -> Result<()> {
    let (empty, filled) = (
        worksheet::sleep_diary(&[]),
        worksheet::sleep_diary(&["08:40"]),
    );
    let file = therapist.file("sleep-diary.pdf", &empty)?;
    let shared = therapist
        .answers(&[
            "doc",
            "share",
            "nurse",
            &file,
            "--worksheet",
            "--due",
            "+7d",
        ])
        .await?;
    let id = text(&shared, "id")?;
    let listed = nurse.answers(&["doc", "list", "therapist"]).await?;
    ensure!(
        listed["id"] == id
            && listed["kind"] == "worksheet"
            && listed["file_name"] == "sleep-diary.pdf",
        "{listed}"
    );
    nurse
        .runs(&[
            "doc",
            "get",
            "therapist",
            id,
            "-o",
            &nurse.argument("got.pdf"),
        ])
        .await?
        .well()?;
    ensure!(
        fs::read(nurse.path("got.pdf"))? == empty,
        "another file came"
    );
    let back = nurse.file("filled.pdf", &filled)?;
    nurse
        .answers(&["doc", "return", "therapist", id, &back])
        .await?;
    let listed = therapist.says(&["doc", "list", "nurse"]).await?;
    ensure!(
        listed
            .iter()
            .any(|line| line["id"] == id && line["returned_by"] == serde_json::json!(["nurse"])),
        "{listed:?}"
    );
    let returned = listed
        .iter()
        .find(|line| line["returns"] == id)
        .context("it has not come back")?;
    therapist
        .runs(&[
            "doc",
            "get",
            "nurse",
            text(returned, "id")?,
            "-o",
            &therapist.argument("back.pdf"),
        ])
        .await?
        .well()?;
    ensure!(
        fs::read(therapist.path("back.pdf"))? == filled,
        "another file came back"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_machine_reads_the_past_with_the_recovery_key() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse) = desks(practice.url(), &practice.code(Role::Therapist).await?).await?;
    nurse
        .answers(&["send", "therapist", "before the tablet"])
        .await?;
    let refused = nurse.runs(&["logout"]).await?;
    ensure!(
        refused.code == Some(1) && refused.err.contains("recovery setup"),
        "{refused:?}"
    );
    let setup = nurse
        .told(&["recovery", "setup", "--password-stdin"], PASSWORD)
        .await?
        .well()?;
    let key = setup.trim();
    therapist.answers(&["send", "nurse", "an answer"]).await?;
    ensure!(nurse.reads("therapist").await?.len() == 2);

    let login = [
        "--profile",
        "tablet",
        "login",
        "--server",
        practice.url(),
        "--user",
        "nurse",
        "--password-stdin",
    ];
    nurse.told(&login, PASSWORD).await?.well()?;
    let dark = nurse
        .says(&["--profile", "tablet", "read", "therapist"])
        .await?;
    ensure!(
        dark.iter().all(|entry| entry["type"] == "unreadable"),
        "{dark:?}"
    );
    let restore = [
        "--profile",
        "tablet",
        "recovery",
        "restore",
        "--recovery-key-file",
        "-",
    ];
    let wrong = nurse
        .told(
            &restore,
            "EsTc LW2K PGiF wKEA 3As5 g5c4 BXwk qeeJ ZJV8 Q9fu gUMN UE4d\n",
        )
        .await?;
    ensure!(wrong.code == Some(1), "{wrong:?}");
    nurse.told(&restore, &format!("{key}\n")).await?.well()?;
    let entries = nurse
        .says(&["--profile", "tablet", "read", "therapist"])
        .await?;
    let bodies: Vec<_> = entries
        .iter()
        .filter_map(|entry| entry["body"].as_str())
        .collect();
    ensure!(bodies == ["before the tablet", "an answer"], "{entries:?}");
    let status = nurse.answers(&["--profile", "tablet", "status"]).await?;
    ensure!(
        status["verified"] == true && status["backup"] == true && status["server"] == "reachable",
        "{status}"
    );

    nurse
        .runs(&["--profile", "tablet", "logout"])
        .await?
        .well()?;
    let gone = nurse.runs(&["--profile", "tablet", "whoami"]).await?;
    ensure!(gone.code == Some(1), "{gone:?}");
    let still = nurse.answers(&["whoami"]).await?;
    ensure!(still["user_id"] == "@nurse:localhost", "{still}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_now_goes_on_the_next_run() -> Result<()> {
    let mut practice = Practice::open().await?;
    let (therapist, nurse) = desks(practice.url(), &practice.code(Role::Therapist).await?).await?;
    nurse.answers(&["send", "therapist", "one"]).await?;
    practice.stop().await?;
    let queued = nurse
        .answers(&["send", "therapist", "two", "--wait", "1s"])
        .await?;
    ensure!(queued["status"] == "queued", "{queued}");
    let status = nurse.answers(&["status"]).await?;
    ensure!(
        status["queued"] == 1 && status["server"] == "unreachable",
        "{status}"
    );
    practice.start().await?;
    let next = nurse.runs(&["rooms"]).await?;
    ensure!(
        next.code == Some(0) && next.err.contains("sent now: 1 message"),
        "{next:?}"
    );
    ensure!(therapist.reads("nurse").await? == ["one", "two"]);
    ensure!(nurse.answers(&["status"]).await?["queued"] == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_mistakes_are_told_apart_by_the_exit_code() -> Result<()> {
    let practice = Practice::open().await?;
    let desk = Desk::new()?;
    let register = [
        "register",
        "--server",
        practice.url(),
        "--user",
        "nurse",
        "--code",
        "-",
        "--password-stdin",
    ];
    let wrong = desk
        .told(&register, &format!("aaaa-bbbb-cccc-dddd\n{PASSWORD}"))
        .await?;
    ensure!(
        wrong.code == Some(1) && wrong.err.contains("wrong or has expired"),
        "{wrong:?}"
    );
    let usage = desk.runs(&["send"]).await?;
    ensure!(
        usage.code == Some(2) && usage.err.contains("Usage:"),
        "{usage:?}"
    );
    let nobody = desk.runs(&["--json", "rooms"]).await?;
    let error: Value = serde_json::from_str(&nobody.err).with_context(|| format!("{nobody:?}"))?;
    ensure!(
        nobody.code == Some(1) && text(&error, "error")?.contains("nobody is logged in"),
        "{nobody:?}"
    );
    let (therapist, _) = desks(practice.url(), &practice.code(Role::Therapist).await?).await?;
    let unknown = therapist.runs(&["send", "doctor", "hello"]).await?;
    ensure!(
        unknown.code == Some(1) && unknown.err.starts_with("respite: "),
        "{unknown:?}"
    );
    Ok(())
}
