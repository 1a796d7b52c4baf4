//! Setting pushers, and seeing which there are.

use axum::Router;
use respite_protocol::ciphertext;
use ruma::{
    CanonicalJsonObject, OwnedUserId,
    api::client::push::{
        self as wire, PusherIds, PusherKind, get_pushers,
        set_pusher::v3::{PusherAction, PusherPostData, Request, Response},
    },
    push::HttpPusherData,
};
use serde::Deserialize;

use super::{
    badge,
    gateway::{Unusable, usable},
};
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    gate,
    push::{self, DUE, PUSHERS, PUSHES, PUSHKEYS, Pusher},
    state::App,
    store::{Page, Tx},
};

/// Most pushers of one account.
pub const MAX_PUSHERS: usize = 20;
/// How many other people's pushers with the same pushkey are removed at once: there is one, if any.
const MAX_OTHERS: usize = 100;

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(list))
        .merge(endpoint::<_, _, _, _>(set))
}

/// What the gate lets through.
#[derive(Deserialize)]
struct Kept {
    app_id: String,
    pushkey: String,
    lang: String,
    data: CanonicalJsonObject,
}

/// `GET /pushers`
async fn list(
    app: App,
    me: Device,
    _: get_pushers::v3::Request,
) -> Result<get_pushers::v3::Response> {
    let pushers = app.store.get(&PUSHERS, &me.user).await?.unwrap_or_default();
    let shown = pushers.into_iter().map(show).collect::<Result<_>>()?;
    Ok(get_pushers::v3::Response::new(shown))
}

fn show(pusher: Pusher) -> Result<wire::Pusher> {
    let mut data: HttpPusherData = {
        let mut all = gate::canonical(&pusher.data)?;
        all.insert("url".to_owned(), pusher.url.into());
        serde_json::from_str(&gate::text(&all)?).map_err(Error::internal)?
    };
    data.data.remove("url");
    Ok(wire::PusherInit {
        ids: PusherIds::new(pusher.pushkey, pusher.app_id),
        kind: PusherKind::Http(data),
        app_display_name: String::new(),
        device_display_name: String::new(),
        profile_tag: None,
        lang: pusher.lang,
    }
    .into())
}

/// `POST /pushers/set`
async fn set(app: App, me: Device, request: Request) -> Result<Response> {
    match request.action {
        PusherAction::Delete(ids) => {
            app.store
                .transact(|mut tx: Tx| async {
                    push::remove_in(&mut tx, &me.user, |it| it.is(&ids.app_id, &ids.pushkey))
                        .await?;
                    Ok::<_, Error>((tx, ()))
                })
                .await?;
        }
        PusherAction::Post(post) => {
            let pusher = through_gate(&app, &me, &post)?;
            keep(&app, &me, &pusher, post.append).await?;
        }
        _ => return Err(Error::bad_json("The request has the wrong form.")),
    }
    Ok(Response::new())
}

/// A pusher as the gate lets it through, of a gateway that may be called.
fn through_gate(app: &App, me: &Device, post: &PusherPostData) -> Result<Pusher> {
    if !matches!(post.pusher.kind, PusherKind::Http(_)) {
        return Err(Error::invalid_param(
            "This server pushes to push gateways only (kind \"http\"); it sends no e-mail.",
        ));
    }
    let body = gate::canonical(&gate::text(&post.pusher)?)?;
    let kept = gate::text(&ciphertext::pusher(body)?)?;
    let mut kept: Kept = serde_json::from_str(&kept).map_err(Error::internal)?;
    let url = match kept.data.remove("url") {
        Some(ruma::CanonicalJsonValue::String(url)) => url,
        _ => return Err(Error::missing_param("The push gateway's url is missing.")),
    };
    let wrong = match usable(&url, &app.config.push.trusted_gateways) {
        Ok(_) => None,
        Err(Unusable::NoAddress) => Some("The push gateway's url is no address."),
        Err(Unusable::WithoutTls) => Some("The push gateway's url must begin with https."),
        Err(Unusable::Private) => Some(
            "This push gateway is not on the internet. Ask whoever runs the server to allow it.",
        ),
    };
    if let Some(wrong) = wrong {
        return Err(Error::invalid_param(wrong));
    }
    Ok(Pusher {
        app_id: kept.app_id,
        pushkey: kept.pushkey,
        device: me.device.clone(),
        lang: kept.lang,
        url,
        data: gate::text(&kept.data)?,
        set: app.clock.millis(),
        sent: 0,
        until: 0,
        sending: false,
        again: false,
        failures: 0,
        failing_since: 0,
    })
}

async fn keep(app: &App, me: &Device, pusher: &Pusher, append: bool) -> Result<()> {
    let now = app.clock.millis();
    app.store
        .transact(|mut tx: Tx| async move {
            let user = &*me.user;
            if !append {
                forget_others_in(&mut tx, &me.user, pusher).await?;
            }
            let all = tx.get(&PUSHERS, user).await?;
            if all.is_none() {
                badge::begin_in(&mut tx, user).await?;
            }
            let mut all = all.unwrap_or_default();
            let full = all.len() >= MAX_PUSHERS;
            let same = all
                .iter_mut()
                .find(|it| it.is(&pusher.app_id, &pusher.pushkey));
            match same {
                Some(same) => renew(same, pusher),
                None if full => {
                    return Err(Error::invalid_param(
                        "You have too many pushers. Log out devices that you do not use any more.",
                    ));
                }
                None => {
                    let sent = tx.store().head(&PUSHES, user).await?;
                    all.push(Pusher {
                        sent,
                        ..pusher.clone()
                    });
                }
            }
            tx.put(&PUSHERS, user, &all)?;
            tx.put(&PUSHKEYS, (&pusher.app_id, &pusher.pushkey, user), &())?;
            tx.put(&DUE, (now, user), &())?;
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

/// Clients set their pusher at every start. How far it has come stays; a gateway that was left alone is tried at once.
fn renew(kept: &mut Pusher, new: &Pusher) {
    let before = kept.clone();
    *kept = Pusher {
        sent: before.sent,
        sending: before.sending,
        again: before.again,
        until: if before.sending { before.until } else { 0 },
        ..new.clone()
    };
}

/// A phone that now belongs to somebody else does not ring for its former owner.
async fn forget_others_in(tx: &mut Tx, user: &OwnedUserId, pusher: &Pusher) -> Result<()> {
    let (app_id, pushkey) = (pusher.app_id.as_str(), pusher.pushkey.as_str());
    let page = Page::first(MAX_OTHERS);
    let with = tx.store().scan(&PUSHKEYS, (app_id, pushkey), page).await?;
    for ((_, _, other), ()) in with {
        if other != *user {
            push::remove_in(tx, &other, |it| it.is(app_id, pushkey)).await?;
        }
    }
    Ok(())
}
