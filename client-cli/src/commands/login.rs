use anyhow::Result;
use clap::Args;

use super::{
    Context, finish,
    register::{DeviceArgs, PasswordArgs},
};
use crate::{accounts, safety};

/// Log in on this device with an account that you have.
#[derive(Args, Debug)]
#[command(
    after_help = "Example: respite login --server https://respite.example --user night-heron"
)]
pub(super) struct Login {
    /// Address of the server, or its name.
    #[arg(long, value_name = "URL")]
    server: String,
    /// The user name.
    #[arg(long, value_name = "NAME")]
    user: String,
    #[command(flatten)]
    password: PasswordArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

impl Login {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        let newcomer = self.device.newcomer(context, &self.server).await?;
        let password = self.password.source().read("password")?;
        accounts::login(&newcomer.client, &self.user, &password).await?;
        let mut session = newcomer.arrive()?;
        let result = async {
            session.client().encryption().wait_for_e2ee_initialization_tasks().await;
            context.catch_up(&mut session).await?;
            let user_id = session.client().user_id().map(ToString::to_string);
            let device_id = session.client().device_id().map(ToString::to_string);
            let logged_in = serde_json::json!({ "user_id": user_id, "device_id": device_id });
            context.out.result(&logged_in, |_| {
                format!("You are logged in as {}.", user_id.as_deref().unwrap_or(&self.user))
            })?;
            context.out.note(&safety::first_words());
            context.out.note(
                "Next: run `respite recovery restore` with your recovery key, or `respite verify` together \
                 with another device of yours. Until then earlier messages cannot be read here.",
            );
            Ok(())
        }
        .await;
        finish(session, result).await
    }
}
