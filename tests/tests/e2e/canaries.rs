//! Canaries: a marker in every field that a person can fill, through every client; then everything that the server has
//! written or answered is searched for it.
//!
//! The documented exceptions are user names and display names: pseudonyms that people are told to choose.

mod by_hand;
mod clients;

use anyhow::{Context, Result, bail, ensure};
use respite::accounts;
use respite_tests::{
    canary::Canary,
    desk::{Desk, desks},
    person::pair_at,
    place::{Place, Program},
    wiretap::Wiretap,
};

/// The marker as one word, and with a space in it: what takes names may refuse only one of them.
const GAPS: [&str; 2] = ["", " "];

/// A real server at its loudest, behind a wire that hears everything.
struct Watched {
    place: Place,
    server: Program,
    wire: Wiretap,
    code: String,
    canary: Canary,
}

impl Watched {
    async fn open() -> Result<Self> {
        let place = Place::new("[log]\nlevel = \"debug\"\n[limits]\nlookups = 100000\n")?;
        let server = place.serve().await?;
        let wire = Wiretap::lay(&server.url).await?;
        let code = server.first_code.clone().context("no code")?;
        Ok(Self {
            place,
            server,
            wire,
            code,
            canary: Canary::new(),
        })
    }

    /// The marker, and the field that it is put into.
    fn word(&self, gap: &str, field: &str) -> String {
        format!("{}{gap}{field}", self.canary.text())
    }

