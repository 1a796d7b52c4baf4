//! The post office of encryption: messages between devices, keys, signatures, backups.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use respite_tests::{
    practice::Practice,
    raw::{self, encrypted_base64, olm},
};
use serde_json::{Value, json};

use super::{Attempt, BAD_JSON, End, FORBIDDEN, INVALID, Scene, leaves_nothing};

#[tokio::test]
async fn keys_and_secrets_are_never_passed_on_in_the_clear() -> Result<()> {
    leaves_nothing(between_devices).await
}

#[tokio::test]
async fn keys_that_are_words_are_refused() -> Result<()> {
    leaves_nothing(|scene| Ok(published(scene))).await
}

#[tokio::test]
async fn a_backup_takes_ciphertext_only() -> Result<()> {
    let mut practice = Practice::open().await?;
    let scene = Scene::open(&practice).await?;
    let auth_data = json!({ "public_key": encrypted_base64(32), "signatures": {} });
    let body =
        json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": auth_data });
    let version = raw::text_at(
        &scene.nurse.post("v3/room_keys/version", body).await?.ok()?,
        "version",
    )?;
    scene.try_all(backed_up(&scene, &version)).await?;
    let kept = scene
        .nurse
        .get(&format!("v3/room_keys/keys?version={version}"))
        .await?
        .ok()?;
    ensure!(kept["rooms"] == json!({}), "{kept}");
    practice.stop().await?;
    ensure!(
        scene.canary.search(practice.data())?.is_empty(),
        "the words were kept"
    );
    Ok(())
}

#[tokio::test]
async fn olm_ciphertext_reaches_the_other_device_as_it_was_sent() -> Result<()> {
    let practice = Practice::open().await?;
    let scene = Scene::open(&practice).await?;
    let content = olm(scene.words())?;
    let body = json!({ "messages": { scene.therapist.user.as_str(): { scene.therapist.device.as_str(): content } } });
    scene
        .nurse
        .put("v3/sendToDevice/m.room.encrypted/t1", body)
        .await?
        .ok()?;
    let news = scene.therapist.syncs(None).await?;
    let events = news["to_device"]["events"]
        .as_array()
        .context("nothing came")?;
    ensure!(
        events.len() == 1
            && events[0]["content"] == content
            && events[0]["sender"] == scene.nurse.user,
        "{news}"
    );
    Ok(())
}

fn to_device(scene: &Scene, what: &'static str, kind: &str, content: Value, end: End) -> Attempt {
    let txn: u64 = rand::random();
    let body = json!({ "messages": { scene.therapist.user.as_str(): { "*": content } } });
    Attempt::put(what, format!("v3/sendToDevice/{kind}/{txn:x}"), body, end)
}

