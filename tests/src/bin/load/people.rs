//! The accounts that write and read, and the ciphertext that they write.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use vodozemac::megolm::{GroupSession, SessionConfig};

use crate::target::Target;

/// Everybody; those at 2n and 2n+1 share a room.
pub(crate) struct People {
    pub(crate) all: Vec<Person>,
}

/// One account with one device and one connection pool.
pub(crate) struct Person {
    http: Client,
    /// The servers, which are asked in turn.
    urls: Vec<String>,
    turn: AtomicUsize,
    token: String,
    /// Where they stand among all.
    pub(crate) number: usize,
    pub(crate) user: String,
    pub(crate) device: String,
    /// The user and device that they share a room with.
    pub(crate) partner: (String, String),
    pub(crate) room: String,
    session: Mutex<GroupSession>,
    transactions: AtomicU64,
}

impl People {
    /// Registers `count` accounts (rounded up to pairs, two pairs at least) and opens an encrypted room for each pair.
    pub(crate) async fn register(
        target: &Target,
        count: usize,
        token: Option<&str>,
    ) -> Result<Self> {
        let run: u64 = rand::random();
        let count = count.max(4).next_multiple_of(2);
        let mut all = Vec::new();
        for number in 0..count {
            let name = format!("load-{run:x}-{number}");
            let mut person = Person::register(&target.urls, &name, token).await?;
            person.number = number;
            all.push(person);
        }
        for pair in all.chunks_exact_mut(2) {
            if let [first, second] = pair {
                let room = first.open_room(&second.user).await?;
                second.join(&room).await?;
                first.room.clone_from(&room);
                second.room = room;
                first.partner = (second.user.clone(), second.device.clone());
                second.partner = (first.user.clone(), first.device.clone());
            }
        }
        Ok(Self { all })
    }

    /// Calls `act` for everybody at once and waits for all.
    pub(crate) async fn each<'a, T, F, Fut>(&'a self, act: F) -> Result<Vec<T>>
    where
        F: Fn(&'a Person) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        try_join_all(self.all.iter().map(act)).await
    }
}

impl Person {
    async fn register(urls: &[String], name: &str, token: Option<&str>) -> Result<Self> {
        let http = Client::builder()
            .http1_only()
            .pool_max_idle_per_host(4)
            .build()?;
        let url = urls.first().context("no server")?;
        let endpoint = format!("{url}/_matrix/client/v3/register");
        let mut body = json!({ "username": name, "password": format!("{name}-correct-horse") });
        let mut answer: Value = Value::Null;
        for _ in 0..4 {
            let response = http.post(&endpoint).body(body.to_string()).send().await?;
            let status = response.status();
            answer = serde_json::from_slice(&response.bytes().await?)?;
            if status != StatusCode::UNAUTHORIZED {
                break;
            }
            let done = answer["completed"].as_array().map_or(0, Vec::len);
            let stage = pick_stage(&answer, token.is_some(), done)
                .context("no way to register that this tool knows")?;
            body["auth"] = json!({ "type": stage, "session": answer["session"], "token": token });
        }
        let text = |field: &str| answer[field].as_str().map(str::to_owned);
        let (Some(token), Some(user), Some(device)) =
            (text("access_token"), text("user_id"), text("device_id"))
        else {
            bail!("registration failed: {}", answer["errcode"]);
        };
        Ok(Self {
            http,
            urls: urls.to_owned(),
            turn: AtomicUsize::new(0),
            token,
            number: 0,
            user,
            device,
            partner: <(String, String)>::default(),
            room: String::new(),
            session: Mutex::new(GroupSession::new(SessionConfig::version_1())),
            transactions: AtomicU64::new(0),
        })
    }

    /// Opens an encrypted room and invites somebody.
    pub(crate) async fn open_room(&self, other: &str) -> Result<String> {
        let body = json!({
            "preset": "private_chat",
            "invite": [other],
            "initial_state": [{ "type": "m.room.encryption", "state_key": "", "content": { "algorithm": "m.megolm.v1.aes-sha2" } }],
        });
        let answer = self
            .request(Method::POST, "v3/createRoom", Some(body))
            .await?;
        answer["room_id"]
            .as_str()
            .map(str::to_owned)
            .context("a room without an id")
    }

    /// A new ciphertext, as a client would make it; no two are the same.
    pub(crate) fn ciphertext(&self) -> Value {
        let mut session = self
            .session
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = format!(
            "{{\"type\":\"m.room.message\",\"room_id\":\"{}\",\"content\":{{\"msgtype\":\"m.text\",\"body\":\"{}\"}}}}",
            self.room,
            "a quiet night so far ".repeat(5)
        );
        let ciphertext = session.encrypt(&text).to_base64();
        json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": ciphertext, "session_id": session.session_id() })
    }

