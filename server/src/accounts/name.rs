//! User names: the part of a user id before the colon.

use http::StatusCode;
use ruma::{OwnedUserId, ServerName, UserId, api::error::ErrorKind};

use crate::error::{Error, Result};

/// The longest user name, in characters.
pub(super) const MAX_NAME_CHARS: usize = 64;

/// The user id for a name that a person chose. Capitals are made small.
///
/// [User identifiers](https://spec.matrix.org/v1.18/appendices/#user-identifiers)
///
/// # Errors
/// 400 `M_INVALID_USERNAME`.
pub(super) fn chosen(name: &str, server: &ServerName) -> Result<OwnedUserId> {
    let name = name.to_ascii_lowercase();
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '=' | '-' | '/' | '+');
    if name.is_empty() || name.len() > MAX_NAME_CHARS || !name.chars().all(allowed) {
        return Err(invalid());
    }
    UserId::parse(format!("@{name}:{server}")).map_err(|_| invalid())
}

/// The account that somebody who logs in means: by name or by whole id, in whatever capitals their keyboard makes.
/// `None` if no account of this server could be called so.
pub(super) fn meant(identifier: &str, server: &ServerName) -> Option<OwnedUserId> {
    let name = match identifier.strip_prefix('@') {
        Some(id) => id.strip_suffix(server.as_str())?.strip_suffix(':')?,
        None => identifier,
    };
    chosen(name, server).ok()
}

fn invalid() -> Error {
    Error::new(
        StatusCode::BAD_REQUEST,
        ErrorKind::InvalidUsername,
        format!(
            "A user name has 1 to {MAX_NAME_CHARS} characters, and only a-z, 0-9 and the signs . _ = - / +."
        ),
    )
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::{chosen, meant};

    #[test]
    fn a_name_is_made_small_and_checked() {
        let server = server_name!("practice.example:8448");
        assert_eq!(
            chosen("Night.Nurse", server).unwrap(),
            "@night.nurse:practice.example:8448"
        );
        for wrong in ["", "night nurse", "nürse", "a:b", "@nurse", &"n".repeat(65)] {
            chosen(wrong, server).unwrap_err();
        }
    }

    #[test]
    fn one_logs_in_with_the_name_or_the_whole_id() {
        let server = server_name!("practice.example:8448");
        let nurse = "@nurse:practice.example:8448";
        for identifier in ["nurse", "Nurse", nurse] {
            assert_eq!(meant(identifier, server).unwrap(), nurse);
        }
        for wrong in [
            "@nurse:elsewhere.example",
            "@nurse",
            "@practice.example:8448",
            "",
        ] {
            assert_eq!(meant(wrong, server), None);
        }
    }
}