pub(super) fn between_devices(scene: &Scene) -> Result<Vec<Attempt>> {
    let words = scene.words();
    let send = |what, kind: &str, content, end| to_device(scene, what, kind, content, end);
    let key = json!({ "algorithm": "m.megolm.v1.aes-sha2", "room_id": scene.room, "session_id": encrypted_base64(32), "session_key": words });
    let mut noted = olm("x")?;
    noted["note"] = json!(words);
    let recipient = encrypted_base64(32);
    let pretended = |kind: u8, body: &str| json!({ "algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": encrypted_base64(32), "ciphertext": { recipient.as_str(): { "type": kind, "body": body } } });
    let withheld = json!({ "code": "m.unverified", "algorithm": "m.megolm.v1.aes-sha2", "sender_key": encrypted_base64(32), "reason": words });
    Ok(vec![
        send("a room key", "m.room_key", key.clone(), FORBIDDEN),
        send(
            "a room key, passed on",
            "m.forwarded_room_key",
            key,
            FORBIDDEN,
        ),
        send(
            "a secret",
            "m.secret.send",
            json!({ "request_id": "r1", "secret": words }),
            FORBIDDEN,
        ),
        send(
            "a message",
            "m.room.message",
            json!({ "body": words }),
            FORBIDDEN,
        ),
        send(
            "a type that nobody knows",
            words,
            json!({ "body": words }),
            FORBIDDEN,
        ),
        send(
            "a dummy with a note",
            "m.dummy",
            json!({ "note": words }),
            FORBIDDEN,
        ),
        send(
            "ciphertext with a note",
            "m.room.encrypted",
            noted,
            FORBIDDEN,
        ),
        send(
            "another algorithm",
            "m.room.encrypted",
            json!({ "algorithm": words, "ciphertext": words }),
            FORBIDDEN,
        ),
        send(
            "Megolm to a device",
            "m.room.encrypted",
            raw::megolm(&scene.room, "x")?,
            FORBIDDEN,
        ),
        send(
            "pretended ciphertext",
            "m.room.encrypted",
            pretended(0, words),
            FORBIDDEN,
        ),
        send(
            "pretended ciphertext",
            "m.room.encrypted",
            pretended(1, &vodozemac::base64_encode(words)),
            FORBIDDEN,
        ),
        send(
            "ciphertext of no kind",
            "m.room.encrypted",
            pretended(7, words),
            FORBIDDEN,
        ),
        send(
            "a request with words",
            "m.room_key_request",
            json!({ "action": words, "requesting_device_id": "D", "request_id": "r" }),
            INVALID,
        ),
        send(
            "a request for an unknown secret",
            "m.secret.request",
            json!({ "action": "request", "requesting_device_id": "D", "request_id": "r", "name": words }),
            INVALID,
        ),
        send(
            "why a key is withheld",
            "m.room_key.withheld",
            withheld,
            End::Blanked,
        ),
        Attempt::put(
            "words instead of messages",
            "v3/sendToDevice/m.room.encrypted/w".to_owned(),
            json!({ "messages": words }),
            BAD_JSON,
        ),
    ])
}