    /// Enters a room.
    pub(crate) async fn join(&self, room: &str) -> Result<()> {
        let path = format!("v3/join/{room}");
        let joined = self.request(Method::POST, &path, Some(json!({})));
        joined.await.map(drop)
    }

    /// Sends one message; returns when the server has acknowledged it.
    pub(crate) async fn send(&self, content: Value) -> Result<()> {
        self.send_to(&self.room, content).await
    }

    /// Sends one message to a room.
    pub(crate) async fn send_to(&self, room: &str, content: Value) -> Result<()> {
        let transaction = self.transactions.fetch_add(1, Ordering::Relaxed);
        let path = format!("v3/rooms/{room}/send/m.room.encrypted/load{transaction}");
        self.request(Method::PUT, &path, Some(content))
            .await
            .map(drop)
    }

    /// One sync; returns its token and the ciphertexts that it brought.
    pub(crate) async fn sync(
        &self,
        since: Option<&str>,
        timeout_ms: u64,
    ) -> Result<(String, Vec<String>)> {
        let mut path = format!("v3/sync?timeout={timeout_ms}");
        if let Some(since) = since {
            path.push_str("&since=");
            path.push_str(since);
        }
        let answer = self.request(Method::GET, &path, None).await?;
        let token = answer["next_batch"]
            .as_str()
            .context("a sync without a token")?
            .to_owned();
        let events = answer["rooms"]["join"][&self.room]["timeline"]["events"].as_array();
        let ciphertexts = events
            .into_iter()
            .flatten()
            .filter_map(|event| event["content"]["ciphertext"].as_str().map(str::to_owned))
            .collect();
        Ok((token, ciphertexts))
    }

    /// Uploads an attachment; returns its address.
    pub(crate) async fn upload(&self, bytes: Vec<u8>) -> Result<String> {
        let url = format!("{}/_matrix/media/v3/upload", self.next_url()?);
        let request = self.http.post(url).bearer_auth(&self.token);
        let request = request.header("content-type", "application/octet-stream");
        let response = request.body(bytes).send().await?;
        let (status, answer) = (response.status(), response.bytes().await?);
        let answer = judged(status, &answer)?;
        let uri = answer["content_uri"].as_str();
        Ok(uri.context("an upload without an address")?.to_owned())
    }

    /// Fetches an attachment; returns how many bytes came.
    pub(crate) async fn download(&self, uri: &str) -> Result<usize> {
        let id = uri.trim_start_matches("mxc://");
        let url = format!("{}/_matrix/client/v1/media/download/{id}", self.next_url()?);
        let request = self.http.get(url).bearer_auth(&self.token);
        let response = request.send().await?.error_for_status()?;
        Ok(response.bytes().await?.len())
    }

    /// One sliding sync, without waiting.
    pub(crate) async fn slide(&self, pos: Option<&str>, body: Value) -> Result<Value> {
        let pos = pos.map_or_else(String::new, |pos| format!("&pos={pos}"));
        let path = format!("unstable/org.matrix.simplified_msc3575/sync?timeout=0{pos}");
        self.request(Method::POST, &path, Some(body)).await
    }

    /// Asks below `/_matrix/client/`.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        let url = format!("{}/_matrix/client/{path}", self.next_url()?);
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await?;
        let (status, answer) = (response.status(), response.bytes().await?);
        judged(status, &answer)
    }

    /// The server whose turn it is.
    fn next_url(&self) -> Result<&str> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let url = self.urls.iter().cycle().nth(turn % self.urls.len().max(1));
        Ok(url.context("no server")?)
    }
}

fn judged(status: StatusCode, answer: &[u8]) -> Result<Value> {
    let answer: Value = serde_json::from_slice(answer)?;
    if !status.is_success() {
        bail!("{status}: {} {}", answer["errcode"], answer["error"]);
    }
    Ok(answer)
}

/// The next stage of the first flow that we can go all the way.
fn pick_stage(answer: &Value, has_token: bool, done: usize) -> Option<String> {
    let known = |stage: &Value| match stage.as_str() {
        Some("m.login.dummy") => true,
        Some("m.login.registration_token") => has_token,
        _ => false,
    };
    let flows = answer["flows"].as_array()?;
    let stages = flows
        .iter()
        .filter_map(|flow| flow["stages"].as_array())
        .find(|stages| stages.iter().all(known))?;
    stages.get(done)?.as_str().map(str::to_owned)
}
