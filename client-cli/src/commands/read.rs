use std::{collections::HashSet, time::Duration};

use anyhow::Result;
use clap::Args;
use matrix_sdk::Room;
use ruma::{
    OwnedEventId, OwnedRoomId, api::client::receipt::create_receipt::v3::ReceiptType,
    events::receipt::ReceiptThread,
};

use super::{Context, finish};
use crate::{
    failure,
    history::{self, Entry},
    render::{self, Names, Shown},
    rooms,
    session::Session,
};

/// How long `--follow` waits before it tries an unreachable server again.
const RETRY: Duration = Duration::from_secs(15);
/// How many entries `--follow` looks at after news.
const FOLLOW_LIMIT: usize = 100;

/// Read a room: messages, check-ins, answers and documents, oldest first.
///
/// The other people see how far you have read, unless you say --no-receipt.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite read therapist --follow")]
pub(super) struct Read {
    /// The room: a person in it, the beginning of their name, or the room's id.
    room: String,
    /// Go on and print what comes, until interrupted. Other commands work meanwhile.
    #[arg(long)]
    follow: bool,
    /// How much to show.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = limit_argument)]
    limit: usize,
    /// Do not tell the others how far you have read.
    #[arg(long)]
    no_receipt: bool,
}

fn limit_argument(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit @ 1..=history::MAX_ENTRIES) => Ok(limit),
        _ => Err(format!("a number from 1 to {}", history::MAX_ENTRIES)),
    }
}

impl Read {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        if self.follow {
            return self.follow(context).await;
        }
        context
            .connected(async |session| {
                let room = rooms::joined(session.client(), &self.room).await?;
                let entries = history::recent(&room, self.limit).await?;
                print(context, &room, &entries).await?;
                self.mark_read(&room, &entries).await
            })
            .await
    }

    async fn follow(&self, context: &Context) -> Result<()> {
        let mut session = context.open().await?;
        let (mut seen, mut room_id) = (HashSet::new(), None);
        loop {
            if let Err(error) = self
                .turn(context, &mut session, &mut room_id, &mut seen)
                .await
            {
                if room_id.is_none() {
                    return finish(session, Err(error)).await;
                }
                wait_out(context, error).await?;
            }
            let watch = session.watch().await?;
            while let Err(error) = watch.news().await {
                wait_out(context, error).await?;
            }
            session = watch.resume().await?;
        }
    }

    /// Prints what is new since the turn before.
    async fn turn(
        &self,
        context: &Context,
        session: &mut Session,
        room_id: &mut Option<OwnedRoomId>,
        seen: &mut HashSet<OwnedEventId>,
    ) -> Result<()> {
        context.catch_up(session).await?;
        let first = room_id.is_none();
        let name = room_id
            .as_ref()
            .map_or(self.room.as_str(), |room_id| room_id.as_str());
        let room = rooms::joined(session.client(), name).await?;
        *room_id = Some(room.room_id().to_owned());
        let mut entries = history::recent(&room, FOLLOW_LIMIT.max(self.limit)).await?;
        // The first turn shows as much as was asked for; what is before it counts as shown.
        let skip = if first {
            entries.len().saturating_sub(self.limit)
        } else {
            0
        };
        let before = entries.drain(..skip).map(|entry| entry.event_id);
        seen.extend(before);
        entries.retain(|entry| seen.insert(entry.event_id.clone()));
        print(context, &room, &entries).await?;
        self.mark_read(&room, &entries).await
    }

    async fn mark_read(&self, room: &Room, entries: &[Entry]) -> Result<()> {
        let Some(last) = entries.last().filter(|_| !self.no_receipt) else {
            return Ok(());
        };
        if last.sender == room.own_user_id() {
            return Ok(());
        }
        let event_id = last.event_id.clone();
        room.send_single_receipt(ReceiptType::Read, ReceiptThread::Unthreaded, event_id)
            .await?;
        Ok(())
    }
}

/// Waits a while if the server is gone; whatever else went wrong ends it.
async fn wait_out(context: &Context, error: anyhow::Error) -> Result<()> {
    if !failure::is_unreachable(&error) {
        return Err(error);
    }
    context.out.note(&failure::sentence(&error));
    tokio::time::sleep(RETRY).await;
    Ok(())
}

async fn print(context: &Context, room: &Room, entries: &[Entry]) -> Result<()> {
    let names = Names::of(room, entries).await?;
    let now = context.now();
    for entry in entries {
        context.out.result(&Shown::new(entry, &names), |_| {
            render::entry(entry, &names, &now)
        })?;
    }
    Ok(())
}
