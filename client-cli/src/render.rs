//! Entries of a room as a person reads them, and as JSON.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::{Timestamp, Zoned};
use matrix_sdk::Room;
use respite_protocol::{
    events::{Answer, AnswerKind, Checkin, Document, SafetyPlan, Scale},
    instruments::Response,
};
use ruma::{OwnedUserId, UserId};
use serde::Serialize;

use crate::{
    history::{Entry, Said},
    rooms, terminal, time,
};

/// How people in a room are called.
#[derive(Clone, Debug, Default)]
pub struct Names {
    own: Option<OwnedUserId>,
    names: BTreeMap<OwnedUserId, String>,
}

impl Names {
    /// The names of everyone who said something in these entries.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub async fn of(room: &Room, entries: &[Entry]) -> Result<Self> {
        let mut names = BTreeMap::new();
        for entry in entries {
            if !names.contains_key(&entry.sender) {
                names.insert(
                    entry.sender.clone(),
                    rooms::pseudonym(room, &entry.sender).await?,
                );
            }
        }
        Ok(Self {
            own: Some(room.own_user_id().to_owned()),
            names,
        })
    }

    /// What this person is called; safe to print.
    pub fn of_user(&self, user_id: &UserId) -> String {
        let name = self.names.get(user_id).cloned();
        name.unwrap_or_else(|| terminal::line(user_id.localpart()))
    }

    fn is_own(&self, user_id: &UserId) -> bool {
        self.own.as_deref() == Some(user_id)
    }
}

/// An entry for a program.
#[derive(Debug, Serialize)]
pub struct Shown<'a> {
    event_id: &'a str,
    sender: &'a str,
    name: String,
    own: bool,
    time: Timestamp,
    #[serde(flatten)]
    said: ShownSaid<'a>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ShownSaid<'a> {
    Text {
        body: &'a str,
        edited: bool,
    },
    Checkin {
        checkin: &'a Checkin,
    },
    Answer {
        #[serde(flatten)]
        answer: &'a Answer,
    },
    Vote {
        choices: &'a [String],
    },
    Document(ShownDocument<'a>),
    #[serde(rename = "safety-plan")]
    SafetyPlan {
        plan: &'a SafetyPlan,
    },
    Unreadable {
        why: &'static str,
    },
    Deleted,
}

/// A document for a program. Its keys and its address stay out.
#[derive(Debug, Serialize)]
pub struct ShownDocument<'a> {
    id: &'a str,
    version: u32,
    title: &'a str,
    kind: &'static str,
    due: Option<Timestamp>,
    returns: Option<&'a str>,
    file_name: &'a str,
    media_type: &'a str,
    size: u64,
}

impl<'a> Shown<'a> {
    /// The entry, with the name of who said it.
    pub fn new(entry: &'a Entry, names: &Names) -> Self {
        let said = match &entry.said {
            Said::Text { body, edited } => ShownSaid::Text {
                body,
                edited: *edited,
            },
            Said::Checkin(checkin) => ShownSaid::Checkin { checkin },
            Said::Answer(answer) => ShownSaid::Answer { answer },
            Said::Vote(choices) => ShownSaid::Vote { choices },
            Said::Document(document) => ShownSaid::Document(document.as_ref().into()),
            Said::SafetyPlan(plan) => ShownSaid::SafetyPlan { plan },
            Said::Unreadable { why } => ShownSaid::Unreadable { why },
            Said::Deleted => ShownSaid::Deleted,
        };
        Self {
            event_id: entry.event_id.as_str(),
            sender: entry.sender.as_str(),
            name: names.of_user(&entry.sender),
            own: names.is_own(&entry.sender),
            time: entry.at,
            said,
        }
    }
}

impl<'a> From<&'a Document> for ShownDocument<'a> {
    fn from(document: &'a Document) -> Self {
        Self {
            id: document.id.as_str(),
            version: document.version,
            title: &document.title,
            kind: document.kind.as_str(),
            due: document.due_ts.map(time::from_matrix),
            returns: document.returns.as_ref().map(|id| id.as_str()),
            file_name: &document.file_name,
            media_type: &document.media_type,
            size: document.size,
        }
    }
}

