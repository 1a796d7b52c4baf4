//! Interactive authentication: a request that needs more than an access token is answered with 401 and the ways to prove
//! oneself, and comes again with the proof.
//!
//! [User-interactive authentication](https://spec.matrix.org/v1.18/client-server-api/#user-interactive-authentication-api)

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ruma::{
    UserId,
    api::{
        client::uiaa::{AuthData, AuthFlow, AuthType, UiaaInfo, UserIdentifier},
        error::{ErrorKind, StandardErrorBody},
    },
};

use crate::{
    auth::{self, Asker, Device, Secret, TokenHash},
    clock::{Clock, Random},
    error::{Error, Result},
    state::App,
};

/// How many authentications may be under way; beyond that the oldest is forgotten.
pub const MAX_SESSIONS: usize = 10_000;
/// How long one may take.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// 100 random bits.
const SESSION_ID_LETTERS: usize = 20;

/// Asks for the caller's password before something that a stolen access token must not do. `action` names what is being
/// done; proof given for one action opens no other.
///
/// # Errors
/// 401 with the ways to go on, when the password is missing or wrong; 429 after too many wrong ones.
pub async fn require(app: &App, me: &Device, action: &str, auth: Option<&AuthData>) -> Result<()> {
    let purpose = format!("{action} {}", me.user);
    let session = app.uia.open(
        &app.clock,
        &app.random,
        &purpose,
        auth.and_then(AuthData::session),
    );
    let Some(AuthData::Password(proof)) = auth else {
        return Err(ask_password(session, None));
    };
    if !names(app, &proof.identifier, &me.user) {
        let problem = (ErrorKind::Forbidden, "This is somebody else's user name.");
        return Err(ask_password(session, Some(problem)));
    }
    let asker = Asker::Device(&me.device);
    let password = Secret::from(proof.password.clone());
    match auth::verify(app, &me.user, asker, password).await {
        Ok(_) => {
            app.uia.close(&session.id);
            Ok(())
        }
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
    info.session = Some(session.id);
    info.completed = session.completed;
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

/// Interactive authentications under way. In memory only: after a restart clients are asked again.
#[derive(Default)]
pub struct Sessions(Mutex<Open>);

#[derive(Default)]
struct Open {
    by_id: HashMap<String, Session>,
    /// The ids, oldest first; those of sessions that were closed are skipped.
    order: VecDeque<String>,
}

/// An interactive authentication under way.
#[derive(Clone, Debug)]
pub struct Session {
    /// What the client names it by.
    pub id: String,
    /// The stages that are done.
    pub completed: Vec<AuthType>,
    /// The code that was given, by its hash.
    pub code: Option<TokenHash>,
    purpose: String,
    expires: u64,
}

impl Sessions {
    /// The session with that id if it is for the same purpose and still open; otherwise a new one.
    pub fn open(&self, clock: &Clock, random: &Random, purpose: &str, id: Option<&str>) -> Session {
        let now = clock.millis();
        let mut open = self.lock();
        open.forget_old(now);
        if let Some(session) = id.and_then(|id| open.by_id.get(id))
            && session.purpose == purpose
            && session.expires > now
        {
            return session.clone();
        }
        let session = Session {
            id: random.text(SESSION_ID_LETTERS),
            completed: Vec::new(),
            code: None,
            purpose: purpose.to_owned(),
            expires: clock.after(SESSION_LIFETIME),
        };
        open.order.push_back(session.id.clone());
        open.by_id.insert(session.id.clone(), session.clone());
        session
    }

    /// Remembers what was proved so far.
    pub fn keep(&self, session: &Session) {
        if let Some(kept) = self.lock().by_id.get_mut(&session.id) {
            kept.clone_from(session);
        }
    }

    /// The session is over: its proof has been used.
    pub fn close(&self, id: &str) {
        self.lock().by_id.remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn forget_old(&mut self, now: u64) {
        while let Some(id) = self.order.front() {
            let over = self
                .by_id
                .get(id)
                .is_none_or(|session| session.expires <= now);
            if !over && self.order.len() < MAX_SESSIONS {
                break;
            }
            self.by_id.remove(id);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;

    fn clock() -> (Arc<AtomicU64>, Clock) {
        let time = Arc::new(AtomicU64::new(1));
        (Arc::clone(&time), Clock::manual(time))
    }

    #[test]
    fn a_session_goes_on_for_its_purpose_only() {
        let (_, clock) = clock();
        let (sessions, random) = (Sessions::default(), Random::system());
        let mut session = sessions.open(&clock, &random, "delete nurse", None);
        session.completed.push(AuthType::Dummy);
        sessions.keep(&session);
        let again = sessions.open(&clock, &random, "delete nurse", Some(&session.id));
        assert_eq!(
            (again.id.clone(), again.completed.len()),
            (session.id.clone(), 1)
        );
        let other = sessions.open(&clock, &random, "delete therapist", Some(&session.id));
        assert_ne!(other.id, session.id);
        assert!(other.completed.is_empty());
    }

    #[test]
    fn a_session_ends_when_it_is_closed_or_too_old() {
        let (time, clock) = clock();
        let (sessions, random) = (Sessions::default(), Random::system());
        let closed = sessions.open(&clock, &random, "register", None);
        sessions.close(&closed.id);
        let old = sessions.open(&clock, &random, "register", Some(&closed.id));
        assert_ne!(old.id, closed.id);
        time.fetch_add(
            u64::try_from(SESSION_LIFETIME.as_millis()).unwrap(),
            Ordering::Relaxed,
        );
        let new = sessions.open(&clock, &random, "register", Some(&old.id));
        assert_ne!(new.id, old.id);
    }

    #[test]
    fn a_flood_of_sessions_does_not_fill_the_memory() {
        let (_, clock) = clock();
        let (sessions, random) = (Sessions::default(), Random::system());
        for _ in 0..MAX_SESSIONS + 10 {
            sessions.open(&clock, &random, "register", None);
        }
        let open = sessions.lock();
        assert!(open.by_id.len() <= MAX_SESSIONS && open.order.len() <= MAX_SESSIONS);
    }
}
