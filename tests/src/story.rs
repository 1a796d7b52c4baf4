//! The main job, played by real clients: a therapist and a night nurse. The demo shows it, a test checks it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use respite::{
    checkins::{self, Question},
    documents::{self, Shared, Sharing},
    history,
    outbox::{Delivery, SEND_WAIT},
};
use respite_protocol::{
    Role,
    events::{AnswerKind, Checkin, Document, DocumentKind, Scale},
};
use ruma::{EventId, OwnedRoomId, RoomId};

use crate::{
    held::{self, Held},
    person::Person,
    practice::Practice,
    worksheet,
};

/// How far ahead the check-in is scheduled.
pub const AHEAD: Duration = Duration::from_secs(3);
/// What is on the nurse's form when it comes back.
pub const ANSWERS: [&str; 4] = ["08:40", "50", "three times", "the lawn mower next door"];

/// How many entries of the room are looked at.
const RECENT: usize = 50;
const FILE: &str = "sleep-diary.pdf";

/// Something that has happened.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Whose screen this is: `therapist` or `nurse`.
    pub who: &'static str,
    /// What has happened, in a sentence.
    pub what: String,
    /// What stands on their screen.
    pub sees: String,
    /// What the server holds of it.
    pub held: Vec<Held>,
}

/// Is told what happens.
pub trait Narrator {
    /// Tells one scene, just after it has happened.
    fn tell(&mut self, scene: Scene);
}

impl<F: FnMut(Scene)> Narrator for F {
    fn tell(&mut self, scene: Scene) {
        self(scene);
    }
}

/// The people and their room, when the story is over.
pub struct Ending {
    /// The therapist.
    pub therapist: Person,
    /// The night nurse.
    pub nurse: Person,
    /// The therapy room.
    pub room: OwnedRoomId,
    /// The worksheet as it went out.
    pub worksheet: Vec<u8>,
    /// The worksheet as it came back.
    pub returned: Vec<u8>,
}

/// Plays the main job in an open practice where nobody is called `therapist` or `nurse` yet.
///
/// # Errors
/// Something did not happen as it should.
pub async fn play(practice: &Practice, narrator: &mut impl Narrator) -> Result<Ending> {
    let (therapist, nurse, room) = meet(practice, narrator).await?;
    let mut play = Play {
        practice,
        narrator,
        therapist,
        nurse,
        room,
    };
    play.talk().await?;
    play.check_in().await?;
    let (worksheet, returned) = play.worksheet().await?;
    let Play {
        therapist,
        nurse,
        room,
        ..
    } = play;
    Ok(Ending {
        therapist,
        nurse,
        room,
        worksheet,
        returned,
    })
}

struct Play<'a, N> {
    practice: &'a Practice,
    narrator: &'a mut N,
    therapist: Person,
    nurse: Person,
    room: OwnedRoomId,
}

async fn meet(
    practice: &Practice,
    narrator: &mut impl Narrator,
) -> Result<(Person, Person, OwnedRoomId)> {
    let app = practice.app()?;
    let code = practice.code(Role::Therapist).await?;
    let therapist = Person::register(practice.url(), "therapist", &code).await?;
    narrator.tell(Scene {
        who: "therapist",
        what: "The therapist registers with the operator's code.".to_owned(),
        sees: format!("You are {}, therapist.", therapist.id()),
        held: vec![held::password(app, therapist.id()).await?],
    });
    let code = therapist.invites_a_client().await?;
    narrator.tell(Scene {
        who: "therapist",
        what: "The therapist makes a code for a new client.".to_owned(),
        held: vec![held::code(app, &code).await?],
        sees: format!("Give this code to your client: {code}"),
    });
    let nurse = Person::register(practice.url(), "nurse", &code).await?;
    let room = nurse.room_with(therapist.id()).await?;
    therapist.enters(&room).await?;
    narrator.tell(Scene {
        who: "nurse",
        what: "The night nurse registers with it, and is in a therapy room with the therapist."
            .to_owned(),
        sees: format!(
            "You are {}, in an encrypted room with {}.",
            nurse.id(),
            therapist.id()
        ),
        held: vec![held::encryption(app, &room).await?],
    });
    Ok((therapist, nurse, room))
}

