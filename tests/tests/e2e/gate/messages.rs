//! What is said in a room.

use anyhow::{Result, ensure};
use respite_tests::{
    practice::Practice,
    raw::{self, megolm},
};
use serde_json::{Value, json};

use super::{Attempt, BAD_JSON, End, FORBIDDEN, INVALID, Scene, leaves_nothing};

#[tokio::test]
async fn plain_messages_of_every_kind_are_refused() -> Result<()> {
    leaves_nothing(|scene| Ok(plain(scene))).await
}

#[tokio::test]
async fn ciphertext_that_is_only_pretended_is_refused() -> Result<()> {
    leaves_nothing(pretended).await
}

#[tokio::test]
async fn words_beside_real_ciphertext_are_refused() -> Result<()> {
    leaves_nothing(beside).await
}

#[tokio::test]
async fn reasons_and_texts_that_clients_send_along_are_not_kept() -> Result<()> {
    leaves_nothing(|scene| Ok(along(scene))).await
}

#[tokio::test]
async fn a_request_to_verify_reads_as_the_server_puts_it() -> Result<()> {
    let practice = Practice::open().await?;
    let scene = Scene::open(&practice).await?;
    let sent = scene
        .nurse
        .send(&scene.room, "m.room.message", verification(&scene))
        .await?
        .ok()?;
    let path = format!(
        "v3/rooms/{}/event/{}",
        scene.room,
        raw::text_at(&sent, "event_id")?
    );
    let seen = scene.therapist.get(&path).await?.ok()?;
    ensure!(
        seen["content"]["body"] == "This person would like to verify your identity.",
        "{seen}"
    );
    ensure!(seen["content"]["from_device"] == "NIGHTSHIFT", "{seen}");
    ensure!(seen["content"].get("formatted_body").is_none(), "{seen}");
    Ok(())
}

#[tokio::test]
async fn real_ciphertext_arrives_as_it_was_sent() -> Result<()> {
    let practice = Practice::open().await?;
    let scene = Scene::open(&practice).await?;
    for relation in [
        json!({ "rel_type": "m.thread", "event_id": scene.event, "is_falling_back": true, "m.in_reply_to": { "event_id": scene.event } }),
        json!({ "rel_type": "m.replace", "event_id": scene.event }),
        json!({ "rel_type": "m.reference", "event_id": scene.event }),
        json!({ "m.in_reply_to": { "event_id": scene.event } }),
    ] {
        let mut content = megolm(&scene.room, scene.words())?;
        content["device_id"] = json!(scene.nurse.device);
        content["m.relates_to"] = relation;
        let sent = scene
            .nurse
            .send(&scene.room, "m.room.encrypted", content.clone())
            .await?
            .ok()?;
        let path = format!(
            "v3/rooms/{}/event/{}",
            scene.room,
            raw::text_at(&sent, "event_id")?
        );
        let seen = scene.therapist.get(&path).await?.ok()?;
        ensure!(seen["content"] == content, "{seen}");
    }
    Ok(())
}

#[tokio::test]
async fn beside_ciphertext_stands_the_device_that_it_came_from_or_none() -> Result<()> {
    let practice = Practice::open().await?;
    let scene = Scene::open(&practice).await?;
    let mut content = megolm(&scene.room, "x")?;
    content["device_id"] = json!("I_FEEL_SAD");
    let sent = scene
        .nurse
        .send(&scene.room, "m.room.encrypted", content.clone())
        .await?
        .ok()?;
    let path = format!(
        "v3/rooms/{}/event/{}",
        scene.room,
        raw::text_at(&sent, "event_id")?
    );
    let seen = scene.therapist.get(&path).await?.ok()?;
    ensure!(
        seen["content"].get("device_id").is_none()
            && seen["content"]["ciphertext"] == content["ciphertext"],
        "{seen}"
    );
    Ok(())
}

/// An attempt to send an event.
fn send(scene: &Scene, what: &'static str, kind: &str, content: Value, end: End) -> Attempt {
    let txn: u64 = rand::random();
    Attempt::put(
        what,
        format!("v3/rooms/{}/send/{kind}/{txn:x}", scene.room),
        content,
        end,
    )
}

