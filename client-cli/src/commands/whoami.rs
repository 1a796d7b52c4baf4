use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::Context;
use crate::vault::Kept;

/// Show who is logged in here. Asks the server nothing.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite --profile practice whoami")]
pub(super) struct Whoami {}

#[derive(Serialize)]
struct Identity {
    profile: String,
    user_id: String,
    device_id: String,
    homeserver: String,
}

impl Whoami {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        let vault = context
            .profile
            .open_vault(&context.keys, &crate::secrets::Terminal)?;
        let Some(Kept {
            homeserver,
            session,
        }) = vault.kept()
        else {
            return Ok(());
        };
        let identity = Identity {
            profile: context.profile.name().to_owned(),
            user_id: session.meta.user_id.to_string(),
            device_id: session.meta.device_id.to_string(),
            homeserver,
        };
        context.out.result(&identity, |identity| {
            format!(
                "{} on {} (device {})",
                identity.user_id, identity.homeserver, identity.device_id
            )
        })
    }
}
