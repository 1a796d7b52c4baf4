//! A practice: a real server with a data directory of its own.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use respite_outside::postgres::Cluster;
use respite_protocol::Role;
use respite_server::{
    clock::Clock,
    config::Config,
    serve::Server,
    start::{BLOBS, Options},
    state::App,
    store::{Address, STORE_FILE},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{balancer::Balancer, place::free_address};

/// A server that runs in this process, on a port of its own; or several on one store behind a load balancer.
pub struct Practice {
    url: String,
    config: Config,
    directory: TempDir,
    options: Options,
    forward: Arc<AtomicU64>,
    running: Option<Running>,
    several: Option<Several>,
}

/// Further servers on the same store, and what stands before all of them.
struct Several {
    others: Vec<Other>,
    balancer: Balancer,
}

struct Other {
    config: Config,
    url: String,
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
        let forward = Arc::new(AtomicU64::new(0));
        let options = Options {
            clock: Clock::put_forward(forward.clone()),
            ..Options::default()
        };
        let mut practice = Self {
            url: String::new(),
            config,
            directory,
            options,
            forward,
            running: None,
            several: None,
        };
        practice.start().await?;
        Ok(practice)
    }

    /// Opens a practice with so many servers on one store, each request of a client's going to the next of them. The store
    /// is a real PostgreSQL; where there is none, an embedded one that they share within this process.
    pub async fn open_several(servers: usize) -> Result<Self> {
        // On the heap: a type that is too deep cannot be compiled.
        Box::pin(Self::open_several_with(servers, |_| ())).await
    }

    /// The same, whose operator has changed the configuration.
    pub async fn open_several_with(
        servers: usize,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self> {
        let database = Cluster::shared().map(Cluster::fresh).transpose()?;
        let database: Option<Address> = database.map(|url| url.parse()).transpose()?;
        let opened = Self::open_with(|config| {
            if let Some(database) = &database {
                config.store = database.clone();
            }
            change(config);
        });
        let mut practice = Box::pin(opened).await?;
        let (mut others, mut urls) = (Vec::new(), vec![practice.url.clone()]);
        for number in 2..=servers {
            let mut config = practice.config.clone();
            config.server.data = practice.directory.path().join(format!("data{number}"));
            if database.is_none() {
                // Names a store that is not in the directory of its own.
                config.store = Address::Redb(Some(practice.data().join(STORE_FILE)));
            }
            std::fs::create_dir(&config.server.data)?;
            std::os::unix::fs::symlink(
                practice.data().join(BLOBS),
                config.server.data.join(BLOBS),
            )?;
            let url = format!("http://{}", free_address()?);
            urls.push(url.clone());
            others.push(Other { config, url });
        }
        let balancer = Balancer::before(urls).await?;
        practice.several = Some(Several { others, balancer });
        practice.start_others().await?;
        Ok(practice)
    }

    /// The address of each server, without the load balancer.
    pub fn servers(&self) -> Vec<String> {
        let others = self.several.iter().flat_map(|several| &several.others);
        let mut urls = vec![self.url.clone()];
        urls.extend(others.map(|other| other.url.clone()));
        urls
    }

    /// Starts the others of several servers. They run as long as the test.
    async fn start_others(&self) -> Result<()> {
        let embedded = !matches!(self.config.store, Address::Postgres(_));
        let options = Options {
            store: embedded
                .then(|| self.app().map(|app| app.store.clone()))
                .transpose()?,
            ..self.options.clone()
        };
        for other in self.several.iter().flat_map(|several| &several.others) {
            run(&other.url, other.config.clone(), options.clone()).await?;
        }
        Ok(())
    }

    /// Starts the server again on the data that is there, at the same address if it has had one.
    pub async fn start(&mut self) -> Result<()> {
        let address = match self.url.strip_prefix("http://") {
            Some(address) => address.to_owned(),
            None => free_address()?,
        };
        let (running, url) = run(&address, self.config.clone(), self.options.clone()).await?;
        (self.running, self.url) = (Some(running), url);
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

    /// Puts the servers' clock forward.
    pub fn wait(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.forward.fetch_add(millis, Ordering::Relaxed);
    }

    /// The address that clients are given.
    pub fn url(&self) -> &str {
        match &self.several {
            Some(several) => several.balancer.url(),
            None => &self.url,
        }
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

/// Opens a server and lets it run at an address.
async fn run(address: &str, config: Config, options: Options) -> Result<(Running, String)> {
    let address = address.strip_prefix("http://").unwrap_or(address);
    let listener = TcpListener::bind(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let shutdown = CancellationToken::new();
    let server = Server::open(config, options).await?;
    let app = server.app().clone();
    let task = tokio::spawn(server.run(listener, shutdown.clone()));
    let running = Running {
        app,
        shutdown,
        task,
    };
    Ok((running, url))
}
