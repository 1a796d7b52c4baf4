use anyhow::Result;
use clap::Args;

use super::Context;
use crate::rooms::{Summary, summaries};

/// List your rooms and invitations.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite rooms")]
pub(super) struct Rooms {}

impl Rooms {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        let rooms = context
            .connected_if_possible(async |session| summaries(session.client()).await)
            .await?;
        context.out.list(&rooms, "You are in no room yet.", shown)
    }
}

fn shown(room: &Summary) -> String {
    let kind = room.kind.map_or("ordinary room", |kind| kind.as_str());
    let membership = match room.membership {
        "invited" => " (you are invited: respite room join)",
        _ => "",
    };
    format!("{}  [{kind}]  {}{membership}", room.shown(), room.room_id)
}
