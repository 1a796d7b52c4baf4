use serde_json::{Value as Json, json};
use vodozemac::base64_encode;

use super::{
    super::samples::{b64, object, olm as encrypted, random_bytes},
    *,
};

fn send(event_type: &str, content: Json) -> Verdict {
    to_device_event(event_type, object(content))
}

#[test]
fn room_keys_and_secrets_never_travel_in_the_clear() {
    for event_type in [
        "m.room_key",
        "m.forwarded_room_key",
        "m.secret.send",
        "m.call.invite",
    ] {
        let content = json!({ "session_key": "AgAAAA", "secret": "c2VjcmV0" });
        assert_eq!(
            send(event_type, content).unwrap_err().code(),
            crate::ciphertext::RefusalCode::Forbidden
        );
    }
}

#[test]
fn pretended_olm_is_refused() {
    let (first, later) = encrypted("hello");
    let body_of = |content: &Json| {
        content["ciphertext"]
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap()["body"]
            .clone()
    };
    let words = json!(base64_encode(
        "a room key in plain words, long enough for any message"
    ));
    let cases = [
        (0, words.clone()),
        (1, words),
        (0, body_of(&later)),
        (1, body_of(&first)),
        (2, body_of(&first)),
        (0, json!(b64(200))),
        (
            1,
            json!(base64_encode([&[3][..], &random_bytes(200)].concat())),
        ),
        (0, json!(7)),
    ];
    for (kind, body) in cases {
        let mut content = first.clone();
        for message in content["ciphertext"].as_object_mut().unwrap().values_mut() {
            *message = json!({ "type": kind, "body": body });
        }
        assert!(send("m.room.encrypted", content).is_err(), "{kind} {body}");
    }
    let mut to_words = first;
    to_words["ciphertext"] = json!({ "to whom it may concern": {} });
    assert!(send("m.room.encrypted", to_words).is_err());
}

#[test]
fn no_words_hide_in_the_keys_of_an_olm_message() {
    let around = |key: &[u8]| {
        let bytes = [
            b"\x03\x0a\x20",
            key,
            b"\x10\x00\x22\x30",
            &random_bytes(48),
            &random_bytes(8),
        ];
        olm::is_olm_message(&base64_encode(bytes.concat()))
    };
    assert!(around(&random_bytes(32)));
    assert!(!around(b"I could not sleep again, again.."));
}

#[test]
fn a_withheld_key_comes_with_the_servers_words() {
    let content = json!({
        "code": "m.blacklisted", "algorithm": "m.megolm.v1.aes-sha2", "sender_key": b64(32),
        "reason": "she is my ex",
    });
    let kept = send("m.room_key.withheld", content).unwrap();
    assert_eq!(
        kept["reason"].as_str(),
        Some("The sender has blocked this device.")
    );
}

#[test]
fn only_known_secrets_are_asked_for() {
    let ask = |name: &str| {
        let request = json!({ "action": "request", "requesting_device_id": "D", "request_id": "r", "name": name });
        send("m.secret.request", request)
    };
    assert!(ask("m.megolm_backup.v1").is_ok());
    assert!(ask("what did you tell them").is_err());
}
