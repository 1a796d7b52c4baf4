//! The round through all accounts, and through all codes.

use std::collections::VecDeque;

use ruma::{OwnedUserId, UserId};

use super::{ROUND, STEP};
use crate::{
    accounts,
    auth::TokenHash,
    ephemeral::typing,
    error::Result,
    inbox::{connection, trim},
    invites, push,
    rooms::membership,
    state::App,
};

/// How many accounts, or codes, are looked at in one step.
const PAGE: usize = 20;

/// Where the round is. In memory only: after a restart it begins anew, and every server goes its own.
#[derive(Default)]
pub(super) struct Round {
    place: Place,
    /// When the next round may begin, in milliseconds since 1970.
    next: u64,
}

#[derive(Default)]
enum Place {
    /// These people, then those after `after`.
    People {
        after: Option<OwnedUserId>,
        page: VecDeque<OwnedUserId>,
    },
    /// The codes after this one.
    Codes(Option<TokenHash>),
    /// The round is over.
    #[default]
    Home,
}

impl Round {
    /// Looks at the next few; whether there was something to remove.
    pub(super) async fn step(&mut self, app: &App) -> Result<bool> {
        match &mut self.place {
            Place::People { after, page } => {
                if page.is_empty() {
                    let next = accounts::list(&app.store, after.as_deref(), PAGE).await?;
                    page.extend(next.into_iter().map(|(user, _)| user));
                    match page.back() {
                        Some(last) => *after = Some(last.clone()),
                        None => self.place = Place::Codes(None),
                    }
                    return Ok(false);
                }
                while let Some(user) = page.front() {
                    if trim_person(app, user).await? {
                        return Ok(true);
                    }
                    page.pop_front();
                }
                Ok(false)
            }
            Place::Codes(after) => {
                let (removed, next) = invites::forget_dead(app, *after, PAGE).await?;
                match next {
                    Some(last) => *after = Some(last),
                    None => self.place = Place::Home,
                }
                Ok(removed)
            }
            Place::Home => {
                if app.clock.millis() >= self.next {
                    self.next = app.clock.after(ROUND);
                    self.place = Place::People {
                        after: None,
                        page: VecDeque::new(),
                    };
                }
                Ok(false)
            }
        }
    }
}

/// Removes up to [`STEP`] entries of what somebody does not need any more; whether there were any.
async fn trim_person(app: &App, user: &UserId) -> Result<bool> {
    if trim::trim(&app.store, &app.clock, user, STEP).await? > 0 {
        return Ok(true);
    }
    if connection::trim(&app.store, &app.clock, user, STEP).await? > 0 {
        return Ok(true);
    }
    if typing::trim(&app.store, user, STEP).await? > 0 {
        return Ok(true);
    }
    for (room, _) in membership::rooms_of(&app.store, user).await? {
        if push::trim(&app.store, user, &room, STEP).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
