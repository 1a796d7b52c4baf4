use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{super::Context, scheduled};
use crate::{checkins, rooms};

/// Cancel a scheduled check-in and its reminder. Both its author and who is asked may.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite checkin cancel heron")]
pub(crate) struct Cancel {
    /// The room: a person in it, the beginning of their name, or the room's id.
    room: String,
    /// Which one, if more than one is scheduled: the beginning of its id.
    id: Option<String>,
}

impl Cancel {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let prompt_id = context
            .connected(async |session| {
                let room = rooms::joined(session.client(), &self.room).await?;
                let prompt = scheduled(context, &room, self.id.as_deref()).await?;
                checkins::cancel(&room, &prompt.prompt_id).await?;
                Ok(prompt.prompt_id)
            })
            .await?;
        context.out.result(&json!({ "cancelled": prompt_id }), |_| {
            "The check-in is cancelled.".to_owned()
        })
    }
}
