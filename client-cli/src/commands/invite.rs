use std::time::Duration;

use anyhow::Result;
use clap::Args;
use respite_protocol::api::{MAX_INVITE_USES, create_invite, list_invites, revoke_invite};
use serde_json::json;

use super::{Context, duration_argument, room::Kind};
use crate::time;

/// Make a code with which a new client can register (therapists).
///
/// Who registers with it finds themselves in a therapy room with you. Give it to them in person or
/// over a channel that you both trust; it is shown only this once.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite invite --expires 3d")]
pub(super) struct Invite {
    /// The kind of room that it opens.
    #[arg(long, value_enum, default_value = "individual")]
    kind: Kind,
    /// How many people can register with it.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_INVITE_USES)))]
    uses: Option<u32>,
    /// How long it can be used.
    #[arg(long, value_name = "DURATION", value_parser = duration_argument)]
    expires: Option<Duration>,
    /// List your codes (not the codes themselves) instead.
    #[arg(long, conflicts_with_all = ["uses", "expires", "revoke"])]
    list: bool,
    /// Make one of your codes useless instead.
    #[arg(long, value_name = "ID", conflicts_with_all = ["uses", "expires"])]
    revoke: Option<String>,
}

impl Invite {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        if self.list {
            list(context).await
        } else if let Some(id) = self.revoke {
            context
                .connected(async |session| {
                    session
                        .client()
                        .send(revoke_invite::Request::new(id.clone()))
                        .await?;
                    Ok(())
                })
                .await?;
            context.out.result(&json!({ "revoked": id }), |_| {
                "The code no longer works.".to_owned()
            })
        } else {
            self.create(context).await
        }
    }

    async fn create(self, context: &Context) -> Result<()> {
        let mut request = create_invite::Request::new(self.kind.into());
        request.uses = self.uses;
        request.expires_in_ms = self
            .expires
            .and_then(|expires| u64::try_from(expires.as_millis()).ok());
        let made = context
            .connected(async |session| Ok(session.client().send(request).await?))
            .await?;
        let expires = time::from_matrix(made.expires_ts);
        let result = json!({ "code": made.code, "invite_id": made.invite_id, "expires": expires });
        context
            .out
            .result(&result, |_| crate::terminal::line(&made.code))?;
        if !context.out.is_json() {
            let until = time::shown(expires, &context.now());
            context
                .out
                .note(&format!("It works until {until}. It is not shown again."));
        }
        Ok(())
    }
}

async fn list(context: &Context) -> Result<()> {
    let invites = context
        .connected(async |session| {
            Ok(session
                .client()
                .send(list_invites::Request::new())
                .await?
                .invites)
        })
        .await?;
    let now = context.now();
    context
        .out
        .list(&invites, "You have made no codes.", |invite| {
            let expires = time::from_matrix(invite.expires_ts);
            let when = if expires > now.timestamp() {
                "until"
            } else {
                "expired"
            };
            format!(
                "{}  [{}]  used {}, {} left, {when} {}",
                crate::terminal::line(&invite.invite_id),
                invite.kind,
                invite.used,
                invite.uses_left,
                time::shown(expires, &now)
            )
        })
}
