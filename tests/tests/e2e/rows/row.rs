//! A row of the table: one request that succeeds.

use reqwest::Method;
use respite_tests::raw::{Raw, encrypted_bytes};
use serde_json::{Value, json};

/// Who asks.
#[derive(Clone)]
pub(super) enum Who {
    /// Anybody, without an access token.
    Anybody,
    /// This person.
    One(Raw),
    /// This person, with their password.
    Proved(Raw),
}

/// What goes along.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Nothing.
    None,
    /// JSON.
    Json(Value),
    /// A file.
    File(Vec<u8>),
}

/// A request, and how it is answered.
#[derive(Clone)]
pub(super) struct Row {
    /// Who asks.
    pub(super) who: Who,
    /// How.
    pub(super) method: Method,
    /// Below `/_matrix/client/`, or whole.
    pub(super) path: String,
    /// With what.
    pub(super) body: Body,
    /// 200; or the status that says that there is nothing.
    pub(super) status: u16,
}

impl Row {
    /// This person asks for something.
    pub(super) fn get(who: &Raw, path: impl Into<String>) -> Self {
        Self::new(who, Method::GET, path, Body::None)
    }

    /// This person sets something.
    pub(super) fn put(who: &Raw, path: impl Into<String>, body: Value) -> Self {
        Self::new(who, Method::PUT, path, Body::Json(body))
    }

    /// This person does something.
    pub(super) fn post(who: &Raw, path: impl Into<String>, body: Value) -> Self {
        Self::new(who, Method::POST, path, Body::Json(body))
    }

    /// This person removes something.
    pub(super) fn delete(who: &Raw, path: impl Into<String>) -> Self {
        Self::new(who, Method::DELETE, path, Body::Json(json!({})))
    }

    /// This person sends a file.
    pub(super) fn file(who: &Raw, method: Method, path: impl Into<String>) -> Self {
        Self::new(who, method, path, Body::File(encrypted_bytes(5_000)))
    }

    fn new(who: &Raw, method: Method, path: impl Into<String>, body: Body) -> Self {
        Self {
            who: Who::One(who.clone()),
            method,
            path: path.into(),
            body,
            status: 200,
        }
    }

    /// Anybody may ask.
    pub(super) fn by_anybody(self) -> Self {
        Self {
            who: Who::Anybody,
            ..self
        }
    }

    /// It needs the person's password.
    pub(super) fn proved(self) -> Self {
        let who = match self.who {
            Who::One(person) | Who::Proved(person) => Who::Proved(person),
            Who::Anybody => Who::Anybody,
        };
        Self { who, ..self }
    }

    /// There is none, and the answer says so.
    pub(super) fn but_there_is_none(self) -> Self {
        Self {
            status: 404,
            ..self
        }
    }

    /// Who asks, where an access token is needed.
    pub(super) fn asker(&self) -> Option<&Raw> {
        match &self.who {
            Who::Anybody => None,
            Who::One(person) | Who::Proved(person) => Some(person),
        }
    }

    /// Whether its path is of this form: a part in braces stands for any.
    pub(super) fn is_at(&self, form: &str) -> bool {
        let below = match self.path.starts_with('/') {
            true => self.path.clone(),
            false => format!("/_matrix/client/{}", self.path),
        };
        let path = below.split('?').next().unwrap_or_default();
        let (mut parts, mut forms) = (path.split('/'), form.split('/'));
        loop {
            match (parts.next(), forms.next()) {
                (None, None) => return true,
                (Some(part), Some(form)) if part == form || form.starts_with('{') => {}
                _ => return false,
            }
        }
    }

    /// The bytes that go along.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        match &self.body {
            Body::None => None,
            Body::Json(json) => Some(json.to_string().into_bytes()),
            Body::File(file) => Some(file.clone()),
        }
    }
}