pub(super) fn plain(scene: &Scene) -> Vec<Attempt> {
    let words = scene.words();
    let mut attempts: Vec<Attempt> = [
        json!({ "msgtype": "m.text", "body": words }),
        json!({ "msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html", "formatted_body": words }),
        json!({ "msgtype": "m.notice", "body": words }),
        json!({ "msgtype": "m.emote", "body": words }),
        json!({ "msgtype": "m.server_notice", "body": words }),
        json!({ "msgtype": "m.location", "body": words, "geo_uri": "geo:52.5,13.4" }),
        json!({ "msgtype": "m.image", "body": words, "url": "mxc://localhost/abc" }),
        json!({ "msgtype": "m.file", "body": words, "filename": words, "file": { "url": "mxc://localhost/abc" } }),
        json!({ "msgtype": "m.audio", "body": words }),
        json!({ "msgtype": "m.video", "body": words }),
        json!({ "msgtype": words, "body": words }),
        json!({ "body": words }),
        json!({}),
    ]
    .into_iter()
    .map(|content| send(scene, "a message in the clear", "m.room.message", content, FORBIDDEN))
    .collect();
    let key = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": scene.event, "key": words } });
    let poll = json!({ "m.poll": { "question": { "m.text": words }, "answers": [] } });
    let others = [
        ("a reaction", "m.reaction", key),
        (
            "a sticker",
            "m.sticker",
            json!({ "body": words, "url": "mxc://localhost/abc", "info": {} }),
        ),
        ("a poll", "m.poll.start", poll.clone()),
        (
            "a poll before it was in the specification",
            "org.matrix.msc3381.poll.start",
            poll,
        ),
        (
            "a poll's answer",
            "org.matrix.msc3381.poll.response",
            json!({ "answers": [words] }),
        ),
        (
            "a call",
            "m.call.invite",
            json!({ "call_id": words, "version": "1", "offer": { "sdp": words } }),
        ),
        (
            "a check-in in the clear",
            "chat.respite.checkin",
            json!({ "body": words }),
        ),
        ("a type that nobody knows", words, json!({ "body": words })),
        (
            "a name, sent as a message",
            "m.room.name",
            json!({ "name": words }),
        ),
        (
            "a member, sent as a message",
            "m.room.member",
            json!({ "membership": "join", "reason": words }),
        ),
        ("a room key", "m.room_key", json!({ "session_key": words })),
    ];
    attempts
        .extend(others.map(|(what, kind, content)| send(scene, what, kind, content, FORBIDDEN)));
    attempts
}

pub(super) fn pretended(scene: &Scene) -> Result<Vec<Attempt>> {
    let words = scene.words().repeat(4);
    let changed = |key: &str, value: Value| -> Result<Value> {
        let mut content = megolm(&scene.room, "x")?;
        content[key] = value;
        Ok(content)
    };
    let real = megolm(&scene.room, "x")?;
    let real = real["ciphertext"].as_str().unwrap_or_default().to_owned();
    let ciphertexts = [
        words.clone(),
        vodozemac::base64_encode(&words),
        vodozemac::base64_encode(with_the_form_of_megolm(words.as_bytes())),
        vodozemac::base64_encode(with_the_form_of_megolm(&[])),
        format!("{real}{}", vodozemac::base64_encode(&words)),
        format!("{} {real}", scene.words()),
        String::new(),
    ];
    let mut attempts = Vec::new();
    for ciphertext in ciphertexts {
        let content = changed("ciphertext", json!(ciphertext))?;
        attempts.push(send(
            scene,
            "pretended ciphertext",
            "m.room.encrypted",
            content,
            FORBIDDEN,
        ));
    }
    let mut without = real_without(scene, "ciphertext")?;
    attempts.push(send(
        scene,
        "no ciphertext",
        "m.room.encrypted",
        without,
        BAD_JSON,
    ));
    without = real_without(scene, "algorithm")?;
    attempts.push(send(
        scene,
        "no algorithm",
        "m.room.encrypted",
        without,
        FORBIDDEN,
    ));
    let olm = json!({ "algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": "x", "ciphertext": { words.as_str(): { "type": 0, "body": words } } });
    attempts.push(send(
        scene,
        "an algorithm for devices",
        "m.room.encrypted",
        olm,
        FORBIDDEN,
    ));
    for algorithm in ["m.megolm.v2.aes-sha2", "none", words.as_str()] {
        let content = changed("algorithm", json!(algorithm))?;
        attempts.push(send(
            scene,
            "another algorithm",
            "m.room.encrypted",
            content,
            FORBIDDEN,
        ));
    }
    for field in ["ciphertext", "algorithm"] {
        let content = changed(field, json!({ "body": words }))?;
        attempts.push(send(
            scene,
            "an object for a text",
            "m.room.encrypted",
            content,
            FORBIDDEN,
        ));
    }
    Ok(attempts)
}

