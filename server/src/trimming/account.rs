//! Removing what an ended account leaves: what its owner kept here about themselves, and what they were called. What they
//! said in rooms is the others' too, and stays as long as the rooms do.

use ruma::{OwnedUserId, UserId, events::room::member::MembershipState};

use super::STEP;
use crate::{
    account_data::ACCOUNT_DATA,
    accounts::{self, ENDED},
    backup::{BACKED_UP, BACKUPS, LATEST_BACKUP},
    ephemeral::{receipts::RECEIPTS, typing::CHANGES},
    error::Result,
    filters::FILTERS,
    inbox::{INBOX, connection, recency::RECENCY},
    invites,
    keys::{CROSS_SIGNING_KEYS, SIGNATURES},
    profiles::PROFILES,
    push::{self, PUSH_RULES},
    rooms::membership,
    state::App,
    store::{Page, StoreError},
};

/// One step of an account that is ended; `false` if there is none.
pub(super) async fn step(app: &App) -> Result<bool> {
    let ended = app.store.scan(&ENDED, (), Page::first(1)).await?.pop();
    let Some((user, _)) = ended else {
        return Ok(false);
    };
    if !remove_some(app, &user).await? {
        finish(app, &user).await?;
    }
    Ok(true)
}

/// Ends an account and removes to the end what it leaves; with `words`, what they said is erased too
/// ([`accounts::deactivate`]).
///
/// # Errors
/// 404 `M_NOT_FOUND` if there is no such account; the store's, then what is left is removed by [`super::run`].
pub async fn erase(app: &App, user: &UserId, words: bool) -> Result<()> {
    accounts::deactivate(app, user, words).await?;
    while remove_some(app, user).await? {}
    finish(app, user).await
}

/// Removes up to [`STEP`] entries; `false` if nothing was left.
async fn remove_some(app: &App, user: &UserId) -> Result<bool> {
    let store = &app.store;
    Ok(invites::forget_maker(store, user, STEP).await?
        || leave_a_room(app, user).await?
        || take_name_out_of_a_room(app, user).await?
        || store.erase(&ACCOUNT_DATA, (user,), STEP).await? > 0
        || store.erase(&FILTERS, (user,), STEP).await? > 0
        || store.erase(&BACKED_UP, (user,), STEP).await? > 0
        || store.erase(&BACKUPS, (user,), STEP).await? > 0
        || store.erase(&SIGNATURES, (user,), STEP).await? > 0
        || store.erase_list(&CHANGES, user, STEP).await? > 0
        || store.erase(&RECENCY, (user,), STEP).await? > 0
        || connection::forget_user(store, user, STEP).await? > 0
        || store.erase_list(&INBOX, user, STEP).await? > 0)
}

/// Leaves the next room and forgets it, with what was noted there of how far they had read.
async fn leave_a_room(app: &App, user: &UserId) -> Result<bool> {
    let rooms = membership::rooms_of(&app.store, user).await?;
    let Some((room, membership)) = rooms.into_iter().find(|(_, row)| !row.forgotten) else {
        return Ok(false);
    };
    if matches!(
        membership.state,
        MembershipState::Join | MembershipState::Invite | MembershipState::Knock
    ) {
        accounts::leave(app, user, &room).await?;
    }
    let receipts = app.store.erase(&RECEIPTS, (&room, user), STEP).await?;
    if receipts == 0 && !push::forget_room(&app.store, user, &room, STEP).await? {
        membership::forget(app, user, &room).await?;
    }
    Ok(true)
}

/// Takes the pseudonym out of the next of all rooms that they ever had to do with.
async fn take_name_out_of_a_room(app: &App, user: &UserId) -> Result<bool> {
    let Some(last) = app.store.get(&ENDED, user).await? else {
        return Ok(false);
    };
    let rooms = membership::rooms_of(&app.store, user).await?;
    let Some((room, _)) = rooms.into_iter().find(|(room, _)| *room.as_str() > *last) else {
        return Ok(false);
    };
    membership::unname(app, user, &room, STEP).await?;
    let next = &room.to_string();
    app.store
        .transact(|mut tx| async move {
            tx.put(&ENDED, user, next)?;
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(true)
}

/// Removes what is one row each, and the note that the account is being ended.
async fn finish(app: &App, user: &UserId) -> Result<()> {
    let user: &OwnedUserId = &user.to_owned();
    app.store
        .transact(|mut tx| async move {
            tx.delete(&PROFILES, user);
            tx.delete(&PUSH_RULES, user);
            tx.delete(&LATEST_BACKUP, user);
            tx.delete(&CROSS_SIGNING_KEYS, user);
            tx.delete(&ENDED, user);
            Ok::<_, StoreError>((tx, ()))
        })
        .await?;
    Ok(())
}
