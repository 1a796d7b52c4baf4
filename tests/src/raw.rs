//! A person with a hand-made client: sends what no real client would, and sees the bare answers.

use anyhow::{Context, Result, ensure};
use reqwest::{
    Method, StatusCode,
    header::{HeaderMap, HeaderValue},
};
use serde_json::{Value, json};
use vodozemac::{
    Curve25519PublicKey,
    megolm::{GroupSession, SessionConfig as MegolmConfig},
    olm::{Account, OlmMessage, SessionConfig},
};

use crate::{person::PATIENCE, practice::Practice};

/// The paths of the therapy extension begin like this.
pub const THERAPY: &str = "unstable/chat.respite";

/// What the server gives anybody who is not in a room, whether the room exists or not.
pub const NOT_IN_ROOM: &str = "You are not in this room, or it does not exist.";

/// A person, or somebody who has not logged in.
#[derive(Clone)]
pub struct Raw {
    http: reqwest::Client,
    url: String,
    /// Their user id; empty if they are nobody.
    pub user: String,
    /// Their device's id.
    pub device: String,
    /// Their access token.
    pub token: Option<String>,
    /// Their password.
    pub password: String,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked, for the message of a test that fails.
    pub asked: String,
    /// The HTTP status.
    pub status: u16,
    /// The body, byte for byte.
    pub bytes: Vec<u8>,
    /// The body, if it is JSON.
    pub body: Value,
    /// The headers.
    pub headers: HeaderMap,
}

