//! The commands, one a file, and what they share.

mod checkin;
mod completions;
mod doc;
mod inbox;
mod instruments;
mod invite;
mod login;
mod logout;
mod read;
mod recovery;
mod register;
mod room;
mod rooms;
mod safety_plan;
mod send;
mod status;
mod verify;
mod whoami;

use std::{ffi::OsString, io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use jiff::Zoned;

use crate::{
    failure,
    outbox::{self, Delivery},
    output::Output,
    profile::{Keys, Profile},
    progress,
    secrets::Terminal,
    session::Session,
    terminal, time,
};

/// Write to your therapist between shifts, end-to-end encrypted.
///
/// Respite is asynchronous messaging therapy: check-ins, messages and documents that only you and
/// your therapist can read. The server keeps ciphertext.
///
/// It is not for emergencies: nobody watches around the clock. In an emergency call your local
/// emergency number.
#[derive(Debug, Parser)]
#[command(
    name = "respite",
    version,
    after_help = "Start with: respite register --server https://respite.example --code CODE"
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// Which account on this machine to use.
    #[arg(
        long,
        global = true,
        env = "RESPITE_PROFILE",
        hide_env_values = true,
        default_value = "default",
        value_name = "NAME"
    )]
    profile: String,
    /// Print one JSON document a line, for programs.
    #[arg(long, global = true)]
    json: bool,
    /// A file whose content locks this profile, in place of the key that is otherwise made.
    #[arg(
        long,
        global = true,
        env = "RESPITE_KEY_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    key_file: Option<PathBuf>,
    /// Where profiles are kept, in place of the data directory of this account on this machine.
    #[arg(
        long,
        global = true,
        env = "RESPITE_HOME",
        hide_env_values = true,
        value_name = "DIR"
    )]
    home: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Register(register::Register),
    Login(login::Login),
    Logout(logout::Logout),
    Whoami(whoami::Whoami),
    Status(status::Status),
    Rooms(rooms::Rooms),
    Room(room::Room),
    Invite(invite::Invite),
    Send(send::Send),
    Read(read::Read),
    Inbox(inbox::Inbox),
    Checkin(checkin::Checkin),
    Instruments(instruments::Instruments),
    SafetyPlan(safety_plan::SafetyPlan),
    Doc(doc::Doc),
    Recovery(recovery::Recovery),
    Verify(verify::Verify),
    Completions(completions::Completions),
}

/// Runs the program with these arguments, the first being its name. Exits 0, 1 (refused or
/// failed) or 2 (wrong usage).
pub async fn run(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Where help cannot be printed there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    log_if_asked();
    let json = cli.global.json;
    match cli.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let sentence = failure::sentence(&error);
            let shown = if json {
                serde_json::json!({ "error": sentence }).to_string()
            } else {
                format!("respite: {sentence}")
            };
            let _ = writeln!(std::io::stderr(), "{shown}");
            ExitCode::FAILURE
        }
    }
}

/// The whole help as one Markdown page: `docs/client.md`.
pub fn reference() -> String {
    let mut page = "# `respite`, the command line client\n\n\
        Generated from the program's own help. To write it again:\n\
        `RESPITE_WRITE_DOCS=1 cargo test -p respite reference`\n"
        .to_owned();
    describe(&mut page, Cli::command(), &[]);
    page
}

fn describe(page: &mut String, mut command: clap::Command, path: &[String]) {
    let mut path = path.to_vec();
    path.push(command.get_name().to_owned());
    command.build();
    let subcommands: Vec<_> = command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
        .cloned()
        .collect();
    if path.len() > 1 {
        // Said once, on the first page.
        command = command.mut_args(|arg| {
            if arg.is_global_set() {
                arg.hide(true)
            } else {
                arg
            }
        });
    }
    let help = command
        .bin_name(path.join(" "))
        .render_long_help()
        .to_string();
    let help: Vec<_> = help.lines().map(str::trim_end).collect();
    let help = help.join("\n");
    page.push_str(&format!(
        "\n## `{}`\n\n```text\n{}\n```\n",
        path.join(" "),
        help.trim_end()
    ));
    for subcommand in subcommands {
        describe(page, subcommand, &path);
    }
}

