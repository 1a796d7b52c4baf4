//! Interactive authentication: a request that needs more than an access token is answered with 401 and the ways to prove
//! oneself, and comes again with the proof.
//!
//! [User-interactive authentication](https://spec.matrix.org/v1.18/client-server-api/#user-interactive-authentication-api)
//!
//! A session's id says by itself what it is for and until when, under the server's seal: any server of a practice can
//! take the next step, and somebody who only asks costs nothing. What has been proved and not been used yet is kept in the
//! store.

use std::time::Duration;

use ruma::{
    UserId,
    api::{
        client::uiaa::{AuthData, AuthFlow, AuthType, UiaaInfo, UserIdentifier},
        error::{ErrorKind, StandardErrorBody},
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    auth::{self, Asker, Device, Secret, TokenHash},
    error::{Error, Result},
    state::App,
    store::{Page, StoreError, Table, Tx},
};

/// What has been proved in sessions that are not over yet, by when that is forgotten and the hash of the session's id.
pub const PROVED: Table<(u64, TokenHash), Proved> =
    Table::new(0x010B, "interactive_authentications");

/// How long one may take.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// 60 random bits, so that two sessions have two ids.
const RANDOM_LETTERS: usize = 12;
/// How many sessions that are over are forgotten when one is kept.
const FORGET_AT_ONCE: usize = 8;

/// Asks for the caller's password before something that a stolen access token must not do. `action` names what is being
/// done; proof given for one action opens no other.
///
/// # Errors
/// 401 with the ways to go on, when the password is missing or wrong; 403 `M_FORBIDDEN` for somebody else's, or in a session
/// for another action; 429 after too many wrong ones.
pub async fn require(app: &App, me: &Device, action: &str, auth: Option<&AuthData>) -> Result<()> {
    let purpose = format!("{action} {}", me.user);
    let session = Session::open(app, &purpose, auth.and_then(AuthData::session));
    let Some(AuthData::Password(proof)) = auth else {
        return Err(ask_password(session, None));
    };
    if session.foreign {
        return Err(Error::forbidden(
            "This proof was begun for something else. Begin again.",
        ));
    }
    if !names(app, &proof.identifier, &me.user) {
        return Err(Error::forbidden("This is somebody else's user name."));
    }
    let asker = Asker::Device(&me.device);
    let password = Secret::from(proof.password.clone());
    match auth::verify(app, &me.user, asker, password).await {
        Ok(_) => Ok(()),
        Err(Error::Matrix { kind, .. }) if matches!(*kind, ErrorKind::Forbidden) => {
            Err(ask_password(
                session,
                Some((ErrorKind::Forbidden, "The password is wrong.")),
            ))
        }
        Err(error) => Err(error),
    }
}

/// The answer that asks for one of these flows. What went wrong with the last attempt goes along.
pub fn ask(
    session: Session,
    flows: Vec<AuthFlow>,
    problem: Option<(ErrorKind, &'static str)>,
) -> Error {
    let mut info = UiaaInfo::new(flows);
    info.completed = session.completed();
    info.session = Some(session.id);
    info.params = Some(empty_params());
    info.auth_error =
        problem.map(|(kind, sentence)| StandardErrorBody::new(kind, sentence.to_owned()));
    Error::Interactive(Box::new(info))
}

fn ask_password(session: Session, problem: Option<(ErrorKind, &'static str)>) -> Error {
    ask(
        session,
        vec![AuthFlow::new(vec![AuthType::Password])],
        problem,
    )
}

/// Some clients read `params` without looking whether it is there.
fn empty_params() -> Box<serde_json::value::RawValue> {
    serde_json::value::RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

fn names(app: &App, identifier: &UserIdentifier, user: &UserId) -> bool {
    let UserIdentifier::Matrix(identifier) = identifier else {
        return false;
    };
    UserId::parse_with_server_name(identifier.user.to_lowercase(), app.server_name())
        .is_ok_and(|named| named == user)
}

/// When a session is over, by its id.
fn ends(id: &str) -> Option<u64> {
    id.split('_').next()?.parse().ok()
}

/// An interactive authentication under way.
#[derive(Clone, Debug)]
pub struct Session {
    /// What the client names it by.
    pub id: String,
    /// What has been proved in it.
    pub proved: Proved,
    expires: u64,
    /// The client names it: it has been told the id.
    known: bool,
    /// The client names another one, which is not over.
    foreign: bool,
    kept: bool,
}

/// What has been proved in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proved {
    /// The stage that asks for nothing is done.
    pub dummy: bool,
    /// The code that was given, by its hash.
    pub code: Option<TokenHash>,
}

impl Session {
    /// The session with that id if it is for the same purpose and not over; otherwise a new one.
    pub fn open(app: &App, purpose: &str, id: Option<&str>) -> Self {
        let seal = app.seals.interactive.of(purpose);
        let known = id.and_then(|id| {
            let expires = ends(seal.open(id)?)?;
            (expires > app.clock.millis()).then(|| (id.to_owned(), expires))
        });
        let is_known = known.is_some();
        let foreign = !is_known
            && id
                .and_then(ends)
                .is_some_and(|end| end > app.clock.millis());
        let (id, expires) = known.unwrap_or_else(|| {
            let expires = app.clock.after(SESSION_LIFETIME);
            let place = format!("{expires}_{}", app.random.text(RANDOM_LETTERS));
            (seal.seal(&place), expires)
        });
        Self {
            id,
            proved: Proved::default(),
            expires,
            known: is_known,
            foreign,
            kept: false,
        }
    }

    /// As [`Session::open`], with what has been proved before.
    ///
    /// # Errors
    /// The store's.
    pub async fn resume(app: &App, purpose: &str, id: Option<&str>) -> Result<Self, StoreError> {
        let mut session = Self::open(app, purpose, id);
        if session.known
            && let Some(proved) = app.store.get(&PROVED, session.key()).await?
        {
            session.proved = proved;
            session.kept = true;
        }
        Ok(session)
    }

    /// Remembers what was proved so far, until the session is over; once, and only if the client can come back to it.
    ///
    /// # Errors
    /// The store's.
    pub async fn keep(&self, app: &App) -> Result<(), StoreError> {
        if self.kept || !self.known {
            return Ok(());
        }
        let now = app.clock.millis();
        app.store
            .transact(|mut tx| async move {
                let oldest = tx.store().scan(&PROVED, (), Page::first(FORGET_AT_ONCE));
                for (key, _) in oldest.await? {
                    if key.0 <= now {
                        tx.delete(&PROVED, key);
                    }
                }
                tx.put(&PROVED, self.key(), &self.proved)?;
                Ok::<_, StoreError>((tx, ()))
            })
            .await
            .map(drop)
    }

    /// The proof has been used, or was none.
    pub fn close_in(&self, tx: &mut Tx) {
        if self.kept {
            tx.delete(&PROVED, self.key());
        }
    }

    /// The stages that are done.
    fn completed(&self) -> Vec<AuthType> {
        let code = self.proved.code.map(|_| AuthType::RegistrationToken);
        let dummy = self.proved.dummy.then_some(AuthType::Dummy);
        code.into_iter().chain(dummy).collect()
    }

    fn key(&self) -> (u64, TokenHash) {
        (self.expires, auth::hash_token(&self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Server;

    /// A session that a client comes back to.
    fn told(app: &App) -> Session {
        let first = Session::open(app, "register", None);
        Session::open(app, "register", Some(&first.id))
    }

    #[tokio::test]
    async fn a_session_goes_on_with_the_same_purpose_only() {
        let server = Server::new().await;
        let app = &server.app;
        let mut session = told(app);
        session.proved.code = Some([7; 32]);
        session.keep(app).await.unwrap();
        let id = Some(session.id.as_str());
        let again = Session::resume(app, "register", id).await.unwrap();
        assert_eq!((&again.id, again.proved), (&session.id, session.proved));
        let other = Session::resume(app, "delete devices", id).await.unwrap();
        assert_ne!(other.id, session.id);
        assert_eq!(other.proved, Proved::default());
    }

    #[tokio::test]
    async fn an_id_that_somebody_made_up_or_changed_opens_nothing() {
        let server = Server::new().await;
        let session = Session::open(&server.app, "register", None);
        let later = session.id.replacen('1', "2", 1);
        for made_up in ["", "_", "__", "x", "räuber_räuber_räuber", later.as_str()] {
            let opened = Session::open(&server.app, "register", Some(made_up));
            assert_ne!(opened.id, made_up);
        }
    }

    #[tokio::test]
    async fn what_was_proved_is_gone_when_it_was_used_or_is_too_old() {
        let server = Server::new().await;
        let app = &server.app;
        let used = told(app);
        used.keep(app).await.unwrap();
        let used = Session::resume(app, "register", Some(&used.id))
            .await
            .unwrap();
        app.store
            .transact(async |mut tx| {
                used.close_in(&mut tx);
                Ok::<_, StoreError>((tx, ()))
            })
            .await
            .unwrap();
        let all = app.store.scan(&PROVED, (), Page::first(10));
        assert!(all.await.unwrap().is_empty());

        let old = told(app);
        old.keep(app).await.unwrap();
        server.wait(u64::try_from(SESSION_LIFETIME.as_millis()).unwrap());
        let new = Session::resume(app, "register", Some(&old.id))
            .await
            .unwrap();
        assert_ne!(new.id, old.id);
        told(app).keep(app).await.unwrap();
        let all = app.store.scan(&PROVED, (), Page::first(10));
        assert_eq!(all.await.unwrap().len(), 1);
    }
}
