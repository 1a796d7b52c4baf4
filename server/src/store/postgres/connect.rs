//! From the address to connections: what is read from the URL, TLS, the pool.

use std::{fs, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
};
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, Socket,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::explain;
use crate::store::engine::StoreError;

/// How long one may wait for a connection: until it is made, and until one of the pool is free.
pub const MAX_CONNECTION_WAIT: Duration = Duration::from_secs(5);

/// How many connections read at the same time, if the address does not say.
pub const DEFAULT_READERS: usize = 8;

/// How many connections one process may read with.
pub const MAX_READERS: usize = 200;

/// What every session is told first. A transaction whose server process hangs must not hold its locks for ever; and what
/// is acknowledged has to be on the disk, even where the database's default is laxer.
const SESSION: &str = "\
    SET idle_in_transaction_session_timeout = '10s'; \
    SET statement_timeout = '60s'; \
    SELECT set_config('synchronous_commit', 'on', false) \
        WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// A database, and how it is reached.
pub struct Target {
    config: Config,
    tls: MakeRustlsConnect,
    readers: usize,
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
    /// with TLS unless `sslmode=disable` says otherwise.
    ///
    /// # Errors
    /// The address, or a file that it names, cannot be used.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let options = Options::take(url)?;
        let mut config: Config = options.rest.parse().map_err(|_| {
            wrong("write it as postgres://USER@HOST/DATABASE; what is wrong is in its middle part or its options")
        })?;
        if let Some(path) = &options.password_file {
            let password = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
            config.password(password.trim_end_matches(['\r', '\n']));
        }
        config.ssl_mode(match options.sslmode.as_deref() {
            Some("disable") => SslMode::Disable,
            Some("require" | "verify-full") => SslMode::Require,
            Some(_) => {
                return Err(wrong("sslmode is disable, require or verify-full"));
            }
            None if config.get_hosts().iter().all(is_this_machine)
                && config.get_hostaddrs().iter().all(IpAddr::is_loopback) =>
            {
                SslMode::Disable
            }
            None => SslMode::Require,
        });
        config
            .application_name("respite-server")
            .connect_timeout(MAX_CONNECTION_WAIT)
            .keepalives_idle(Duration::from_secs(15))
            .tcp_user_timeout(Duration::from_secs(20));
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => trusting(RootCertStore::empty())?,
            _ => trusting(authorities(options.authorities.as_ref())?)?,
        };
        Ok(Self {
            config,
            tls,
            readers: options.readers,
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
    ) -> Result<(Connected, tokio::task::JoinHandle<()>), StoreError> {
        let attempt = async {
            let (client, connection) = self.config.connect(self.tls.clone()).await?;
            let task = tokio::spawn(carry(connection, heard));
            let connected = Connected {
                client,
                task: task.abort_handle(),
            };
            connected.client.batch_execute(SESSION).await?;
            Ok::<_, tokio_postgres::Error>((connected, task))
        };
        tokio::time::timeout(MAX_CONNECTION_WAIT, attempt)
            .await
            .map_err(|_| StoreError::Unavailable("the database does not answer".to_owned()))?
            .map_err(|error| explain(&error))
    }

    /// The connections that read.
    pub(super) fn pool(&self) -> Result<Pool, StoreError> {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(self.config.clone(), self.tls.clone(), recycling);
        Pool::builder(manager)
            .max_size(self.readers)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(MAX_CONNECTION_WAIT))
            .create_timeout(Some(MAX_CONNECTION_WAIT))
            .build()
            .map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}

/// What the URL says that the driver does not know, and the URL without it.
struct Options {
    rest: String,
    sslmode: Option<String>,
    authorities: Option<PathBuf>,
    password_file: Option<PathBuf>,
    readers: usize,
}

impl Options {
    fn take(url: &str) -> Result<Self, StoreError> {
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
                ("sslmode", value) => options.sslmode = Some(value.to_owned()),
                ("sslrootcert", value) => options.authorities = Some(value.into()),
                ("password_file", value) => options.password_file = Some(value.into()),
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
async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    mut connection: Connection<Socket, S>,
    heard: impl Fn(String),
) {
    while let Some(Ok(message)) =
        std::future::poll_fn(|context| connection.poll_message(context)).await
    {
        if let AsyncMessage::Notification(notification) = message {
            heard(notification.payload().to_owned());
        }
    }
}

fn wrong(sentence: &str) -> StoreError {
    StoreError::Unavailable(format!("the address of the database: {sentence}"))
}

fn unreadable(path: &std::path::Path, error: &dyn std::error::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        Target::parse(url).unwrap().config.get_ssl_mode()
    }

    #[test]
    fn another_machine_is_spoken_to_with_tls_unless_told_otherwise() {
        assert_eq!(
            mode("postgres://respite@db.example.org/r?sslmode=disable"),
            SslMode::Disable
        );
        assert_eq!(mode("postgres://respite@127.0.0.1/r"), SslMode::Disable);
        assert_eq!(mode("postgres://respite@localhost/r"), SslMode::Disable);
        assert_eq!(
            mode("postgres:///r?host=/run/postgresql&user=respite"),
            SslMode::Disable
        );
        for url in [
            "postgres://respite@db.example.org/r",
            "postgres://respite@localhost/r?hostaddr=203.0.113.5",
            "postgres://respite@localhost/r?sslmode=verify-full",
        ] {
            match Target::parse(url) {
                Ok(target) => assert_eq!(target.config.get_ssl_mode(), SslMode::Require),
                Err(error) => assert!(error.to_string().contains("sslrootcert"), "{error}"),
            }
        }
    }

    #[test]
    fn the_password_may_stand_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        fs::write(&file, "not a secret\n").unwrap();
        let url = format!(
            "postgres://respite@127.0.0.1/r?password_file={}&readers=3",
            file.display()
        );
        let target = Target::parse(&url).unwrap();
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
            let error = Target::parse(url).err().unwrap().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
