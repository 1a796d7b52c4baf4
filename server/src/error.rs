//! The one error that a handler returns. What a client sees is the specification's code and a sentence that a person can
//! act on; what went wrong inside is logged, without content, and never leaves.

use std::borrow::Cow;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use respite_protocol::ciphertext::{Refusal, RefusalCode};
use ruma::api::{
    OutgoingResponse,
    client::uiaa::UiaaInfo,
    error::{
        Error as MatrixError, ErrorBody, ErrorKind, LimitExceededErrorData, RetryAfter,
        StandardErrorBody, UnknownTokenErrorData,
    },
};
use serde_json::{Map, Value, json};

use crate::store::StoreError;

/// What every handler returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An answer other than the one hoped for.
#[derive(Debug)]
pub enum Error {
    /// A standard Matrix error.
    Matrix {
        /// The HTTP status.
        status: StatusCode,
        /// The specification's code, with its data.
        kind: Box<ErrorKind>,
        /// One sentence for a person. Never content, never a token.
        message: Cow<'static, str>,
    },
    /// An error with fields of its own, whole.
    Extended {
        /// The HTTP status.
        status: StatusCode,
        /// The body: `errcode`, `error` and more.
        body: Box<Value>,
    },
    /// The client must authenticate further.
    ///
    /// [User-interactive authentication](https://spec.matrix.org/v1.18/client-server-api/#user-interactive-authentication-api)
    Interactive(Box<UiaaInfo>),
}

impl Error {
    /// Any Matrix error.
    pub fn new(status: StatusCode, kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Matrix {
            status,
            kind: Box::new(kind),
            message: message.into(),
        }
    }

    /// An error with fields of its own, beside `errcode` and `error`.
    pub fn extended(status: StatusCode, body: Value) -> Self {
        Self::Extended {
            status,
            body: Box::new(body),
        }
    }

    /// 403 `M_FORBIDDEN`.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorKind::Forbidden, message)
    }

    /// 404 `M_NOT_FOUND`.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorKind::NotFound, message)
    }

    /// 400 `M_INVALID_PARAM`.
    pub fn invalid_param(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorKind::InvalidParam, message)
    }

    /// 400 `M_MISSING_PARAM`.
    pub fn missing_param(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorKind::MissingParam, message)
    }

    /// 400 `M_BAD_JSON`.
    pub fn bad_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorKind::BadJson, message)
    }

    /// 413 `M_TOO_LARGE`.
    pub fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::TooLarge, message)
    }

    /// 401 `M_MISSING_TOKEN`.
    pub fn missing_token() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            ErrorKind::MissingToken,
            "Log in first: this needs an access token.",
        )
    }

    /// 401 `M_UNKNOWN_TOKEN`; with `soft_logout` the device is still there and its token may be refreshed.
    pub fn unknown_token(soft_logout: bool) -> Self {
        let mut data = UnknownTokenErrorData::new();
        data.soft_logout = soft_logout;
        Self::new(
            StatusCode::UNAUTHORIZED,
            ErrorKind::UnknownToken(data),
            "You are logged out. Log in again.",
        )
    }

    /// 429 `M_LIMIT_EXCEEDED`.
    pub fn limit_exceeded(retry_after: std::time::Duration) -> Self {
        let mut data = LimitExceededErrorData::new();
        data.retry_after = Some(RetryAfter::Delay(retry_after));
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::LimitExceeded(data),
            "Too many requests. Wait a little and try again.",
        )
    }

    /// 404 `M_UNRECOGNIZED`: no such endpoint.
    pub fn unrecognized() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            ErrorKind::Unrecognized,
            "This server has no such endpoint.",
        )
    }

    /// 405 `M_UNRECOGNIZED`: the endpoint does not take this method.
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorKind::Unrecognized,
            "This endpoint does not take that method.",
        )
    }

    /// 500 `M_UNKNOWN`. `what` goes to the log, not to the client; it must hold no content.
    pub fn internal(what: impl std::fmt::Display) -> Self {
        tracing::error!(what = %what, "internal error");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorKind::Unknown,
            "The server failed at this. Try again; if it stays so, tell whoever runs it.",
        )
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorKind::Unknown,
                "Too much is happening here at once. Try again.",
            ),
            error => {
                tracing::error!(%error, "the store failed");
                ::metrics::counter!(crate::metrics::STORE_ERRORS).increment(1);
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    ErrorKind::Unknown,
                    "The server cannot save anything at the moment. Nothing was changed; try again later.",
                )
            }
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let sentence = refusal.sentence();
        let code = refusal.code().errcode();
        ::metrics::counter!(crate::metrics::REFUSALS, "code" => code).increment(1);
        match refusal.code() {
            RefusalCode::Forbidden => Self::forbidden(sentence),
            RefusalCode::TooLarge => Self::too_large(sentence),
            RefusalCode::BadJson => Self::bad_json(sentence),
            RefusalCode::InvalidParam => Self::invalid_param(sentence),
        }
    }
}

/// Clients look which stages are completed even where none is.
fn with_completed(body: Vec<u8>) -> Vec<u8> {
    let Ok(mut answer) = serde_json::from_slice::<Map<String, Value>>(&body) else {
        return body;
    };
    answer.entry("completed").or_insert_with(|| json!([]));
    serde_json::to_vec(&answer).unwrap_or(body)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let built = match self {
            Self::Matrix {
                status,
                kind,
                message,
            } => MatrixError::new(
                status,
                ErrorBody::Standard(StandardErrorBody::new(*kind, message.into_owned())),
            )
            .try_into_http_response::<Vec<u8>>(),
            Self::Extended { status, body } => {
                MatrixError::new(status, ErrorBody::Json(*body)).try_into_http_response()
            }
            Self::Interactive(info) => ruma::api::client::uiaa::UiaaResponse::AuthResponse(*info)
                .try_into_http_response()
                .map(|answer| answer.map(with_completed)),
        };
        match built {
            Ok(response) => response.map(Body::from),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
