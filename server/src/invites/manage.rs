//! A therapist makes, lists and revokes codes.

use std::time::Duration;

use axum::Router;
use respite_protocol::{
    Role, TherapyKind,
    api::{self, create_invite, list_invites, revoke_invite},
};
use ruma::{MilliSecondsSinceUnixEpoch, UInt, UserId};

use super::{Code, ID_LETTERS, INVITES, Invite, MADE, MAKERS, code};
use crate::{
    auth::{PASSWORDS, Therapist, TokenHash},
    endpoint::endpoint,
    error::{Error, Result},
    state::App,
    store::{Page, StoreError, Turns, Tx},
};

/// What a code is for.
pub(super) struct Terms<'a> {
    pub(super) made_by: Option<&'a UserId>,
    pub(super) role: Role,
    pub(super) kind: Option<TherapyKind>,
    pub(super) uses: u32,
    pub(super) lifetime: Duration,
}

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(create))
        .merge(endpoint::<_, _, _, _>(list))
        .merge(endpoint::<_, _, _, _>(revoke))
}

pub(super) async fn make(app: &App, terms: Terms<'_>) -> Result<Code> {
    static TURNS: Turns = Turns::new();
    check_terms(&terms)?;
    let _turn = TURNS.wait(terms.made_by).await;
    let invite = Invite {
        id: app.random.text(ID_LETTERS),
        role: terms.role,
        kind: terms.kind,
        made_by: terms.made_by.map(ToOwned::to_owned),
        uses_left: terms.uses,
        used: 0,
        created: app.clock.millis(),
        expires: app.clock.after(terms.lifetime),
        room: None,
    };
    let code = code::random(&app.random);
    let hash = code::hash(code.expose())
        .ok_or_else(|| Error::internal("a new code that is not known again"))?;
    app.store
        .transact(|mut tx| async {
            if let Some(maker) = &invite.made_by {
                make_place_in(&mut tx, app, maker).await?;
                tx.put(&MADE, (maker, &invite.id), &hash)?;
            }
            tx.put(&INVITES, hash, &invite)?;
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(Code {
        code,
        id: invite.id,
        expires: invite.expires,
    })
}

async fn create(
    app: App,
    Therapist(me): Therapist,
    request: create_invite::Request,
) -> Result<create_invite::Response> {
    let terms = Terms {
        made_by: Some(&me.user),
        role: Role::Client,
        kind: Some(request.kind),
        uses: request.uses.unwrap_or(api::DEFAULT_INVITE_USES),
        lifetime: Duration::from_millis(
            request
                .expires_in_ms
                .unwrap_or(api::DEFAULT_INVITE_LIFETIME_MS),
        ),
    };
    let Code { code, id, expires } = make(&app, terms).await?;
    Ok(create_invite::Response::new(
        code.into_answer(),
        id,
        timestamp(expires),
    ))
}

async fn list(
    app: App,
    Therapist(me): Therapist,
    _: list_invites::Request,
) -> Result<list_invites::Response> {
    let mut invites: Vec<_> = made_by(&app, &me.user)
        .await?
        .into_iter()
        .filter_map(|(_, invite)| shown(invite))
        .collect();
    invites.sort_by_key(|invite| std::cmp::Reverse(invite.created_ts));
    Ok(list_invites::Response::new(invites))
}

async fn revoke(
    app: App,
    Therapist(me): Therapist,
    request: revoke_invite::Request,
) -> Result<revoke_invite::Response> {
    app.store
        .transact(|mut tx| async {
            let key = (&me.user, &request.invite_id);
            let Some(hash) = tx.get(&MADE, key).await? else {
                return Err(Error::not_found("You have no such code."));
            };
            tx.delete(&MADE, key);
            tx.delete(&INVITES, hash);
            Ok((tx, ()))
        })
        .await?;
    Ok(revoke_invite::Response::new())
}

fn check_terms(terms: &Terms<'_>) -> Result<()> {
    if !(1..=api::MAX_INVITE_USES).contains(&terms.uses) {
        let most = api::MAX_INVITE_USES;
        return Err(Error::invalid_param(format!(
            "A code can be used 1 to {most} times."
        )));
    }
    let longest = Duration::from_millis(api::MAX_INVITE_LIFETIME_MS);
    if terms.lifetime.is_zero() || terms.lifetime > longest {
        return Err(Error::invalid_param(
            "A code can live for up to ninety days.",
        ));
    }
    if terms.kind == Some(TherapyKind::Couple) && terms.uses > 2 {
        return Err(Error::invalid_param(
            "A couple's code can be used twice at most.",
        ));
    }
    Ok(())
}

/// Makes sure that somebody may make one more code, and forgets what is in its way. Two who do so at the same time run into
/// each other, so that what is counted here is all there is.
async fn make_place_in(tx: &mut Tx, app: &App, maker: &UserId) -> Result<()> {
    let made = tx.get(&MAKERS, maker).await?.unwrap_or_default();
    tx.put(&MAKERS, maker, &made.saturating_add(1))?;
    if tx.get(&PASSWORDS, maker).await?.is_none() {
        return Err(Error::forbidden("This account is deactivated."));
    }
    let now = app.clock.millis();
    let (open, dead): (Vec<_>, Vec<_>) = made_by(app, maker)
        .await?
        .into_iter()
        .partition(|(_, invite)| invite.works(now));
    if open.len() >= api::MAX_OPEN_INVITES {
        return Err(Error::forbidden(
            "You have too many codes open. Revoke some of them first.",
        ));
    }
    let crowded = open.len() + dead.len() >= api::MAX_OPEN_INVITES;
    for (hash, invite) in dead {
        if crowded || invite.is_old(now) {
            tx.delete(&INVITES, hash);
            tx.delete(&MADE, (maker, &invite.id));
        }
    }
    Ok(())
}

async fn made_by(app: &App, maker: &UserId) -> Result<Vec<(TokenHash, Invite)>, StoreError> {
    let made = app
        .store
        .scan(&MADE, (maker,), Page::first(api::MAX_OPEN_INVITES))
        .await?;
    let hashes: Vec<TokenHash> = made.into_iter().map(|(_, hash)| hash).collect();
    let invites = app.store.get_many(&INVITES, &hashes).await?;
    Ok(hashes
        .into_iter()
        .zip(invites)
        .filter_map(|(hash, invite)| Some((hash, invite?)))
        .collect())
}

fn shown(invite: Invite) -> Option<list_invites::Invite> {
    Some(list_invites::Invite {
        invite_id: invite.id,
        kind: invite.kind?,
        uses_left: invite.uses_left,
        used: invite.used,
        created_ts: timestamp(invite.created),
        expires_ts: timestamp(invite.expires),
    })
}

fn timestamp(millis: u64) -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(UInt::new_saturating(millis))
}
