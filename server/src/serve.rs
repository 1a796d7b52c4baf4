//! Serves: from an open server and a listener to answered requests, until it is told to stop.

mod around;
mod connection;
mod patience;
mod tls;

use std::net::SocketAddr;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::connection::listen;
use self::{connection::Acceptor, tls::Tls};
use crate::{
    admin::{self, Answer, Command},
    config::Config,
    ephemeral::typing,
    metrics, presence, pushers, scheduler,
    start::{self, Options},
    state::App,
    trimming,
};

/// Opens the server that the configuration describes and serves it until `shutdown` is cancelled.
///
/// # Errors
/// As [`Server::open`] and [`Server::run`].
pub async fn serve(
    config: Config,
    listener: TcpListener,
    options: Options,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    Server::open(config, options)
        .await?
        .run(listener, shutdown)
        .await
}

/// A server that is open and not serving yet.
pub struct Server {
    app: App,
    first_code: Option<String>,
    tls: Option<Tls>,
    admin: Option<tokio::net::UnixListener>,
    operations: Option<TcpListener>,
    recorder: PrometheusHandle,
}

impl Server {
    /// Opens the data directory that the configuration names (see [`start::open`]), the admin socket in it and the listener
    /// for operations.
    ///
    /// # Errors
    /// The directory, the certificate or the listener's address cannot be used; in a sentence for the operator.
    pub async fn open(config: Config, options: Options) -> anyhow::Result<Self> {
        let tls = Tls::load(&config.tls)?;
        let recorder = metrics::recorder()?;
        let operations = match config.operations.enabled.then_some(config.operations.listen) {
            Some(address) => Some(listen(address).with_context(|| {
                format!(
                    "{address} cannot be listened on for metrics and health. Set operations.listen to another address, or \
                     operations.enabled = false"
                )
            })?),
            None => None,
        };
        let opened = start::open(config, options).await?;
        let first_code = match opened.first_start {
            true => Some(first_code(&opened.app).await?),
            false => None,
        };
        let admin = admin::socket::bind(&opened.app.config.server.data);
        Ok(Self {
            app: opened.app,
            first_code,
            tls,
            admin,
            operations,
            recorder,
        })
    }

    /// The server's parts.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// On the first start with a data directory: a code that makes the first therapist's account. It is told this once.
    pub fn first_code(&self) -> Option<&str> {
        self.first_code.as_deref()
    }

    /// Where `/metrics` and `/health` are served.
    pub fn operations_address(&self) -> Option<SocketAddr> {
        self.operations
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
    }

    /// Whether it speaks TLS itself.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves until `shutdown` is cancelled; then takes no further connection, lets long polls answer, waits for requests
    /// under way (no longer than `connections.shutdown_grace`), and closes the store.
    ///
    /// # Errors
    /// The listener's address is gone.
    pub async fn run(
        mut self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let _stop = self.app.shutdown.clone().drop_guard();
        let mut beside = self.background();
        let connections = &self.app.config.connections;
        let router = around::wrap(crate::router(self.app.clone()));
        let tls = self.has_tls();
        let acceptor = Acceptor::new(connections, router, self.tls.take());
        let address = listener
            .local_addr()
            .context("the listener has no address")?;
        tracing::info!(tls, port = address.port(), "serving");
        acceptor.accept(listener, &shutdown).await;

        tracing::info!("stopping");
        self.app.shutdown.cancel();
        if !acceptor.finish(connections.shutdown_grace).await {
            tracing::warn!("some requests did not finish in time and were cut off");
        }
        beside.shutdown().await;
        tracing::info!("stopped");
        Ok(())
    }

    /// What runs beside the requests.
    fn background(&mut self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(metrics::upkeep(self.recorder.clone()));
        tasks.spawn(scheduler::run(self.app.clone()));
        tasks.spawn(presence::run(self.app.clone()));
        tasks.spawn(pushers::run(self.app.clone()));
        tasks.spawn(trimming::run(self.app.clone()));
        tasks.spawn(typing::run(self.app.clone()));
        if let Some(listener) = self.operations.take() {
            let router = metrics::router(self.app.clone(), self.recorder.clone());
            tasks.spawn(async move {
                if axum::serve(listener, router).await.is_err() {
                    tracing::error!("the listener for operations has failed");
                }
            });
        }
        if let Some(listener) = self.admin.take() {
            tasks.spawn(admin::socket::serve(self.app.clone(), listener));
        }
        tasks.spawn(tls::reload_on_hangup(self.tls.clone()));
        tasks
    }
}

async fn first_code(app: &App) -> anyhow::Result<String> {
    match admin::execute(app, Command::first_invite()).await? {
        Answer::Code { code, .. } => Ok(code),
        _ => anyhow::bail!("no code was made"),
    }
}

#[cfg(test)]
mod tests;
