use std::{
    io::{self, IsTerminal as _, Read as _},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use respite_protocol::events::{MESSAGE, Outgoing};
use serde_json::json;

use super::{Context, duration_argument};
use crate::{outbox, rooms};

/// Longest message, in bytes: encrypted it still fits into an event.
const MAX_MESSAGE_BYTES: usize = 40_000;

/// Write a message.
///
/// Without a text, or with “-”, it is read from standard input. If it cannot go now it waits,
/// encrypted, on this device and goes out on the next run.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite send therapist \"Home. Long night, but nobody died.\"")]
pub(super) struct Send {
    /// The room: a person in it, the beginning of their name, or the room's id.
    room: String,
    /// The text, or “-” to read it from standard input.
    text: Vec<String>,
    /// How long to try before it is left to wait.
    #[arg(long, value_name = "DURATION", value_parser = duration_argument, default_value = "20s")]
    wait: Duration,
}

impl Send {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        let body = body(context, &self.text)?;
        let message = Outgoing {
            event_type: MESSAGE,
            content: json!({ "msgtype": "m.text", "body": body }),
        };
        let delivery = context
            .connected_if_possible(async |session| {
                let room = rooms::joined(session.client(), &self.room).await?;
                outbox::send(&room, &message, self.wait).await
            })
            .await?;
        context.delivered(&delivery, "message")
    }
}

fn body(context: &Context, text: &[String]) -> Result<String> {
    let text = match text {
        [] => from_stdin(context)?,
        [dash] if dash == "-" => from_stdin(context)?,
        words => words.join(" "),
    };
    let text = text.trim_end();
    if text.trim().is_empty() {
        bail!("there is nothing to send: the message is empty");
    }
    if text.len() > MAX_MESSAGE_BYTES {
        bail!(
            "the message is longer than {MAX_MESSAGE_BYTES} bytes; share it as a document instead"
        );
    }
    Ok(text.to_owned())
}

fn from_stdin(context: &Context) -> Result<String> {
    if io::stdin().is_terminal() {
        context
            .out
            .note("Write your message; end it with Ctrl-D on a line of its own.");
    }
    let mut text = String::new();
    let mut stdin = io::stdin().lock().take(MAX_MESSAGE_BYTES as u64 + 4);
    stdin
        .read_to_string(&mut text)
        .context("standard input cannot be read as text")?;
    Ok(text)
}
