//! Binds ruma's endpoint definitions to axum, once: paths, methods and types come from the metadata, and a handler is a
//! function from the server, a caller and a typed request to a typed response.

mod spelled_out;

use axum::{
    Router,
    body::Body,
    extract::{
        DefaultBodyLimit, FromRequest, FromRequestParts, Path, RawPathParams, Request, State,
        rejection::RawPathParamsRejection,
    },
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use bytes::{Bytes, BytesMut};
use http::{Method, request::Parts};
use respite_protocol::ciphertext;
use ruma::{
    UserId,
    api::{
        IncomingRequest, Metadata, OutgoingResponse,
        error::{DeserializationError, FromHttpRequestError},
        path_builder::PathBuilder,
    },
};
use serde::de::{DeserializeOwned, IgnoredAny};

pub use self::spelled_out::{LeavesOut, SpelledOut};
use crate::{
    auth::Caller,
    error::{Error, Result},
    limits::Rate,
    state::App,
};

/// The largest JSON body that is read.
pub const MAX_JSON_BODY: usize = 4 * 1024 * 1024;

/// How the paths of requests end that cost more than others, or reach people who have not asked for it.
const COSTLY: [&str; 9] = [
    "/createRoom",
    "/invite",
    "/keys/claim",
    "/keys/upload",
    "/knock/{room_id_or_alias}",
    "/publicRooms",
    "/rooms/{room_id}/upgrade",
    "/user_directory/search",
    "/chat.respite/rooms",
];

/// A router that serves one endpoint at all of its paths.
///
/// The caller is authenticated before the body is read.
pub fn endpoint<R, C, H, F>(handler: H) -> Router<App>
where
    R: IncomingRequest + Send + 'static,
    R::OutgoingResponse: Send,
    C: Caller + 'static,
    H: Fn(App, C, R) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<R::OutgoingResponse>> + Send + 'static,
{
    endpoint_at(handler, &[])
}

/// The same, at further paths that the metadata does not name.
pub fn endpoint_at<R, C, H, F>(handler: H, further: &[&'static str]) -> Router<App>
where
    R: IncomingRequest + Send + 'static,
    R::OutgoingResponse: Send,
    C: Caller + 'static,
    H: Fn(App, C, R) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<R::OutgoingResponse>> + Send + 'static,
{
    let serve = move |State(app): State<App>, params: PathParams, request: Request| {
        let handler = handler.clone();
        async move {
            answer::<R, C, H, F>(app, params, request, handler)
                .await
                .into_response()
        }
    };
    let Ok(method) = MethodFilter::try_from(<R as Metadata>::METHOD) else {
        return Router::new();
    };
    let mut router = Router::new();
    for path in R::PATH_BUILDER.all_paths().chain(further.iter().copied()) {
        router = router.route(&axum_path(path), on(method, serve.clone()));
    }
    router.layer(DefaultBodyLimit::max(MAX_JSON_BODY))
}

/// The parts of an address that vary, for handlers that are not made by [`endpoint`].
pub struct InPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(found)) => Ok(Self(found)),
            // The extractor's own answer repeats the address.
            Err(_) => Err(Error::invalid_param(
                "An id in the address has the wrong form.",
            )),
        }
    }
}

type PathParams = std::result::Result<RawPathParams, RawPathParamsRejection>;

async fn answer<R, C, H, F>(
    app: App,
    params: PathParams,
    request: Request,
    handler: H,
) -> Result<Response>
where
    R: IncomingRequest,
    C: Caller,
    H: Fn(App, C, R) -> F,
    F: Future<Output = Result<R::OutgoingResponse>>,
{
    let (parts, body) = request.into_parts();
    let caller = C::authenticate(&app, &parts).await?;
    if let Some(user) = caller.user() {
        count::<R>(&app, user)?;
    }
    let params = params.map_err(|_| Error::invalid_param("The address is not UTF-8."))?;
    let request = http::Request::from_parts(parts.clone(), body);
    let body = read_body(&parts.method, request).await?;
    let arguments: Vec<&str> = params.iter().map(|(_, value)| value).collect();
    let request = R::try_from_http_request(http::Request::from_parts(parts, body), &arguments)
        .map_err(|error| malformed(&error))?;
    let response = handler(app, caller, request).await?;
    response
        .try_into_http_response::<BytesMut>()
        .map(|response| response.map(|body| Body::from(body.freeze())))
        .map_err(|error| Error::internal(format_args!("an answer that cannot be written: {error}")))
}

/// Counts a request among those of its user.
fn count<R: IncomingRequest>(app: &App, user: &UserId) -> Result<()> {
    let (limits, who) = (&app.config.limits, user.as_str());
    app.limiter.take(&app.clock, Rate::requests(limits), who)?;
    let ends_as = |path: &str| COSTLY.iter().any(|end| path.ends_with(end));
    if <R as Metadata>::METHOD == Method::POST && R::PATH_BUILDER.all_paths().any(ends_as) {
        app.limiter
            .take(&app.clock, Rate::costly_requests(limits), who)?;
    }
    Ok(())
}

