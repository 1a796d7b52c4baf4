use serde_json::json;
use vodozemac::base64_encode;

use super::{
    super::samples::{Door, b64, object, samples},
    *,
};

fn sample(wanted: fn(&Door) -> bool) -> serde_json::Value {
    samples()
        .into_iter()
        .find(|(door, _)| wanted(door))
        .map(|(_, content)| content)
        .unwrap()
}

#[test]
fn a_device_loses_its_name_but_not_its_signatures() {
    let mut keys = sample(|door| matches!(door, Door::DeviceKeys));
    keys["unsigned"] = json!({ "device_display_name": "Somebody's telephone" });
    let kept = device_keys(object(keys)).unwrap();
    assert!(!kept.contains_key("unsigned") && kept.contains_key("signatures"));
}

#[test]
fn words_are_no_keys() {
    let words = base64_encode("exactly thirty-two bytes of text");
    let mut keys = sample(|door| matches!(door, Door::DeviceKeys));
    keys["keys"]["ed25519:NIGHTSHIFT"] = json!(words);
    assert!(device_keys(object(keys)).is_err());
    let mut signed = sample(|door| matches!(door, Door::OneTimeKey));
    signed["signatures"]["@nurse:respite.example"]["ed25519:X"] = json!(words);
    assert!(signed_one_time(object(signed)).is_err());
}

#[test]
fn one_time_keys_are_signed_and_named_by_ids() {
    let signed = Value::Object(object(sample(|door| matches!(door, Door::OneTimeKey))));
    assert!(one_time_key("signed_curve25519:AAAAHQ", signed.clone()).is_ok());
    for id in [
        "signed_curve25519",
        "signed_curve25519:two words",
        "curve25519:AAAAHQ",
        ":A",
    ] {
        assert!(one_time_key(id, signed.clone()).is_err(), "{id}");
    }
    assert!(one_time_key("signed_curve25519:AAAAHQ", Value::String(b64(32))).is_err());
}

#[test]
fn a_backup_holds_ciphertext() {
    let mut session = sample(|door| matches!(door, Door::BackupSession));
    let key = json!({ "session_key": "AgAAAAB…", "algorithm": "m.megolm.v1.aes-sha2" }).to_string();
    session["session_data"]["ciphertext"] = json!(base64_encode(format!("{key:<96}")));
    assert!(backup_session(object(session.clone())).is_err());
    session["session_data"] = json!({ "session_key": "AgAAAAB" });
    assert!(backup_session(object(session)).is_err());
    for algorithm in ["org.example.plain", "device keys", "backup session"] {
        let keys = sample(|door| matches!(door, Door::DeviceKeys));
        assert!(
            backup_auth_data(algorithm, object(keys)).is_err(),
            "{algorithm}"
        );
    }
}

#[test]
fn a_backup_that_nheko_has_made_is_kept() {
    let made = object(json!({
        "public_key": "NDNjeFRzWVZTeTNNQ3g5Z0FSTFhxZ3h6N04zcmIwQjJLN2NhM1pJeUhsVQ",
        "signatures": { "@paramedic:localhost": {
            "ed25519:Rpjl9ZqeAAUR3MdX/k+QMFaXhQHt1WkVZmJ6r5Cx4Yw":
                "roCrzrtbZvYl+yEGzvtVqUkUiMtUlUfMvqmXrZ54C5ySfurwGZ9XI86LWJ7vlZzDKxRBql7v8mWWZAzO2MXmDw",
        } },
    }));
    let algorithm = "m.megolm_backup.v1.curve25519-aes-sha2";
    assert_eq!(backup_auth_data(algorithm, made.clone()), Ok(made));
    for words in [
        "I cried all night and nobody knows",
        "SSBjcmllZCBhbGwgbmlnaHQgYW5kIG5vYm9keSBrbm93cw",
    ] {
        let twice = vodozemac::base64_encode(words);
        for key in [words.to_owned(), twice] {
            let made = object(json!({ "public_key": key }));
            assert!(backup_auth_data(algorithm, made).is_err(), "{key}");
        }
    }
}