impl<N: Narrator> Play<'_, N> {
    async fn talk(&mut self) -> Result<()> {
        let text = "Home at eight. The ward was full, and I lie awake although I am so tired.";
        let sent = self.nurse.says(&self.room, text).await?;
        let seen = self.therapist.hears(&self.room, text).await?;
        self.tell(
            "therapist",
            "The nurse writes after her shift; the therapist reads it.",
            seen.body(),
            &sent,
        )
        .await?;
        let text = "That sounds hard. Tell me about the last hour before you lay down.";
        let sent = self.therapist.says(&self.room, text).await?;
        let seen = self.nurse.hears(&self.room, text).await?;
        self.tell(
            "nurse",
            "The therapist answers during office hours; the nurse reads it.",
            seen.body(),
            &sent,
        )
        .await
    }

    async fn check_in(&mut self) -> Result<()> {
        let room = self.therapist.room(&self.room)?;
        let question = Question {
            text: "How did you sleep before tonight's shift?".to_owned(),
            answer: AnswerKind::Scale(Scale::new(1, 5)),
            expires: Some(Duration::from_secs(8 * 60 * 60)),
        };
        let at = Timestamp::now().checked_add(AHEAD)?;
        let (checkin, scheduled) =
            checkins::schedule(&room, &question, at, self.nurse.id()).await?;
        let prompt = scheduled.prompt_id;
        let waits = held::prompt(self.practice.app()?, &self.room, &prompt).await?;
        self.narrator.tell(Scene {
            who: "therapist",
            what: "The therapist schedules a check-in, encrypted ahead of time.".to_owned(),
            sees: format!(
                "{} To be asked in {} seconds.",
                question.text,
                AHEAD.as_secs()
            ),
            held: vec![waits],
        });

        let is_it = |kind: &str, content: &serde_json::Value| {
            Checkin::from_content(kind, content).is_some_and(|asked| asked.id == checkin.id)
        };
        let asked = self
            .nurse
            .waits_for(&self.room, "the check-in", |seen| {
                is_it(&seen.kind, &seen.content)
            })
            .await?;
        let question = asked.content["body"].as_str().unwrap_or_default();
        self.tell(
            "nurse",
            "The server releases it when it is due; the nurse is asked.",
            question,
            &asked.event_id,
        )
        .await?;

        let room = self.nurse.room(&self.room)?;
        let agenda = checkins::agenda(&history::recent(&room, RECENT).await?);
        let asked = agenda.last().context("the nurse sees no check-in")?;
        let answer = asked.reply(Some(2), Some("four hours, in pieces".to_owned()))?;
        let sent = checkins::answer(&room, asked, &answer, SEND_WAIT).await?;
        let answered = self
            .therapist
            .hears(&self.room, "2: four hours, in pieces")
            .await?;
        ensure!(
            sent == Delivery::Sent(answered.event_id.clone()),
            "another answer came: {sent:?}"
        );
        let room = self.therapist.room(&self.room)?;
        let agenda = checkins::agenda(&history::recent(&room, RECENT).await?);
        let answers = &agenda
            .last()
            .context("the therapist sees no check-in")?
            .answers;
        ensure!(
            answers.first().is_some_and(|given| given.value == Some(2)),
            "the answer is not counted: {answers:?}"
        );
        self.tell(
            "therapist",
            "The nurse answers; the therapist sees it.",
            answered.body(),
            &answered.event_id,
        )
        .await
    }

    /// Returns the form as it went out, and as it came back.
    async fn worksheet(&mut self) -> Result<(Vec<u8>, Vec<u8>)> {
        let empty = worksheet::sleep_diary(&[]);
        let (form, got) = hand_over(
            &self.therapist,
            &self.nurse,
            &self.room,
            sharing(empty.clone()),
        )
        .await?;
        ensure!(got == empty, "the nurse has got another file");
        self.tell_file(
            "nurse",
            "The therapist shares a worksheet; the nurse opens it.",
            &form,
        )
        .await?;

        let filled = worksheet::sleep_diary(&ANSWERS);
        let back = Sharing {
            returns: Some(form.document.id),
            ..sharing(filled.clone())
        };
        let (form, got) = hand_over(&self.nurse, &self.therapist, &self.room, back).await?;
        ensure!(got == filled, "the therapist has got another file");
        self.tell_file(
            "therapist",
            "The nurse returns it, filled in; the therapist opens it.",
            &form,
        )
        .await?;
        Ok((empty, filled))
    }

    async fn tell(
        &mut self,
        who: &'static str,
        what: &str,
        sees: &str,
        event_id: &EventId,
    ) -> Result<()> {
        let held = vec![held::event(self.practice.app()?, event_id).await?];
        self.narrator.tell(Scene {
            who,
            what: what.to_owned(),
            sees: sees.to_owned(),
            held,
        });
        Ok(())
    }

    async fn tell_file(&mut self, who: &'static str, what: &str, form: &Shared) -> Result<()> {
        let app = self.practice.app()?;
        let Document {
            title,
            file_name,
            media_type,
            size,
            file,
            ..
        } = &form.document;
        let held = vec![
            held::event(app, &form.event_id).await?,
            held::blob(app, &file.url).await?,
        ];
        let sees = format!("{title}: {file_name} ({media_type}, {size} bytes)");
        self.narrator.tell(Scene {
            who,
            what: what.to_owned(),
            sees,
            held,
        });
        Ok(())
    }
}

/// One shares a file, the other finds it in the room and fetches it.
async fn hand_over(
    from: &Person,
    to: &Person,
    room: &RoomId,
    sharing: Sharing,
) -> Result<(Shared, Vec<u8>)> {
    let (document, delivery) =
        documents::share(&from.room(room)?, sharing, false, SEND_WAIT).await?;
    let Delivery::Sent(event_id) = delivery else {
        bail!("the document was not sent: {delivery:?}")
    };
    to.waits_for(room, "the document", |seen| seen.event_id == event_id)
        .await?;
    let room = to.room(room)?;
    let shelf = documents::shelf(&history::recent(&room, RECENT).await?);
    let shared = shelf
        .into_iter()
        .find(|shared| shared.document.id == document.id);
    let shared = shared.context("the document is not on the shelf")?;
    let content = documents::fetch(&room, &shared.document, false).await?;
    Ok((shared, content))
}

fn sharing(content: Vec<u8>) -> Sharing {
    Sharing {
        file_name: FILE.to_owned(),
        content,
        title: Some("Sleep diary".to_owned()),
        kind: DocumentKind::Worksheet,
        due: None,
        returns: None,
    }
}
