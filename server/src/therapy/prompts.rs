//! Check-ins that were encrypted ahead of time: the server learns when and for whom, never what.

use axum::Router;
use respite_protocol::{
    api::{MAX_PROMPT_AHEAD_MS, cancel_prompt, list_prompts, postpone_prompt, schedule_prompt},
    ciphertext,
};
use ruma::{MilliSecondsSinceUnixEpoch, OwnedUserId, UInt, events::room::member::MembershipState};
use sha2::{Digest, Sha256};

use super::rooms::therapy_room;
use crate::{
    auth::{Active, Device},
    endpoint::endpoint,
    error::{Error, Result},
    gate,
    scheduler::{self, Fate, Scheduled},
    state::App,
};

/// The kind of event that a prompt is.
const KIND: &str = "m.room.encrypted";

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint(schedule))
        .merge(endpoint(list))
        .merge(endpoint(postpone))
        .merge(endpoint(cancel))
}

async fn schedule(
    app: App,
    me: Active,
    request: schedule_prompt::Request,
) -> Result<schedule_prompt::Response> {
    ciphertext::transaction_id(request.txn_id.as_str())?;
    let room = therapy_room(&app, &me.user, &request.room_id).await?;
    if room.state.membership(&request.addressee) != MembershipState::Join {
        return Err(Error::invalid_param(
            "The person to be asked is not in this room.",
        ));
    }
    let release = in_reach(&app, request.release_ts)?;
    let expires = request.expires_ts.map(millis);
    if expires.is_some_and(|expires| expires <= release) {
        return Err(Error::invalid_param(
            "A check-in cannot expire before it is released.",
        ));
    }
    let content = gate::canonical(request.content.json().get())?;
    let content = gate::message(&me, KIND, content)?;
    let content = serde_json::to_string(&content).map_err(Error::internal)?;
    let scheduled = Scheduled {
        room: request.room_id.clone(),
        sender: me.user.clone(),
        addressee: request.addressee,
        release,
        expires,
        unless_written_since: request.unless_written_since.map(millis),
        follows: request.reminds,
        fate: Fate::Waiting,
        ended: None,
        request: request_key(&me, request.room_id.as_str(), request.txn_id.as_str()),
        event: Some((KIND.to_owned(), content)),
    };
    Ok(schedule_prompt::Response::new(
        scheduler::schedule(&app, scheduled).await?,
    ))
}

async fn list(
    app: App,
    me: Device,
    request: list_prompts::Request,
) -> Result<list_prompts::Response> {
    therapy_room(&app, &me.user, &request.room_id).await?;
    let prompts = scheduler::of_room(&app.store, &request.room_id).await?;
    let prompts = prompts
        .into_iter()
        .filter(|(_, prompt)| concerns(prompt, &me.user))
        .map(|(id, prompt)| describe(id, prompt))
        .collect();
    Ok(list_prompts::Response::new(prompts))
}

async fn postpone(
    app: App,
    me: Device,
    request: postpone_prompt::Request,
) -> Result<postpone_prompt::Response> {
    let release = in_reach(&app, request.release_ts)?;
    scheduler::postpone(&app, &me.user, &request.prompt_id, release).await?;
    Ok(postpone_prompt::Response::new())
}

async fn cancel(
    app: App,
    me: Device,
    request: cancel_prompt::Request,
) -> Result<cancel_prompt::Response> {
    scheduler::cancel(&app, &me.user, &request.prompt_id).await?;
    Ok(cancel_prompt::Response::new())
}

fn concerns(prompt: &Scheduled, user: &OwnedUserId) -> bool {
    prompt.sender == *user || prompt.addressee == *user
}

fn describe(prompt_id: String, prompt: Scheduled) -> list_prompts::Prompt {
    list_prompts::Prompt {
        prompt_id,
        sender: prompt.sender,
        addressee: prompt.addressee,
        release_ts: timestamp(prompt.release),
        expires_ts: prompt.expires.map(timestamp),
        unless_written_since: prompt.unless_written_since.map(timestamp),
        reminds: prompt.follows,
        state: prompt.fate.into(),
    }
}

fn in_reach(app: &App, release: MilliSecondsSinceUnixEpoch) -> Result<u64> {
    let release = millis(release);
    if release > app.clock.millis().saturating_add(MAX_PROMPT_AHEAD_MS) {
        return Err(Error::invalid_param(
            "A check-in can be planned at most 400 days ahead.",
        ));
    }
    Ok(release)
}

fn request_key(me: &Device, room: &str, txn: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [me.user.as_str(), me.device.as_str(), room, txn] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().into()
}

fn millis(time: MilliSecondsSinceUnixEpoch) -> u64 {
    time.0.into()
}

fn timestamp(millis: u64) -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(UInt::new_saturating(millis))
}
