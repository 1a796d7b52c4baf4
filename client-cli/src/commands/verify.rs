use std::{
    io::{self, IsTerminal as _},
    mem,
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use super::Context;
use crate::{
    secrets::line_of_stdin,
    verification::{self, Emoji},
};

/// Verify this device together with another device of yours, by comparing emoji.
///
/// Run it here, and `respite verify --accept` (or accept in another Matrix client) on the other
/// device. Both show seven emoji; answer “yes” if they are the same. The answer is read from
/// standard input.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite verify")]
pub(super) struct Verify {
    /// Wait for the other device to ask, and accept.
    #[arg(long)]
    accept: bool,
}

impl Verify {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        context
            .connected(async |session| {
                let client = session.client();
                if self.accept {
                    context
                        .out
                        .note("Waiting for your other device. Run `respite verify` there.");
                    verification::accept(client, async |emoji| compare(context, emoji).await).await
                } else {
                    context.out.note(
                        "Waiting for your other device. Run `respite verify --accept` there.",
                    );
                    verification::start(client, async |emoji| compare(context, emoji).await).await
                }
            })
            .await?;
        context.out.result(&json!({ "verified": true }), |_| {
            "The devices trust each other now.".to_owned()
        })
    }
}

/// Shows the emoji and reads a person's verdict.
async fn compare(context: &Context, emoji: &[Emoji]) -> Result<bool> {
    context.out.result(&json!({ "emoji": emoji }), |_| {
        emoji
            .iter()
            .map(|emoji| format!("{}  {}", emoji.symbol, emoji.name))
            .collect::<Vec<_>>()
            .join("\n")
    })?;
    if io::stdin().is_terminal() {
        context
            .out
            .note("Does the other device show the same, in the same order? [yes/no]");
    }
    let answer = tokio::task::spawn_blocking(line_of_stdin)
        .await
        .context("nobody answered")??;
    let mut answer = answer;
    let answer = mem::take(&mut *answer).trim().to_lowercase();
    Ok(answer == "yes" || answer == "y")
}