pub(super) fn beside(scene: &Scene) -> Result<Vec<Attempt>> {
    let words = scene.words();
    let sentence = format!("{words} and more");
    let event = scene.event.as_str();
    let fields = [
        ("body", json!(words), FORBIDDEN),
        ("msgtype", json!("m.text"), FORBIDDEN),
        ("m.new_content", json!({ "body": words }), FORBIDDEN),
        ("m.mentions", json!({ "user_ids": [words] }), FORBIDDEN),
        ("unsigned", json!({ "note": words }), FORBIDDEN),
        ("chat.respite.checkin", json!({ "body": words }), FORBIDDEN),
        ("device_id", json!(sentence), INVALID),
        ("session_id", json!(words), INVALID),
        (
            "session_id",
            json!(vodozemac::base64_encode(format!("{words}12345678"))),
            INVALID,
        ),
        ("sender_key", json!(words), INVALID),
        ("sender_key", json!([words]), BAD_JSON),
        ("m.relates_to", json!(words), BAD_JSON),
        (
            "m.relates_to",
            json!({ "rel_type": "m.annotation", "event_id": event, "key": words }),
            FORBIDDEN,
        ),
        (
            "m.relates_to",
            json!({ "rel_type": "m.reference", "event_id": event, "key": words }),
            FORBIDDEN,
        ),
        (
            "m.relates_to",
            json!({ "rel_type": words, "event_id": event }),
            INVALID,
        ),
        (
            "m.relates_to",
            json!({ "rel_type": "m.thread", "event_id": format!("${words}") }),
            INVALID,
        ),
        ("m.relates_to", json!({ "rel_type": "m.thread" }), BAD_JSON),
        (
            "m.relates_to",
            json!({ "m.in_reply_to": { "event_id": event, "body": words } }),
            FORBIDDEN,
        ),
        (
            "m.relates_to",
            json!({ "m.in_reply_to": { "event_id": words } }),
            INVALID,
        ),
    ];
    let mut attempts = Vec::new();
    for (field, value, end) in fields {
        let mut content = megolm(&scene.room, "x")?;
        content[field] = value;
        attempts.push(send(scene, field, "m.room.encrypted", content, end));
    }
    let reference = json!({ "rel_type": "m.reference", "event_id": event });
    let done = json!({ "m.relates_to": reference, "note": words });
    attempts.push(send(
        scene,
        "a verification with a note",
        "m.key.verification.done",
        done,
        FORBIDDEN,
    ));
    let cancel = json!({ "m.relates_to": reference, "code": words, "reason": words });
    attempts.push(send(
        scene,
        "a cancellation of its own kind",
        "m.key.verification.cancel",
        cancel,
        INVALID,
    ));
    let key = json!({ "m.relates_to": reference, "key": vodozemac::base64_encode(format!("{words}12345678")) });
    attempts.push(send(
        scene,
        "a verification with words for a key",
        "m.key.verification.key",
        key,
        INVALID,
    ));
    let mut request = verification(scene);
    request["note"] = json!(words);
    attempts.push(send(
        scene,
        "a request to verify with a note",
        "m.room.message",
        request,
        FORBIDDEN,
    ));
    let redaction = json!({ "redacts": event, "note": words });
    attempts.push(send(
        scene,
        "a redaction with a note",
        "m.room.redaction",
        redaction,
        FORBIDDEN,
    ));
    Ok(attempts)
}

pub(super) fn along(scene: &Scene) -> Vec<Attempt> {
    let words = scene.words();
    let reference = json!({ "rel_type": "m.reference", "event_id": scene.event });
    let cancel = json!({ "m.relates_to": reference, "code": "m.user", "reason": words });
    let room = &scene.room;
    let event = &scene.event;
    vec![
        send(
            scene,
            "a request to verify",
            "m.room.message",
            verification(scene),
            End::Blanked,
        ),
        send(
            scene,
            "a cancelled verification",
            "m.key.verification.cancel",
            cancel,
            End::Blanked,
        ),
        Attempt::put(
            "why something is redacted",
            format!("v3/rooms/{room}/redact/{event}/r1"),
            json!({ "reason": words }),
            End::Blanked,
        ),
        send(
            scene,
            "why something is redacted",
            "m.room.redaction",
            json!({ "redacts": event, "reason": words }),
            End::Blanked,
        ),
    ]
}

fn verification(scene: &Scene) -> Value {
    json!({
        "msgtype": "m.key.verification.request", "from_device": "NIGHTSHIFT", "to": scene.therapist.user,
        "methods": ["m.sas.v1"], "body": scene.words(), "format": "org.matrix.custom.html", "formatted_body": scene.words(),
    })
}

fn real_without(scene: &Scene, key: &str) -> Result<Value> {
    let mut content = megolm(&scene.room, "x")?;
    if let Some(content) = content.as_object_mut() {
        content.remove(key);
    }
    Ok(content)
}

/// A Megolm message whose ciphertext is not any: version, index, length and text, eight bytes for the authentication code,
/// and 64 for the signature.
fn with_the_form_of_megolm(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    let mut message = vec![3, 0x08, 0, 0x12, length];
    message.extend(text.iter().take(usize::from(length)));
    message.extend([7; 8]);
    message.extend([1; 64]);
    message
}
