//! The real program, several times, on one database; and the connections between all of them.

use std::process::Stdio;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use respite_outside::{postgres::Cluster, wire::Wire};
use tempfile::TempDir;
use tokio::task::{block_in_place, spawn_blocking};

use super::{Outcome, Violation};
use crate::place::{Place, Program, free_address};

/// What dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    /// A server, by SIGKILL.
    Server,
    /// A server's connections to the database.
    Database,
    /// The same, after what was asked for last has arrived: nobody hears what came of it.
    DatabaseAnswers,
    /// The connections of a server's clients.
    Clients,
    /// The same, after their last requests have arrived.
    ClientsAnswers,
}

impl Blow {
    /// In the order in which they come: every other one kills.
    pub(super) const IN_TURN: [Self; 8] = [
        Self::Server,
        Self::Database,
        Self::Server,
        Self::ClientsAnswers,
        Self::Server,
        Self::DatabaseAnswers,
        Self::Server,
        Self::Clients,
    ];
}

/// Several servers on one database.
pub(super) struct Servers {
    members: Vec<Member>,
    first_code: String,
    _blobs: TempDir,
}

struct Member {
    place: Place,
    /// Where it listens.
    address: String,
    program: Option<Program>,
    to_database: Wire,
    /// Clients come this way.
    from_clients: Wire,
}

impl Servers {
    /// They start at once, on an empty database.
    pub(super) async fn start(count: usize) -> Result<Self> {
        let blobs = tempfile::tempdir()?;
        let folder = blobs.path().to_owned();
        let members = spawn_blocking(move || {
            let cluster = Cluster::shared().context("PostgreSQL is not installed")?;
            let (address, database) = (cluster.address(), cluster.fresh()?);
            let member = |_| {
                let to_database = Wire::to(&address)?;
                let url = database.replace(&address, &to_database.address());
                let blobs = format!("directory:{}", folder.display());
                Member::new(
                    &format!("store = {url:?}\nblobs = {blobs:?}\n"),
                    to_database,
                )
            };
            (0..count).map(member).collect::<Result<Vec<_>>>()
        });
        let mut members = members.await??;
        try_join_all(members.iter_mut().map(Member::serve)).await?;
        let mut codes = members
            .iter()
            .filter_map(|member| member.program.as_ref()?.first_code.clone());
        Ok(Self {
            first_code: codes.next().context("no server has told a code")?,
            members,
            _blobs: blobs,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.members.len()
    }

    /// Where clients find them.
    pub(super) fn urls(&self) -> Vec<String> {
        let url = |member: &Member| format!("http://{}", member.from_clients.address());
        self.members.iter().map(url).collect()
    }

    /// The first therapist's code, and where to use it.
    pub(super) fn first_code(&self) -> Result<(String, &str)> {
        let url = self.urls().into_iter().next().context("no servers")?;
        Ok((url, &self.first_code))
    }

    pub(super) async fn strike(&mut self, server: usize, blow: Blow) -> Result<()> {
        let member = self.members.get_mut(server).context("no such server")?;
        match blow {
            Blow::Server => match member.program.take() {
                Some(program) => program.kill().await?,
                None => anyhow::bail!("server {server} is dead already"),
            },
            Blow::Database => member.to_database.cut(),
            Blow::DatabaseAnswers => block_in_place(|| member.to_database.cut_answers()),
            Blow::Clients => member.from_clients.cut(),
            Blow::ClientsAnswers => block_in_place(|| member.from_clients.cut_answers()),
        }
        Ok(())
    }

    /// Starts a server again that was killed.
    pub(super) async fn bring_back(&mut self, server: usize) -> Result<()> {
        let member = self.members.get_mut(server).context("no such server")?;
        member.serve().await
    }

    /// Stops them in order, and looks for what they say themselves: panics in their logs, disorder in the store.
    pub(super) async fn end(self, outcome: &mut Outcome) -> Result<()> {
        let mut places = Vec::new();
        for member in self.members {
            if let Some(program) = member.program {
                program.stop().await?;
            }
            let log = member.place.log()?;
            for line in log.lines().filter(|line| line.contains("panicked")) {
                outcome.violated(Violation::Store, format!("a server says: {line}"));
            }
            places.push((member.place, member.to_database));
        }
        let (place, _wire) = places.first().context("no servers")?;
        let mut scan = place.command(&["scan"])?;
        let scan = scan.stderr(Stdio::piped()).output().await?;
        if !scan.status.success() {
            let said = String::from_utf8_lossy(&scan.stdout);
            let problem = String::from_utf8_lossy(&scan.stderr);
            outcome.violated(Violation::Store, format!("the scan says: {said}{problem}"));
        }
        Ok(())
    }
}

impl Member {
    fn new(config: &str, to_database: Wire) -> Result<Self> {
        let address = free_address()?;
        Ok(Self {
            place: Place::new(config)?,
            from_clients: Wire::to(&address)?,
            address,
            program: None,
            to_database,
        })
    }

    async fn serve(&mut self) -> Result<()> {
        self.program = Some(self.place.serve_at(&self.address).await?);
        Ok(())
    }
}
