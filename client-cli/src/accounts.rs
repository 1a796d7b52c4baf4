//! Making an account, logging in, and the account's cross-signing identity.

use anyhow::{Context as _, Result, anyhow, bail};
use matrix_sdk::Client;
use respite_protocol::{
    Role,
    api::capability::{CAPABILITY, TherapyCapability},
};
use ruma::api::client::{
    account::register,
    discovery::get_capabilities,
    uiaa::{
        AuthData, AuthType, Dummy, MatrixUserIdentifier, Password, RegistrationToken, UiaaInfo,
        UserIdentifier,
    },
};
use zeroize::Zeroizing;

/// What a device of this program is called in lists of devices. It says nothing of its owner.
pub const DEVICE_NAME: &str = "respite";

/// Most steps of a registration.
const MAX_STAGES: usize = 4;

/// Makes an account and logs in with it. `code` is asked for only if the server wants one.
///
/// # Errors
///
/// If the name is taken, the password too weak, the code wrong, used up or expired, or the server
/// cannot be reached.
pub async fn register(
    client: &Client,
    user: &str,
    password: &str,
    mut code: impl FnMut() -> Result<Zeroizing<String>>,
) -> Result<()> {
    let mut request = register::v3::Request::new();
    request.username = Some(user.to_owned());
    request.password = Some(password.to_owned());
    request.initial_device_display_name = Some(DEVICE_NAME.to_owned());
    request.refresh_token = true;
    for _ in 0..MAX_STAGES {
        let error = match client.matrix_auth().register(request.clone()).await {
            Ok(_) if client.matrix_auth().logged_in() => return Ok(()),
            Ok(_) => {
                bail!("the account was made, but the server did not log it in; use `respite login`")
            }
            Err(error) => error,
        };
        let Some(info) = error.as_uiaa_response() else {
            return Err(error).context("the account was not made");
        };
        if info.auth_error.is_some() {
            return Err(error).context("the account was not made");
        }
        request.auth = Some(match next_stage(info)? {
            AuthType::RegistrationToken => {
                let mut token = RegistrationToken::new(code()?.to_string());
                token.session = info.session.clone();
                AuthData::RegistrationToken(token)
            }
            _ => {
                let mut dummy = Dummy::new();
                dummy.session = info.session.clone();
                AuthData::Dummy(dummy)
            }
        });
    }
    bail!("the account was not made: the server asks for one confirmation after another")
}

/// Logs in with a password.
///
/// # Errors
///
/// If name or password are wrong, or the server cannot be reached.
pub async fn login(client: &Client, user: &str, password: &str) -> Result<()> {
    client
        .matrix_auth()
        .login_username(user, password)
        .initial_device_display_name(DEVICE_NAME)
        .request_refresh_token()
        .send()
        .await
        .context("you are not logged in")?;
    Ok(())
}

/// Gives the account a cross-signing identity if it has none, so that its devices can vouch for
/// one another. `password` is asked for only if the server wants it.
///
/// # Errors
///
/// If the password is wrong or the server cannot be reached.
pub async fn bootstrap_cross_signing(
    client: &Client,
    password: impl FnOnce() -> Result<Zeroizing<String>>,
) -> Result<()> {
    let encryption = client.encryption();
    let Err(error) = encryption.bootstrap_cross_signing_if_needed(None).await else {
        return Ok(());
    };
    let Some(info) = error.as_uiaa_response() else {
        return Err(error.into());
    };
    let user = client.user_id().context("nobody is logged in")?;
    let identifier = UserIdentifier::Matrix(MatrixUserIdentifier::new(user.localpart().to_owned()));
    let mut auth = Password::new(identifier, password()?.to_string());
    auth.session = info.session.clone();
    encryption
        .bootstrap_cross_signing_if_needed(Some(AuthData::Password(auth)))
        .await?;
    Ok(())
}

/// What the account may do in the therapy extension; none on a server without it.
///
/// # Errors
///
/// If the server cannot be reached.
pub async fn role(client: &Client) -> Result<Option<Role>> {
    let capabilities = client
        .send(get_capabilities::v3::Request::new())
        .await?
        .capabilities;
    let therapy = capabilities.get(CAPABILITY);
    let therapy = therapy
        .and_then(|value| serde_json::from_value::<TherapyCapability>(value.into_owned()).ok());
    Ok(therapy
        .filter(|therapy| therapy.enabled)
        .map(|therapy| therapy.role))
}

/// The next step of the first flow that this program can go.
fn next_stage(info: &UiaaInfo) -> Result<AuthType> {
    let possible =
        |stage: &AuthType| matches!(stage, AuthType::RegistrationToken | AuthType::Dummy);
    let flow = info
        .flows
        .iter()
        .find(|flow| flow.stages.iter().all(possible));
    let flow = flow.ok_or_else(|| {
        anyhow!("this server asks new people for more than a code; register on its website")
    })?;
    let next = flow
        .stages
        .iter()
        .find(|stage| !info.completed.contains(stage));
    next.cloned()
        .context("the server asks for a confirmation that it already has")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn next(info: serde_json::Value) -> Result<AuthType> {
        next_stage(&serde_json::from_value(info).unwrap())
    }

    #[test]
    fn the_code_comes_first_and_the_dummy_after_it() {
        let flows = json!([{"stages": ["m.login.recaptcha"]}, {"stages": ["m.login.registration_token", "m.login.dummy"]}]);
        assert_eq!(
            next(json!({"flows": flows})).unwrap(),
            AuthType::RegistrationToken
        );
        let completed = json!(["m.login.registration_token"]);
        assert_eq!(
            next(json!({"flows": flows, "completed": completed})).unwrap(),
            AuthType::Dummy
        );
    }

    #[test]
    fn a_server_that_asks_for_more_is_told_from_one_that_does_not() {
        let error = next(json!({"flows": [{"stages": ["m.login.recaptcha"]}]}))
            .unwrap_err()
            .to_string();
        assert!(error.contains("more than a code"), "{error}");
    }
}