impl Cli {
    async fn run(self) -> Result<()> {
        let context = Context::new(self.global)?;
        match self.command {
            Command::Register(command) => command.run(&context).await,
            Command::Login(command) => command.run(&context).await,
            Command::Logout(command) => command.run(&context).await,
            Command::Whoami(command) => command.run(&context).await,
            Command::Status(command) => command.run(&context).await,
            Command::Rooms(command) => command.run(&context).await,
            Command::Room(command) => command.run(&context).await,
            Command::Invite(command) => command.run(&context).await,
            Command::Send(command) => command.run(&context).await,
            Command::Read(command) => command.run(&context).await,
            Command::Inbox(command) => command.run(&context).await,
            Command::Checkin(command) => command.run(&context).await,
            Command::Instruments(command) => command.run(&context).await,
            Command::SafetyPlan(command) => command.run(&context).await,
            Command::Doc(command) => command.run(&context).await,
            Command::Recovery(command) => command.run(&context).await,
            Command::Verify(command) => command.run(&context).await,
            Command::Completions(command) => command.run(),
        }
    }
}

/// What every command is given.
struct Context {
    out: Output,
    profile: Profile,
    keys: Keys,
}

impl Context {
    fn new(global: Global) -> Result<Self> {
        let home = global
            .home
            .or_else(data_dir)
            .context("there is no home directory; name one with --home")?;
        Ok(Self {
            out: Output::new(global.json),
            profile: Profile::new(&home, &global.profile)?,
            keys: Keys {
                file: global.key_file,
                passphrase: false,
            },
        })
    }

    /// The time, in the local time zone.
    fn now(&self) -> Zoned {
        Zoned::now()
    }

    /// Opens the session without asking the server anything.
    async fn open(&self) -> Result<Session> {
        Session::open(&self.profile, &self.keys, &Terminal).await
    }

    /// Opens the session, fetches what is new, sends what waits, runs `body`, and closes the
    /// session whatever came of it.
    async fn connected<T>(&self, body: impl AsyncFnOnce(&Session) -> Result<T>) -> Result<T> {
        let mut session = self.open().await?;
        let result = match self.catch_up(&mut session).await {
            Ok(()) => body(&session).await,
            Err(error) => Err(error),
        };
        finish(session, result).await
    }

    /// As [`connected`](Self::connected), but goes on without the server if it cannot be reached.
    async fn connected_if_possible<T>(
        &self,
        body: impl AsyncFnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        let mut session = self.open().await?;
        let result = match self.catch_up(&mut session).await {
            Err(error) if !failure::is_unreachable(&error) => Err(error),
            _ => body(&session).await,
        };
        finish(session, result).await
    }

    /// Fetches what is new and sends what waits from earlier runs.
    async fn catch_up(&self, session: &mut Session) -> Result<()> {
        let show = self.out.is_watched() && session.is_fresh().await;
        let spinner = progress::spinner(show, "Fetching what is new");
        session.sync().await?;
        spinner.finish();
        let flushed = outbox::flush(session.client(), outbox::SEND_WAIT).await?;
        if flushed.sent > 0 {
            self.out.note(&format!(
                "sent now: {} from earlier",
                messages(flushed.sent)
            ));
        }
        for refused in flushed.refused {
            self.out.note(&format!(
                "a message from earlier was refused and is not sent ({}): {}",
                terminal::line(&refused.why),
                terminal::paragraph(&refused.body, 4)
            ));
        }
        Ok(())
    }

    /// Prints what became of a message.
    fn delivered(&self, delivery: &Delivery, what: &str) -> Result<()> {
        let result = match delivery {
            Delivery::Sent(event_id) => {
                serde_json::json!({ "status": "sent", "event_id": event_id })
            }
            Delivery::Queued { why } => serde_json::json!({ "status": "queued", "why": why }),
        };
        self.out.result(&result, |_| match delivery {
            Delivery::Sent(_) => format!("{what}: sent"),
            Delivery::Queued { why } => format!("{what}: queued; goes out on the next run ({why})"),
        })
    }
}

/// Closes the session; the body's failure counts more than the closing's.
async fn finish<T>(session: Session, result: Result<T>) -> Result<T> {
    let closed = session.close().await;
    let value = result?;
    closed?;
    Ok(value)
}

fn data_dir() -> Option<PathBuf> {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let data = from("XDG_DATA_HOME")
        .or_else(|| Some(from("HOME")?.join(".local/share")))
        .or_else(|| from("LOCALAPPDATA"))?;
    Some(data.join("respite"))
}

/// Logs go to standard error, and only if `RUST_LOG` asks for them.
fn log_if_asked() {
    if std::env::var_os("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        // A second run in one process keeps the first one's.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .try_init();
    }
}

fn messages(count: usize) -> String {
    if count == 1 {
        "1 message".to_owned()
    } else {
        format!("{count} messages")
    }
}

/// Reads a duration argument.
fn duration_argument(text: &str) -> Result<Duration, time::TimeError> {
    time::duration(text)
}
