//! A real PostgreSQL of one's own: made in a temporary directory, on a free port of this machine, and gone with the
//! process that asked for it, however that ends.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{part::POSTGRESQL, wire::Wire};

/// Who the database belongs to.
const OWNER: &str = "respite";

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks after the server: starts, stops and kills it when told so, one word a line, and says when that is done. When
/// nobody can tell it anything any more, it stops the server and removes the directory.
const KEEPER: &str = r#"
trap '' INT TERM HUP
cd "$DIRECTORY" || exit 1
pid=
while read -r word; do
    case "$word" in
        start) "$POSTGRES" -D data "$@" >>log 2>&1 & pid=$! ;;
        stop) kill -INT "$pid" 2>/dev/null; wait "$pid" ;;
        lives) kill -0 "$pid" 2>/dev/null || { echo no; continue; } ;;
        kill) kill -KILL "$pid" 2>/dev/null; wait "$pid" 2>/dev/null ;;
    esac
    echo done
done
[ -n "$pid" ] && { kill -QUIT "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; }
cd / && rm -rf "$DIRECTORY"
"#;

/// A PostgreSQL server.
pub struct Cluster {
    port: u16,
    directory: PathBuf,
    databases: AtomicU64,
    keeper: Mutex<Keeper>,
}

struct Keeper {
    words: ChildStdin,
    answers: BufReader<ChildStdout>,
    process: Child,
}

impl Cluster {
    /// The one that all tests of this process share; `None` where PostgreSQL is not installed.
    ///
    /// # Panics
    /// PostgreSQL is there and does not start; or it is not there, and `RESPITE_TEST_REQUIRE=all`.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        POSTGRESQL.is_there().then(|| {
            SHARED.get_or_init(|| match Self::start(&[]) {
                Ok(cluster) => cluster,
                #[expect(clippy::panic, reason = "a test without its database has failed")]
                Err(error) => panic!("PostgreSQL does not start: {error:#}"),
            })
        })
    }

    /// A server of one's own, started with these options (`-c name=value`) beside the usual ones.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start(options: &[&str]) -> Result<Self> {
        let initdb = POSTGRESQL.program("initdb").context("no initdb")?;
        let postgres = POSTGRESQL.program("postgres").context("no postgres")?;
        let directory = tempfile::Builder::new()
            .prefix("respite-postgres-")
            .tempdir()?
            .keep();
        let owner = unprivileged(&directory)?;
        let run_as = |command: &mut Command| {
            command.current_dir(&directory);
            if let Some((user, group)) = owner {
                command.uid(user).gid(group);
            }
        };
        let mut init = Command::new(initdb);
        init.args(["-D", "data", "-U", OWNER, "-A", "trust", "-E", "UTF8"])
            .args(["--no-locale", "--no-sync"]);
        run_as(&mut init);
        let made = init.output()?;
        ensure!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut keep = Command::new("sh");
        keep.args(["-c", KEEPER, "keeper", "-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .args(["-c", "max_connections=200"])
            .args(options)
            .env("DIRECTORY", &directory)
            .env("POSTGRES", postgres)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        run_as(&mut keep);
        let mut process = keep.spawn()?;
        let words = process.stdin.take().context("no way to tell it")?;
        let answers = BufReader::new(process.stdout.take().context("no answers")?);
        let cluster = Self {
            port,
            directory,
            databases: AtomicU64::new(0),
            keeper: Mutex::new(Keeper {
                words,
                answers,
                process,
            }),
        };
        cluster.resume()?;
        Ok(cluster)
    }

    /// Its address: `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its directory, which holds `data` and `log`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The address of a new, empty database.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn fresh(&self) -> Result<String> {
        let name = format!("respite{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!("CREATE DATABASE {name}"))?;
        Ok(format!("postgres://{OWNER}@{}/{name}", self.address()))
    }

    /// The same database as this address means, through a wire.
    ///
    /// # Errors
    /// The address is none of this server's.
    pub fn through(&self, wire: &Wire, database: &str) -> Result<String> {
        let own = self.address();
        ensure!(database.contains(&own), "the database is elsewhere");
        Ok(database.replace(&own, &wire.address()))
    }

    /// Tells the server to do something, as its administrator.
    ///
    /// # Errors
    /// It refuses.
    pub fn sql(&self, sql: &str) -> Result<String> {
        self.sql_in("postgres", sql)
    }

    /// The same in one database; this may also be its address.
    ///
    /// # Errors
    /// It refuses.
    pub fn sql_in(&self, database: &str, sql: &str) -> Result<String> {
        let name = database.rsplit('/').next().unwrap_or(database);
        let psql = POSTGRESQL.program("psql").context("no psql")?;
        let done = Command::new(psql)
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", OWNER, "-d", name, "-XqtA", "-c", sql])
            .output()?;
        ensure!(
            done.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        Ok(String::from_utf8(done.stdout)?)
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// Nobody looks after it any more.
    pub fn stop(&self) -> Result<()> {
        self.tell("stop")
    }

    /// Kills its main process with SIGKILL; the others end when they notice.
    ///
    /// # Errors
    /// As [`Cluster::stop`].
    pub fn kill(&self) -> Result<()> {
        self.tell("kill")
    }

    /// Lets all of its processes stand still, with their connections open.
    ///
    /// # Errors
    /// They cannot be found or sent a signal.
    pub fn freeze(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// As [`Cluster::freeze`].
    pub fn thaw(&self) -> Result<()> {
        self.signal("-CONT")
    }

    /// The main process gets it first, so that it starts no others meanwhile.
    fn signal(&self, signal: &str) -> Result<()> {
        let file = fs::read_to_string(self.directory.join("data/postmaster.pid"))?;
        let main = file.lines().next().context("no main process")?;
        let send = |processes: &[String]| {
            let mut kill = Command::new("kill");
            kill.arg(signal).args(processes).stderr(Stdio::null());
            kill.status().context("no kill")
        };
        ensure!(send(&[main.to_owned()])?.success(), "no signal was sent");
        let children = children(main)?;
        ensure!(!children.is_empty(), "no processes serve");
        // One that has ended meanwhile is none of them any more.
        send(&children)?;
        Ok(())
    }

    /// Starts it again on the same directory and port, and waits until it answers.
    ///
    /// # Errors
    /// It does not start in time.
    pub fn resume(&self) -> Result<()> {
        let since = Instant::now();
        self.tell("start")?;
        while since.elapsed() < PATIENCE {
            if TcpStream::connect(self.address()).is_ok() && self.sql("SELECT 1").is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
            if !self.lives()? {
                // After a kill, what is left of the old one may still hold the memory that they share.
                self.tell("start")?;
            }
        }
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        bail!("it does not answer: {log}")
    }

    fn lives(&self) -> Result<bool> {
        Ok(self.ask("lives")? == "done")
    }

    fn tell(&self, word: &str) -> Result<()> {
        let answer = self.ask(word)?;
        ensure!(answer == "done", "nobody looks after the database");
        Ok(())
    }

    fn ask(&self, word: &str) -> Result<String> {
        let mut keeper = self.keeper();
        writeln!(keeper.words, "{word}")?;
        let mut answer = String::new();
        keeper.answers.read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let keeper = self
            .keeper
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        // The script ends the server when its input ends; it is replaced by one that has ended already.
        if let Ok(mut nothing) = Command::new("true").stdin(Stdio::piped()).spawn() {
            if let Some(closed) = nothing.stdin.take() {
                keeper.words = closed;
            }
            let _ = nothing.wait();
        }
        let _ = keeper.process.wait();
    }
}

/// The processes that this one has started.
fn children(parent: &str) -> Result<Vec<String>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        // `PID (NAME) STATE PARENT …`
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent_of = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1));
        if parent_of == Some(parent) {
            children.extend(entry.file_name().into_string());
        }
    }
    Ok(children)
}

/// PostgreSQL refuses to run as root: then somebody without rights owns the directory and runs it.
fn unprivileged(directory: &Path) -> Result<Option<(u32, u32)>> {
    if fs::metadata(directory)?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let of = |name: &str| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then_some(())?;
            let user = fields.nth(1)?.parse().ok()?;
            Some((user, fields.next()?.parse().ok()?))
        })
    };
    let owner: (u32, u32) = of("postgres")
        .or_else(|| of("nobody"))
        .context("there is no user without rights to run PostgreSQL as")?;
    std::os::unix::fs::chown(directory, Some(owner.0), Some(owner.1))?;
    Ok(Some(owner))
}
