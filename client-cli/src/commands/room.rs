use anyhow::{Context as _, Result};
use clap::{Args, Subcommand, ValueEnum};
use respite_protocol::{TherapyKind, api::create_room};
use ruma::{OwnedUserId, UserId};
use serde_json::json;

use super::Context;
use crate::rooms;

/// Open, enter or leave a room.
#[derive(Args, Debug)]
pub(super) struct Room {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Open a therapy room (therapists). Its kind can never change.
    #[command(
        after_help = "Example: respite room create --kind couple --invite heron --invite owl"
    )]
    Create {
        /// Who meets there.
        #[arg(long, value_enum)]
        kind: Kind,
        /// A person to invite: their account, or its first part if it is on this server.
        #[arg(long, value_name = "USER")]
        invite: Vec<String>,
    },
    /// Enter a room that you are invited to.
    #[command(after_help = "Example: respite room join therapist")]
    Join {
        /// The room: who invited you, or its id.
        room: String,
    },
    /// Leave a room. You can no longer read it after that.
    #[command(after_help = "Example: respite room leave \"#group\"")]
    Leave {
        /// The room: a person in it, or its id.
        room: String,
    },
}

/// The kinds of therapy rooms.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Kind {
    /// One client and their therapist.
    Individual,
    /// Two partners and their therapist.
    Couple,
    /// Several clients and one or more therapists.
    Group,
    /// Therapists among themselves.
    Supervision,
}

impl From<Kind> for TherapyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Individual => Self::Individual,
            Kind::Couple => Self::Couple,
            Kind::Group => Self::Group,
            Kind::Supervision => Self::Supervision,
        }
    }
}

impl Room {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        match self.command {
            Command::Create { kind, invite } => create(context, kind, &invite).await,
            Command::Join { room } => join(context, &room).await,
            Command::Leave { room } => leave(context, &room).await,
        }
    }
}

async fn create(context: &Context, kind: Kind, invite: &[String]) -> Result<()> {
    let room_id = context
        .connected(async |session| {
            let client = session.client();
            let own = client.user_id().context("nobody is logged in")?;
            let invite = invite
                .iter()
                .map(|name| account(name, own))
                .collect::<Result<_>>()?;
            let room_id = client
                .send(create_room::Request::new(kind.into(), invite))
                .await?
                .room_id;
            Ok(room_id)
        })
        .await?;
    context.out.result(&json!({ "room_id": room_id }), |_| {
        format!("The room is open: {room_id}")
    })
}

async fn join(context: &Context, name: &str) -> Result<()> {
    let room_id = context
        .connected(async |session| {
            let room = rooms::find(session.client(), name).await?;
            room.join().await?;
            Ok(room.room_id().to_owned())
        })
        .await?;
    context.out.result(&json!({ "room_id": room_id }), |_| {
        "You are in the room.".to_owned()
    })
}

async fn leave(context: &Context, name: &str) -> Result<()> {
    let room_id = context
        .connected(async |session| {
            let room = rooms::find(session.client(), name).await?;
            room.leave().await?;
            Ok(room.room_id().to_owned())
        })
        .await?;
    context.out.result(&json!({ "room_id": room_id }), |_| {
        "You have left the room.".to_owned()
    })
}

/// A whole account, or the first part of one on the own server.
fn account(name: &str, own: &UserId) -> Result<OwnedUserId> {
    UserId::parse_with_server_name(name, own.server_name()).with_context(|| {
        format!(
            "“{name}” is not an account; write it like @heron:{}",
            own.server_name()
        )
    })
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn a_person_to_invite_is_named_in_full_or_by_the_first_part() {
        let own = user_id!("@therapist:clinic.example");
        assert_eq!(account("heron", own).unwrap(), "@heron:clinic.example");
        assert_eq!(
            account("@heron:clinic.example", own).unwrap(),
            "@heron:clinic.example"
        );
        assert!(account("@heron", own).is_err());
    }
}