/// An entry for a person: time, who, and what was said; further lines are moved in.
pub fn entry(entry: &Entry, names: &Names, now: &Zoned) -> String {
    const INDENT: usize = 4;
    let when = time::shown(entry.at, now);
    let who = names.of_user(&entry.sender);
    let said = match &entry.said {
        Said::Text {
            body,
            edited: false,
        } => terminal::paragraph(body, INDENT),
        Said::Text { body, edited: true } => {
            format!("{} (edited)", terminal::paragraph(body, INDENT))
        }
        Said::Checkin(checkin) => self::checkin(checkin, INDENT, now),
        Said::Answer(answer) => self::said(answer, INDENT),
        Said::Vote(choices) => format!("[vote] {}", terminal::line(&choices.join(", "))),
        Said::Document(document) => self::document(document, now),
        Said::SafetyPlan(plan) => safety_plan(plan, INDENT),
        Said::Unreadable { why } => format!("[unreadable: {why}]"),
        Said::Deleted => "[deleted]".to_owned(),
    };
    format!("{when}  {who}: {said}")
}

/// An answer block for a person.
fn said(answer: &Answer, indent: usize) -> String {
    let what = if answer.urgent {
        "URGENT answer"
    } else {
        "answer"
    };
    let given = self::answer(answer.value, answer.note.as_deref());
    let filled = answer
        .response
        .as_ref()
        .map(|response| response_lines(response, indent));
    format!("[{what}] {given}{}", filled.unwrap_or_default())
}

/// The answers to a questionnaire, each on a line of its own.
fn response_lines(response: &Response, indent: usize) -> String {
    fn walk(items: &[respite_protocol::instruments::Answered], indent: usize, into: &mut String) {
        for item in items {
            if let Some(value) = &item.value {
                let question = terminal::line(item.text.as_deref().unwrap_or(&item.link_id));
                let answer = terminal::line(&value.shown());
                into.push_str(&format!("\n{:indent$}{question}: {answer}", ""));
            }
            walk(&item.items, indent, into);
        }
    }
    let mut lines = String::new();
    walk(&response.items, indent, &mut lines);
    lines
}

/// A safety plan for a person, a part on a line.
pub fn safety_plan(plan: &SafetyPlan, indent: usize) -> String {
    let parts = respite_protocol::events::Section::ALL
        .iter()
        .filter_map(|section| {
            let text = terminal::paragraph(plan.part(*section).as_deref()?, indent + 2);
            Some(format!("\n{:indent$}{}: {text}", "", section.title()))
        });
    format!("[safety plan]{}", parts.collect::<String>())
}

/// An answer for a person, on one line.
pub fn answer(value: Option<i64>, note: Option<&str>) -> String {
    let note = note.map(terminal::line);
    match (value, note) {
        (Some(value), Some(note)) => format!("{value}: {note}"),
        (Some(value), None) => value.to_string(),
        (None, note) => note.unwrap_or_default(),
    }
}

/// An answer with its scores for a person, on one line.
pub fn scored(value: Option<i64>, scores: &[String], note: Option<&str>) -> String {
    if scores.is_empty() || value.is_some() {
        return answer(value, note);
    }
    let scores = terminal::line(&scores.join("; "));
    let note = note.map(|note| format!(": {}", terminal::line(note)));
    format!("{scores}{}", note.unwrap_or_default())
}

/// A size for a person.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes.div_ceil(1_024)),
        _ => format!("{} MiB", bytes.div_ceil(1_048_576)),
    }
}

/// What a scale asks for, for a person.
pub fn scale(scale: &Scale) -> String {
    let end = |value: i64, label: &Option<String>| match label {
        Some(label) => format!("{value} ({})", terminal::line(label)),
        None => value.to_string(),
    };
    format!(
        "{} to {}",
        end(scale.low, &scale.low_label),
        end(scale.high, &scale.high_label)
    )
}

