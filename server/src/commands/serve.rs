use std::{io::Write, net::SocketAddr, process::ExitCode};

use anyhow::Context;
use clap::Args;
use respite_server::{Options, Server, logging, serve};
use ruma::OwnedServerName;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Place;

/// Serve, until SIGTERM or Ctrl-C
///
/// Needs no configuration. The first start with a data directory makes the server's key and prints a code with which the
/// first therapist registers.
#[derive(Args)]
#[command(after_help = "\
Examples:
  respite-server serve                                   # on 127.0.0.1:8008, data in ./respite-data
  respite-server serve --config /etc/respite.toml
  respite-server serve --data /srv/respite --listen 0.0.0.0:8448 --server-name respite.example.org")]
pub(super) struct Serve {
    #[command(flatten)]
    place: Place,
    /// The address for clients; overrides `server.listen`.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// The name after the colon in user ids, fixed at the first start; overrides `server.name`.
    #[arg(long, value_name = "NAME")]
    server_name: Option<OwnedServerName>,
}

impl Serve {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut config = self.place.load()?;
        if let Some(listen) = self.listen {
            config.server.listen = listen;
        }
        if let Some(name) = self.server_name {
            config.server.name = name;
        }
        logging::start(&config.log);
        let shutdown = CancellationToken::new();
        stop_on_signals(shutdown.clone())?;
        let address = config.server.listen;
        let listener =
            serve::listen(address).with_context(|| format!("{address} cannot be listened on"))?;
        let server = Server::open(config, Options::default()).await?;
        announce(&server, listener.local_addr()?)?;
        server.run(listener, shutdown).await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Says where the server is, and on the first start the first therapist's code: this once.
fn announce(server: &Server, address: SocketAddr) -> std::io::Result<()> {
    let scheme = if server.has_tls() { "https" } else { "http" };
    let name = server.app().server_name();
    let mut out = std::io::stdout();
    writeln!(out, "Respite serves {name} at {scheme}://{address}")?;
    if let Some(code) = server.first_code() {
        writeln!(
            out,
            "\nThe first therapist registers with this code, which works once and is not shown again:"
        )?;
        writeln!(out, "\n    {code}\n")?;
        writeln!(
            out,
            "For another one: respite-server invite --role therapist"
        )?;
    }
    out.flush()
}

/// The first signal stops the server in order; the second ends the process at once.
fn stop_on_signals(shutdown: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for exit_now in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if exit_now {
                std::process::exit(1);
            }
            shutdown.cancel();
        }
    });
    Ok(())
}