    /// Whether clients have sent this in the clear.
    fn was_sent(&self, text: &str) -> bool {
        self.wire.asked().iter().any(|bytes| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
    }

    /// Searches everything that the server has written and answered.
    async fn nothing_is_left(self) -> Result<()> {
        for answered in self.wire.answered() {
            ensure!(
                !self.canary.is_in(&answered),
                "an answer repeats it: {}",
                around(&answered, self.canary.text())
            );
        }
        let scan = self.place.run(&["scan"]).await?;
        ensure!(scan.code == Some(0), "{scan:?}");
        self.is_clean("while the server runs")?;
        self.server.stop().await?;
        Self::is_clean_in(&self.place, &self.canary, "after it has stopped")
    }

    fn is_clean(&self, when: &str) -> Result<()> {
        Self::is_clean_in(&self.place, &self.canary, when)
    }

    fn is_clean_in(place: &Place, canary: &Canary, when: &str) -> Result<()> {
        let log = place.log()?;
        ensure!(
            log.contains("serving") && log.lines().count() > 50,
            "the log is not at its loudest: {log}"
        );
        ensure!(
            !canary.is_in(log.as_bytes()),
            "the log says it: {}",
            around(log.as_bytes(), canary.text())
        );
        if let Some(path) = canary.search(&place.data())?.first() {
            let said = around(&std::fs::read(path)?, canary.text());
            bail!("{when}, it is in {}: {said}", path.display());
        }
        Ok(())
    }
}

/// What stands around a marker, for whoever has to find out where it came from.
fn around(bytes: &[u8], word: &str) -> String {
    let at = bytes
        .windows(word.len())
        .position(|window| window.eq_ignore_ascii_case(word.as_bytes()));
    let Some(at) = at else {
        return "in another encoding".to_owned();
    };
    let piece = bytes
        .get(at.saturating_sub(120)..(at + 120).min(bytes.len()))
        .unwrap_or_default();
    piece.escape_ascii().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_thin_client_leaves_no_words_and_sends_none() -> Result<()> {
    let watched = Watched::open().await?;
    let (therapist, nurse) = desks(watched.wire.url(), &watched.code).await?;
    let word = |field: &str| watched.word(" ", field);
    nurse
        .answers(&["send", "therapist", &word("message")])
        .await?;
    let scale = format!("1-5:{}:{}", word("low"), word("high"));
    therapist
        .answers(&[
            "checkin",
            "ask",
            "nurse",
            "--text",
            &word("question"),
            "--scale",
            &scale,
        ])
        .await?;
    nurse
        .answers(&[
            "checkin",
            "answer",
            "therapist",
            "2",
            "--note",
            &word("note"),
        ])
        .await?;
    therapist
        .answers(&[
            "checkin",
            "ask",
            "nurse",
            "--text",
            &word("later"),
            "--at",
            "+1h",
            "--remind",
            "1h",
        ])
        .await?;
    questionnaire(&watched, &therapist, &nurse).await?;
    let file = therapist.file(
        &format!("{}.txt", word("file")),
        word("content").repeat(100).as_bytes(),
    )?;
    let shared = therapist
        .answers(&[
            "doc",
            "share",
            "nurse",
            &file,
            "--title",
            &word("title"),
            "--consent",
        ])
        .await?;
    let id = shared["id"].as_str().context("no id")?;
    let back = nurse.file(&format!("{}.pdf", word("back")), word("filled").as_bytes())?;
    nurse
        .answers(&["doc", "return", "therapist", id, &back])
        .await?;
    nurse
        .told(
            &["recovery", "setup", "--password-stdin"],
            "sleeps by day\n",
        )
        .await?;
    nurse.runs(&["send", &word("nobody"), "hello"]).await?;
    let listed = nurse.says(&["doc", "list", "therapist"]).await?;
    ensure!(
        listed.len() == 2
            && listed
                .iter()
                .all(|line| watched.canary.is_in(line.to_string().as_bytes())),
        "{listed:?}"
    );
    for asked in watched.wire.asked() {
        ensure!(
            !watched.canary.is_in(&asked),
            "the client sends it: {}",
            around(&asked, watched.canary.text())
        );
    }
    watched.nothing_is_left().await
}

/// A questionnaire of one's own, urgent and answered in words, and a safety plan.
async fn questionnaire(watched: &Watched, therapist: &Desk, nurse: &Desk) -> Result<()> {
    let word = |field: &str| watched.word(" ", field);
    let of_ones_own = serde_json::json!({
        "resourceType": "Questionnaire", "id": "own", "title": word("form"), "description": word("what for"),
        "copyright": word("copyright"), "code": [{ "system": "urn:x", "code": word("code"), "display": word("display") }],
        "item": [
            { "linkId": "how", "type": "choice", "text": word("asked"), "answerOption": [{ "valueString": word("choice") }] },
            { "linkId": "why", "type": "text", "text": word("why") },
        ],
    });
    let file = therapist.file("own.json", of_ones_own.to_string().as_bytes())?;
    therapist.answers(&["instruments", "import", &file]).await?;
    therapist
        .answers(&["checkin", "ask", "nurse", "--instrument", "own"])
        .await?;
    let (why, note) = (format!("why={}", word("because")), word("beside"));
    nurse
        .answers(&[
            "checkin",
            "answer",
            "therapist",
            "--set",
            "how=1",
            "--set",
            &why,
            "--note",
            &note,
            "--urgent",
        ])
        .await?;
    let mut plan = vec!["safety-plan", "edit", "therapist", "--country", "IE"];
    let parts = [
        "signs",
        "alone",
        "company",
        "people",
        "professionals",
        "safer",
        "reasons",
    ];
    let parts = parts.map(|part| (format!("--{part}"), word(part)));
    for (part, text) in &parts {
        plan.extend([part.as_str(), text.as_str()]);
    }
    nurse.answers(&plan).await?;
    let found = therapist.says(&["inbox"]).await?;
    ensure!(
        found
            .first()
            .is_some_and(|first| first["urgent"] == true
                && watched.canary.is_in(first.to_string().as_bytes())),
        "{found:?}"
    );
    let trend = therapist.says(&["checkin", "trend", "nurse"]).await?;
    ensure!(
        watched.canary.is_in(format!("{trend:?}").as_bytes()),
        "{trend:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn other_clients_leave_no_words_either() -> Result<()> {
    let watched = Watched::open().await?;
    let (therapist, nurse, room) = pair_at(watched.wire.url(), &watched.code).await?;
    accounts::bootstrap_cross_signing(&nurse.client, || Ok(nurse.password.clone().into())).await?;
    for gap in GAPS {
        clients::encrypted(&watched, gap, &nurse, &room).await?;
        clients::in_the_clear(&watched, gap, &nurse, &therapist, &room).await?;
        by_hand::inside(&watched, gap, &nurse, &room).await?;
        by_hand::out_of_a_room(&watched, gap, &therapist).await?;
        by_hand::at_the_door(&watched, gap).await?;
    }
    therapist.hears(&room, &watched.word(" ", "text")).await?;
    let in_the_clear = [
        "topic",
        "name",
        "roomname",
        "roomtopic",
        "reaction",
        "tag",
        "keyword",
        "redaction",
        "report",
        "state",
        "upload",
        "accountdata",
        "device",
        "profile",
        "plain",
        "kick",
        "ban",
        "leave",
        "invite",
        "filter",
        "todevice",
        "search",
        "filename",
        "login",
        "password",
        "token",
        "path",
        "query",
        "code",
        "pusher",
        "payload",
        "delayed",
        "delay",
        "dehydrated",
        "thread",
        "alias",
        "transaction",
        "address",
        "lookup",
        "entrance",
        "canonical",
        "page",
        "mutual",
        "whois",
        "score",
        "visibility",
        "openid",
        "proof",
        "logintoken",
    ];
    for field in in_the_clear {
        ensure!(
            watched.was_sent(&watched.word("", field)),
            "no client has sent the field {field}"
        );
    }
    watched.nothing_is_left().await
}
