//! Two devices of one person vouch for each other, by comparing seven emoji.

use std::{pin::pin, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures_util::StreamExt as _;
use matrix_sdk::{
    Client,
    encryption::verification::{
        SasState, SasVerification, Verification, VerificationRequest, VerificationRequestState,
    },
    ruma::events::key::verification::{
        VerificationMethod, request::ToDeviceKeyVerificationRequestEvent,
    },
};
use serde::Serialize;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};

use crate::session::sync_settings;

/// How long the other device has to take part.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// How long both devices go on listening after success, to pass on the keys.
pub const SECRETS_WAIT: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(1);

/// One of the seven pictures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Emoji {
    /// The picture.
    pub symbol: &'static str,
    /// Its name in English.
    pub name: &'static str,
}

/// Asks the other devices of this account to verify this one, and goes through with it.
/// `compare` shows the emoji and says whether they are the same on the other device.
///
/// # Errors
///
/// If there is no other device, it does not answer within [`PATIENCE`], or the emoji differ.
pub async fn start(
    client: &Client,
    compare: impl AsyncFnOnce(&[Emoji]) -> Result<bool>,
) -> Result<()> {
    let own = client.user_id().context("nobody is logged in")?;
    let identity = client.encryption().request_user_identity(own).await?;
    let identity =
        identity.context("this account has no identity yet; run `respite recovery setup` first")?;
    if client
        .encryption()
        .get_user_devices(own)
        .await?
        .devices()
        .count()
        < 2
    {
        bail!("this is your only device; there is none to verify it with");
    }
    let request = identity
        .request_verification_with_methods(vec![VerificationMethod::SasV1])
        .await?;
    while_syncing(client, async {
        let sas = ready(&request).await?;
        emoji(&sas, compare).await
    })
    .await
}

/// Waits for another device of this account to ask, accepts, and goes through with it.
///
/// # Errors
///
/// If none asks within [`PATIENCE`], or the emoji differ.
pub async fn accept(
    client: &Client,
    compare: impl AsyncFnOnce(&[Emoji]) -> Result<bool>,
) -> Result<()> {
    let (found, mut asked) = mpsc::unbounded_channel();
    let handler = client.add_event_handler(
        move |event: ToDeviceKeyVerificationRequestEvent, client: Client| {
            let found = found.clone();
            async move {
                let id = event.content.transaction_id;
                let request = client
                    .encryption()
                    .get_verification_request(&event.sender, id)
                    .await;
                if let Some(request) = request.filter(VerificationRequest::is_self_verification) {
                    // Nobody receives after the first one.
                    let _ = found.send(request);
                }
            }
        },
    );
    let result = while_syncing(client, async {
        let request = asked.recv().await.context("no other device asked")?;
        request
            .accept_with_methods(vec![VerificationMethod::SasV1])
            .await?;
        let sas = ready(&request).await?;
        emoji(&sas, compare).await
    })
    .await;
    client.remove_event_handler(handler);
    result
}

/// Runs `steps` while messages from the other device come in, and some time longer, so that the
/// devices can pass on the keys of the account and of the backup.
async fn while_syncing(client: &Client, steps: impl Future<Output = Result<()>>) -> Result<()> {
    let mut syncing = pin!(async {
        loop {
            if client.sync_once(sync_settings(POLL)).await.is_err() {
                sleep(RETRY).await;
            }
        }
    });
    let deadline = Instant::now() + PATIENCE;
    tokio::select! {
        result = timeout_at(deadline, steps) => {
            result.context("the other device did not take part in time")??;
        }
        () = &mut syncing => {}
    }
    let _ = tokio::time::timeout(SECRETS_WAIT, async {
        tokio::select! {
            () = all_secrets(client) => {}
            () = &mut syncing => {}
        }
    })
    .await;
    Ok(())
}

/// Returns never on the device that has all secrets already: it listens for the other's requests.
async fn all_secrets(client: &Client) {
    let had_all = has_secrets(client).await;
    loop {
        sleep(RETRY).await;
        if !had_all && has_secrets(client).await {
            return;
        }
    }
}

async fn has_secrets(client: &Client) -> bool {
    let encryption = client.encryption();
    let signing = encryption
        .cross_signing_status()
        .await
        .is_some_and(|status| status.is_complete());
    signing && encryption.backups().are_enabled().await
}

/// Waits until both devices have agreed on comparing emoji.
async fn ready(request: &VerificationRequest) -> Result<SasVerification> {
    let mut changes = request.changes();
    let mut state = Some(request.state());
    while let Some(now) = state {
        match now {
            VerificationRequestState::Ready { .. } if request.we_started() => {
                if let Some(sas) = request.start_sas().await? {
                    return Ok(sas);
                }
            }
            VerificationRequestState::Transitioned {
                verification: Verification::SasV1(sas),
            } => {
                sas.accept().await?;
                return Ok(sas);
            }
            VerificationRequestState::Done => bail!("another device has already done it"),
            VerificationRequestState::Cancelled(info) => {
                bail!("the verification was cancelled: {}", info.reason())
            }
            _ => {}
        }
        state = changes.next().await;
    }
    bail!("the verification ended before it began")
}

async fn emoji(
    sas: &SasVerification,
    compare: impl AsyncFnOnce(&[Emoji]) -> Result<bool>,
) -> Result<()> {
    let mut compare = Some(compare);
    let mut changes = sas.changes();
    let mut state = Some(sas.state());
    while let Some(now) = state {
        match now {
            SasState::KeysExchanged { emojis, .. } => {
                let emojis = emojis.context("the other device cannot show emoji")?.emojis;
                let shown: Vec<_> = emojis
                    .iter()
                    .map(|emoji| Emoji {
                        symbol: emoji.symbol,
                        name: emoji.description,
                    })
                    .collect();
                if let Some(compare) = compare.take() {
                    if !compare(&shown).await? {
                        sas.mismatch().await?;
                        bail!(
                            "the emoji were not the same: neither device trusts the other; try again"
                        );
                    }
                    sas.confirm().await?;
                }
            }
            SasState::Done { .. } => return Ok(()),
            SasState::Cancelled(info) => bail!("the verification was cancelled: {}", info.reason()),
            _ => {}
        }
        state = changes.next().await;
    }
    bail!("the verification ended before it was done")
}
