use anyhow::Result;
use clap::Args;
use jiff::{Timestamp, Zoned};
use respite_protocol::events::DocumentKind;
use serde::Serialize;

use super::{super::Context, WINDOW};
use crate::{
    documents, history,
    render::{self, Names, ShownDocument},
    rooms, terminal, time,
};

/// List the documents of a room.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite doc list therapist")]
pub(crate) struct List {
    /// The room: a person in it, the beginning of their name, or the room's id.
    room: String,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    document: ShownDocument<'a>,
    by: String,
    time: Timestamp,
    returned_by: Vec<String>,
    #[serde(skip)]
    shared: &'a documents::Shared,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let (shelf, names) = context
            .connected(async |session| {
                let room = rooms::joined(session.client(), &self.room).await?;
                let entries = history::recent(&room, WINDOW).await?;
                let names = Names::of(&room, &entries).await?;
                Ok((documents::shelf(&entries), names))
            })
            .await?;
        let line = |shared| line(shared, &names);
        let lines: Vec<_> = shelf.iter().map(line).collect();
        let now = context.now();
        context
            .out
            .list(&lines, "There are no documents here.", |line| {
                shown(line, &now)
            })
    }
}

fn line<'a>(shared: &'a documents::Shared, names: &Names) -> Line<'a> {
    Line {
        document: (&shared.document).into(),
        by: names.of_user(&shared.sender),
        time: shared.at,
        returned_by: shared
            .returned
            .iter()
            .map(|(who, _)| names.of_user(who))
            .collect(),
        shared,
    }
}

fn shown(line: &Line<'_>, now: &Zoned) -> String {
    let document = &line.shared.document;
    let due = document
        .due_ts
        .map(|due| format!(", due {}", time::shown(time::from_matrix(due), now)));
    let state = match (
        &document.returns,
        line.returned_by.as_slice(),
        document.kind,
    ) {
        (Some(form), ..) => format!(", returns {form}"),
        (None, [], DocumentKind::Worksheet | DocumentKind::Consent) => due.unwrap_or_default(),
        (None, [], _) => String::new(),
        (None, by, _) => format!(", returned by {}", by.join(", ")),
    };
    format!(
        "{}  {}  [{}, {}{state}] {}: {}",
        time::shown(line.time, now),
        document.id,
        document.kind.as_str(),
        render::size(document.size),
        line.by,
        terminal::line(&document.title)
    )
}
