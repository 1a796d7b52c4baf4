//! Codes that people make an account with. A code is a Matrix registration token, so that every client can use it; the one
//! who redeems a therapist's code also finds themselves in a therapy room. Codes are told once and kept as hashes.

mod code;
mod manage;

use std::time::Duration;

use axum::Router;
use respite_protocol::{Role, TherapyKind};
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, events::room::member::MembershipState};
use serde::{Deserialize, Serialize};

pub use self::code::hash;
use crate::{
    auth::{PASSWORDS, Secret, TokenHash},
    error::Result,
    rooms::{
        append::NewEvent,
        create::{self, NewRoom},
        draft::Draft,
        state::ROOMS,
    },
    state::App,
    store::{Page, Store, StoreError, Table, Tx},
};

/// The codes that were neither revoked nor forgotten.
pub const INVITES: Table<TokenHash, Invite> = Table::new(0x0107, "invites");
/// Each therapist's codes, by their ids.
pub const MADE: Table<(OwnedUserId, String), TokenHash> = Table::new(0x0108, "invites_made");

/// How often each therapist has made a code. Every code that one makes changes this row, so that two that are made at the
/// same time are not both the last one allowed.
pub const MAKERS: Table<OwnedUserId, u64> = Table::new(0x0109, "invite_makers");

/// A code that no longer works is forgotten after this time.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const ID_LETTERS: usize = 12;

/// What is known of a code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invite {
    /// Names it in lists.
    pub id: String,
    /// The role of the accounts made with it.
    pub role: Role,
    /// The kind of therapy room that redeeming it leads to, for a code that a therapist made.
    pub kind: Option<TherapyKind>,
    /// The therapist; `None` if whoever runs the server made it.
    pub made_by: Option<OwnedUserId>,
    /// Registrations still possible.
    pub uses_left: u32,
    /// Registrations so far.
    pub used: u32,
    /// Milliseconds since 1970.
    pub created: u64,
    /// Milliseconds since 1970.
    pub expires: u64,
    /// Where all who redeem this code meet, once the first one has.
    pub room: Option<OwnedRoomId>,
}

/// A new code, told this once.
#[derive(Debug)]
pub struct Code {
    /// What to give to the person.
    pub code: Secret,
    /// Names it in lists.
    pub id: String,
    /// Milliseconds since 1970.
    pub expires: u64,
}

/// Why a code does not open the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is none like it, or it has expired.
    Unknown,
    /// As many people as it was made for have used it.
    UsedUp,
}

/// What redeeming a code brings.
#[derive(Clone, Debug)]
pub struct Redeemed {
    /// The new account's role.
    pub role: Role,
    /// The therapy room that its owner is in now.
    pub room: Option<OwnedRoomId>,
}

/// The endpoints.
pub fn router() -> Router<App> {
    manage::router()
}

/// Makes a code. One that a therapist makes leads each client into a room of their own with the therapist.
///
/// # Errors
/// 400 for uses or a lifetime out of range, 403 when the therapist has too many codes open.
pub async fn make(
    app: &App,
    made_by: Option<&UserId>,
    role: Role,
    uses: u32,
    lifetime: Duration,
) -> Result<Code> {
    let kind = made_by.map(|_| TherapyKind::Individual);
    manage::make(
        app,
        manage::Terms {
            made_by,
            role,
            kind,
            uses,
            lifetime,
        },
    )
    .await
}

/// Whether a code would be taken now.
///
/// # Errors
/// The store's.
pub async fn check(app: &App, code: TokenHash) -> Result<Result<(), Refused>, StoreError> {
    Ok(app
        .store
        .get(&INVITES, code)
        .await?
        .ok_or(Refused::Unknown)
        .and_then(|i| i.open(app)))
}

/// Uses a code once, for an account that the same transaction makes. Nothing is written when it is refused.
///
/// # Errors
/// The store's, or those of making the room.
pub async fn redeem_in(
    tx: &mut Tx,
    app: &App,
    code: TokenHash,
    newcomer: &UserId,
) -> Result<Result<Redeemed, Refused>> {
    let Some(mut invite) = tx.get(&INVITES, code).await? else {
        return Ok(Err(Refused::Unknown));
    };
    if let Err(refused) = invite.open(app) {
        return Ok(Err(refused));
    }
    if let Some(maker) = &invite.made_by
        && tx.get(&PASSWORDS, maker).await?.is_none()
    {
        // Their account is ended, and their codes are being removed.
        return Ok(Err(Refused::Unknown));
    }
    let room = meet_in(tx, app, &invite, newcomer).await?;
    invite.uses_left = invite.uses_left.saturating_sub(1);
    invite.used = invite.used.saturating_add(1);
    if invite
        .kind
        .is_some_and(|kind| kind != TherapyKind::Individual)
    {
        invite.room.clone_from(&room);
    }
    tx.put(&INVITES, code, &invite)?;
    Ok(Ok(Redeemed {
        role: invite.role,
        room,
    }))
}