pub(super) fn published(scene: &Scene) -> Vec<Attempt> {
    let words = scene.words();
    // 32 bytes of words, as a key would be.
    let spoken = vodozemac::base64_encode(format!("{words}, again"));
    let (user, device) = (scene.nurse.user.as_str(), scene.nurse.device.as_str());
    let upload =
        |what, body: Value, end| Attempt::post(what, "v3/keys/upload".to_owned(), body, end);
    let signatures = |key: &str| json!({ user: { format!("ed25519:{device}"): key } });
    let device_keys = |key: &str, signature: &str| {
        json!({
            "user_id": user, "device_id": device, "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": { format!("curve25519:{device}"): key, format!("ed25519:{device}"): encrypted_base64(32) },
            "signatures": signatures(signature),
        })
    };
    let real = || device_keys(&encrypted_base64(32), &encrypted_base64(64));
    let with = |field: &str, value: Value| {
        let mut keys = real();
        keys[field] = value;
        json!({ "device_keys": keys })
    };
    let one_time = |id: &str, key: Value| json!({ "one_time_keys": { id: key } });
    let signed = |key: &str| json!({ "key": key, "signatures": signatures(&encrypted_base64(64)) });
    let mut noted = signed(&encrypted_base64(32));
    noted["note"] = json!(words);
    let about_another = json!({ user: { device: { "user_id": user, "note": words } } });
    let auth = json!({ "type": "m.login.password", "password": scene.nurse.password, "identifier": { "type": "m.id.user", "user": user } });
    let master = |usage: &str, key: &str| json!({ "auth": auth, "master_key": { "user_id": user, "usage": [usage], "keys": { format!("ed25519:{key}"): key } } });
    let version = |algorithm: &str, auth_data: Value| json!({ "algorithm": algorithm, "auth_data": auth_data });
    let backup =
        |what, body, end| Attempt::post(what, "v3/room_keys/version".to_owned(), body, end);
    let known = "m.megolm_backup.v1.curve25519-aes-sha2";
    let signing = |what, body, end| {
        Attempt::post(what, "v3/keys/device_signing/upload".to_owned(), body, end)
    };
    vec![
        upload(
            "a device with a note",
            with("note", json!(words)),
            FORBIDDEN,
        ),
        upload(
            "a device's algorithm",
            with("algorithms", json!([words])),
            INVALID,
        ),
        upload(
            "a device key that is words",
            json!({ "device_keys": device_keys(&spoken, &encrypted_base64(64)) }),
            INVALID,
        ),
        upload(
            "a signature that is words",
            json!({ "device_keys": device_keys(&encrypted_base64(32), &vodozemac::base64_encode(words.repeat(3))) }),
            INVALID,
        ),
        upload(
            "a one-time key that is words",
            one_time("signed_curve25519:AAAAAQ", signed(&spoken)),
            INVALID,
        ),
        upload(
            "a one-time key with a note",
            one_time("signed_curve25519:AAAAAQ", noted),
            FORBIDDEN,
        ),
        upload(
            "a one-time key without a signature",
            one_time("curve25519:AAAAAQ", json!(words)),
            INVALID,
        ),
        upload(
            "a fallback key of its own kind",
            json!({ "fallback_keys": { format!("{words}:A"): signed(&encrypted_base64(32)) } }),
            INVALID,
        ),
        Attempt::post(
            "a signature with a note",
            "v3/keys/signatures/upload".to_owned(),
            about_another,
            BAD_JSON,
        ),
        signing(
            "a master key that is words",
            master("master", &spoken),
            INVALID,
        ),
        signing(
            "a key for something else",
            master(words, &encrypted_base64(32)),
            INVALID,
        ),
        backup(
            "a backup of its own kind",
            version(words, json!({ "public_key": encrypted_base64(32) })),
            INVALID,
        ),
        backup(
            "a backup with a note",
            version(
                known,
                json!({ "public_key": encrypted_base64(32), "note": words }),
            ),
            FORBIDDEN,
        ),
        backup(
            "a backup's key that is words",
            version(known, json!({ "public_key": spoken })),
            INVALID,
        ),
        Attempt::new(
            "a backup that is not there",
            Method::GET,
            format!("v3/room_keys/keys?version={words}"),
            json!({}),
            End::Refused(404, "M_NOT_FOUND"),
        ),
    ]
}

fn backed_up(scene: &Scene, version: &str) -> Vec<Attempt> {
    let words = scene.words();
    let session = |ciphertext: &str| {
        json!({
            "first_message_index": 0, "forwarded_count": 0, "is_verified": false,
            "session_data": { "ephemeral": encrypted_base64(32), "ciphertext": ciphertext, "mac": encrypted_base64(8) },
        })
    };
    let mut noted = session(&encrypted_base64(208));
    noted["session_data"]["note"] = json!(words);
    let id = encrypted_base64(32).replace(['/', '+'], "A");
    let keep = |what, session: Value, end| {
        Attempt::put(
            what,
            format!("v3/room_keys/keys/{}/{id}?version={version}", scene.room),
            session,
            end,
        )
    };
    let all =
        |sessions: Value| json!({ "rooms": { scene.room.as_str(): { "sessions": sessions } } });
    vec![
        keep("a session that is words", session(words), INVALID),
        keep(
            "a session that is words",
            session(&vodozemac::base64_encode(words.repeat(4))),
            INVALID,
        ),
        keep("a session with a note", noted, FORBIDDEN),
        keep(
            "a session in the clear",
            json!({ "first_message_index": 0, "forwarded_count": 0, "is_verified": false, "session_data": { "session_key": words } }),
            BAD_JSON,
        ),
        Attempt::put(
            "all sessions",
            format!("v3/room_keys/keys?version={version}"),
            all(json!({ id.as_str(): session(words) })),
            INVALID,
        ),
        Attempt::put(
            "a session named by words",
            format!("v3/room_keys/keys?version={version}"),
            all(json!({ words: session(&encrypted_base64(208)) })),
            INVALID,
        ),
    ]
}
