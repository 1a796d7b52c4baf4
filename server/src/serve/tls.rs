//! The server's own TLS: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN; the certificate is read again on SIGHUP.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use anyhow::Context;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use crate::config;

/// What is spoken, the preferred first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate and its key, as they are at present.
#[derive(Clone)]
pub(super) struct Tls(Arc<Inner>);

struct Inner {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<TlsAcceptor>,
}

impl Tls {
    /// Reads the files that are configured, if any are.
    pub(super) fn load(config: &config::Tls) -> anyhow::Result<Option<Self>> {
        let (Some(certificate), Some(key)) = (&config.certificate, &config.key) else {
            return Ok(None);
        };
        let current = RwLock::new(read(certificate, key)?);
        let (certificate, key) = (certificate.clone(), key.clone());
        Ok(Some(Self(Arc::new(Inner {
            certificate,
            key,
            current,
        }))))
    }

    /// What the next connection is greeted with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.0
            .current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn reload(&self) {
        match read(&self.0.certificate, &self.0.key) {
            Ok(fresh) => {
                *self
                    .0
                    .current
                    .write()
                    .unwrap_or_else(PoisonError::into_inner) = fresh;
                tracing::info!("the certificate was read again");
            }
            Err(error) => tracing::error!("the old certificate stays in use: {error:#}"),
        }
    }
}

/// Reads the files again whenever the process gets SIGHUP; files that are wrong change nothing. Without TLS, there is nothing
/// to read, and the signal does no harm.
pub(super) async fn reload_on_hangup(tls: Option<Tls>) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        return;
    };
    while hangups.recv().await.is_some() {
        if let Some(tls) = &tls {
            tls.reload();
        }
    }
}

fn read(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let unreadable = |path: &Path| format!("{} cannot be read as PEM", path.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .with_context(|| unreadable(certificate))?;
    let private = PrivateKeyDer::from_pem_file(key).with_context(|| unreadable(key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| {
            format!(
                "{} and {} do not belong together",
                certificate.display(),
                key.display()
            )
        })?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(TlsAcceptor::from(Arc::new(config)))
}
