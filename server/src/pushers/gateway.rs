//! Calling push gateways, which anybody may name: only with TLS, only on the internet, without following anybody elsewhere,
//! and with bounds on time and size. The operator may name gateways of their own for which the first two do not hold.

mod address;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Client, StatusCode, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::CONTENT_TYPE,
    redirect,
};
use serde::Deserialize;

use self::address::is_public;

/// How long a gateway may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long the way to it may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection is kept that is not used.
const IDLE: Duration = Duration::from_secs(60);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// The way to all gateways.
pub(super) struct Gateways {
    public: Client,
    own: Client,
    trusted: Vec<String>,
}

/// Why a gateway's address cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It is no address.
    NoAddress,
    /// It is without TLS.
    WithoutTls,
    /// It is on this machine or in a private network.
    Private,
}

/// A gateway did not take a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    rejected: Vec<String>,
}

impl Gateways {
    /// A way to public gateways, and to those that the operator trusts (scheme, host and port).
    pub(super) fn new(trusted: &[String]) -> reqwest::Result<Self> {
        let client = || {
            Client::builder()
                .no_proxy()
                .redirect(redirect::Policy::none())
                .timeout(PATIENCE)
                .connect_timeout(CONNECT_PATIENCE)
                .pool_idle_timeout(IDLE)
                .user_agent("respite")
        };
        Ok(Self {
            public: client()
                .https_only(true)
                .dns_resolver(Arc::new(PublicOnly))
                .build()?,
            own: client().build()?,
            trusted: trusted.to_vec(),
        })
    }

    /// Posts a notification; the pushkeys that the gateway rejects.
    pub(super) async fn notify(&self, url: &str, body: Vec<u8>) -> Result<Vec<String>, Failed> {
        let parsed = usable(url, &self.trusted).map_err(|_| Failed)?;
        let client = match is_trusted(&parsed, &self.trusted) {
            true => &self.own,
            false => &self.public,
        };
        let request = client
            .post(parsed)
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        let mut response = request.send().await.map_err(|_| Failed)?;
        if response.status() != StatusCode::OK {
            return Err(Failed);
        }
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| Failed)? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err(Failed);
            }
            answer.extend_from_slice(&chunk);
        }
        let answer: Answer = serde_json::from_slice(&answer).map_err(|_| Failed)?;
        Ok(answer.rejected)
    }
}

/// The address of a gateway, if it may be called, as far as can be told before its name is looked up.
pub(super) fn usable(url: &str, trusted: &[String]) -> Result<Url, Unusable> {
    let url = Url::parse(url).map_err(|_| Unusable::NoAddress)?;
    if is_trusted(&url, trusted) {
        return Ok(url);
    }
    if url.scheme() != "https" {
        return Err(Unusable::WithoutTls);
    }
    let host = url.host_str().ok_or(Unusable::NoAddress)?;
    // A number is never looked up, so that it is looked at here.
    let number = host.trim_start_matches('[').trim_end_matches(']');
    match number.parse::<IpAddr>() {
        Ok(address) if !is_public(address) => Err(Unusable::Private),
        _ if host == "localhost" || host.ends_with(".localhost") => Err(Unusable::Private),
        _ => Ok(url),
    }
}

fn is_trusted(url: &Url, trusted: &[String]) -> bool {
    let origin = url.origin();
    trusted
        .iter()
        .filter_map(|trusted| Url::parse(trusted).ok())
        .any(|trusted| trusted.origin() == origin)
}

/// Looks names up, and knows only public addresses: what is connected to is what was checked.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|it| is_public(it.ip())).collect();
            if public.is_empty() {
                return Err(io::Error::from(io::ErrorKind::AddrNotAvailable).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_needs_tls_and_a_place_on_the_internet_unless_the_operator_trusts_it() {
        let own = ["http://10.0.0.7:5000".to_owned()];
        let at = |host: &str| usable(&format!("{host}/_matrix/push/v1/notify"), &own).map(drop);
        assert_eq!(at("https://push.example.org"), Ok(()));
        assert_eq!(at("http://10.0.0.7:5000"), Ok(()));
        assert_eq!(at("http://10.0.0.7:5001"), Err(Unusable::WithoutTls));
        assert_eq!(at("https://10.0.0.7:5000"), Err(Unusable::Private));
        for private in [
            "https://127.0.0.1",
            "https://0x7f.1",
            "https://2130706433",
            "https://[::1]",
            "https://[::ffff:192.168.0.1]",
            "https://localhost",
            "https://LOCALHOST",
        ] {
            assert_eq!(at(private), Err(Unusable::Private), "{private}");
        }
        assert_eq!(at("http://push.example.org"), Err(Unusable::WithoutTls));
        assert_eq!(at("nowhere"), Err(Unusable::NoAddress));
    }

    /// Every machine knows this name, and what it stands for is its own.
    #[tokio::test]
    async fn a_name_that_stands_for_a_private_address_is_not_found() {
        let name: Name = "localhost".parse().unwrap();
        assert!(PublicOnly.resolve(name).await.is_err());
    }
}
