use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::{Context, finish};
use crate::{
    accounts,
    profile::Keys,
    safety,
    secrets::{Source, Terminal, line_of_stdin},
    session::Newcomer,
};

/// Make an account with a code from your therapist (or, for therapists, from the operator).
///
/// You choose a user name and a password. Choose a pseudonym: whoever shares a room with you sees
/// it. The password is asked for, or read from a file or from standard input.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: respite register --server https://respite.example --code CODE --user night-heron"
)]
pub(super) struct Register {
    /// Address of the server, or its name.
    #[arg(long, value_name = "URL")]
    server: String,
    /// The code. With “-” it is read from standard input, before the password.
    #[arg(long, conflicts_with = "code_file")]
    code: Option<String>,
    /// A file that holds the code.
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    /// The user name: small letters, digits and - _ . = /
    #[arg(long, value_name = "NAME")]
    user: String,
    /// The pseudonym that others see, if not the user name.
    #[arg(long, value_name = "PSEUDONYM")]
    display_name: Option<String>,
    #[command(flatten)]
    password: PasswordArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Where a password comes from.
#[derive(Args, Debug)]
pub(super) struct PasswordArgs {
    /// A file that holds the password.
    #[arg(long, value_name = "FILE", conflicts_with = "password_stdin")]
    password_file: Option<PathBuf>,
    /// Read the password from standard input.
    #[arg(long)]
    password_stdin: bool,
}

/// How this device keeps and reaches the account.
#[derive(Args, Debug)]
pub(super) struct DeviceArgs {
    /// Lock this profile with a passphrase, asked for at every run.
    #[arg(long)]
    passphrase: bool,
    /// Accept a connection that is not encrypted, on a network that you trust.
    #[arg(long)]
    allow_http: bool,
}

impl PasswordArgs {
    pub(super) fn source(&self) -> Source<'_> {
        Source::of(self.password_file.as_deref(), self.password_stdin)
    }
}

impl DeviceArgs {
    /// Prepares the profile for an account on this server.
    pub(super) async fn newcomer(&self, context: &Context, server: &str) -> Result<Newcomer> {
        let keys = Keys {
            passphrase: self.passphrase,
            ..context.keys.clone()
        };
        Newcomer::prepare(&context.profile, &keys, &Terminal, server, self.allow_http).await
    }
}

impl Register {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        let newcomer = self.device.newcomer(context, &self.server).await?;
        let code = match self.code.as_deref() {
            Some("-") => Some(line_of_stdin()?),
            Some(code) => Some(code.trim().to_owned().into()),
            None => None,
        };
        let password = self.password.source().read_new("password")?;
        accounts::register(&newcomer.client, &self.user, &password, || match &code {
            Some(code) => Ok(code.clone()),
            None => Source::of(self.code_file.as_deref(), false).read("code"),
        })
        .await?;
        let mut session = newcomer.arrive()?;
        let result = async {
            session.client().encryption().wait_for_e2ee_initialization_tasks().await;
            context.catch_up(&mut session).await?;
            accounts::bootstrap_cross_signing(session.client(), || Ok(password)).await?;
            if let Some(name) = &self.display_name {
                session.client().account().set_display_name(Some(name)).await?;
            }
            let user_id = session.client().user_id().map(ToString::to_string);
            let device_id = session.client().device_id().map(ToString::to_string);
            let registered = serde_json::json!({ "user_id": user_id, "device_id": device_id });
            context.out.result(&registered, |_| {
                format!("Welcome. You are {}.", user_id.as_deref().unwrap_or("logged in"))
            })?;
            context.out.note(&safety::first_words());
            context.out.note(
                "Next: run `respite recovery setup`. It gives you a recovery key; without one, losing \
                 this device means losing your messages.",
            );
            Ok(())
        }
        .await;
        finish(session, result).await
    }
}
