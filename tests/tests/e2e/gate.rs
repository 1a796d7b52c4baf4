//! Only ciphertext comes in: what a person could write anywhere else is refused with a sentence that helps, or not kept.

mod account;
mod keys;
mod log;
mod media;
mod messages;
mod rooms;
mod scope;

use anyhow::{Result, ensure};
use reqwest::Method;
use respite_tests::{
    canary::Canary,
    practice::Practice,
    raw::{self, Raw},
};
use serde_json::Value;

/// Two people in a therapy room, and the words that one of them would like to leave everywhere.
struct Scene {
    canary: Canary,
    room: String,
    /// An event in the room.
    event: String,
    therapist: Raw,
    nurse: Raw,
}

/// Something that a client might send.
struct Attempt {
    what: &'static str,
    who: Who,
    method: Method,
    path: String,
    body: Vec<u8>,
    end: End,
}

#[derive(Clone, Copy)]
enum Who {
    Therapist,
    Nurse,
    Nobody,
}

/// What must come of it.
#[derive(Clone, Copy)]
enum End {
    /// This status and errcode, with a sentence.
    Refused(u16, &'static str),
    /// 200, and the words are not kept.
    Blanked,
}

const FORBIDDEN: End = End::Refused(403, "M_FORBIDDEN");
const INVALID: End = End::Refused(400, "M_INVALID_PARAM");
const BAD_JSON: End = End::Refused(400, "M_BAD_JSON");

impl Attempt {
    fn put(what: &'static str, path: String, body: Value, end: End) -> Self {
        Self::new(what, Method::PUT, path, body, end)
    }

    fn post(what: &'static str, path: String, body: Value, end: End) -> Self {
        Self::new(what, Method::POST, path, body, end)
    }

    fn new(what: &'static str, method: Method, path: String, body: Value, end: End) -> Self {
        let body = body.to_string().into_bytes();
        Self {
            what,
            who: Who::Nurse,
            method,
            path,
            body,
            end,
        }
    }

    fn by(self, who: Who) -> Self {
        Self { who, ..self }
    }
}

impl Scene {
    async fn open(practice: &Practice) -> Result<Self> {
        let (therapist, nurse, room) = raw::therapist_and_nurse(practice).await?;
        let event = nurse.says(&room, "I slept badly.").await?;
        Ok(Self {
            canary: Canary::new(),
            room,
            event,
            therapist,
            nurse,
        })
    }

    /// The words that must not be found anywhere.
    fn words(&self) -> &str {
        self.canary.text()
    }

    /// Makes every attempt and looks at what comes of it.
    async fn try_all(&self, attempts: Vec<Attempt>) -> Result<()> {
        let nobody = self.therapist.with_token(None);
        for Attempt {
            what,
            who,
            method,
            path,
            body,
            end,
        } in attempts
        {
            let who = match who {
                Who::Therapist => &self.therapist,
                Who::Nurse => &self.nurse,
                Who::Nobody => &nobody,
            };
            let answer = who.ask(method, &path, Some(body)).await?;
            match end {
                End::Refused(status, errcode) => {
                    let sentence = answer.refused(status, errcode);
                    sentence.map_err(|error| error.context(what))?;
                }
                End::Blanked => ensure!(answer.status == 200, "{what}: {answer}"),
            }
            ensure!(
                !self.canary.is_in(&answer.bytes),
                "{what}: the answer repeats it: {answer}"
            );
        }
        Ok(())
    }
}

/// Opens a practice, makes the attempts, and searches everything that the server has written.
async fn leaves_nothing(attempts: impl FnOnce(&Scene) -> Result<Vec<Attempt>>) -> Result<()> {
    let mut practice = Practice::open().await?;
    let scene = Scene::open(&practice).await?;
    scene.try_all(attempts(&scene)?).await?;
    let report = respite_server::scan::scan(practice.app()?).await?;
    ensure!(
        report.is_clean(),
        "the scan found violations: {:?}",
        report.violations
    );
    practice.stop().await?;
    ensure!(
        scene.canary.search(practice.data())?.is_empty(),
        "the words were kept"
    );
    Ok(())
}