/// Puts the newcomer and the therapist into one room: a new one, or the one where those are who used the code before.
async fn meet_in(
    tx: &mut Tx,
    app: &App,
    invite: &Invite,
    newcomer: &UserId,
) -> Result<Option<OwnedRoomId>> {
    let (Some(therapist), Some(kind)) = (&invite.made_by, invite.kind) else {
        return Ok(None);
    };
    if let Some(room) = &invite.room
        && join_in(tx, app, therapist, room, newcomer).await?
    {
        return Ok(Some(room.clone()));
    }
    let members = vec![(newcomer.to_owned(), MembershipState::Join)];
    let room = NewRoom::therapy(kind, members);
    create::create_in(tx, app, therapist, room).await.map(Some)
}

/// `false` if the therapist has left the room since, or it was deleted.
async fn join_in(
    tx: &mut Tx,
    app: &App,
    therapist: &UserId,
    room: &RoomId,
    newcomer: &UserId,
) -> Result<bool> {
    if tx.get(&ROOMS, room).await?.is_none() {
        return Ok(false);
    }
    let mut draft = Draft::open(tx, app, room).await?;
    if !draft.state().is_joined(therapist) {
        return Ok(false);
    }
    draft.lets_in(newcomer);
    for (sender, membership) in [(therapist, "invite"), (newcomer, "join")] {
        let content = [("membership".to_owned(), membership.to_owned().into())].into();
        let event = NewEvent::state("m.room.member", newcomer.as_str(), content);
        draft.push(tx, sender, event).await?;
    }
    draft.close(tx)?;
    Ok(true)
}

/// Removes up to `most` codes of somebody whose account is ended, which make them useless; `false` if none was left.
///
/// # Errors
/// The store's.
pub async fn forget_maker(
    store: &Store,
    made_by: &UserId,
    most: usize,
) -> Result<bool, StoreError> {
    let made = &store.scan(&MADE, (made_by,), Page::first(most)).await?;
    if made.is_empty() && store.get(&MAKERS, made_by).await?.is_none() {
        return Ok(false);
    }
    store
        .transact(|mut tx| async move {
            for (key, code) in made {
                tx.delete(&INVITES, *code);
                tx.delete(&MADE, key);
            }
            if made.is_empty() {
                tx.delete(&MAKERS, made_by);
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(!made.is_empty())
}

/// Looks at up to `most` codes after `after`, and forgets those of them that have not worked for long; whether there were
/// any, and where to go on.
///
/// # Errors
/// The store's.
pub async fn forget_dead(
    app: &App,
    after: Option<TokenHash>,
    most: usize,
) -> Result<(bool, Option<TokenHash>), StoreError> {
    let page = Page::first(most);
    let codes = match after {
        Some(after) => app.store.scan_after(&INVITES, (), after, page).await?,
        None => app.store.scan(&INVITES, (), page).await?,
    };
    let next = codes.last().map(|(code, _)| *code);
    let now = app.clock.millis();
    let dead: Vec<_> = codes
        .into_iter()
        .filter(|(_, invite)| !invite.works(now) && invite.is_old(now))
        .collect();
    let dead = &dead;
    app.store
        .transact(|mut tx| async move {
            for (code, invite) in dead {
                tx.delete(&INVITES, *code);
                if let Some(maker) = &invite.made_by {
                    tx.delete(&MADE, (maker, &invite.id));
                }
            }
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok((!dead.is_empty(), next))
}

impl Invite {
    /// Whether somebody can still use it.
    fn works(&self, now: u64) -> bool {
        self.uses_left > 0 && self.expires > now
    }

    /// Whether it was made so long ago that it is forgotten once it does not work any more.
    fn is_old(&self, now: u64) -> bool {
        let old = u64::try_from(FORGOTTEN_AFTER.as_millis()).unwrap_or(u64::MAX);
        self.created.saturating_add(old) <= now
    }

    fn open(&self, app: &App) -> Result<(), Refused> {
        if self.expires <= app.clock.millis() {
            Err(Refused::Unknown)
        } else if self.uses_left == 0 {
            Err(Refused::UsedUp)
        } else {
            Ok(())
        }
    }
}

impl Refused {
    /// For the person who typed the code. Wrong and expired are not told apart.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Unknown => {
                "This code is wrong or has expired. Check it for typing errors, or ask for a new one."
            }
            Self::UsedUp => "This code has been used already. Ask for a new one.",
        }
    }
}
