use std::{io::Write, process::ExitCode};

use clap::{Args, Subcommand};
use respite_server::admin::{self, Answer, Command};
use ruma::OwnedRoomId;

use super::operate::Operate;

/// List rooms, or delete one
#[derive(Args)]
#[command(after_help = "\
Examples:
  respite-server room list
  respite-server room delete '!qfy8qf8rmecbzaa:respite.example.org'")]
pub(super) struct Room {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List all rooms: id, kind, number of events, who is in it
    List {
        #[command(flatten)]
        operate: Operate,
    },
    /// Delete a room for good, with its events, documents and check-ins
    ///
    /// Nobody can enter or read it from the moment at which the command begins; its members' clients show that they have left
    /// it. What the members have on their own devices is not touched, nor are attachments that are not documents of the room:
    /// the server does not know where they were sent. To have nothing of it left in the store's files either, stop the server
    /// afterwards and run `respite-server compact`; a sled store is moved to another directory with `respite-server migrate`, and
    /// PostgreSQL has VACUUM FULL.
    Delete {
        /// The room's id, as `room list` tells it.
        room: OwnedRoomId,
        #[command(flatten)]
        operate: Operate,
    },
}

impl Room {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let (operate, command) = match self.action {
            Action::List { operate } => (operate, Command::ListRooms),
            Action::Delete { room, operate } => (operate, Command::DeleteRoom { room }),
        };
        operate.run(command, tell).await?;
        Ok(ExitCode::SUCCESS)
    }
}

fn tell(out: &mut dyn Write, answer: &Answer) -> std::io::Result<()> {
    match answer {
        Answer::Rooms { rooms } => {
            for admin::Room {
                room,
                therapy,
                members,
                events,
                ..
            } in rooms
            {
                let kind = therapy.as_ref().map_or("plain", |kind| kind.as_str());
                let members: Vec<&str> = members.iter().map(|user| user.as_str()).collect();
                let members = members.join(" ");
                writeln!(out, "{room}  {kind}  {events} events  {members}")?;
            }
            Ok(())
        }
        Answer::RoomDeleted { room } => writeln!(out, "{room} is deleted."),
        _ => Ok(()),
    }
}
