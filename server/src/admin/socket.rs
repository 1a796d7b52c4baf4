//! The admin socket: one JSON line in, one JSON line out. Who can open it is decided by the file system: mode 0600, in a
//! directory of mode 0700.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::timeout,
};

use super::{Answer, Command, Failure, execute};
use crate::state::App;

/// The socket's name in the data directory.
pub const SOCKET_FILE: &str = "admin.sock";

/// The longest command line, in bytes.
const MAX_COMMAND: u64 = 16 << 10;
/// The longest answer, in bytes: a list of some hundred thousand accounts.
const MAX_ANSWER: u64 = 64 << 20;
/// How long a command may take to arrive.
const COMMAND_WAIT: Duration = Duration::from_secs(10);
/// Commands under way at the same time.
const MAX_COMMANDS: usize = 8;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reply {
    Done(Answer),
    Failed(String),
}

/// Makes the socket. One that is there already and that nobody answers at is a stopped server's.
///
/// Without one (the directory's path is too long for a socket, or another server has it), the server works, and the operator's commands work
/// while it is stopped.
pub fn bind(data: &Path) -> Option<UnixListener> {
    let path = data.join(SOCKET_FILE);
    let bound = is_free(&path)
        .and_then(|()| remove_stale(&path))
        .and_then(|()| {
            let listener = UnixListener::bind(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        });
    bound
        .inspect_err(|error| {
            tracing::warn!(%error, "no admin socket: the operator's commands work only while the server is stopped");
        })
        .ok()
}

/// Answers commands until it is dropped.
pub async fn serve(app: App, listener: UnixListener) {
    let mut commands = JoinSet::new();
    loop {
        while commands.len() >= MAX_COMMANDS {
            commands.join_next().await;
        }
        while commands.try_join_next().is_some() {}
        if let Ok((stream, _)) = listener.accept().await {
            let app = app.clone();
            commands.spawn(async move {
                if let Err(error) = answer(&app, stream).await {
                    tracing::warn!(%error, "a command of the operator's was cut off");
                }
            });
        }
    }
}

/// Asks the server that runs on this data directory; `None` if none does.
///
/// # Errors
/// The server refused or failed, or went away while it worked.
pub async fn ask(data: &Path, command: &Command) -> anyhow::Result<Option<Answer>> {
    let mut stream = match UnixStream::connect(data.join(SOCKET_FILE)).await {
        Ok(stream) => stream,
        Err(error) if nobody_listens(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    write_line(&mut stream, command).await?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_ANSWER))
        .read_line(&mut line)
        .await?;
    match serde_json::from_str(&line) {
        Ok(Reply::Done(answer)) => Ok(Some(answer)),
        Ok(Reply::Failed(sentence)) => Err(Failure(sentence).into()),
        Err(_) => {
            anyhow::bail!("The server went away before it answered, or it is of another version.")
        }
    }
}

async fn answer(app: &App, mut stream: UnixStream) -> io::Result<()> {
    let mut line = String::new();
    let mut reader = BufReader::new((&mut stream).take(MAX_COMMAND));
    timeout(COMMAND_WAIT, reader.read_line(&mut line)).await??;
    let reply = match serde_json::from_str(&line) {
        Ok(command) => match execute(app, command).await {
            Ok(answer) => Reply::Done(answer),
            Err(Failure(sentence)) => Reply::Failed(sentence),
        },
        Err(_) => Reply::Failed(
            "The server does not know this command; it is of another version.".to_owned(),
        ),
    };
    write_line(&mut stream, &reply).await
}

async fn write_line(stream: &mut UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.shutdown().await
}

fn is_free(path: &Path) -> io::Result<()> {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another server answers there; give each a data directory of its own",
        )),
        Err(_) => Ok(()),
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// No socket, one that a killed server left, or a path that no socket can have.
fn nobody_listens(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::InvalidInput
    )
}
