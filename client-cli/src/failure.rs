//! Turns whatever went wrong into one sentence that a person can act on.

use matrix_sdk::{
    ClientBuildError, HttpError, RefreshTokenError,
    encryption::{recovery::RecoveryError, secret_storage::SecretStorageError},
};
use ruma::api::error::ErrorKind;

use crate::terminal;

/// Longest sentence of a server that is shown, in characters.
const MAX_SERVER_CHARS: usize = 500;

/// The sentence for an error: what was tried, and why it did not work.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        if let Some(known) = known(cause) {
            parts.push(known);
            break;
        }
        let text = cause.to_string();
        // Wrappers repeat what they wrap.
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    terminal::line(&parts.join(": "))
}

/// Whether the server could not be reached, as opposed to having said no.
pub fn is_unreachable(error: &anyhow::Error) -> bool {
    error.chain().filter_map(http_error).any(unreachable)
}

/// Whether it was the server that no longer knows this session.
pub fn is_logged_out(error: &anyhow::Error) -> bool {
    error.chain().filter_map(http_error).any(|error| {
        matches!(
            error.client_api_error_kind(),
            Some(ErrorKind::UnknownToken(_))
        ) || matches!(
            error,
            HttpError::RefreshToken(RefreshTokenError::RefreshTokenRequired)
        )
    })
}

/// The sentence for an error from matrix-sdk.
pub fn sdk_sentence(error: &matrix_sdk::Error) -> String {
    terminal::line(&known(error).unwrap_or_else(|| error.to_string()))
}

fn known(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = http_error(cause) {
        return Some(http(error));
    }
    if let Some(matrix_sdk::Error::AuthenticationRequired) = cause.downcast_ref() {
        return Some(LOGGED_OUT.to_owned());
    }
    if let Some(ClientBuildError::AutoDiscovery(_)) = cause.downcast_ref() {
        return Some("there is no Matrix server at that address".to_owned());
    }
    match cause.downcast_ref::<RecoveryError>() {
        Some(RecoveryError::SecretStorage(error)) => secret_storage(error),
        Some(RecoveryError::BackupExistsOnServer) => Some(
            "a key backup is already on the server; restore it with `respite recovery restore`"
                .to_owned(),
        ),
        _ => secret_storage(cause.downcast_ref::<SecretStorageError>()?),
    }
}

const LOGGED_OUT: &str =
    "you are no longer logged in on this device; run `respite logout` and then `respite login`";

fn secret_storage(error: &SecretStorageError) -> Option<String> {
    match error {
        SecretStorageError::SecretStorageKey(_) => {
            Some("that is not the recovery key of this account; check it for slips".to_owned())
        }
        SecretStorageError::MissingKeyInfo { .. } => Some(
            "this account has no recovery key yet; make one with `respite recovery setup` on a device \
             that you are logged in on"
                .to_owned(),
        ),
        _ => None,
    }
}

/// The HTTP error inside, however it is wrapped. (The wrappers are “transparent” and so do not
/// show up in the chain of causes.)
fn http_error<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a HttpError> {
    let sdk = |error: &'a matrix_sdk::Error| match error {
        matrix_sdk::Error::Http(error) => Some(error.as_ref()),
        _ => None,
    };
    let http = if let Some(error) = cause.downcast_ref::<HttpError>() {
        Some(error)
    } else if let Some(error) = cause.downcast_ref::<matrix_sdk::Error>() {
        sdk(error)
    } else if let Some(ClientBuildError::Http(error)) = cause.downcast_ref() {
        Some(error)
    } else if let Some(RecoveryError::Sdk(error)) = cause.downcast_ref() {
        sdk(error)
    } else if let Some(RecoveryError::SecretStorage(SecretStorageError::Sdk(error))) =
        cause.downcast_ref()
    {
        sdk(error)
    } else {
        None
    };
    match http {
        Some(HttpError::Cached(inner)) => Some(inner),
        Some(HttpError::RefreshToken(RefreshTokenError::MatrixAuth(inner))) => Some(inner),
        other => other,
    }
}

