use serde_json::{Value as Json, json};

use super::{
    super::samples::{ROOM, USER, object},
    *,
};

const LATER: StateContext = StateContext {
    at_creation: false,
    encrypted: true,
};
const AT_CREATION: StateContext = StateContext {
    at_creation: true,
    encrypted: false,
};

fn later(event_type: &str, state_key: &str, content: Json) -> Verdict {
    state_event(event_type, state_key, object(content), LATER)
}

fn at_creation(event_type: &str, content: Json) -> Verdict {
    state_event(event_type, "", object(content), AT_CREATION)
}

#[test]
fn a_room_named_at_creation_has_no_name_and_later_the_person_is_told() {
    for (event_type, key) in [("m.room.name", "name"), ("m.room.topic", "topic")] {
        let content = json!({ key: "Grief", "m.topic": { "m.text": [{ "body": "Grief" }] } });
        assert_eq!(
            at_creation(event_type, content.clone()),
            Ok(object(json!({ key: "" })))
        );
        assert_eq!(later(event_type, "", content), Err(NO_NAME));
        assert!(later(event_type, "", json!({ key: "" })).is_ok());
    }
    let avatar = json!({ "url": "mxc://respite.example/face", "info": { "w": 1 } });
    assert_eq!(
        at_creation("m.room.avatar", avatar.clone()),
        Ok(object(json!({})))
    );
    assert_eq!(later("m.room.avatar", "", avatar), Err(NO_NAME));
}

#[test]
fn whoever_leaves_keeps_the_reason_and_the_picture_to_themselves() {
    let content = json!({
        "membership": "leave", "displayname": "Night owl", "reason": "it is too much",
        "avatar_url": "mxc://respite.example/face", "xyz.amorgan.blurhash": "abc",
    });
    let kept = later("m.room.member", USER, content).unwrap();
    assert_eq!(
        kept,
        object(json!({ "membership": "leave", "displayname": "Night owl" }))
    );
    let named = json!({ "membership": "join", "displayname": "two\nlines" });
    assert!(later("m.room.member", USER, named).is_err());
    let by_mail = json!({ "membership": "invite", "third_party_invite": { "display_name": "n" } });
    assert!(later("m.room.member", USER, by_mail).is_err());
}

#[test]
fn state_keys_hold_no_words() {
    let joined = json!({ "membership": "join" });
    assert!(later("m.room.member", "my sister", joined).is_err());
    assert!(
        later(
            "m.room.join_rules",
            "words",
            json!({ "join_rule": "invite" })
        )
        .is_err()
    );
    assert!(later("m.space.child", "!words and more", json!({})).is_err());
    assert!(
        later("m.space.child", ROOM, json!({ "order": "words" }))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn encryption_is_never_removed_or_weakened() {
    let with = |ms: Option<i64>, msgs: Option<i64>| {
        let mut content = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
        let periods = [("rotation_period_ms", ms), ("rotation_period_msgs", msgs)];
        for (key, value) in periods.into_iter().filter_map(|(k, v)| Some((k, v?))) {
            content[key] = json!(value);
        }
        object(content)
    };
    let old = with(Some(1_000), Some(50));
    assert!(encryption_change(&old, &old).is_ok());
    assert!(encryption_change(&old, &with(Some(500), Some(50))).is_ok());
    assert!(encryption_change(&with(None, None), &old).is_ok());
    for weaker in [
        with(Some(2_000), Some(50)),
        with(Some(1_000), None),
        with(None, None),
    ] {
        assert_eq!(encryption_change(&old, &weaker), Err(WEAKER));
    }
    assert!(encryption_change(&old, &object(json!({}))).is_err());
    for content in [json!({}), json!({ "algorithm": "m.none" })] {
        assert_eq!(later("m.room.encryption", "", content), Err(WEAKER));
    }
    let negative = json!({ "algorithm": "m.megolm.v1.aes-sha2", "rotation_period_ms": -1 });
    assert!(later("m.room.encryption", "", negative).is_err());
}

#[test]
fn settings_of_unknown_kinds_are_refused() {
    for event_type in [
        "m.room.third_party_invite",
        "m.policy.rule.user",
        "im.vector.modular.widgets",
        "im.ponies.room_emotes",
        "in.cinny.room.power_level_tags",
        "org.matrix.msc3672.beacon_info",
        "org.own",
    ] {
        assert!(later(event_type, "", json!({})).is_err(), "{event_type}");
    }
    assert!(later("m.room.canonical_alias", "", json!({ "alias": "#grief:x" })).is_err());
    assert!(later("m.room.canonical_alias", "", json!({ "alias": null })).is_ok());
    let words = json!({ "alias": "#room-12:x", "alt_aliases": ["#7:x", "#grief:x"] });
    assert!(later("m.room.canonical_alias", "", words).is_err());
    let typed = json!({ "room_version": "11", "type": "my own diary" });
    assert!(at_creation("m.room.create", typed).is_err());
    let words = json!({ "events": { "i am sad": 50 } });
    assert!(later("m.room.power_levels", "", words).is_err());
    assert!(later("m.room.power_levels", "", json!({ "ban": "50" })).is_err());
}
