//! Setting that somebody types, or types no longer.

use std::time::Duration;

use axum::Router;
use ruma::{
    OwnedRoomId, OwnedUserId,
    api::{
        IncomingRequest,
        client::typing::create_typing_event,
        error::{Error as MatrixError, FromHttpRequestError},
    },
};
use serde::{
    Deserialize,
    de::value::{Error as ValueError, SeqDeserializer},
};

use super::{begin, end};
use crate::{
    auth::Device,
    endpoint::{asked_like, endpoint},
    error::{Error, Result},
    rooms::access,
    state::App,
};

/// How long somebody types whose client does not say for how long.
pub const DEFAULT_TYPING: Duration = Duration::from_secs(30);

pub(super) fn router() -> Router<App> {
    endpoint::<_, _, _, _>(set)
}

async fn set(app: App, me: Device, request: Request) -> Result<create_typing_event::v3::Response> {
    if me.user != request.user {
        return Err(Error::forbidden("You can only say this of yourself."));
    }
    let room = access::joined(&app, &me.user, &request.room).await?;
    let (room, members) = (&room.room_id, room.state.joined());
    if request.body.typing {
        let timeout = request.body.timeout.unwrap_or(DEFAULT_TYPING);
        begin(&app, room, &me.user, members, timeout).await?;
    } else {
        end(&app, room, &me.user, None).await?;
    }
    Ok(create_typing_event::v3::Response::new())
}

/// The request. ruma's own one takes nobody who types without a `timeout`, which the specification lets clients leave out.
#[derive(Debug)]
struct Request {
    room: OwnedRoomId,
    user: OwnedUserId,
    body: Body,
}

#[derive(Debug, Deserialize)]
struct Body {
    typing: bool,
    #[serde(with = "ruma::serde::duration::opt_ms", default)]
    timeout: Option<Duration>,
}

asked_like!(Request, create_typing_event::v3::Request);

impl IncomingRequest for Request {
    type EndpointError = MatrixError;
    type OutgoingResponse = create_typing_event::v3::Response;

    fn try_from_http_request<B: AsRef<[u8]>, S: AsRef<str>>(
        request: http::Request<B>,
        path: &[S],
    ) -> Result<Self, FromHttpRequestError> {
        Self::check_request_method(request.method())?;
        let path = path.iter().map(AsRef::as_ref);
        let (room, user) = Deserialize::deserialize(SeqDeserializer::<_, ValueError>::new(path))?;
        Ok(Self {
            room,
            user,
            body: serde_json::from_slice(request.body().as_ref())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(body: &str) -> Option<Duration> {
        let request = http::Request::put("/typing").body(body).unwrap();
        let request = Request::try_from_http_request(request, &["!night:x", "@nurse:x"]).unwrap();
        assert_eq!(request.user, "@nurse:x");
        request.body.timeout
    }

    #[test]
    fn a_client_need_not_say_for_how_long_somebody_types() {
        assert_eq!(timeout(r#"{"typing":true}"#), None);
        assert_eq!(timeout(r#"{"typing":false}"#), None);
        let second = Some(Duration::from_secs(1));
        assert_eq!(timeout(r#"{"typing":true,"timeout":1000}"#), second);
    }

    #[test]
    fn whether_somebody_types_must_be_said() {
        let request = http::Request::put("/typing").body("{}").unwrap();
        Request::try_from_http_request(request, &["!night:x", "@nurse:x"]).unwrap_err();
    }
}
