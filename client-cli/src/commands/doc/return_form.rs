use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::{super::Context, find, shared};
use crate::{
    documents::{self, Sharing},
    outbox::SEND_WAIT,
    rooms,
};

/// Return a worksheet or a consent form, filled in.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite doc return therapist wk4h sleep-diary-filled.pdf")]
pub(crate) struct Return {
    /// The room: a person in it, the beginning of their name, or the room's id.
    room: String,
    /// The document that it is the filled-in form of: the beginning of its id.
    id: String,
    /// The filled-in file.
    file: PathBuf,
}

impl Return {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let (file_name, content) = documents::read_file(&self.file)?;
        let (document, delivery) = context
            .connected(async |session| {
                let room = rooms::joined(session.client(), &self.room).await?;
                let form = find(&room, &self.id).await?.document;
                let sharing = Sharing {
                    file_name,
                    content,
                    title: Some(form.title),
                    kind: form.kind,
                    due: None,
                    returns: Some(form.id),
                };
                documents::share(&room, sharing, context.out.is_watched(), SEND_WAIT).await
            })
            .await?;
        shared(context, &document, &delivery)
    }
}
