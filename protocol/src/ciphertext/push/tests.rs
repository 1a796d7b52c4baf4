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
        "profile_tag": "night", "data": { "url": "https://push.example/notify", "format": "full" },
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
