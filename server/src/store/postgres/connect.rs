//! From the address to connections: what is read from the URL, TLS, the pool.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_postgres::{AsyncMessage, Client, Config, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    Waits, explain,
    hosts::{Hosts, Link},
    in_time,
    readers::Readers,
    url::{Options, unreadable, wrong},
};
use crate::store::engine::StoreError;

/// What every session is told first. A transaction whose server process hangs must not hold its locks for ever; and what
/// is acknowledged has to be on the disk, even where the database's default is laxer.
const SESSION: &str = "\
    SET idle_in_transaction_session_timeout = '10s'; \
    SET statement_timeout = '60s'; \
    SELECT set_config('synchronous_commit', 'on', false) \
        WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// A database, and how it is reached.
pub(super) struct Target {
    config: Config,
    hosts: Hosts,
    readers: usize,
    pub(super) waits: Waits,
}

/// A connection of one's own, and the task that moves its bytes.
pub(super) struct Connected {
    pub(super) client: Client,
    task: AbortHandle,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Target {
    /// Reads `postgres://USER@HOST/DATABASE?…`. Besides what the driver knows: `sslmode` (`disable`, `require`,
    /// `verify-full`; the last two are one, since a certificate is always verified), `sslrootcert` (a PEM file of authorities
    /// to trust in place of the system's), `password_file`, and `readers`. A host that is not this machine is spoken to
    /// with TLS unless `sslmode=disable` says otherwise. Values are percent-encoded where they hold `%`, `&` or `#`.
    ///
    /// # Errors
    /// The address, or a file that it names, cannot be used.
    pub(super) fn parse(url: &str, waits: Waits) -> Result<Self, StoreError> {
        let options = Options::take(url)?;
        let mut config = options.config()?;
        if let Some(path) = &options.password_file {
            let password = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
            config.password(password.trim_end_matches(['\r', '\n']));
        }
        config
            .application_name("respite-server")
            .keepalives_idle(Duration::from_secs(15))
            .tcp_user_timeout(Duration::from_secs(20));
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => trusting(RootCertStore::empty())?,
            _ => trusting(authorities(options.authorities.as_ref())?)?,
        };
        Ok(Self {
            hosts: Hosts::new(&config, tls, waits.connection),
            config,
            readers: options.readers,
            waits,
        })
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Connected, StoreError> {
        let (connected, _) = self.connect_with(drop).await?;
        Ok(connected)
    }

    /// A new connection, and what the database tells it unasked. `heard` is called for each notification's payload.
    pub(super) async fn connect_with(
        &self,
        heard: impl Fn(String) + Send + 'static,
    ) -> Result<(Connected, JoinHandle<()>), StoreError> {
        let attempt = async {
            let (client, link) = self.hosts.reach().await?;
            let task = tokio::spawn(carry(link, heard));
            let connected = Connected {
                client,
                task: task.abort_handle(),
            };
            connected.client.batch_execute(SESSION).await?;
            Ok::<_, tokio_postgres::Error>((connected, task))
        };
        in_time(self.waits.connection, attempt)
            .await?
            .map_err(|error| explain(&error))
    }

    /// The connections that read.
    pub(super) fn readers(&self) -> Result<Readers, StoreError> {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_connect(self.config.clone(), self.hosts.clone(), recycling);
        let begin = Hook::async_fn(|client: &mut ClientWrapper, _| {
            Box::pin(async move {
                let begun = client.batch_execute(SESSION).await;
                begun.map_err(HookError::Backend)
            })
        });
        let pool = Pool::builder(manager)
            .max_size(self.readers)
            .post_create(begin)
            .build()
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Readers::new(pool, self.waits))
    }
}

fn authorities(file: Option<&PathBuf>) -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| unreadable(path, &error))?;
            roots.add_parsable_certificates(certificates);
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(wrong(
            "no certificate authority is known to verify it with; name a file with sslrootcert",
        ));
    }
    Ok(roots)
}

fn trusting(roots: RootCertStore) -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Unavailable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Moves the bytes of a connection until it ends.
async fn carry(mut link: Link, heard: impl Fn(String)) {
    while let Some(Ok(message)) = std::future::poll_fn(|context| link.poll_message(context)).await {
        if let AsyncMessage::Notification(notification) = message {
            heard(notification.payload().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_may_stand_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a password & more");
        fs::write(&file, "not a secret\n").unwrap();
        let url = format!(
            "postgres://respite@127.0.0.1/r?password_file={}&readers=3",
            file.display()
                .to_string()
                .replace(' ', "%20")
                .replace('&', "%26")
        );
        let target = Target::parse(&url, Waits::default()).unwrap();
        assert_eq!(
            target.config.get_password(),
            Some(b"not a secret".as_slice())
        );
        assert_eq!(target.readers, 3);
    }

    #[test]
    fn what_cannot_be_used_is_told_without_the_password() {
        for url in [
            "postgres://u:secret@h:port/d",
            "postgres://u:secret@h/d?sslmode=prefer",
            "postgres://u:secret@h/d?readers=0",
            "postgres://u:secret@h/d?sslrootcert=/nowhere",
            "postgres://u:secret@h/d?colour=blue",
        ] {
            let error = Target::parse(url, Waits::default())
                .err()
                .unwrap()
                .to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
