use anyhow::Result;
use clap::Args;
use matrix_sdk::encryption::{VerificationState, backups::BackupState, recovery::RecoveryState};
use respite_protocol::Role;
use serde::Serialize;

use super::{Context, finish, messages};
use crate::{accounts, failure, outbox, session::Session};

/// Show how this device stands: session, verification, backup, server, and what waits to be sent.
#[derive(Args, Debug)]
#[command(after_help = "Example: respite status --json")]
pub(super) struct Status {}

#[derive(Serialize)]
struct Report {
    profile: String,
    user_id: String,
    device_id: String,
    homeserver: String,
    server: Server,
    role: Option<Role>,
    verified: bool,
    backup: bool,
    recovery: &'static str,
    queued: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Server {
    Reachable,
    Unreachable,
    LoggedOut,
}

impl Status {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        let mut session = context.open().await?;
        let result = async {
            let server = match context.catch_up(&mut session).await {
                Ok(()) => Server::Reachable,
                Err(error) if failure::is_logged_out(&error) => Server::LoggedOut,
                Err(error) if failure::is_unreachable(&error) => Server::Unreachable,
                Err(error) => return Err(error),
            };
            let report = report(context, &session, server).await?;
            context.out.result(&report, shown)
        }
        .await;
        finish(session, result).await
    }
}

async fn report(context: &Context, session: &Session, server: Server) -> Result<Report> {
    let client = session.client();
    let encryption = client.encryption();
    let role = if server == Server::Reachable {
        accounts::role(client).await?
    } else {
        None
    };
    Ok(Report {
        profile: context.profile.name().to_owned(),
        user_id: client
            .user_id()
            .map(ToString::to_string)
            .unwrap_or_default(),
        device_id: client
            .device_id()
            .map(ToString::to_string)
            .unwrap_or_default(),
        homeserver: client.homeserver().to_string(),
        server,
        role,
        verified: encryption.verification_state().get() == VerificationState::Verified,
        backup: encryption.backups().state() == BackupState::Enabled,
        recovery: match encryption.recovery().state() {
            RecoveryState::Enabled => "enabled",
            RecoveryState::Disabled => "disabled",
            RecoveryState::Incomplete => "incomplete",
            RecoveryState::Unknown => "unknown",
        },
        queued: outbox::waiting(client).await?,
    })
}

fn shown(report: &Report) -> String {
    let server = match report.server {
        Server::Reachable => "reachable".to_owned(),
        Server::Unreachable => "cannot be reached".to_owned(),
        Server::LoggedOut => {
            "no longer knows this session; run `respite logout`, then `respite login`".to_owned()
        }
    };
    let role = report
        .role
        .map(|role| format!(" ({role})"))
        .unwrap_or_default();
    let verified = if report.verified {
        "yes"
    } else {
        "no; run `respite recovery restore` or `respite verify`"
    };
    let backup = match (report.backup, report.recovery) {
        (true, "enabled" | "unknown") => "on",
        (false, "unknown") => "unknown while the server cannot be reached",
        (true, _) => "on, but without a recovery key; run `respite recovery setup`",
        (false, "disabled") => "off; run `respite recovery setup`",
        (false, _) => "off on this device; run `respite recovery restore`",
    };
    let queued = if report.queued == 0 {
        "nothing".to_owned()
    } else {
        messages(report.queued)
    };
    format!(
        "Account:  {}{role}, device {}\nServer:   {} {server}\nVerified: {verified}\nBackup:   {backup}\nWaiting:  {queued}",
        report.user_id, report.device_id, report.homeserver
    )
}
