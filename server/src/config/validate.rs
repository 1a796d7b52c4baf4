//! What types cannot say about settings.

use ruma::RoomVersionId;

use super::Config;

/// hyper takes no smaller buffer.
const MIN_HEADER_BYTES: usize = 8 << 10;
/// No request needs more.
const MAX_HEADER_BYTES: usize = 1 << 20;
/// redb works with less only slowly.
const MIN_CACHE: usize = 1 << 20;
/// The largest upload that one may allow: 10 GiB.
const MAX_UPLOAD: u64 = 10 << 30;

/// A setting that cannot be as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{section}.{field}: {sentence}")]
pub struct Invalid {
    /// The section of the file.
    pub section: &'static str,
    /// The setting in it.
    pub field: &'static str,
    /// What is wrong with it, for a person.
    pub sentence: &'static str,
}

impl Config {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn validate(&self) -> Result<(), Invalid> {
        let wrong = |section, field, sentence| {
            Err(Invalid {
                section,
                field,
                sentence,
            })
        };
        if !matches!(
            self.rooms.default_version,
            RoomVersionId::V10 | RoomVersionId::V11 | RoomVersionId::V12
        ) {
            return wrong(
                "rooms",
                "default_version",
                "Write \"10\", \"11\" or \"12\".",
            );
        }
        if let Some(url) = &self.server.public_url
            && !is_base_url(url)
        {
            return wrong(
                "server",
                "public_url",
                "Write the address as https://respite.example.org, without a path.",
            );
        }
        if self.server.cache < MIN_CACHE {
            return wrong("server", "cache", "Give it at least 1048576 bytes.");
        }
        if !(1..=MAX_UPLOAD).contains(&self.media.max_upload) {
            return wrong(
                "media",
                "max_upload",
                "Write a size from 1 to 10737418240 bytes.",
            );
        }
        if !self
            .push
            .trusted_gateways
            .iter()
            .all(|url| is_base_url(url))
        {
            return wrong(
                "push",
                "trusted_gateways",
                "Write addresses as http://10.0.0.7:5000, without a path.",
            );
        }
        self.validate_turn()?;
        self.validate_s3()?;
        if self.limits.failed_logins == 0 {
            return wrong(
                "limits",
                "failed_logins",
                "With 0 nobody could log in; write at least 1.",
            );
        }
        if self.limits.registrations == 0 {
            return wrong(
                "limits",
                "registrations",
                "Write at least 1; to let nobody in, set registration.mode = \"closed\".",
            );
        }
        if self.limits.requests == 0 || self.limits.costly_requests == 0 {
            return wrong(
                "limits",
                "requests",
                "With 0 nobody could use the server; write at least 1, also for costly_requests.",
            );
        }
        if self
            .backup
            .recipients
            .iter()
            .any(|key| key.parse::<age::x25519::Recipient>().is_err())
        {
            return wrong(
                "backup",
                "recipients",
                "Write the public keys (age1…) that `respite-server backup keygen` prints.",
            );
        }
        self.validate_connections()?;
        match (&self.tls.certificate, &self.tls.key) {
            (Some(_), None) => wrong("tls", "certificate", "Set tls.key too."),
            (None, Some(_)) => wrong("tls", "key", "Set tls.certificate too."),
            _ => Ok(()),
        }
    }

    fn validate_turn(&self) -> Result<(), Invalid> {
        let wrong = |field, sentence| {
            Err(Invalid {
                section: "turn",
                field,
                sentence,
            })
        };
        let schemes = ["turn:", "turns:", "stun:", "stuns:"];
        let is_uri = |uri: &String| schemes.iter().any(|scheme| uri.starts_with(scheme));
        if !self.turn.uris.iter().all(is_uri) {
            return wrong(
                "uris",
                "Write addresses as turn:turn.example.org:3478?transport=udp.",
            );
        }
        if !self.turn.uris.is_empty() && self.turn.secret.is_none() {
            return wrong("uris", "Set turn.secret too.");
        }
        if self.turn.lifetime.as_secs() == 0 {
            return wrong("lifetime", "Calls need some time; write at least \"1m\".");
        }
        Ok(())
    }

    fn validate_s3(&self) -> Result<(), Invalid> {
        let wrong = |field, sentence| {
            Err(Invalid {
                section: "s3",
                field,
                sentence,
            })
        };
        match &self.s3.endpoint {
            Some(endpoint) if !is_base_url(endpoint) => wrong(
                "endpoint",
                "Write the address as https://s3.example.org, without a path.",
            ),
            Some(endpoint) if endpoint.starts_with("http:") && !self.s3.allow_http => wrong(
                "endpoint",
                "This address is without TLS; use https, or set s3.allow_http = true.",
            ),
            _ if self.s3.region.is_empty() => wrong("region", "Write the region, or leave it out."),
            _ => Ok(()),
        }
    }

    fn validate_connections(&self) -> Result<(), Invalid> {
        let wrong = |field, sentence| {
            Err(Invalid {
                section: "connections",
                field,
                sentence,
            })
        };
        let connections = &self.connections;
        if connections.max == 0 || connections.max > tokio::sync::Semaphore::MAX_PERMITS {
            return wrong("max", "Let in at least 1.");
        }
        if !(MIN_HEADER_BYTES..=MAX_HEADER_BYTES).contains(&connections.header_bytes) {
            return wrong("header_bytes", "Write a size from 8192 to 1048576 bytes.");
        }
        if connections.header_wait.is_zero() {
            return wrong(
                "header_wait",
                "Clients need some time; write at least \"1s\".",
            );
        }
        if connections.body_wait.is_zero() {
            return wrong(
                "body_wait",
                "Clients need some time; write at least \"1s\".",
            );
        }
        if connections.write_wait.is_zero() {
            return wrong(
                "write_wait",
                "Clients need some time; write at least \"1s\".",
            );
        }
        Ok(())
    }
}

fn is_base_url(url: &str) -> bool {
    url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.path().trim_end_matches('/').is_empty()
            && uri.query().is_none()
    })
}
