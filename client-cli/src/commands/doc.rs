mod get;
mod list;
mod return_form;
mod share;

use anyhow::Result;
use clap::{Args, Subcommand};
use matrix_sdk::Room;
use respite_protocol::events::Document;

use super::Context;
use crate::{
    documents::{self, Shared},
    history,
    names::{Named, resolve},
    outbox::Delivery,
    render::ShownDocument,
    terminal,
};

/// How far back documents are looked for, in entries of the room.
const WINDOW: usize = 1_000;

/// Share, fetch and return worksheets and other documents.
#[derive(Args, Debug)]
pub(super) struct Doc {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Share(share::Share),
    List(list::List),
    Get(get::Get),
    Return(return_form::Return),
}

impl Doc {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        match self.command {
            Command::Share(command) => command.run(context).await,
            Command::List(command) => command.run(context).await,
            Command::Get(command) => command.run(context).await,
            Command::Return(command) => command.run(context).await,
        }
    }
}

/// The document that `id` stands for.
async fn find(room: &Room, id: &str) -> Result<Shared> {
    let shelf = documents::shelf(&history::recent(room, WINDOW).await?);
    let named: Vec<_> = shelf
        .into_iter()
        .map(|shared| Named {
            id: shared.event_id.to_string(),
            label: format!(
                "{} “{}”",
                shared.document.id,
                terminal::line(&shared.document.title)
            ),
            aliases: vec![shared.document.id.to_string()],
            thing: shared,
        })
        .collect();
    Ok(resolve("document", id, &named)?.thing.clone())
}

/// Prints what became of a document that was shared.
fn shared(context: &Context, document: &Document, delivery: &Delivery) -> Result<()> {
    let status = match delivery {
        Delivery::Sent(_) => "sent",
        Delivery::Queued { .. } => "queued",
    };
    let mut result = serde_json::to_value(ShownDocument::from(document))?;
    if let Some(result) = result.as_object_mut() {
        result.insert("status".to_owned(), status.into());
    }
    context.out.result(&result, |_| match delivery {
        Delivery::Sent(_) => format!("document {}: shared", document.id),
        Delivery::Queued { why } => format!(
            "document {}: queued; goes out on the next run ({why})",
            document.id
        ),
    })
}
