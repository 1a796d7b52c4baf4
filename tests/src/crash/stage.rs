//! What is struck, and brought back.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use respite_outside::{postgres::Cluster, wire::Wire};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use crate::{
    engine::Engine,
    person::PATIENCE,
    place::{Place, Program, free_address},
    raw::Raw,
};

/// What happens in the middle of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Blow {
    /// The server is killed.
    Server,
    /// PostgreSQL is killed.
    Database,
    /// All connections between the two are cut, at once or after what was asked for last has arrived.
    Connections,
}

impl Blow {
    /// All that can be struck with this engine.
    pub fn all(engine: Engine) -> Vec<Self> {
        match engine {
            Engine::Redb | Engine::Sled => vec![Self::Server],
            Engine::Postgres => vec![Self::Server, Self::Database, Self::Connections],
        }
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "the server killed",
            Self::Database => "the database killed",
            Self::Connections => "the connections cut",
        })
    }
}

/// A server, and its database if it has one of its own.
pub(super) struct Stage {
    pub(super) server: Program,
    place: Place,
    address: String,
    database: Option<Arc<Database>>,
    /// Whether the answers go before the connections do, the next time.
    answers_first: bool,
}

struct Database {
    cluster: Cluster,
    wire: Wire,
}

impl Stage {
    /// A PostgreSQL that is struck is one of its own, with a wire that can be cut.
    pub(super) async fn set(engine: Engine, blows: &[Blow]) -> Result<Self> {
        let alone = blows.iter().all(|blow| *blow == Blow::Server);
        let (place, database) = match engine {
            Engine::Postgres if !alone => {
                let (database, url) = spawn_blocking(Database::start).await??;
                let place = Place::new(&format!("store = {url:?}\n"))?;
                (place, Some(Arc::new(database)))
            }
            _ if alone => (Place::on(engine)?, None),
            _ => bail!("{engine} is in the server; nothing else can be struck"),
        };
        let address = free_address()?;
        Ok(Self {
            server: place.serve_at(&address).await?,
            place,
            address,
            database,
            answers_first: false,
        })
    }

    pub(super) async fn strike(&mut self, blow: Blow) -> Result<()> {
        match blow {
            Blow::Server => self.server.strike().await,
            Blow::Database => self.database(|database| database.cluster.kill()).await,
            Blow::Connections => {
                self.answers_first = !self.answers_first;
                let answers_first = self.answers_first;
                self.database(move |database| {
                    if answers_first {
                        database.wire.cut_answers();
                    } else {
                        database.wire.cut();
                    }
                    Ok(())
                })
                .await
            }
        }
    }

    /// Brings back what was struck. Only a server that was killed is started again; otherwise it goes on by itself.
    pub(super) async fn restore(&mut self, blow: Blow) -> Result<()> {
        match blow {
            Blow::Server => {
                self.server = self.place.serve_at(&self.address).await?;
                Ok(())
            }
            Blow::Database => {
                self.database(|database| database.cluster.resume()).await?;
                self.goes_on().await
            }
            Blow::Connections => self.goes_on().await,
        }
    }

    /// Stops the server; its place remains.
    pub(super) async fn end(self) -> Result<Ended> {
        self.server.stop().await?;
        Ok(Ended {
            place: self.place,
            _database: self.database,
        })
    }

    /// Waits until the server answers what it has to look up in its store.
    async fn goes_on(&self) -> Result<()> {
        let nobody = Raw::nobody(&self.server.url)?.with_token(Some("no token of anybody's"));
        let answers = async {
            while !matches!(nobody.get("v3/account/whoami").await, Ok(answer) if answer.status == 401)
            {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, answers)
            .await
            .context("the server does not go on")
    }

    async fn database(
        &self,
        act: impl FnOnce(&Database) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let database = self.database.clone().context("there is no database")?;
        spawn_blocking(move || act(&database)).await?
    }
}

/// What is left to be looked at.
pub(super) struct Ended {
    pub(super) place: Place,
    _database: Option<Arc<Database>>,
}

impl Database {
    fn start() -> Result<(Self, String)> {
        let cluster = Cluster::start(&[])?;
        let wire = Wire::to(&cluster.address())?;
        let url = cluster.through(&wire, &cluster.fresh()?)?;
        Ok((Self { cluster, wire }, url))
    }
}
