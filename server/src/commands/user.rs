use std::{
    io::{BufRead, Read, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Subcommand};
use respite_server::{
    admin::{self, Answer, Command},
    auth::MAX_PASSWORD_BYTES,
};

use super::operate::Operate;

/// List accounts; end, lock or suspend one, or give one a new password
#[derive(Args)]
#[command(after_help = "\
Examples:
  respite-server user list
  respite-server user deactivate @nurse:respite.example.org
  respite-server user lock nurse
  respite-server user suspend nurse --end
  respite-server user reset-password nurse
  respite-server user reset-password nurse --stdin < password.txt")]
pub(super) struct User {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List all accounts: id, role, number of devices
    List {
        #[command(flatten)]
        operate: Operate,
    },
    /// End an account: nobody can log in to it again, its devices and codes are gone
    Deactivate {
        /// A user id, or the part of it before the colon.
        user: String,
        /// Show what they said, from now on, only to those who were in the room when they said it.
        #[arg(long)]
        erase: bool,
        #[command(flatten)]
        operate: Operate,
    },
    /// Lock an account: its devices stay logged in and can do nothing until it is unlocked
    Lock {
        /// A user id, or the part of it before the colon.
        user: String,
        /// Unlock it.
        #[arg(long)]
        end: bool,
        #[command(flatten)]
        operate: Operate,
    },
    /// Suspend an account: its owner can read and leave rooms, and not write or come into others
    Suspend {
        /// A user id, or the part of it before the colon.
        user: String,
        /// End it: the account may do everything again.
        #[arg(long)]
        end: bool,
        #[command(flatten)]
        operate: Operate,
    },
    /// Give an account a new password and log all its devices out
    ///
    /// The server makes a random one and shows it once. Without their recovery key, the person cannot read their old messages
    /// on a new device: no password opens those.
    ResetPassword {
        /// A user id, or the part of it before the colon.
        user: String,
        /// Read the password from the first line of standard input.
        #[arg(long)]
        stdin: bool,
        #[command(flatten)]
        operate: Operate,
    },
}

impl User {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let (operate, command) = match self.action {
            Action::List { operate } => (operate, Command::ListUsers),
            Action::Deactivate {
                user,
                erase,
                operate,
            } => (operate, Command::Deactivate { user, erase }),
            Action::Lock { user, end, operate } => (operate, Command::Lock { user, locked: !end }),
            Action::Suspend { user, end, operate } => {
                let suspended = !end;
                (operate, Command::Suspend { user, suspended })
            }
            Action::ResetPassword {
                user,
                stdin,
                operate,
            } => {
                let password = if stdin { Some(read_password()?) } else { None };
                (operate, Command::ResetPassword { user, password })
            }
        };
        operate.run(command, tell).await?;
        Ok(ExitCode::SUCCESS)
    }
}

fn read_password() -> anyhow::Result<String> {
    let mut line = String::new();
    let limit = u64::try_from(MAX_PASSWORD_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(2);
    std::io::stdin()
        .lock()
        .take(limit)
        .read_line(&mut line)
        .context("no password could be read from standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn tell(out: &mut dyn Write, answer: &Answer) -> std::io::Result<()> {
    match answer {
        Answer::Users { users } => {
            for admin::User {
                user,
                role,
                devices,
                deactivated,
                locked,
                suspended,
                ..
            } in users
            {
                let state = match (deactivated, devices) {
                    (Some(_), _) => "deactivated".to_owned(),
                    (None, 1) => "1 device".to_owned(),
                    (None, devices) => format!("{devices} devices"),
                };
                let locked = if *locked { ", locked" } else { "" };
                let suspended = if *suspended { ", suspended" } else { "" };
                writeln!(out, "{user}  {role}  {state}{locked}{suspended}")?;
            }
            Ok(())
        }
        Answer::Deactivated { user } => writeln!(out, "{user} is deactivated."),
        Answer::Restricted {
            user,
            locked,
            suspended,
        } => {
            let is = match (locked, suspended) {
                (true, true) => "locked and suspended",
                (true, false) => "locked",
                (false, true) => "suspended",
                (false, false) => "neither locked nor suspended",
            };
            writeln!(out, "{user} is {is}.")
        }
        Answer::PasswordReset { user, password } => {
            if let Some(password) = password {
                writeln!(out, "{password}")?;
            }
            writeln!(
                out,
                "{user} has a new password and is logged out everywhere."
            )
        }
        _ => Ok(()),
    }
}
