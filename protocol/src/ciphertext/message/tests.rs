use serde_json::{Value as Json, json};
use vodozemac::base64_encode;

use super::{
    super::samples::{DEVICE, EVENT, USER, b64, megolm as encrypted, object, random_bytes},
    *,
};

fn send(content: Json) -> Verdict {
    message_event("m.room.encrypted", object(content))
}

/// A Megolm message around any bytes: version, index, length, the bytes, code, signature.
fn wrapped(inner: &[u8], tail: &[u8]) -> String {
    let mut bytes = vec![3, 0x08, 0, 0x12];
    let mut len = inner.len();
    while len >= 0x80 {
        bytes.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    base64_encode([&bytes, inner, tail].concat())
}

/// A code and a signature of the right form.
fn tail() -> Vec<u8> {
    let mut tail = random_bytes(72);
    tail[71] = 0x0a;
    tail
}

fn with_ciphertext(ciphertext: String) -> Json {
    let mut content = encrypted("");
    content["ciphertext"] = json!(ciphertext);
    content
}

#[test]
fn pretended_ciphertext_is_refused_like_plaintext() {
    let diary = "I could not sleep again. The shift starts at five. ".repeat(20);
    let plaintexts = [
        diary.clone(),
        base64_encode(&diary),
        base64_encode([&[3_u8], diary.as_bytes()].concat()),
        b64(200),
        String::new(),
        wrapped(&diary.as_bytes()[..512], &tail()),
        wrapped(&random_bytes(64), &diary.as_bytes()[..72]),
        wrapped(
            &random_bytes(64),
            &[&diary.as_bytes()[..71], b"\n"].concat(),
        ),
        wrapped(&random_bytes(63), &tail()),
        wrapped(&random_bytes(32), &tail()),
    ];
    for ciphertext in plaintexts {
        assert_eq!(
            send(with_ciphertext(ciphertext.clone())),
            Err(NOT_CIPHERTEXT),
            "{ciphertext}"
        );
    }
    assert!(send(with_ciphertext(wrapped(&random_bytes(64), &tail()))).is_ok());
}

#[test]
fn nothing_hides_beside_the_ciphertext_in_its_encoding() {
    let real = encrypted("")["ciphertext"].as_str().unwrap().to_owned();
    let bytes = vodozemac::base64_decode(&real).unwrap();
    let (body, tail) = bytes.split_at(bytes.len() - 72);
    let unknown_field = [body, b"\x1a\x05hello", tail].concat();
    assert!(send(with_ciphertext(base64_encode(unknown_field))).is_err());
    assert!(send(with_ciphertext(format!("{real}\n"))).is_err());
    assert!(send(with_ciphertext(format!(" {real}"))).is_err());
}

#[test]
fn only_megolm_is_taken() {
    for algorithm in ["m.olm.v1.curve25519-aes-sha2", "m.none", ""] {
        let mut content = encrypted("");
        content["algorithm"] = json!(algorithm);
        assert_eq!(send(content), Err(NOT_MEGOLM));
    }
    for key in ["algorithm", "ciphertext", "session_id"] {
        let mut content = encrypted("");
        content.as_object_mut().unwrap().remove(key);
        assert!(send(content).is_err(), "{key}");
    }
}

#[test]
fn session_ids_and_keys_hold_no_words() {
    for session_id in [
        "my secret",
        &base64_encode(b"thirty-two bytes of plain words!"),
        &b64(31),
    ] {
        let mut content = encrypted("");
        content["session_id"] = json!(session_id);
        assert!(send(content).is_err(), "{session_id}");
    }
}

#[test]
fn a_relation_says_what_and_to_which_but_carries_no_words() {
    let related = |relation: Json| {
        let mut content = encrypted("");
        content["m.relates_to"] = relation;
        send(content)
    };
    assert!(related(json!({ "rel_type": "m.reference", "event_id": EVENT })).is_ok());
    let annotation = json!({ "rel_type": "m.annotation", "event_id": EVENT, "key": "😭" });
    assert_eq!(related(annotation), Err(REACTION));
    for relation in [
        json!({ "rel_type": "m.reference", "event_id": EVENT, "key": "help" }),
        json!({ "rel_type": "m.sad", "event_id": EVENT }),
        json!({ "rel_type": "m.thread", "event_id": "$not an id" }),
        json!({ "event_id": EVENT }),
        json!({ "m.in_reply_to": { "event_id": EVENT, "note": 1 } }),
        json!("m.thread"),
    ] {
        assert!(related(relation.clone()).is_err(), "{relation}");
    }
}

#[test]
fn a_redaction_keeps_the_id_and_loses_the_reason() {
    let content = object(json!({ "redacts": EVENT, "reason": "she said my name" }));
    assert_eq!(
        message_event("m.room.redaction", content),
        Ok(object(json!({ "redacts": EVENT })))
    );
    let elsewhere = object(json!({ "redacts": EVENT, "note": "she said my name" }));
    assert!(message_event("m.room.redaction", elsewhere).is_err());
}

#[test]
fn a_request_to_verify_passes_without_its_text() {
    let request = json!({
        "msgtype": "m.key.verification.request", "from_device": DEVICE, "to": USER,
        "methods": ["m.sas.v1"], "body": "words", "format": "org.matrix.custom.html",
        "formatted_body": "<b>words</b>",
    });
    let kept = message_event("m.room.message", object(request.clone())).unwrap();
    assert!(!serde_json::to_string(&kept).unwrap().contains("words"));
    for (key, value) in [
        ("to", json!("everyone")),
        ("methods", json!(["talk"])),
        ("x", json!(1)),
    ] {
        let mut bad = request.clone();
        bad[key] = value;
        assert!(
            message_event("m.room.message", object(bad)).is_err(),
            "{key}"
        );
    }
}

#[test]
fn whoever_cancels_a_verification_says_why_in_the_servers_words() {
    let cancel = |code: &str| {
        let content = json!({
            "code": code, "reason": "my husband is looking",
            "m.relates_to": { "rel_type": "m.reference", "event_id": EVENT },
        });
        message_event("m.key.verification.cancel", object(content))
    };
    let kept = cancel("m.user").unwrap();
    assert_eq!(
        kept["reason"].as_str(),
        Some("The person cancelled the verification.")
    );
    assert!(cancel("my husband is looking").is_err());
}
