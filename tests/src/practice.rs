//! A practice: a real server with a data directory of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use respite_protocol::Role;
use respite_server::{config::Config, serve::Server, start::Options, state::App};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::place::free_address;

/// A server that runs in this process, on a port of its own.
pub struct Practice {
    url: String,
    config: Config,
    directory: TempDir,
    options: Options,
    running: Option<Running>,
}

struct Running {
    app: App,
    shutdown: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl Practice {
    /// Opens a practice in a fresh directory, with the defaults that a new installation has.
    pub async fn open() -> Result<Self> {
        Self::open_with(|_| ()).await
    }

    /// Opens a practice whose operator has changed the configuration.
    pub async fn open_with(change: impl FnOnce(&mut Config)) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut config = Config::default();
        config.server.data = directory.path().join("data");
        config.limits.registrations = 100_000;
        config.operations.enabled = false;
        change(&mut config);
        let options = Options::default();
        let mut practice = Self {
            url: String::new(),
            config,
            directory,
            options,
            running: None,
        };
        practice.start().await?;
        Ok(practice)
    }

    /// Starts the server again on the data that is there, at the same address if it has had one.
    pub async fn start(&mut self) -> Result<()> {
        let address = match self.url.strip_prefix("http://") {
            Some(address) => address.to_owned(),
            None => free_address()?,
        };
        let listener = TcpListener::bind(address).await?;
        self.url = format!("http://{}", listener.local_addr()?);
        let shutdown = CancellationToken::new();
        let server = Server::open(self.config.clone(), self.options.clone()).await?;
        let app = server.app().clone();
        let task = tokio::spawn(server.run(listener, shutdown.clone()));
        self.running = Some(Running {
            app,
            shutdown,
            task,
        });
        Ok(())
    }

    /// Stops the server as SIGTERM does, and waits until everything is on the disk.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(Running {
            app,
            shutdown,
            task,
        }) = self.running.take()
        {
            shutdown.cancel();
            task.await??;
            drop(app);
        }
        Ok(())
    }

    /// The address that clients are given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.config.server.data
    }

    /// A directory beside the server's, for clients.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The running server's own view, for what no client can see.
    pub fn app(&self) -> Result<&App> {
        Ok(&self.running.as_ref().context("the practice is closed")?.app)
    }

    /// A code of the operator's, good for one registration.
    pub async fn code(&self, role: Role) -> Result<String> {
        self.codes(role, 1).await
    }

    /// A code of the operator's, good for several registrations.
    pub async fn codes(&self, role: Role, uses: u32) -> Result<String> {
        let week = std::time::Duration::from_secs(7 * 24 * 60 * 60);
        let code = respite_server::invites::make(self.app()?, None, role, uses, week)
            .await
            .map_err(|error| anyhow::anyhow!("the operator gets no code: {error:?}"))?;
        Ok(code.code.expose().to_owned())
    }
}