fn unreachable(error: &HttpError) -> bool {
    match error {
        HttpError::Reqwest(_) => true,
        // What a proxy says when the server behind it is down.
        error => error
            .as_client_api_error()
            .is_some_and(|error| matches!(error.status_code.as_u16(), 502..=504)),
    }
}

fn http(error: &HttpError) -> String {
    if let HttpError::Reqwest(error) = error {
        let host = error
            .url()
            .map(|url| format!(" {}", url.origin().ascii_serialization()));
        let host = host.unwrap_or_default();
        return if error.is_timeout() {
            format!("the server{host} does not answer; try again later")
        } else {
            format!("the server{host} cannot be reached; check its address and your connection")
        };
    }
    if let HttpError::RefreshToken(RefreshTokenError::RefreshTokenRequired) = error {
        return LOGGED_OUT.to_owned();
    }
    if let Some(info) = error.as_uiaa_response() {
        return match &info.auth_error {
            Some(said) => server_said(&said.message, &said.kind),
            None => "the server asks for a confirmation that this program cannot give".to_owned(),
        };
    }
    match error.as_client_api_error() {
        Some(error) => match &error.body {
            ruma::api::error::ErrorBody::Standard(said) => server_said(&said.message, &said.kind),
            _ => format!(
                "the server answered with an error ({}) and no reason",
                error.status_code.as_u16()
            ),
        },
        None => {
            "the server's answer cannot be understood; is there a Matrix server at that address?"
                .to_owned()
        }
    }
}

fn server_said(message: &str, kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::UnknownToken(_) | ErrorKind::MissingToken => return LOGGED_OUT.to_owned(),
        ErrorKind::Unrecognized => {
            return "this server does not offer that; is it a Respite server?".to_owned();
        }
        _ => {}
    }
    let said: String = message.trim().chars().take(MAX_SERVER_CHARS).collect();
    if said.is_empty() {
        format!("the server refused it ({})", kind.errcode())
    } else {
        said
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use ruma::api::{EndpointError as _, client::uiaa::UiaaResponse, error::FromHttpResponseError};

    use super::*;

    fn answered(status: u16, body: &str) -> anyhow::Error {
        let response = http::Response::builder()
            .status(status)
            .body(body.as_bytes())
            .unwrap();
        let error = UiaaResponse::from_http_response(response);
        let error = HttpError::from(FromHttpResponseError::Server(error));
        matrix_sdk::Error::from(error).into()
    }

    #[test]
    fn what_the_server_says_is_shown_after_what_was_tried() {
        let error = answered(
            403,
            r#"{"errcode":"M_FORBIDDEN","error":"The code has expired."}"#,
        );
        let error = Err::<(), _>(error)
            .context("the account was not made")
            .unwrap_err();
        assert_eq!(
            sentence(&error),
            "the account was not made: The code has expired."
        );
        assert!(!is_unreachable(&error));
    }

    #[test]
    fn a_server_cannot_draw_on_the_terminal() {
        let error = answered(
            400,
            "{\"errcode\":\"M_UNKNOWN\",\"error\":\"a\\u001b[2Jb\\nc\"}",
        );
        assert_eq!(sentence(&error), "a\u{fffd}[2Jb c");
    }

    #[test]
    fn an_unknown_token_says_how_to_get_back_in() {
        let error = answered(401, r#"{"errcode":"M_UNKNOWN_TOKEN","error":"Nope"}"#);
        assert!(sentence(&error).contains("respite login"));
        assert!(is_logged_out(&error));
    }

    #[test]
    fn a_web_page_instead_of_a_matrix_server_is_named_as_such() {
        let error = answered(404, "<html>");
        assert!(sentence(&error).contains("404"));
        let error = answered(502, r#"{"errcode":"M_UNKNOWN","error":"Bad gateway"}"#);
        assert!(is_unreachable(&error));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_with_its_address() {
        // Port 9 (discard) on loopback: nothing listens there.
        let error = matrix_sdk::reqwest::get("http://127.0.0.1:9/")
            .await
            .unwrap_err();
        let error = anyhow::Error::from(HttpError::from(error));
        let sentence = sentence(&error);
        assert!(
            sentence.contains("http://127.0.0.1:9") && sentence.contains("cannot be reached"),
            "{sentence}"
        );
        assert!(is_unreachable(&error));
    }
}