impl Raw {
    /// Somebody who has not logged in.
    pub fn nobody(url: &str) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE * 2)
            .build()?;
        Ok(Self {
            http,
            url: url.to_owned(),
            user: String::new(),
            device: String::new(),
            token: None,
            password: String::new(),
        })
    }

    /// Makes an account with a code.
    pub async fn register(url: &str, name: &str, code: &str) -> Result<Self> {
        let nobody = Self::nobody(url)?;
        let password = format!("{name} sleeps by day");
        let body = json!({
            "username": name, "password": password,
            "auth": { "type": "m.login.registration_token", "token": code },
        });
        let session = nobody.post("v3/register", body).await?.ok()?;
        nobody.with_session(&session, password)
    }

    /// Logs in at another device.
    pub async fn log_in(url: &str, name: &str, password: &str) -> Result<Self> {
        let nobody = Self::nobody(url)?;
        let body = json!({
            "type": "m.login.password", "password": password,
            "identifier": { "type": "m.id.user", "user": name },
        });
        let session = nobody.post("v3/login", body).await?.ok()?;
        nobody.with_session(&session, password.to_owned())
    }

    fn with_session(mut self, session: &Value, password: String) -> Result<Self> {
        let text = |key: &str| session[key].as_str().map(str::to_owned);
        self.user = text("user_id").context("no user id")?;
        self.device = text("device_id").context("no device id")?;
        self.token = Some(text("access_token").context("no access token")?);
        self.password = password;
        Ok(self)
    }

    /// The same person with another access token.
    pub fn with_token(&self, token: Option<&str>) -> Self {
        let mut other = self.clone();
        other.token = token.map(str::to_owned);
        other
    }

    /// The same person, who asks another server.
    pub fn at(&self, url: &str) -> Self {
        let mut other = self.clone();
        url.clone_into(&mut other.url);
        other
    }

    /// GET below `/_matrix/client/`.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.ask(Method::GET, path, None).await
    }

    /// PUT below `/_matrix/client/`.
    pub async fn put(&self, path: &str, body: Value) -> Result<Answer> {
        self.ask(Method::PUT, path, Some(body.to_string().into_bytes()))
            .await
    }

    /// POST below `/_matrix/client/`.
    pub async fn post(&self, path: &str, body: Value) -> Result<Answer> {
        self.ask(Method::POST, path, Some(body.to_string().into_bytes()))
            .await
    }

    /// DELETE below `/_matrix/client/`, with an empty object.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.ask(Method::DELETE, path, Some(b"{}".to_vec())).await
    }

    /// Anything below `/_matrix/client/`, or at a whole path if it begins with `/`.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Answer> {
        self.ask_with(method, path, body, HeaderMap::new()).await
    }

    /// As [`Raw::ask`], with headers.
    pub async fn ask_with(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        headers: HeaderMap,
    ) -> Result<Answer> {
        let whole = match path.starts_with('/') {
            true => format!("{}{path}", self.url),
            false => format!("{}/_matrix/client/{path}", self.url),
        };
        let asked = format!("{method} {path}");
        let mut request = self.http.request(method, whole).headers(headers);
        if let Some(token) = &self.token {
            let bearer = HeaderValue::from_str(&format!("Bearer {token}"))?;
            request = request.header("authorization", bearer);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let response = request.send().await.with_context(|| asked.clone())?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response
            .bytes()
            .await
            .with_context(|| asked.clone())?
            .to_vec();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Answer {
            asked,
            status,
            bytes,
            body,
            headers,
        })
    }

    /// Sends an event to a room.
    pub async fn send(&self, room: &str, kind: &str, content: Value) -> Result<Answer> {
        let txn = format!("t{:x}", rand::random::<u64>());
        self.put(&format!("v3/rooms/{room}/send/{kind}/{txn}"), content)
            .await
    }

    /// Sends Megolm ciphertext to a room. Returns the event's id.
    pub async fn says(&self, room: &str, text: &str) -> Result<String> {
        let sent = self
            .send(room, "m.room.encrypted", megolm(room, text)?)
            .await?
            .ok()?;
        text_at(&sent, "event_id")
    }

    /// Makes a room. Returns its id.
    pub async fn makes_a_room(&self, body: Value) -> Result<String> {
        text_at(&self.post("v3/createRoom", body).await?.ok()?, "room_id")
    }

    /// Enters a room.
    pub async fn joins(&self, room: &str) -> Result<()> {
        self.post(&format!("v3/rooms/{room}/join"), json!({}))
            .await?
            .ok()?;
        Ok(())
    }

    /// What is new since a token; everything if there is none. Does not wait.
    pub async fn syncs(&self, since: Option<&str>) -> Result<Value> {
        let since = since
            .map(|since| format!("&since={since}"))
            .unwrap_or_default();
        self.get(&format!("v3/sync?timeout=0{since}")).await?.ok()
    }

    /// The rooms that they are in.
    pub async fn rooms(&self) -> Result<Vec<String>> {
        let body = self.get("v3/joined_rooms").await?.ok()?;
        let rooms = body["joined_rooms"].as_array().context("no rooms")?;
        Ok(rooms
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect())
    }

    /// Ends interactive authentication with their password: asks, and asks again with the proof.
    pub async fn with_password(
        &self,
        method: Method,
        path: &str,
        mut body: Value,
    ) -> Result<Answer> {
        let first = self
            .ask(method.clone(), path, Some(body.to_string().into_bytes()))
            .await?;
        ensure!(first.status == 401, "{first} needs no password");
        body["auth"] = json!({
            "type": "m.login.password", "password": self.password, "session": first.body["session"],
            "identifier": { "type": "m.id.user", "user": self.user },
        });
        self.ask(method, path, Some(body.to_string().into_bytes()))
            .await
    }
}

impl Answer {
    /// The body of a 200.
    ///
    /// # Errors
    /// It was another status.
    pub fn ok(self) -> Result<Value> {
        ensure!(self.status == StatusCode::OK, "{self}");
        Ok(self.body)
    }

    /// The errcode; empty if there is none.
    pub fn errcode(&self) -> &str {
        self.body["errcode"].as_str().unwrap_or_default()
    }

