//! What an operator can ask of a server, whether it runs (through the [`socket`] in its data directory) or not: the same
//! commands, done by the same code.

mod reports;
mod rooms;
pub mod socket;
mod users;

use std::time::Duration;

use respite_protocol::{Role, TherapyKind, api};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};

use crate::{
    archive, auth::Secret, error::Error, invites, scan, state::App, store::StoreError, trimming,
};

/// Something to do.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Make a code for new accounts.
    Invite {
        /// What their owners are here.
        role: Role,
        /// How many accounts may be made with it.
        uses: u32,
        /// How long it works, in milliseconds.
        lifetime: u64,
    },
    /// Tell all accounts.
    ListUsers,
    /// End an account.
    Deactivate {
        /// Whose: a user id, or the part of it before the colon.
        user: String,
        /// Whether what they said is shown only to those who were in the room when they said it.
        #[serde(default)]
        erase: bool,
    },
    /// Give an account a new password and log its devices out.
    ResetPassword {
        /// Whose: a user id, or the part of it before the colon.
        user: String,
        /// The password; a random one where none is given.
        password: Option<String>,
    },
    /// Lock an account, or unlock it.
    Lock {
        /// Whose: a user id, or the part of it before the colon.
        user: String,
        /// Whether it is to be locked.
        locked: bool,
    },
    /// Suspend an account, or end that.
    Suspend {
        /// Whose: a user id, or the part of it before the colon.
        user: String,
        /// Whether it is to be suspended.
        suspended: bool,
    },
    /// Tell the latest reports.
    ListReports,
    /// Tell all rooms.
    ListRooms,
    /// Delete a room with everything in it.
    DeleteRoom {
        /// Which.
        room: OwnedRoomId,
    },
    /// Look at everything that is stored with the eyes of the gate.
    Scan,
    /// Make a backup.
    Backup(archive::Order),
}

/// What came of it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// A code, told this once.
    Code {
        /// What to give to the person.
        code: String,
        /// What its accounts' owners are here.
        role: Role,
        /// How many accounts may be made with it.
        uses: u32,
        /// When it ends, in milliseconds since 1970.
        expires: u64,
    },
    /// The accounts.
    Users {
        /// In the order of their ids.
        users: Vec<User>,
    },
    /// The account is ended.
    Deactivated {
        /// Whose it was.
        user: OwnedUserId,
    },
    /// The account has a new password.
    PasswordReset {
        /// Whose it is.
        user: OwnedUserId,
        /// The password if the server chose it, told this once.
        password: Option<String>,
    },
    /// What the account may not is changed.
    Restricted {
        /// Whose it is.
        user: OwnedUserId,
        /// Whether it is locked now.
        locked: bool,
        /// Whether it is suspended now.
        suspended: bool,
    },
    /// The reports.
    Reports {
        /// The latest first.
        reports: Vec<Report>,
    },
    /// The rooms.
    Rooms {
        /// In the order of their ids.
        rooms: Vec<Room>,
    },
    /// The room is deleted.
    RoomDeleted {
        /// Which it was.
        room: OwnedRoomId,
    },
    /// What the scan found.
    Scanned(scan::Report),
    /// What the backup holds.
    BackedUp(archive::Made),
}

/// An account in a list.
#[derive(Debug, Serialize, Deserialize)]
pub struct User {
    /// Whose.
    pub user: OwnedUserId,
    /// What they are here.
    pub role: Role,
    /// How many devices are logged in.
    pub devices: usize,
    /// Milliseconds since 1970.
    pub created: u64,
    /// When the account was ended, in milliseconds since 1970.
    pub deactivated: Option<u64>,
    /// Whether it is locked: it can do nothing.
    pub locked: bool,
    /// Whether it is suspended: it can read, and not write.
    pub suspended: bool,
}

/// A report in a list. What was written in it is not kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// Who made it.
    pub by: OwnedUserId,
    /// Milliseconds since 1970.
    pub at: u64,
    /// The person that it is about, or whose event it is.
    pub user: Option<OwnedUserId>,
    /// The room that it is about, or that the event is in.
    pub room: Option<OwnedRoomId>,
    /// The event that it is about.
    pub event: Option<OwnedEventId>,
}

/// A room in a list. It has no name: nobody but its members knows one.
#[derive(Debug, Serialize, Deserialize)]
pub struct Room {
    /// Which.
    pub room: OwnedRoomId,
    /// Of which kind, if it is a therapy room.
    pub therapy: Option<TherapyKind>,
    /// Who is in it.
    pub members: Vec<OwnedUserId>,
    /// How many events it has.
    pub events: u64,
    /// When it was made, in milliseconds since 1970.
    pub created: u64,
}

/// Why a command was not done, in a sentence for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Command {
    /// A code for the first therapist.
    pub fn first_invite() -> Self {
        Self::Invite {
            role: Role::Therapist,
            uses: api::DEFAULT_INVITE_USES,
            lifetime: api::DEFAULT_INVITE_LIFETIME_MS,
        }
    }

    /// Whether blobs are looked at, or removed.
    pub fn needs_blobs(&self) -> bool {
        matches!(self, Self::DeleteRoom { .. } | Self::Scan | Self::Backup(_))
    }
}

/// Does what an operator asks for.
///
/// # Errors
/// What was asked for cannot be, or the store fails; in a sentence for the operator.
pub async fn execute(app: &App, command: Command) -> Result<Answer, Failure> {
    match command {
        Command::Invite {
            role,
            uses,
            lifetime,
        } => {
            let length = Duration::from_millis(lifetime);
            let code = invites::make(app, None, role, uses, length).await?;
            Ok(Answer::Code {
                code: code.code.into_answer(),
                role,
                uses,
                expires: code.expires,
            })
        }
        Command::ListUsers => Ok(Answer::Users {
            users: users::list(app).await?,
        }),
        Command::Deactivate { user, erase } => Ok(Answer::Deactivated {
            user: users::deactivate(app, &user, erase).await?,
        }),
        Command::ResetPassword { user, password } => {
            let given = password.map(Secret::from);
            let (user, password) = users::reset_password(app, &user, given).await?;
            Ok(Answer::PasswordReset {
                user,
                password: password.map(Secret::into_answer),
            })
        }
        Command::Lock { user, locked } => users::lock(app, &user, locked).await,
        Command::Suspend { user, suspended } => users::suspend(app, &user, suspended).await,
        Command::ListReports => Ok(Answer::Reports {
            reports: reports::list(app).await?,
        }),
        Command::ListRooms => Ok(Answer::Rooms {
            rooms: rooms::list(app).await?,
        }),
        Command::DeleteRoom { room } => {
            trimming::erase_room(app, &room).await?;
            Ok(Answer::RoomDeleted { room })
        }
        Command::Scan => Ok(Answer::Scanned(scan::scan(app).await?)),
        Command::Backup(order) => match archive::make(app, &order, &mut ()).await {
            Ok(made) => Ok(Answer::BackedUp(made)),
            Err(error) => Err(Failure(format!("{error:#}"))),
        },
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Matrix { message, .. } => Self(message.into_owned()),
            Error::Extended { body, .. } => Self(
                body.get("error")
                    .and_then(|it| it.as_str())
                    .unwrap_or_default()
                    .to_owned(),
            ),
            Error::Interactive(_) => Self("This needs a person who logs in.".to_owned()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}
