use serde_json::{Value as Json, json};

use super::{
    super::samples::{ROOM, USER, object},
    *,
};

fn rule(kind: &str, id: &str, body: Json) -> Verdict {
    push_rule(kind, id, object(body))
}

#[test]
fn nobody_tells_the_server_which_words_matter() {
    let keyword = json!({ "actions": ["notify"], "pattern": "suicide" });
    assert!(rule("content", "suicide", keyword.clone()).is_err());
    assert!(rule("override", "a", keyword).is_err());
    for condition in [
        json!({ "kind": "event_match", "key": "content.body", "pattern": "pills" }),
        json!({ "kind": "event_match", "key": "type", "pattern": "pills" }),
        json!({ "kind": "event_property_is", "key": "content.body", "value": "pills" }),
        json!({ "kind": "event_property_contains", "key": "content.a", "value": "pills" }),
        json!({ "kind": "org.own", "pattern": "pills" }),
        json!({ "kind": "room_member_count", "is": "pills" }),
    ] {
        let body = json!({ "actions": [], "conditions": [condition] });
        assert!(rule("override", "quiet", body.clone()).is_err(), "{body}");
    }
}

#[test]
fn a_room_can_be_muted() {
    assert!(rule("room", ROOM, json!({ "actions": [] })).is_ok());
    let mute = json!({ "actions": ["dont_notify"], "conditions": [{ "kind": "event_match", "key": "room_id", "pattern": ROOM }] });
    assert!(rule("override", ROOM, mute).is_ok());
    assert!(rule("sender", USER, json!({ "actions": [] })).is_ok());
    assert!(rule("sender", "my mother", json!({ "actions": [] })).is_err());
    assert!(rule("override", "two words", json!({ "actions": [] })).is_err());
    for kind in ["filter", "pusher", "actions", "my kind"] {
        assert!(
            rule(kind, "a", json!({})).is_err(),
            "{kind} is not a kind of rule"
        );
    }
}

#[test]
fn default_rules_can_be_changed_by_known_actions_only() {
    let actions = |value: Json| push_actions(Value::try_from(value).unwrap());
    assert!(actions(json!(["notify", { "set_tweak": "sound", "value": "ring" }])).is_ok());
    assert!(actions(json!(["tell my mother"])).is_err());
    assert!(actions(json!([{ "set_tweak": "sound", "value": "whale song" }])).is_err());
}

#[test]
fn a_push_service_learns_an_event_id_and_no_more() {
    let body = json!({
        "pushkey": "token", "kind": "http", "app_id": "org.example", "lang": "de",
        "app_display_name": "My app", "device_display_name": "Somebody's telephone",
        "profile_tag": "night", "data": { "url": "https://push.example/_matrix/push/v1/notify", "format": "full" },
    });
    let kept = pusher(object(body.clone())).unwrap();
    let text = serde_json::to_string(&kept).unwrap();
    assert!(!text.contains("telephone") && !text.contains("night") && !text.contains("full"));
    assert!(text.contains("event_id_only"));
    for (key, value) in [
        ("kind", "email"),
        ("pushkey", "a b"),
        ("app_id", "my app"),
        ("lang", "a b"),
    ] {
        let mut bad = body.clone();
        bad[key] = json!(value);
        assert!(pusher(object(bad)).is_err(), "{key}");
    }
}

#[test]
fn a_push_gateway_has_an_address_and_nothing_beside_it() {
    let with_url = |url: &str| {
        pusher(object(json!({
            "pushkey": "token", "kind": "http", "app_id": "org.example", "data": { "url": url },
        })))
    };
    assert!(with_url("https://push.example:8443/_matrix/push/v1/notify").is_ok());
    for bad in [
        "https://push.example/my/mother/_matrix/push/v1/notify",
        "https://push.example/_matrix/push/v1/notify?about=mother",
        "https://push.example/_matrix/push/v1/notify#mother",
        "https://mother@push.example/_matrix/push/v1/notify",
        "https://push.example/",
        "ftp://push.example/_matrix/push/v1/notify",
        "/_matrix/push/v1/notify",
    ] {
        assert!(with_url(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_real_clients_tell_their_gateways_passes_and_words_do_not() {
    let payload = |payload: Json| {
        let data = json!({ "url": "https://push.example/_matrix/push/v1/notify", "default_payload": payload });
        pusher(object(json!({
            "pushkey": "token", "kind": "http", "app_id": "org.example", "data": data,
        })))
    };
    for real in [
        json!({ "cs": "0b6c3a52-9f6e-4c8b-a8f9-1d2ad5f0a001" }),
        json!({
            "aps": { "mutable-content": 1, "alert": { "loc-key": "Notification", "loc-args": [] } },
            "pusher_notification_client_identifier": "SGVsbG8+V29ybGQ/SGFzaA==",
        }),
    ] {
        let kept = payload(real.clone()).unwrap();
        assert_eq!(
            serde_json::to_value(&kept["data"]).unwrap()["default_payload"],
            real
        );
    }
    assert!(payload(json!({ "cs": "two words" })).is_err());
}

#[test]
fn a_filter_names_types_and_ids() {
    for bad in [
        json!({ "room": { "timeline": { "types": ["about my mother"] } } }),
        json!({ "room": { "rooms": ["kitchen"] } }),
        json!({ "event_fields": ["two words"] }),
        json!({ "event_fields": ["mother"] }),
        json!({ "event_fields": ["content.mother"] }),
        json!({ "presence": { "limit": -1 } }),
    ] {
        assert!(filter(object(bad.clone())).is_err(), "{bad}");
    }
    assert_eq!(
        filter(object(json!({ "note": "words" }))),
        Ok(object(json!({})))
    );
}
