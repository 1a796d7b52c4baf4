//! The database's URL: what the driver knows of it, what only we know, and how it is shown.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use percent_encoding::percent_decode_str;
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

use crate::store::engine::StoreError;

/// How many connections read at the same time, if the address does not say.
const DEFAULT_READERS: usize = 8;

/// How many connections one process may read with.
const MAX_READERS: usize = 200;

/// What the URL says that the driver does not know, and the URL without it.
pub(super) struct Options {
    rest: String,
    sslmode: Option<String>,
    pub(super) authorities: Option<PathBuf>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) readers: usize,
}

impl Options {
    pub(super) fn take(url: &str) -> Result<Self, StoreError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut options = Self {
            rest: base.to_owned(),
            sslmode: None,
            authorities: None,
            password_file: None,
            readers: DEFAULT_READERS,
        };
        let mut others = Vec::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=').unwrap_or((option, "")) {
                ("sslmode", value) => options.sslmode = Some(decoded(value)?),
                ("sslrootcert", value) => options.authorities = Some(decoded(value)?.into()),
                ("password_file", value) => options.password_file = Some(decoded(value)?.into()),
                ("readers", value) => {
                    let readers = value.parse().ok();
                    options.readers = readers
                        .filter(|readers| (1..=MAX_READERS).contains(readers))
                        .ok_or_else(|| wrong("readers is a number from 1 to 200"))?;
                }
                _ => others.push(option),
            }
        }
        if !others.is_empty() {
            options.rest = format!("{base}?{}", others.join("&"));
        }
        Ok(options)
    }

    /// What the driver makes of it, with the TLS that is meant.
    pub(super) fn config(&self) -> Result<Config, StoreError> {
        let mut config: Config = self.rest.parse().map_err(|_| {
            wrong("write it as postgres://USER@HOST/DATABASE; what is wrong is in its middle part or its options")
        })?;
        let mode = ssl_mode(self.sslmode.as_deref(), &config)?;
        config.ssl_mode(mode);
        Ok(config)
    }
}

fn decoded(value: &str) -> Result<String, StoreError> {
    percent_decode_str(value)
        .decode_utf8()
        .map(String::from)
        .map_err(|_| wrong("an option's value is not UTF-8 after percent-decoding"))
}

fn ssl_mode(asked: Option<&str>, config: &Config) -> Result<SslMode, StoreError> {
    match asked {
        Some("disable") => Ok(SslMode::Disable),
        Some("require" | "verify-full") => Ok(SslMode::Require),
        Some(_) => Err(wrong("sslmode is disable, require or verify-full")),
        None if config.get_hosts().iter().all(is_this_machine)
            && config.get_hostaddrs().iter().all(IpAddr::is_loopback) =>
        {
            Ok(SslMode::Disable)
        }
        None => Ok(SslMode::Require),
    }
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse()
                    .is_ok_and(|address: IpAddr| address.is_loopback())
        }
    }
}

/// The same URL without a password in it; one that cannot be read without anything.
pub fn without_password(url: &str) -> String {
    const NOTHING: &str = "postgres://…";
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut short = match base.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", without_userinfo_password(rest)),
        None => return NOTHING.to_owned(),
    };
    let options: Vec<_> = query
        .split('&')
        .filter(|option| !option.is_empty() && !option.starts_with("password="))
        .collect();
    if !options.is_empty() {
        short.push('?');
        short.push_str(&options.join("&"));
    }
    // Whatever the driver would still take for a password was written in a way that was not thought of here.
    let shown = Options::take(&short).and_then(|options| options.config());
    match (
        Options::take(url).and_then(|options| options.config()),
        shown,
    ) {
        (Ok(_), Ok(config)) if config.get_password().is_none() => short,
        _ => NOTHING.to_owned(),
    }
}

fn without_userinfo_password(rest: &str) -> String {
    match rest.split_once('@') {
        Some((userinfo, rest)) => {
            let user = userinfo.split_once(':').map_or(userinfo, |(user, _)| user);
            format!("{user}@{rest}")
        }
        None => rest.to_owned(),
    }
}

pub(super) fn wrong(sentence: &str) -> StoreError {
    StoreError::Unavailable(format!("the address of the database: {sentence}"))
}

pub(super) fn unreadable(path: &Path, error: &dyn std::error::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        let options = Options::take(url).unwrap();
        options.config().unwrap().get_ssl_mode()
    }

    #[test]
    fn another_machine_is_spoken_to_with_tls_unless_told_otherwise() {
        for url in [
            "postgres://respite@db.example.org/r?sslmode=disable",
            "postgres://respite@127.0.0.1/r",
            "postgres://respite@localhost/r",
            "postgres:///r?host=/run/postgresql&user=respite",
        ] {
            assert_eq!(mode(url), SslMode::Disable, "{url}");
        }
        for url in [
            "postgres://respite@db.example.org/r",
            "postgres://respite@localhost,db.example.org/r",
            "postgres://respite@localhost/r?hostaddr=203.0.113.5",
            "postgres://respite@localhost/r?sslmode=verify-full",
        ] {
            assert_eq!(mode(url), SslMode::Require, "{url}");
        }
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("postgres://u:secret@h/d", "postgres://u@h/d"),
            ("postgres://u@h:5432/d", "postgres://u@h:5432/d"),
            (
                "postgres://u:secret/@h/d?readers=3",
                "postgres://u@h/d?readers=3",
            ),
            (
                "postgresql://h/d?user=u&password=secret&sslmode=disable",
                "postgresql://h/d?user=u&sslmode=disable",
            ),
            (
                "postgres://u@h/d?password_file=/etc/a@b",
                "postgres://u@h/d?password_file=/etc/a@b",
            ),
            ("postgres://u@h/d?pass%77ord=secret", "postgres://…"),
            ("postgres://u:secret?@h/d", "postgres://…"),
            ("postgres://u:sec@ret@h:x/d", "postgres://…"),
        ] {
            assert_eq!(without_password(url), shown, "{url}");
        }
    }
}
