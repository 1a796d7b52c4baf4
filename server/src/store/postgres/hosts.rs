//! The database's hosts, tried in the order in which the URL names them. The driver does so too, but it never comes to the
//! next one while it waits for one that has taken the connection and says nothing.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::Connect;
use futures_util::future::BoxFuture;
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{
    Client, Config, Connection, Error, Socket, config::Host, tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

pub(super) type Link = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Hosts(Arc<Each>);

struct Each {
    others: Vec<Config>,
    last: Config,
    /// How long each may take, so that its turn comes to all of them in the time that there is.
    share: Duration,
    tls: MakeRustlsConnect,
}

impl Hosts {
    /// `most` is how long whoever connects waits altogether.
    pub(super) fn new(config: &Config, tls: MakeRustlsConnect, most: Duration) -> Self {
        let count = config.get_hosts().len().max(config.get_hostaddrs().len());
        let share = most / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let mut each: Vec<_> = match count {
            0 | 1 => vec![config.clone()],
            _ => (0..count).map(|nth| alone(config, nth)).collect(),
        };
        for config in &mut each {
            // One name may stand for two addresses, of which the first leads nowhere.
            config.connect_timeout(share / 2);
        }
        let last = each.pop().unwrap_or_else(|| config.clone());
        Self(Arc::new(Each {
            others: each,
            last,
            share,
            tls,
        }))
    }

    /// The first one that lets us in. The last one has all the time that its caller gives it.
    pub(super) async fn reach(&self) -> Result<(Client, Link), Error> {
        let Each {
            others,
            last,
            share,
            tls,
        } = &*self.0;
        for host in others {
            if let Ok(Ok(reached)) = timeout(*share, host.connect(tls.clone())).await {
                return Ok(reached);
            }
        }
        last.connect(tls.clone()).await
    }
}

impl Connect for Hosts {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        Box::pin(async {
            let (client, link) = self.reach().await?;
            let task = tokio::spawn(async {
                // Who asks through it is told what it ended with.
                let _ = link.await;
            });
            Ok((client, task))
        })
    }
}

/// The same, with one of its hosts only.
fn alone(all: &Config, nth: usize) -> Config {
    let mut one = Config::new();
    match all.get_hosts().get(nth) {
        Some(Host::Tcp(name)) => drop(one.host(name)),
        Some(Host::Unix(directory)) => drop(one.host_path(directory)),
        None => {}
    }
    if let Some(address) = all.get_hostaddrs().get(nth) {
        one.hostaddr(*address);
    }
    if let Some(port) = all.get_ports().get(nth).or(all.get_ports().first()) {
        one.port(*port);
    }
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(password) = all.get_password() {
        one.password(password);
    }
    if let Some(name) = all.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    if let Some(name) = all.get_application_name() {
        one.application_name(name);
    }
    if let Some(most) = all.get_tcp_user_timeout() {
        one.tcp_user_timeout(*most);
    }
    if let Some(interval) = all.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(times) = all.get_keepalives_retries() {
        one.keepalives_retries(times);
    }
    one.keepalives(all.get_keepalives())
        .keepalives_idle(all.get_keepalives_idle())
        .ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .channel_binding(all.get_channel_binding())
        .target_session_attrs(all.get_target_session_attrs());
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_is_asked_for_the_same_with_its_own_port() {
        let url = "postgres://u:p@a:1,b:2/d?target_session_attrs=read-write&options=-cx%3Dy\
            &keepalives_interval=7&keepalives_retries=3&channel_binding=disable&sslmode=require";
        let all: Config = url.parse().unwrap();
        for (nth, host) in [(0, "a:1"), (1, "b:2")] {
            let expected: Config = url.replace("a:1,b:2", host).parse().unwrap();
            assert_eq!(alone(&all, nth), expected);
        }
        let all: Config = "postgres://u@a,b/d?hostaddr=127.0.0.1,127.0.0.2"
            .parse()
            .unwrap();
        let second = "postgres://u@b/d?hostaddr=127.0.0.2".parse().unwrap();
        assert_eq!(alone(&all, 1), second);
    }
}
