use std::{io::Write, process::ExitCode};

use clap::{Args, Subcommand};
use respite_server::admin::{self, Answer, Command};

use super::operate::Operate;

/// List what people have reported
#[derive(Args)]
#[command(after_help = "\
Examples:
  respite-server report list
  respite-server report list --json")]
pub(super) struct Report {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the latest reports: when, who, and of which event, room or person
    ///
    /// What people write into a report is not kept, because it would be readable: ask them.
    List {
        #[command(flatten)]
        operate: Operate,
    },
}

impl Report {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let Action::List { operate } = self.action;
        operate.run(Command::ListReports, tell).await?;
        Ok(ExitCode::SUCCESS)
    }
}

fn tell(out: &mut dyn Write, answer: &Answer) -> std::io::Result<()> {
    let Answer::Reports { reports } = answer else {
        return Ok(());
    };
    for admin::Report {
        by,
        at,
        user,
        room,
        event,
    } in reports
    {
        write!(out, "{}  {by} reported ", when(*at))?;
        match (event, room, user) {
            (Some(event), Some(room), Some(user)) => {
                writeln!(out, "the event {event} of {user} in {room}")?;
            }
            (_, Some(room), _) => writeln!(out, "the room {room}")?,
            (_, _, Some(user)) => writeln!(out, "{user}")?,
            _ => writeln!(out, "something")?,
        }
    }
    Ok(())
}

/// A time as people read it, in UTC.
fn when(millis: u64) -> String {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .map(|time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
        .unwrap_or_default()
}
