use serde_json::{Value as Json, json};
use vodozemac::base64_encode;

use super::{
    super::samples::{b64, object},
    *,
};

fn global(event_type: &str, content: Json) -> Verdict {
    global_account_data(event_type, object(content))
}

#[test]
fn a_recovery_key_loses_its_name_and_is_kept() {
    let content = json!({
        "algorithm": "m.secret_storage.v1.aes-hmac-sha2", "name": "the dog's name",
        "iv": b64(16), "mac": b64(32),
    });
    let kept = global("m.secret_storage.key.abc", content).unwrap();
    assert!(!kept.contains_key("name") && kept.contains_key("mac"));
    for id in ["two words", "two words.abc", "a b.c", "\u{1F62D}"] {
        assert!(
            global(&format!("m.secret_storage.key.{id}"), json!({})).is_err(),
            "{id}"
        );
    }
}

#[test]
fn a_recovery_key_that_nheko_has_made_is_kept() {
    let content = json!({
        "algorithm": "m.secret_storage.v1.aes-hmac-sha2",
        "iv": "2kWeD68ZpvIx0c6LFyop35Gsucpw+1cHd3XnpNQ6vTA=",
        "mac": "HWa7OEuDAjUi7dQ7SsaLFsQD7vhX/E4AvqOpqSKpmNA=",
        "signatures": { "@paramedic:localhost": {
            "ed25519:Rpjl9ZqeAAUR3MdX/k+QMFaXhQHt1WkVZmJ6r5Cx4Yw":
                "ftZEuR/bnQhHgqJK+/NbotuW+z+wN43gb5nemOtz6LuoaW5Co93fPpBFvcTFDzmNh7bmABebvvk/q2f1O+0SAQ",
        } },
    });
    let kept = global(
        "m.secret_storage.key.52w7AYSJ5uwFEN4LEk8wj4",
        content.clone(),
    );
    assert_eq!(kept, Ok(object(content)));
}

#[test]
fn a_secret_in_the_clear_is_refused() {
    let entry = |ciphertext: String| {
        let secret = json!({ "iv": b64(16), "ciphertext": ciphertext, "mac": b64(32) });
        global(
            "m.cross_signing.master",
            json!({ "encrypted": { "abc": secret } }),
        )
    };
    assert!(entry(b64(43)).is_ok());
    assert!(entry(base64_encode("the password of my diary is hunter2")).is_err());
    assert!(entry("not base64 at all!".to_owned()).is_err());
    let beside = json!({ "encrypted": {}, "plain": "hunter2" });
    assert_eq!(
        global("m.cross_signing.master", beside),
        Ok(object(json!({ "encrypted": {} })))
    );
}

#[test]
fn clients_may_delete_what_they_may_keep() {
    for event_type in [
        "m.secret_storage.default_key",
        "m.megolm_backup.v1",
        "m.direct",
    ] {
        assert!(global(event_type, json!({})).is_ok(), "{event_type}");
    }
    assert!(global("m.push_rules", json!({})).is_err());
}

#[test]
fn habits_and_feelings_are_not_kept() {
    let emoji = json!({ "recent_emoji": [["😭", 40]] });
    assert_eq!(
        global("io.element.recent_emoji", emoji),
        Ok(object(json!({})))
    );
    let program = json!({ "name": "Element", "url": "chat.ward-7.example", "version": "1.12" });
    assert_eq!(
        global("io.element.matrix_client_information.NIGHTSHIFT", program),
        Ok(object(json!({})))
    );
    let hidden = json!({ "hidden_event_types": ["m.room.member", "what I fear"] });
    assert!(global("im.nheko.hidden_events", hidden).is_err());
    let expiry = json!({ "expire_after_ms": 60_000, "note": "before my wife sees it" });
    assert_eq!(
        global("im.nheko.event_expiry", expiry),
        Ok(object(json!({ "expire_after_ms": 60_000 })))
    );
    assert!(global("im.ponies.user_emotes", json!({ "images": {} })).is_err());
    assert!(global("org.example.diary", json!({ "a": 1 })).is_err());
    assert!(
        global(
            "m.identity_server",
            json!({ "base_url": "https://id.example" })
        )
        .is_err()
    );
    let order = object(json!({ "order": "words" }));
    assert_eq!(
        room_account_data("m.space_order", order),
        Ok(object(json!({})))
    );
}

#[test]
fn tags_are_the_known_ones() {
    assert!(tag("m.favourite").is_ok() && tag("m.lowpriority").is_ok());
    assert!(tag("u.difficult").is_err() && tag("m.*").is_err());
}
