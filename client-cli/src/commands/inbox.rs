use anyhow::Result;
use clap::Args;
use jiff::Zoned;

use super::{Context, messages};
use crate::{
    inbox::{self, Item, What},
    render, terminal, time,
};

/// Show what wants your attention, across all rooms: check-ins and worksheets that are due, answers
/// and documents that came back, messages that you have not read, invitations.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite inbox")]
pub(super) struct Inbox {}

impl Inbox {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        let now = context.now();
        let items = context
            .connected(async |session| inbox::items(session.client(), now.timestamp()).await)
            .await?;
        context
            .out
            .list(&items, "Nothing waits for you.", |item| shown(item, &now))
    }
}

fn shown(item: &Item, now: &Zoned) -> String {
    let when = |label: &str, at| format!("{label} {}", time::distance(at, now.timestamp()));
    let what = match &item.what {
        What::Checkin {
            id, text, expires, ..
        } => {
            let until =
                expires.map(|at| format!(" (expires {})", time::distance(at, now.timestamp())));
            format!(
                "check-in {id}: {}{}",
                terminal::line(text),
                until.unwrap_or_default()
            )
        }
        What::ToReturn { id, title, due, .. } => {
            let due = due
                .map(|at| format!(" ({})", when("due", at)))
                .unwrap_or_default();
            format!("to return {id}: {}{due}", terminal::line(title))
        }
        What::Answer {
            text,
            value,
            scores,
            note,
            urgent,
            late,
            time,
            by,
        } => {
            let urgent = if *urgent { "URGENT: " } else { "" };
            let late = if *late { ", late" } else { "" };
            let answer = render::scored(*value, scores, note.as_deref());
            format!(
                "{urgent}{by} answered “{}”: {answer} ({}{late})",
                terminal::line(text),
                when("", *time).trim()
            )
        }
        What::Unclear {
            by,
            text,
            body,
            time,
        } => format!(
            "{by} wrote “{}”, which is not understood as an answer to “{}” ({})",
            terminal::line(body),
            terminal::line(text),
            when("", *time).trim()
        ),
        What::Document {
            id,
            title,
            returned,
            by,
            ..
        } => {
            let verb = if *returned { "returned" } else { "shared" };
            format!("{by} {verb} {id}: {}", terminal::line(title))
        }
        What::Unread {
            count,
            more,
            by,
            time,
        } => {
            let count = if *more {
                format!("more than {}", messages(*count))
            } else {
                messages(*count)
            };
            format!(
                "{count} not read, the newest from {by} {}",
                time::distance(*time, now.timestamp())
            )
        }
        What::Invitation => format!(
            "you are invited: respite room join {}",
            terminal::line(item.room_id.as_str())
        ),
    };
    format!("{}  {what}", item.people)
}
