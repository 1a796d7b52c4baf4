use anyhow::{Context as _, Result, bail};
use clap::Args;
use matrix_sdk::encryption::recovery::RecoveryState;

use super::{Context, finish, messages};
use crate::{failure, outbox};

/// Log out on this device and remove everything of this profile from it.
///
/// Refuses if that would lose something: messages that wait to be sent, or the only keys to your
/// earlier messages.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite logout")]
pub(super) struct Logout {
    /// Log out even if something is lost, and even if the server cannot be reached.
    #[arg(long)]
    force: bool,
}

impl Logout {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        let mut session = context.open().await?;
        let result = async {
            match context.catch_up(&mut session).await {
                Err(error) if failure::is_logged_out(&error) || self.force => return Ok(()),
                other => other?,
            }
            if !self.force {
                refuse_loss(&session).await?;
            }
            match session.client().matrix_auth().logout().await {
                Err(error) if !self.force => Err(error).context("you are still logged in"),
                _ => Ok(()),
            }
        }
        .await;
        finish(session, result).await?;
        context.profile.remove()?;
        context
            .out
            .result(&serde_json::json!({ "logged_out": true }), |_| {
                "You are logged out.".to_owned()
            })
    }
}

async fn refuse_loss(session: &crate::session::Session) -> Result<()> {
    let client = session.client();
    let waiting = outbox::waiting(client).await?;
    if waiting > 0 {
        bail!(
            "{} not sent yet; try again later, or use --force to lose them",
            messages(waiting)
        );
    }
    let recovery = client.encryption().recovery();
    let has_messages = !client.joined_rooms().is_empty();
    if has_messages && recovery.state() != RecoveryState::Enabled {
        bail!(
            "this device may hold the only keys to your messages; run `respite recovery setup` (or `restore`) \
             first, or use --force to lose them"
        );
    }
    Ok(())
}
