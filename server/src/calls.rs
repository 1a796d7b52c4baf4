//! Credentials for TURN servers, which carry calls between people who cannot reach each other. The server shares a secret
//! with them and makes credentials that hold for a while; nothing is stored, and the servers are not asked.
//!
//! [Voice over IP](https://spec.matrix.org/v1.18/client-server-api/#voice-over-ip)

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use axum::Router;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use respite_protocol::api::turn_server::{Request, Response};
use ruma::UserId;
use sha1::Sha1;
use zeroize::Zeroizing;

use crate::{
    auth::Device,
    config::Turn,
    endpoint::endpoint,
    error::{Error, Result},
    state::App,
};

/// The secret that is shared with the TURN servers.
#[derive(Default)]
pub struct TurnSecret(Option<Zeroizing<Vec<u8>>>);

/// The endpoints.
pub fn router() -> Router<App> {
    endpoint::<_, _, _, _>(turn_server)
}

impl TurnSecret {
    /// Reads the secret that the configuration names, if it names one.
    ///
    /// # Errors
    /// The file cannot be read or is empty; in a sentence for the operator.
    pub fn load(config: &Turn) -> anyhow::Result<Self> {
        config.secret.as_deref().map_or(Ok(Self(None)), Self::read)
    }

    fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("turn.secret: {} cannot be read", file.display()))?;
        let text = Zeroizing::new(text);
        let secret = text.trim_end_matches(['\r', '\n']);
        ensure!(
            !secret.is_empty(),
            "turn.secret: {} is empty",
            file.display()
        );
        Ok(Self(Some(Zeroizing::new(secret.as_bytes().to_vec()))))
    }

    /// User name and password that hold until then (seconds since 1970); `None` without a secret.
    fn credentials(&self, user: &UserId, until: u64) -> Option<(String, String)> {
        let username = format!("{until}:{user}");
        let mut mac = Hmac::<Sha1>::new_from_slice(self.0.as_deref()?).ok()?;
        mac.update(username.as_bytes());
        let password = STANDARD.encode(mac.finalize().into_bytes());
        Some((username, password))
    }
}

/// `GET /voip/turnServer`
async fn turn_server(app: App, me: Device, _: Request) -> Result<Response> {
    let turn = &app.config.turn;
    if turn.uris.is_empty() {
        return Ok(Response::none());
    }
    let until = app.clock.after(turn.lifetime) / 1_000;
    let (username, password) = app
        .turn_secret
        .credentials(&me.user, until)
        .ok_or_else(|| Error::internal("TURN servers without a secret"))?;
    let uris = turn.uris.clone();
    Ok(Response::new(
        username,
        password,
        uris,
        turn.lifetime.as_secs(),
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixture::{Server, device};

    #[tokio::test]
    async fn credentials_are_what_coturn_computes_from_the_same_secret() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("turn-secret");
        fs::write(&file, "north\n").unwrap();
        let server = Server::with(|config| {
            config.turn.uris = vec!["turn:turn.example.org".to_owned()];
            config.turn.secret = Some(file);
            config.turn.lifetime = Duration::from_secs(86_400);
        })
        .await;
        let nurse = device("nurse", "PHONE");
        let answer = turn_server(server.app.clone(), nurse, Request::new()).await;
        let answer = answer.unwrap();
        assert_eq!(
            answer.username.as_deref(),
            Some("1750086400:@nurse:localhost")
        );
        // printf 1750086400:@nurse:localhost | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(
            answer.password.as_deref(),
            Some("MYEZWm2cE62sa00QkDBgujKIB6s=")
        );
        assert_eq!(answer.ttl, Some(86_400));
    }

    /// RFC 2202, test case 2.
    #[test]
    fn the_code_is_hmac_sha1() {
        let mut mac = Hmac::<Sha1>::new_from_slice(b"Jefe").unwrap();
        mac.update(b"what do ya want for nothing?");
        let hex: String = mac
            .finalize()
            .into_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }

    #[test]
    fn an_empty_secret_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("turn-secret");
        fs::write(&file, "\n").unwrap();
        assert!(TurnSecret::read(&file).is_err());
        assert!(TurnSecret::read(&directory.path().join("none")).is_err());
    }
}
