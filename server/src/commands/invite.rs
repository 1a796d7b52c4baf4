use std::{process::ExitCode, time::Duration};

use clap::Args;
use respite_protocol::{Role, api};
use respite_server::{
    admin::{Answer, Command},
    config::duration,
};

use super::operate::Operate;

/// Make a code with which people register
///
/// The code is a Matrix registration token: `respite register --code CODE` takes it, and so does every Matrix client. It is
/// shown once; the server keeps only its hash. A client's code from here makes an account without a therapist; therapists
/// make codes for their own clients with `respite invite`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  respite-server invite --role therapist
  respite-server invite --role client --uses 5 --expires 2d --data /srv/respite")]
pub(super) struct Invite {
    /// What the new accounts' owners are here: therapist, client or operator.
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// How many accounts may be made with it.
    #[arg(long, value_name = "N", default_value_t = api::DEFAULT_INVITE_USES)]
    uses: u32,
    /// How long it works.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "7d")]
    expires: Duration,
    #[command(flatten)]
    operate: Operate,
}

impl Invite {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let lifetime = u64::try_from(self.expires.as_millis()).unwrap_or(u64::MAX);
        let command = Command::Invite {
            role: self.role,
            uses: self.uses,
            lifetime,
        };
        let told = duration::format(self.expires);
        self.operate
            .run(command, |out, answer| match answer {
                Answer::Code {
                    code, role, uses, ..
                } => {
                    let times = if *uses == 1 {
                        "once".to_owned()
                    } else {
                        format!("{uses} times")
                    };
                    writeln!(out, "{code}")?;
                    writeln!(
                        out,
                        "Works {times} within {told}, for a {role}. It is not shown again."
                    )
                }
                _ => Ok(()),
            })
            .await?;
        Ok(ExitCode::SUCCESS)
    }
}
