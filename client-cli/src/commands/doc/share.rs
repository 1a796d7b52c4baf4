use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use respite_protocol::events::DocumentKind;

use super::{super::Context, shared};
use crate::{
    documents::{self, Sharing},
    outbox::SEND_WAIT,
    rooms, time,
};

/// Encrypt a file and share it in a room. At most 100 MiB.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite doc share heron sleep-diary.pdf --worksheet --due +7d")]
pub(crate) struct Share {
    /// The room: a person in it, the beginning of their name, or the room's id.
    room: String,
    /// The file.
    file: PathBuf,
    /// It is to be filled in and returned.
    #[arg(long, group = "kind")]
    worksheet: bool,
    /// It is to be agreed to.
    #[arg(long, group = "kind")]
    consent: bool,
    /// It is a report on the therapy.
    #[arg(long, group = "kind")]
    report: bool,
    /// When it should be back: 2026-11-30, +7d, or a point in time.
    #[arg(long, value_name = "DATE")]
    due: Option<String>,
    /// What to call it, if not by the file's name.
    #[arg(long)]
    title: Option<String>,
}

impl Share {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let due = self
            .due
            .as_deref()
            .map(|due| time::day(due, &context.now()))
            .transpose()?;
        let (file_name, content) = documents::read_file(&self.file)?;
        let kind = match (self.worksheet, self.consent, self.report) {
            (true, ..) => DocumentKind::Worksheet,
            (_, true, _) => DocumentKind::Consent,
            (_, _, true) => DocumentKind::Report,
            _ => DocumentKind::Resource,
        };
        let sharing = Sharing {
            file_name,
            content,
            title: self.title,
            kind,
            due,
            returns: None,
        };
        let (document, delivery) = context
            .connected(async |session| {
                let room = rooms::joined(session.client(), &self.room).await?;
                documents::share(&room, sharing, context.out.is_watched(), SEND_WAIT).await
            })
            .await?;
        shared(context, &document, &delivery)
    }
}