fn checkin(checkin: &Checkin, indent: usize, now: &Zoned) -> String {
    let what = if checkin.reminds.is_some() {
        "reminder"
    } else {
        "check-in"
    };
    let mut hints = vec![terminal::line(checkin.original().as_str())];
    match &checkin.answer {
        AnswerKind::Scale(scale) => hints.push(self::scale(scale)),
        AnswerKind::Questionnaire { questionnaire } => {
            let questions = questionnaire.questions().count();
            hints.push(format!(
                "{questions} question{}",
                if questions == 1 { "" } else { "s" }
            ));
        }
        AnswerKind::Text => {}
    }
    if let Some(expires) = checkin.expires_ts {
        hints.push(format!(
            "until {}",
            time::shown(time::from_matrix(expires), now)
        ));
    }
    format!(
        "[{what} {}] {}",
        hints.join(", "),
        terminal::paragraph(&checkin.text, indent)
    )
}

fn document(document: &Document, now: &Zoned) -> String {
    let mut hints = vec![
        document.kind.as_str().to_owned(),
        document.id.to_string(),
        size(document.size),
    ];
    if let Some(due) = document.due_ts {
        hints.push(format!("due {}", time::shown(time::from_matrix(due), now)));
    }
    if let Some(returns) = &document.returns {
        hints.push(format!("returns {returns}"));
    }
    format!("[{}] {}", hints.join(", "), terminal::line(&document.title))
}

#[cfg(test)]
mod tests {
    use jiff::civil::DateTime;

    use super::*;

    fn now() -> Zoned {
        "2026-07-01T12:00:00"
            .parse::<DateTime>()
            .unwrap()
            .in_tz("UTC")
            .unwrap()
    }

    fn says(said: Said) -> Entry {
        Entry {
            event_id: "$1".try_into().unwrap(),
            sender: "@heron:clinic".try_into().unwrap(),
            at: "2026-07-01T04:10:00Z".parse().unwrap(),
            about: None,
            said,
        }
    }

    #[test]
    fn a_message_shows_time_pseudonym_and_words() {
        let entry_ = says(Said::Text {
            body: "long night\nhome now".to_owned(),
            edited: false,
        });
        assert_eq!(
            entry(&entry_, &Names::default(), &now()),
            "04:10  heron: long night\n    home now"
        );
    }

    #[test]
    fn a_message_cannot_draw_on_the_terminal() {
        let entry_ = says(Said::Text {
            body: "\x1b[2Jx\n05:00  therapist: forged".to_owned(),
            edited: false,
        });
        let shown = entry(&entry_, &Names::default(), &now());
        assert!(!shown.contains('\x1b'));
        assert!(
            shown.lines().skip(1).all(|line| line.starts_with("    ")),
            "{shown}"
        );
    }

    #[test]
    fn a_check_in_says_how_to_answer_and_until_when() {
        let checkin = Checkin {
            id: "abc".parse().unwrap(),
            text: "How was it?".to_owned(),
            answer: AnswerKind::Scale(Scale {
                low_label: Some("awful".to_owned()),
                ..Scale::new(1, 5)
            }),
            asked_ts: time::to_matrix("2026-07-01T04:00:00Z".parse().unwrap()),
            expires_ts: Some(time::to_matrix("2026-07-01T16:00:00Z".parse().unwrap())),
            reminds: None,
        };
        let shown = entry(&says(Said::Checkin(checkin)), &Names::default(), &now());
        assert_eq!(
            shown,
            "04:10  heron: [check-in abc, 1 (awful) to 5, until 16:00] How was it?"
        );
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let shown = entry(
            &says(Said::Unreadable {
                why: "it is damaged",
            }),
            &Names::default(),
            &now(),
        );
        assert_eq!(shown, "04:10  heron: [unreadable: it is damaged]");
    }

    #[test]
    fn programs_get_one_object_with_a_type() {
        let entry = says(Said::Text {
            body: "x\u{1b}".to_owned(),
            edited: false,
        });
        let json = serde_json::to_value(Shown::new(&entry, &Names::default())).unwrap();
        assert_eq!(json["type"], "text");
        assert_eq!(json["name"], "heron");
        assert_eq!(json["time"], "2026-07-01T04:10:00Z");
        assert_eq!(json["body"], "x\u{1b}", "JSON escapes it; nothing is lost");
    }

    #[test]
    fn sizes_read_like_speech() {
        assert_eq!(
            (size(7), size(1_025), size(3 << 20)),
            ("7 B".to_owned(), "2 KiB".to_owned(), "3 MiB".to_owned())
        );
    }
}
