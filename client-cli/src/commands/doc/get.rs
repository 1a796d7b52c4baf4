use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{super::Context, find};
use crate::{documents, render, rooms, terminal};

/// Fetch a document, decrypt it and save it, readable only by you.
///
/// What was changed on the way is refused. The name inside the message is used only in a safe
/// form, in the current directory.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite doc get therapist wk4h -o sleep-diary.pdf")]
pub(crate) struct Get {
    /// The room: a person in it, the beginning of their name, or the room's id.
    room: String,
    /// The document: the beginning of its id.
    id: String,
    /// Where to save it: a file or a directory.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that exists.
    #[arg(long)]
    force: bool,
}

impl Get {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let (document, content) = context
            .connected(async |session| {
                let room = rooms::joined(session.client(), &self.room).await?;
                let document = find(&room, &self.id).await?.document;
                let content = documents::fetch(&room, &document, context.out.is_watched()).await?;
                Ok((document, content))
            })
            .await?;
        let path = documents::save(&document, &content, self.output.as_deref(), self.force)?;
        let result = json!({ "id": document.id, "file": path, "size": content.len() });
        context.out.result(&result, |_| {
            let name = terminal::line(&path.display().to_string());
            format!("saved: {name} ({})", render::size(content.len() as u64))
        })
    }
}