async fn read_body(method: &Method, request: Request) -> Result<Bytes> {
    if *method == Method::GET || *method == Method::HEAD {
        return Ok(Bytes::new());
    }
    let body = Bytes::from_request(request, &())
        .await
        .map_err(|rejection| {
            if rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE {
                Error::too_large("The request is too large.")
            } else {
                Error::bad_json("The request did not arrive whole.")
            }
        })?;
    if body.is_empty() {
        // Clients leave out a body that has nothing in it.
        return Ok(Bytes::from_static(b"{}"));
    }
    if !ciphertext::depth_ok(&body) {
        return Err(Error::bad_json("The request's JSON is nested too deeply."));
    }
    check_object(&body)?;
    Ok(without_empty_proof(&body).unwrap_or(body))
}

/// The body without an `auth` that proves nothing: clients begin interactive authentication with `{}` in its place, or with
/// only a name for the device in it.
fn without_empty_proof(body: &[u8]) -> Option<Bytes> {
    const MAX_WITH_PROOF: usize = 64 * 1024;
    const AUTH: &[u8] = b"\"auth\"";
    if body.len() > MAX_WITH_PROOF || !body.windows(AUTH.len()).any(|bytes| bytes == AUTH) {
        return None;
    }
    let mut object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(body).ok()?;
    let proof = object.get("auth")?.as_object()?;
    if proof.contains_key("type") || proof.contains_key("session") {
        return None;
    }
    object.remove("auth");
    serde_json::to_vec(&object).ok().map(Bytes::from)
}

/// Every request's body is one JSON object and nothing after it. ruma's own parsers take less: a list of a request's values,
/// words behind an event's content.
fn check_object(body: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(body).map_err(|_| not_utf8())?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| not_json(&error))?;
    if text.trim_ascii_start().starts_with('{') {
        Ok(())
    } else {
        Err(Error::bad_json("The request's JSON must be an object."))
    }
}

/// Parameters are named after their place, since axum wants one name for the same place in all paths.
fn axum_path(path: &str) -> String {
    path.split('/')
        .enumerate()
        .map(|(place, segment)| {
            if segment.starts_with('{') {
                format!("{{p{place}}}")
            } else {
                segment.to_owned()
            }
        })
        .collect::<Vec<_>>()
        .join("/")
}

/// The text of a parser's error may quote the request, so only its kind and place are told.
fn malformed(error: &FromHttpRequestError) -> Error {
    use serde_json::error::Category;
    match error {
        FromHttpRequestError::MethodMismatch { .. } => Error::method_not_allowed(),
        FromHttpRequestError::Deserialization(DeserializationError::Json(error)) => {
            match error.classify() {
                Category::Data => Error::bad_json(format!(
                    "The request lacks a field, or a field has the wrong type, at {}.",
                    place(error)
                )),
                _ => not_json(error),
            }
        }
        FromHttpRequestError::Deserialization(DeserializationError::Utf8(_)) => not_utf8(),
        FromHttpRequestError::Deserialization(DeserializationError::Query(error))
            if error.to_string().starts_with("missing field") =>
        {
            Error::missing_param("The address lacks a parameter.")
        }
        FromHttpRequestError::Deserialization(DeserializationError::Query(_)) => {
            Error::invalid_param("A part of the address is missing or has the wrong form.")
        }
        FromHttpRequestError::Deserialization(DeserializationError::Ident(_)) => {
            Error::invalid_param("An id in the request has the wrong form.")
        }
        _ => Error::bad_json("The request has the wrong form."),
    }
}

fn not_utf8() -> Error {
    Error::new(
        http::StatusCode::BAD_REQUEST,
        ruma::api::error::ErrorKind::NotJson,
        "The request is not UTF-8.",
    )
}

fn not_json(error: &serde_json::Error) -> Error {
    Error::new(
        http::StatusCode::BAD_REQUEST,
        ruma::api::error::ErrorKind::NotJson,
        format!("The request is not JSON at {}.", place(error)),
    )
}

fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

/// Says that a request of ours is made at the same place and with the same proof as ruma's: only what it holds is read
/// otherwise.
macro_rules! asked_like {
    ($ours:ty, $theirs:ty) => {
        impl ruma::api::Metadata for $ours {
            const METHOD: http::Method = <$theirs as ruma::api::Metadata>::METHOD;
            const RATE_LIMITED: bool = <$theirs as ruma::api::Metadata>::RATE_LIMITED;
            type Authentication = <$theirs as ruma::api::Metadata>::Authentication;
            type PathBuilder = <$theirs as ruma::api::Metadata>::PathBuilder;
            const PATH_BUILDER: Self::PathBuilder = <$theirs as ruma::api::Metadata>::PATH_BUILDER;
        }
    };
}
pub(crate) use asked_like;
