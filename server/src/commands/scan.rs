use std::{io::Write, process::ExitCode, time::Duration};

use clap::Args;
use respite_server::{
    admin::{Answer, Command},
    config::duration,
    scan::Report,
};

use super::operate::Operate;

/// Check everything that is stored against the ciphertext gate
///
/// Reads every entry of the store and every blob, and tells how many there are of each class. Whatever the gate would not let
/// in today is a violation: told by its table, what is wrong with it and a hash of its key, never by its content. Exits with
/// 1 if there is one. A blob that belongs to nothing is a note only as long as the server would keep it: it may be an upload
/// under way, or one that was cut off.
#[derive(Args)]
#[command(after_help = "\
Examples:
  respite-server scan --data /srv/respite
  respite-server scan --json | jq .violations")]
pub(super) struct Scan {
    #[command(flatten)]
    operate: Operate,
}

impl Scan {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let answer = self
            .operate
            .run(Command::Scan, |out, answer| match answer {
                Answer::Scanned(report) => tell(out, report),
                _ => Ok(()),
            })
            .await?;
        let clean = matches!(answer, Answer::Scanned(report) if report.is_clean());
        Ok(if clean {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn tell(out: &mut dyn Write, report: &Report) -> std::io::Result<()> {
    for (class, count) in &report.entries {
        writeln!(out, "{count:>10}  {class}")?;
    }
    writeln!(out, "{:>10}  blobs", report.blobs)?;
    for violation in &report.violations {
        writeln!(
            out,
            "VIOLATION  {}  {}  {}",
            violation.place, violation.flaw, violation.key
        )?;
    }
    if report.unlisted > 0 {
        writeln!(out, "and {} more violations", report.unlisted)?;
    }
    for note in &report.notes {
        // An upload that ended this moment is a second old.
        let age = duration::format(Duration::from_secs((note.age / 1_000).max(1)));
        writeln!(
            out,
            "NOTE  a blob belongs to nothing; it is {age} old and may be an upload under way  {}",
            note.key
        )?;
    }
    if report.unlisted_notes > 0 {
        writeln!(out, "and {} more such blobs", report.unlisted_notes)?;
    }
    match report.violations.len() {
        0 => writeln!(out, "Nothing is stored that the gate would not let in."),
        _ => writeln!(out, "Something is stored that the gate would not let in."),
    }
}
