//! The server under measurement.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use respite_server::start::Options;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// Where it is, and how to see its memory.
pub(crate) struct Target {
    pub(crate) url: String,
    pid: Option<u32>,
    own: Option<(Child, tempfile::TempDir)>,
}

impl Target {
    pub(crate) fn given(url: &str, pid: Option<u32>) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            pid,
            own: None,
        }
    }

    /// Starts a Respite server in a process of its own, so that its memory can be told from ours.
    pub(crate) async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let child = Command::new(std::env::current_exe()?)
            .arg("--be-server")
            .arg(directory.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("the server does not start")?;
        let address_file = directory.path().join("address");
        for _ in 0..200 {
            if let Ok(address) = tokio::fs::read_to_string(&address_file).await
                && !address.is_empty()
            {
                let pid = child.id();
                return Ok(Self {
                    url: format!("http://{address}"),
                    pid,
                    own: Some((child, directory)),
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the server did not start within ten seconds");
    }

    /// Resident memory of the server's process, where it can be read.
    pub(crate) fn resident_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    pub(crate) async fn stop(self) -> Result<()> {
        if let Some((mut child, _directory)) = self.own {
            child.kill().await?;
        }
        Ok(())
    }
}

/// Serves from `data` until killed; writes its address beside.
pub(crate) fn be_server(data: &Path) -> Result<()> {
    let mut config = respite_server::config::Config::default();
    config.server.data = data.join("data");
    config.registration.mode = respite_server::config::RegistrationMode::Open;
    config.limits.registrations = 1_000_000;
    config.operations.enabled = false;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async move {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
            let address = listener.local_addr()?.to_string();
            tokio::fs::write(data.join("address.new"), address).await?;
            tokio::fs::rename(data.join("address.new"), data.join("address")).await?;
            let (options, shutdown) = (Options::default(), CancellationToken::new());
            respite_server::serve::serve(config, listener, options, shutdown).await
        })
}
