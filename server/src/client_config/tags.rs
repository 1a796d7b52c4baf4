//! Tags: how a user sorts their rooms. All of a room's tags are one piece of account data, `m.tag`.

use axum::Router;
use respite_protocol::ciphertext;
use ruma::{
    RoomId,
    api::client::tag::{create_tag, delete_tag, get_tags},
    events::tag::{TagInfo, TagName, Tags},
};
use serde::{Deserialize, Serialize};

use super::{guarded, of_room_in, own};
use crate::{
    account_data::{ACCOUNT_DATA, get, set_in},
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    state::App,
};

/// How many tags one user may give a room.
const MAX_TAGS: usize = 50;
/// The longest tag, in bytes.
const MAX_TAG_BYTES: usize = 255;

const TAG: &str = "m.tag";

#[derive(Default, Serialize, Deserialize)]
struct Content {
    tags: Tags,
}

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(list))
        .merge(endpoint::<_, _, _, _>(create))
        .merge(endpoint::<_, _, _, _>(delete))
}

async fn list(
    app: App,
    me: Device,
    request: get_tags::v3::Request,
) -> Result<get_tags::v3::Response> {
    own(&me, &request.user_id)?;
    let json = get(&app.store, &me.user, Some(&request.room_id), TAG).await?;
    Ok(get_tags::v3::Response::new(parse(json.as_deref())?.tags))
}

async fn create(
    app: App,
    me: Device,
    request: create_tag::v3::Request,
) -> Result<create_tag::v3::Response> {
    own(&me, &request.user_id)?;
    if request.tag.len() > MAX_TAG_BYTES {
        return Err(Error::invalid_param("This tag is too long."));
    }
    if guarded(&app, &me, &request.room_id).await? {
        ciphertext::tag(&request.tag)?;
    }
    let mut info = TagInfo::new();
    info.order = request
        .tag_info
        .order
        .filter(|order| (0.0..=1.0).contains(order));
    let tag = TagName::from(request.tag);
    change(&app, &me, &request.room_id, |tags| {
        tags.insert(tag.clone(), info.clone());
        if tags.len() > MAX_TAGS {
            return Err(Error::invalid_param("This room has too many tags already."));
        }
        Ok(())
    })
    .await?;
    Ok(create_tag::v3::Response::new())
}

async fn delete(
    app: App,
    me: Device,
    request: delete_tag::v3::Request,
) -> Result<delete_tag::v3::Response> {
    own(&me, &request.user_id)?;
    let tag = TagName::from(request.tag);
    change(&app, &me, &request.room_id, |tags| {
        tags.remove(&tag);
        Ok(())
    })
    .await?;
    Ok(delete_tag::v3::Response::new())
}

/// A change that changes nothing is not told to anybody.
async fn change(
    app: &App,
    me: &Device,
    room: &RoomId,
    change: impl Fn(&mut Tags) -> Result<()> + Sync,
) -> Result<()> {
    app.store
        .transact(async |mut tx| {
            of_room_in(&mut tx, me, room).await?;
            let before = tx
                .get(&ACCOUNT_DATA, (&*me.user, room.as_str(), TAG))
                .await?;
            let mut content = parse(before.as_deref())?;
            let tags = content.tags.clone();
            change(&mut content.tags)?;
            if content.tags != tags {
                let after = serde_json::to_string(&content)
                    .map_err(|_| Error::internal("tags that are not JSON"))?;
                set_in(&mut tx, &me.user, Some(room), TAG, &after).await?;
            }
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

fn parse(json: Option<&str>) -> Result<Content> {
    let Some(json) = json else {
        return Ok(Content::default());
    };
    serde_json::from_str(json).map_err(|_| Error::internal("stored tags are not JSON"))
}
