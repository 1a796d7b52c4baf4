//! The server under measurement.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use respite_server::start::Options;
use respite_tests::engine::Engine;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// Where it is, and how to see its memory.
pub(crate) struct Target {
    pub(crate) name: String,
    /// The addresses of its processes.
    pub(crate) urls: Vec<String>,
    pids: Vec<u32>,
    own: Option<(Vec<Child>, tempfile::TempDir)>,
}

/// What servers are started for a measurement.
#[derive(Clone)]
pub(crate) struct Case {
    name: String,
    store: Store,
    servers: usize,
}

#[derive(Clone)]
enum Store {
    New(Engine),
    Given(String),
}

impl Case {
    /// A new store of this engine's.
    pub(crate) fn of(engine: Engine) -> Self {
        Self {
            name: engine.to_string(),
            store: Store::New(engine),
            servers: 1,
        }
    }

    /// The store at this address.
    pub(crate) fn given(address: &str) -> Self {
        let scheme = address.split(':').next().unwrap_or(address);
        Self {
            name: scheme.to_owned(),
            store: Store::Given(address.to_owned()),
            servers: 1,
        }
    }

    /// The same with so many servers.
    pub(crate) fn on(mut self, servers: usize) -> Self {
        self.servers = servers.max(1);
        if self.servers > 1 {
            self.name = format!("{} x{servers}", self.name);
        }
        self
    }
}

impl Target {
    pub(crate) fn given(url: &str, pid: Option<u32>) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        Self {
            name: url.clone(),
            urls: vec![url],
            pids: pid.into_iter().collect(),
            own: None,
        }
    }

    /// Starts Respite servers in processes of their own, so that their memory can be told from ours.
    pub(crate) async fn start(case: &Case) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let store = match &case.store {
            Store::New(engine) => engine.address(directory.path())?,
            Store::Given(address) => address.clone(),
        };
        let (mut urls, mut children) = (Vec::new(), Vec::new());
        for number in 0..case.servers {
            let tell = format!("address{number}");
            let child = Command::new(std::env::current_exe()?)
                .args(["--store", &store, "--tell", &tell, "--be-server"])
                .arg(directory.path())
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .context("the server does not start")?;
            children.push(child);
            urls.push(told(&directory.path().join(tell)).await?);
        }
        Ok(Self {
            name: case.name.clone(),
            urls,
            pids: children.iter().filter_map(Child::id).collect(),
            own: Some((children, directory)),
        })
    }

    /// Resident memory of the server's processes, where it can be read.
    pub(crate) fn resident_kib(&self) -> Option<u64> {
        let of = |pid: &u32| -> Option<u64> {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        let each: Vec<u64> = self.pids.iter().map(of).collect::<Option<_>>()?;
        (!each.is_empty()).then(|| each.into_iter().sum())
    }

    pub(crate) async fn stop(self) -> Result<()> {
        if let Some((children, _directory)) = self.own {
            for mut child in children {
                child.kill().await?;
            }
        }
        Ok(())
    }
}

/// The address that a server has told in a file.
async fn told(file: &Path) -> Result<String> {
    for _ in 0..200 {
        if let Ok(address) = tokio::fs::read_to_string(file).await
            && !address.is_empty()
        {
            return Ok(format!("http://{address}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the server did not start within ten seconds");
}

/// Serves from `data` until killed; writes its address beside.
pub(crate) fn be_server(data: &Path, store: Option<&str>, tell: &str) -> Result<()> {
    let mut config = respite_server::config::Config::default();
    if let Some(store) = store {
        config.store = store.parse()?;
    }
    config.server.data = data.join("data");
    config.registration.mode = respite_server::config::RegistrationMode::Open;
    config.limits.registrations = 1_000_000;
    config.limits.requests = 1_000_000;
    config.limits.costly_requests = 1_000_000;
    config.connections.max = 20_000;
    config.operations.enabled = false;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async move {
            let listener = respite_server::serve::listen(([127, 0, 0, 1], 0).into())?;
            let address = listener.local_addr()?.to_string();
            let unfinished = data.join(format!("{tell}.new"));
            tokio::fs::write(&unfinished, address).await?;
            tokio::fs::rename(unfinished, data.join(tell)).await?;
            let (options, shutdown) = (Options::default(), CancellationToken::new());
            respite_server::serve::serve(config, listener, options, shutdown).await
        })
}
