use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use matrix_sdk::encryption::{VerificationState, recovery::RecoveryState};
use serde_json::json;

use super::{Context, register::PasswordArgs};
use crate::{accounts, progress, secrets::Source, session::Session};

/// Keep your messages when you lose this device.
#[derive(Args, Debug)]
pub(super) struct Recovery {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Turn on the encrypted backup and get a recovery key, once.
    ///
    /// Write the key down and keep it where you keep important papers. Nobody can give it to you
    /// again: not your therapist, not the operator.
    #[command(after_help = "Example: respite recovery setup")]
    Setup {
        /// Make a new key in place of the one that you have; the old one stops working.
        #[arg(long)]
        new_key: bool,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Read your earlier messages on this device, with the recovery key.
    ///
    /// The key is asked for, or read from a file or standard input. This device then counts as
    /// verified.
    #[command(after_help = "Example: respite recovery restore --recovery-key-file key.txt")]
    Restore {
        /// A file that holds the recovery key; “-” for standard input.
        #[arg(long, value_name = "FILE")]
        recovery_key_file: Option<PathBuf>,
    },
}

impl Recovery {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        match self.command {
            Command::Setup { new_key, password } => {
                let key = context
                    .connected(async |session| setup(context, session, new_key, &password).await)
                    .await?;
                context
                    .out
                    .result(&json!({ "recovery_key": key }), |_| key.clone())?;
                if !context.out.is_json() {
                    context.out.note(
                        "This is your recovery key. Write it down now; it is not shown again.",
                    );
                }
                Ok(())
            }
            Command::Restore { recovery_key_file } => {
                let verified = context
                    .connected(async |session| {
                        let source = Source::of(recovery_key_file.as_deref(), false);
                        restore(context, session, source).await
                    })
                    .await?;
                context
                    .out
                    .result(&json!({ "restored": true, "verified": verified }), |_| {
                        "Your earlier messages can be read on this device now.".to_owned()
                    })
            }
        }
    }
}

async fn setup(
    context: &Context,
    session: &Session,
    new_key: bool,
    password: &PasswordArgs,
) -> Result<String> {
    let client = session.client();
    accounts::bootstrap_cross_signing(client, || password.source().read("password")).await?;
    let recovery = client.encryption().recovery();
    let key = match (recovery.state(), new_key) {
        (RecoveryState::Enabled, false) => {
            bail!("you have a recovery key already; use --new-key to replace it")
        }
        (RecoveryState::Incomplete, false) => bail!(
            "this account has a recovery key, but this device has not been given its secrets; \
             run `respite recovery restore`"
        ),
        (RecoveryState::Enabled, true) => recovery.reset_key().await?,
        _ => {
            let spinner = progress::spinner(context.out.is_watched(), "Backing up");
            let key = recovery.enable().wait_for_backups_to_upload().await?;
            spinner.finish();
            key
        }
    };
    Ok(key)
}

async fn restore(context: &Context, session: &Session, source: Source<'_>) -> Result<bool> {
    let client = session.client();
    let key = source.read("recovery key")?;
    client.encryption().recovery().recover(key.trim()).await?;
    let rooms = client.joined_rooms();
    let progress = progress::steps(context.out.is_watched(), "Fetching keys", rooms.len());
    for room in &rooms {
        client
            .encryption()
            .backups()
            .download_room_keys_for_room(room.room_id())
            .await?;
        progress.step();
    }
    progress.finish();
    Ok(client.encryption().verification_state().get() == VerificationState::Verified)
}
