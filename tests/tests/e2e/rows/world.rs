//! The people, rooms and things that the rows are about.

use anyhow::{Context, Result};
use reqwest::Method;
use respite_protocol::Role;
use respite_tests::{
    keys::sign,
    practice::Practice,
    raw::{self, Raw, encrypted_base64, encrypted_bytes, text_at},
};
use serde_json::{Value, json};
use vodozemac::Ed25519Keypair;

/// What the rows need to be there.
pub(super) struct World {
    /// Who asks.
    pub(super) nurse: Raw,
    /// Another device of hers, which she removes.
    pub(super) tablet: Raw,
    /// One more, which is removed among others.
    pub(super) laptop: Raw,
    /// Who runs the server.
    pub(super) operator: Raw,
    /// Somebody who is in the room.
    pub(super) doctor: Raw,
    /// Somebody who is in it too.
    pub(super) porter: Raw,
    /// Somebody who is not in it.
    pub(super) paramedic: Raw,
    /// The nurse's room.
    pub(super) room: String,
    /// A message in it.
    pub(super) event: String,
    /// A room of the doctor's that is open to all.
    pub(super) open: String,
    /// Another one.
    pub(super) another: String,
    /// One where one knocks.
    pub(super) closed: String,
    /// A room that the nurse has left.
    pub(super) left: String,
    /// A file of hers, without `mxc://`.
    pub(super) file: String,
    /// A place for one, without `mxc://`.
    pub(super) place: String,
    /// The number of a filter.
    pub(super) filter: String,
    /// The version of her key backup.
    pub(super) backup: String,
    /// A token with which she goes on.
    pub(super) refresh: String,
    /// A sync token.
    pub(super) since: String,
    /// A code for a new account.
    pub(super) code: String,
}

impl World {
    /// Makes it.
    pub(super) async fn of(practice: &Practice) -> Result<Self> {
        let person = async |name: &str| raw::stranger(practice, name).await;
        let nurse = person("nurse").await?;
        let (doctor, porter) = (person("doctor").await?, person("porter").await?);
        let device = async || Raw::log_in(practice.url(), "nurse", &nurse.password).await;
        let room = nurse
            .makes_a_room(json!({ "invite": [doctor.user, porter.user] }))
            .await?;
        doctor.joins(&room).await?;
        porter.joins(&room).await?;
        let left = nurse.makes_a_room(json!({})).await?;
        nurse
            .post(&format!("v3/rooms/{left}/leave"), json!({}))
            .await?
            .ok()?;
        let knock = json!({ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } });
        let refreshable = json!({
            "type": "m.login.password", "password": nurse.password, "refresh_token": true,
            "identifier": { "type": "m.id.user", "user": "nurse" },
        });
        let session = nurse.post("v3/login", refreshable).await?.ok()?;
        let operator = practice.code(Role::Operator).await?;
        let filter = format!("v3/user/{}/filter", nurse.user);
        Ok(Self {
            tablet: device().await?,
            laptop: device().await?,
            operator: Raw::register(practice.url(), "operator", &operator).await?,
            paramedic: person("paramedic").await?,
            event: nurse.says(&room, "x").await?,
            open: doctor
                .makes_a_room(json!({ "preset": "public_chat" }))
                .await?,
            another: doctor
                .makes_a_room(json!({ "preset": "public_chat" }))
                .await?,
            closed: doctor
                .makes_a_room(json!({ "initial_state": [knock] }))
                .await?,
            file: uploaded(&nurse).await?,
            place: mxc(&nurse
                .ask(Method::POST, "/_matrix/media/v1/create", None)
                .await?
                .ok()?)?,
            filter: text_at(&nurse.post(&filter, json!({})).await?.ok()?, "filter_id")?,
            backup: text_at(
                &nurse
                    .post("v3/room_keys/version", new_backup())
                    .await?
                    .ok()?,
                "version",
            )?,
            refresh: text_at(&session, "refresh_token")?,
            since: text_at(&nurse.syncs(None).await?, "next_batch")?,
            code: practice.code(Role::Client).await?,
            nurse,
            doctor,
            porter,
            room,
            left,
        })
    }
}

async fn uploaded(who: &Raw) -> Result<String> {
    let bytes = Some(encrypted_bytes(5_000));
    let answer = who.ask(Method::POST, "/_matrix/media/v3/upload", bytes);
    mxc(&answer.await?.ok()?)
}

fn mxc(answer: &Value) -> Result<String> {
    let uri = text_at(answer, "content_uri")?;
    Ok(uri.strip_prefix("mxc://").context("no mxc")?.to_owned())
}

/// What one asks for a key backup with.
pub(super) fn new_backup() -> Value {
    json!({
        "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
        "auth_data": { "public_key": encrypted_base64(32), "signatures": {} },
    })
}

/// A session's key as a backup has it.
pub(super) fn kept_key() -> Value {
    json!({
        "first_message_index": 0, "forwarded_count": 0, "is_verified": true,
        "session_data": { "ephemeral": encrypted_base64(32), "ciphertext": encrypted_base64(208), "mac": encrypted_base64(8) },
    })
}

/// Somebody's first cross-signing keys.
pub(super) fn cross_signing(user: &str) -> Result<Value> {
    let (master, own, others) = (
        Ed25519Keypair::new(),
        Ed25519Keypair::new(),
        Ed25519Keypair::new(),
    );
    let public = |pair: &Ed25519Keypair| pair.public_key().to_base64();
    let id = |pair: &Ed25519Keypair| format!("ed25519:{}", public(pair));
    let key = |usage: &str, pair: &Ed25519Keypair| json!({ "user_id": user, "usage": [usage], "keys": { id(pair): public(pair) } });
    let by_master = |key: Value| {
        sign(key, user, &id(&master), |text| {
            master.sign(text.as_bytes()).to_base64()
        })
    };
    Ok(json!({
        "master_key": key("master", &master),
        "self_signing_key": by_master(key("self_signing", &own))?,
        "user_signing_key": by_master(key("user_signing", &others))?,
    }))
}
