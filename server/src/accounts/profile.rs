//! Seeing and changing profiles. Only people who share a room see each other's; everybody else might as well not exist,
//! unless whoever runs the server lets everybody find everybody.

use axum::Router;
use respite_protocol::ciphertext;
use ruma::{
    OwnedUserId, UserId,
    api::{
        IncomingRequest,
        client::profile::{
            delete_profile_field, get_profile, get_profile_field, set_profile_field,
        },
        error::{Error as MatrixError, FromHttpRequestError},
    },
    profile::ProfileFieldValue,
};
use serde_json::{Map, Value};

use crate::{
    auth::{self, Active, Device},
    config::People,
    endpoint::{asked_like, endpoint},
    error::{Error, Result},
    profiles::{self, DISPLAYNAME, PROFILES, Profile},
    rooms::membership,
    state::App,
};

/// Clients ask for these two of everybody, and take an error for more than it is.
const ALWAYS_THERE: [&str; 2] = [DISPLAYNAME, "avatar_url"];

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(show))
        .merge(endpoint::<_, _, _, _>(show_field))
        .merge(endpoint::<_, _, _, _>(set_field))
        .merge(endpoint::<_, _, _, _>(delete_field))
}

async fn show(
    app: App,
    me: Device,
    request: get_profile::v3::Request,
) -> Result<get_profile::v3::Response> {
    let profile = visible(&app, &me, &request.user_id).await?;
    Ok(profile
        .fields()
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect())
}

async fn show_field(
    app: App,
    me: Device,
    request: get_profile_field::v3::Request,
) -> Result<get_profile_field::v3::Response> {
    let field = request.field.as_str();
    let mut profile = visible(&app, &me, &request.user_id).await?;
    match profile.field_mut(field).and_then(Option::take) {
        Some(value) => {
            let value = ProfileFieldValue::new(field, value.into()).map_err(Error::internal)?;
            Ok(get_profile_field::v3::Response::new(value))
        }
        None if ALWAYS_THERE.contains(&field) => Ok(get_profile_field::v3::Response::default()),
        None => Err(Error::not_found("This person has not set this.")),
    }
}

async fn set_field(
    app: App,
    me: Active,
    request: SetField,
) -> Result<set_profile_field::v3::Response> {
    let SetField {
        user,
        field,
        mut body,
    } = request;
    let value = match body.remove(&field) {
        Some(value) => value,
        None if ALWAYS_THERE.contains(&field.as_str()) => Value::Null,
        None => return Err(Error::missing_param("The field is not in the request.")),
    };
    change(&app, &me, &user, &field, value).await?;
    Ok(set_profile_field::v3::Response::new())
}

async fn delete_field(
    app: App,
    me: Active,
    request: delete_profile_field::v3::Request,
) -> Result<delete_profile_field::v3::Response> {
    change(
        &app,
        &me,
        &request.user_id,
        request.field.as_str(),
        Value::Null,
    )
    .await?;
    Ok(delete_profile_field::v3::Response::new())
}

async fn visible(app: &App, me: &Device, user: &UserId) -> Result<Profile> {
    let open = app.config.directory.people == People::Everybody;
    let known = *user == me.user
        || (auth::exists(&app.store, user).await?
            && (open || membership::neighbours(app, &me.user).await?.contains(user)));
    if !known {
        return Err(Error::not_found(
            "There is nobody of this name among the people you know.",
        ));
    }
    Ok(profiles::get(&app.store, user).await?)
}

async fn change(app: &App, me: &Device, user: &UserId, field: &str, value: Value) -> Result<()> {
    if *user != me.user {
        return Err(Error::forbidden("You can change your own profile only."));
    }
    let value = match value {
        Value::Null => None,
        value => ciphertext::profile_field(field, value)?
            .as_str()
            .map(str::to_owned),
    };
    let changed = app
        .store
        .transact(|mut tx| async {
            let before = tx.get(&PROFILES, user).await?.unwrap_or_default();
            let mut profile = before.clone();
            // What the gate empties, such as an avatar that is being removed, has no place and needs none.
            if let Some(place) = profile.field_mut(field) {
                place.clone_from(&value);
            }
            if profile == Profile::default() {
                tx.delete(&PROFILES, user);
            } else {
                tx.put(&PROFILES, user, &profile)?;
            }
            Ok::<_, Error>((tx, before.displayname != profile.displayname))
        })
        .await?
        .value;
    if changed {
        membership::announce_profile(app, user).await?;
    }
    Ok(())
}

/// The request. ruma's own one takes a field that is being unset only in some of the forms that clients use.
#[derive(Debug)]
struct SetField {
    user: OwnedUserId,
    field: String,
    body: Map<String, Value>,
}

asked_like!(SetField, set_profile_field::v3::Request);

impl IncomingRequest for SetField {
    type EndpointError = MatrixError;
    type OutgoingResponse = set_profile_field::v3::Response;

    fn try_from_http_request<B: AsRef<[u8]>, S: AsRef<str>>(
        request: http::Request<B>,
        path: &[S],
    ) -> Result<Self, FromHttpRequestError> {
        Self::check_request_method(request.method())?;
        let (user, field) =
            serde::Deserialize::deserialize(serde::de::value::SeqDeserializer::<
                _,
                serde::de::value::Error,
            >::new(path.iter().map(AsRef::as_ref)))?;
        Ok(Self {
            user,
            field,
            body: serde_json::from_slice(request.body().as_ref())?,
        })
    }
}