    /// The sentence for people; empty if there is none.
    pub fn sentence(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    /// The sentence of a refusal with this status and errcode.
    ///
    /// # Errors
    /// It was no such refusal, or it says nothing that a person can read.
    pub fn refused(&self, status: u16, errcode: &str) -> Result<&str> {
        ensure!(
            self.status == status && self.errcode() == errcode,
            "{self} instead of {status} {errcode}"
        );
        let sentence = self.sentence();
        let reads_well = sentence.ends_with('.')
            && sentence.contains(' ')
            && sentence.starts_with(char::is_uppercase);
        ensure!(reads_well, "{self} is no sentence for a person");
        Ok(sentence)
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(&self.bytes);
        let start: String = text.chars().take(400).collect();
        write!(f, "{}: {} {start}", self.asked, self.status)
    }
}

/// A therapist and a night nurse in a therapy room of theirs. Returns the room's id too.
pub async fn therapist_and_nurse(practice: &Practice) -> Result<(Raw, Raw, String)> {
    let therapist = therapist(practice, "therapist").await?;
    let nurse = client_of(practice, &therapist, "nurse").await?;
    let rooms = nurse.rooms().await?;
    let room = rooms.first().context("the nurse is in no room")?.clone();
    Ok((therapist, nurse, room))
}

/// A therapist.
pub async fn therapist(practice: &Practice, name: &str) -> Result<Raw> {
    let code = practice.code(respite_protocol::Role::Therapist).await?;
    Raw::register(practice.url(), name, &code).await
}

/// A client of a therapist's.
pub async fn client_of(practice: &Practice, therapist: &Raw, name: &str) -> Result<Raw> {
    client_at(practice.url(), therapist, name).await
}

/// A client of a therapist's, at this address.
pub async fn client_at(url: &str, therapist: &Raw, name: &str) -> Result<Raw> {
    let made = therapist
        .post(
            &format!("{THERAPY}/invites"),
            json!({ "kind": "individual" }),
        )
        .await?
        .ok()?;
    Raw::register(url, name, &text_at(&made, "code")?).await
}

/// Somebody with an account and nothing else.
pub async fn stranger(practice: &Practice, name: &str) -> Result<Raw> {
    let code = practice.code(respite_protocol::Role::Client).await?;
    Raw::register(practice.url(), name, &code).await
}

/// The text at a key.
pub fn text_at(value: &Value, key: &str) -> Result<String> {
    value[key]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("no {key} in {value}"))
}

/// The content of `m.room.encrypted` in a room, as a real client makes it.
pub fn megolm(room: &str, text: &str) -> Result<Value> {
    let mut session = GroupSession::new(MegolmConfig::version_1());
    Ok(json!({
        "algorithm": "m.megolm.v1.aes-sha2",
        "ciphertext": session.encrypt(payload(room, text)).to_base64(),
        "session_id": session.session_id(),
        "sender_key": Account::new().curve25519_key().to_base64(),
        "device_id": "NIGHTSHIFT",
    }))
}

/// The content of `m.room.encrypted` to a device, as a real client makes it.
pub fn olm(text: &str) -> Result<Value> {
    let (mine, mut theirs) = (Account::new(), Account::new());
    theirs.generate_one_time_keys(1);
    let one_time: Curve25519PublicKey = *theirs
        .one_time_keys()
        .values()
        .next()
        .context("no one-time key")?;
    let to = theirs.curve25519_key();
    let mut session = mine.create_outbound_session(SessionConfig::version_1(), to, one_time)?;
    let OlmMessage::PreKey(message) = session.encrypt(payload("!any:localhost", text))? else {
        anyhow::bail!("a session begins with a pre-key message")
    };
    Ok(json!({
        "algorithm": "m.olm.v1.curve25519-aes-sha2",
        "sender_key": mine.curve25519_key().to_base64(),
        "ciphertext": { (to.to_base64()): { "type": 0, "body": message.to_base64() } },
    }))
}

/// Bytes as a cipher makes them.
pub fn encrypted_bytes(length: usize) -> Vec<u8> {
    (0..length).map(|_| rand::random()).collect()
}

/// Unpadded base64 of so many bytes as a cipher makes them.
pub fn encrypted_base64(length: usize) -> String {
    vodozemac::base64_encode(encrypted_bytes(length))
}

/// Text as it stands in a query.
pub fn in_query(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

fn payload(room: &str, text: &str) -> String {
    let content = json!({ "msgtype": "m.text", "body": text });
    json!({ "type": "m.room.message", "content": content, "room_id": room }).to_string()
}
