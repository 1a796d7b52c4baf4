//! `POST /keys/device_signing/upload`: the keys that stand for a person rather than a device.

use axum::Router;
use respite_protocol::ciphertext;
use ruma::{
    CanonicalJsonObject, UserId,
    api::client::keys::upload_signing_keys::v3::{Request, Response},
    encryption::CrossSigningKey,
    serde::Raw,
};

use super::{CROSS_SIGNING_KEYS, CrossSigningKeys, devices_changed_in, signatures, signed};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    gate,
    state::App,
    store::Store,
    uia,
};

pub(super) fn router() -> Router<App> {
    endpoint::<_, _, _, _>(upload)
}

/// Needs the password, except from a user who has no such keys yet or uploads those that are there already.
pub(super) async fn upload(app: App, me: Device, request: Request) -> Result<Response> {
    let stored = app.store.get(&CROSS_SIGNING_KEYS, &me.user).await?;
    let new = checked(
        &app.store,
        &me.user,
        stored.clone().unwrap_or_default(),
        &request,
    )
    .await?;
    let Some(stored) = stored else {
        return replace(&app, &me.user, None, new).await;
    };
    if same_keys(&stored, &new)? {
        return Ok(Response::new());
    }
    if stored.master.is_some() {
        uia::require(
            &app,
            &me,
            "keys/device_signing/upload",
            request.auth.as_ref(),
        )
        .await?;
    }
    replace(&app, &me.user, Some(stored), new).await
}

/// What the keys would be after the request.
async fn checked(
    store: &Store,
    me: &UserId,
    stored: CrossSigningKeys,
    request: &Request,
) -> Result<CrossSigningKeys> {
    let master = match &request.master_key {
        Some(key) => Some(checked_master(store, me, key).await?),
        None => stored.master.as_deref().map(signed::parse).transpose()?,
    };
    let replaces_master = match (&master, &stored.master) {
        (Some(new), Some(old)) => !signed::same(new, &signed::parse(old)?),
        _ => false,
    };
    let signed_part = |key: &Option<Raw<CrossSigningKey>>, usage, old: Option<String>| match key {
        Some(key) => signed_by_master(me, key, usage, master.as_ref()).map(Some),
        // A key that the old master key has signed says nothing under a new one.
        None => Ok(old.filter(|_| !replaces_master)),
    };
    Ok(CrossSigningKeys {
        self_signing: signed_part(
            &request.self_signing_key,
            "self_signing",
            stored.self_signing,
        )?,
        user_signing: signed_part(
            &request.user_signing_key,
            "user_signing",
            stored.user_signing,
        )?,
        master: master.as_ref().map(gate::text).transpose()?,
    })
}

/// A cross-signing key of the caller's own, for this use.
fn own_key(me: &UserId, key: &Raw<CrossSigningKey>, usage: &str) -> Result<CanonicalJsonObject> {
    let mut key = ciphertext::cross_signing_key(gate::canonical(key.json().get())?)?;
    if signed::text(&key, "user_id") != Some(me.as_str()) {
        return Err(Error::invalid_param(
            "You can upload your own cross-signing keys only.",
        ));
    }
    let is_for_it = key
        .get("usage")
        .and_then(|usages| usages.as_array())
        .is_some_and(|usages| usages.iter().any(|named| named.as_str() == Some(usage)));
    if !is_for_it {
        return Err(Error::invalid_param(
            "A cross-signing key is not marked for the use that it is uploaded for.",
        ));
    }
    if signed::only_key(&key).is_none() {
        return Err(Error::invalid_param(
            "A cross-signing key object must hold one key, named after itself.",
        ));
    }
    signed::keep_signatures_of(&mut key, me);
    Ok(key)
}

/// A master key. Of the signatures on it, those stay that the user's devices have really made.
async fn checked_master(
    store: &Store,
    me: &UserId,
    key: &Raw<CrossSigningKey>,
) -> Result<CanonicalJsonObject> {
    let mut key = own_key(me, key, "master")?;
    let claimed = signed::signatures_of(&key, me);
    let devices = signatures::signing_keys_of_devices(store, me, &claimed).await?;
    let valid = devices
        .into_iter()
        .filter(|(id, public_key)| signed::verify(&key, me, id, public_key))
        .filter_map(|(id, _)| claimed.get(&id).cloned().map(|signature| (id, signature)))
        .collect::<std::collections::BTreeMap<_, _>>();
    key.remove("signatures");
    if !valid.is_empty() {
        signed::add_signatures(&mut key, me, valid);
    }
    Ok(key)
}

fn signed_by_master(
    me: &UserId,
    key: &Raw<CrossSigningKey>,
    usage: &str,
    master: Option<&CanonicalJsonObject>,
) -> Result<String> {
    let key = own_key(me, key, usage)?;
    let Some((master_id, master_key)) = master.and_then(signed::only_key) else {
        return Err(Error::missing_param(
            "Upload a master key first: it has to sign the other cross-signing keys.",
        ));
    };
    if !signed::verify(&key, me, master_id, master_key) {
        return Err(signed::invalid_signature(
            "A cross-signing key is not signed by the master key.",
        ));
    }
    gate::text(&key)
}

/// Whether all three keys are the same, whatever else is signed on them.
fn same_keys(one: &CrossSigningKeys, other: &CrossSigningKeys) -> Result<bool> {
    let same = |one: &Option<String>, other: &Option<String>| -> Result<bool> {
        Ok(match (one, other) {
            (Some(one), Some(other)) => signed::same(&signed::parse(one)?, &signed::parse(other)?),
            (None, None) => true,
            _ => false,
        })
    };
    Ok(same(&one.master, &other.master)?
        && same(&one.self_signing, &other.self_signing)?
        && same(&one.user_signing, &other.user_signing)?)
}

/// Stores the new keys if the stored ones are still those that the decision was made on.
async fn replace(
    app: &App,
    me: &UserId,
    expected: Option<CrossSigningKeys>,
    new: CrossSigningKeys,
) -> Result<Response> {
    let (expected, new) = (&expected, &new);
    app.store
        .transact(|mut tx| async move {
            if tx.get(&CROSS_SIGNING_KEYS, me).await? != *expected {
                return Err(Error::new(
                    http::StatusCode::CONFLICT,
                    ruma::api::error::ErrorKind::Unknown,
                    "Another of your devices has changed the cross-signing keys at the same time. Try again.",
                ));
            }
            let old_master = expected.as_ref().and_then(|keys| keys.master.as_deref());
            if let Some(old) = old_master.map(signed::parse).transpose()?
                && let Some((_, public_key)) = signed::only_key(&old)
                && new.master.as_deref().map(signed::parse).transpose()?.is_none_or(|new| !signed::same(&old, &new))
            {
                signatures::forget_in(&mut tx, me, public_key).await?;
            }
            tx.put(&CROSS_SIGNING_KEYS, me, new)?;
            devices_changed_in(&mut tx, app, me).await?;
            Ok((tx, ()))
        })
        .await?;
    Ok(Response::new())
}
