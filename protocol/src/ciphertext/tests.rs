//! The gate as a whole: what passes, what never does, and that nothing makes it panic.

use proptest::{prelude::*, sample::Index};
use ruma::{CanonicalJsonObject, CanonicalJsonValue};
use serde_json::{Map, Value, json};

use super::{
    samples::{Door, ROOM, USER, object, olm, payload, random_bytes, samples},
    *,
};

/// What a person might write where nobody but their therapist should read it.
const CANARY: &str = "I cried all night, canary 7f3a91";

#[test]
fn what_clients_need_passes_unchanged() {
    for (door, content) in samples() {
        let content = object(content);
        assert_eq!(door.pass(content.clone()), Ok(content), "{door:?}");
    }
}

#[test]
fn a_refusal_says_what_to_do_and_never_what_was_said() {
    for (door, content) in samples() {
        let mut content = object(content);
        content.insert(
            "note".to_owned(),
            CanonicalJsonValue::String(CANARY.to_owned()),
        );
        if let Err(refusal) = door.pass(content) {
            assert!(!refusal.to_string().contains("canary"), "{door:?}");
            assert!(
                refusal.sentence().ends_with('.'),
                "{door:?}: {}",
                refusal.sentence()
            );
        }
    }
}

#[test]
fn ordinary_messages_are_refused_with_a_sentence_to_act_on() {
    for event_type in [
        "m.room.message",
        "m.sticker",
        "m.reaction",
        "m.poll.start",
        "org.example",
    ] {
        let content = object(json!({ "msgtype": "m.text", "body": CANARY }));
        let refusal = message_event(event_type, content).unwrap_err();
        assert_eq!(refusal.code(), RefusalCode::Forbidden);
        assert_eq!(refusal.code().errcode(), "M_FORBIDDEN");
        assert_eq!(refusal.code().status(), 403);
    }
}

#[test]
fn whoever_nests_json_too_deep_is_told_before_it_is_parsed() {
    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat().into_bytes();
    assert!(depth_ok(&nested(MAX_JSON_DEPTH)));
    assert!(!depth_ok(&nested(MAX_JSON_DEPTH + 1)));
    assert!(!depth_ok("[".repeat(1_000_000).as_bytes()));
    let in_a_string = json!({ "a": "[".repeat(1_000), "b": "\\\"[[[" }).to_string();
    assert!(depth_ok(in_a_string.as_bytes()));
    assert!(depth_ok("[]".repeat(1_000).as_bytes()));
}

#[test]
fn ids_that_clients_choose_hold_no_sentences() {
    for id in ["NIGHTSHIFT", "m1700000000.1", "a~b=c+d/e:f-g_h"] {
        assert!(device_id(id).is_ok(), "{id}");
    }
    for id in ["", "two words", "naïve", "line\nbreak", &"x".repeat(129)] {
        assert!(device_id(id).is_err(), "{id}");
    }
}

#[test]
fn a_request_may_be_named_as_a_client_likes() {
    for id in ["FluffyChat android-3-1700000000000", "$local.4f1c", "m1.7"] {
        assert!(transaction_id(id).is_ok(), "{id}");
    }
    assert!(transaction_id("").is_err());
    assert!(transaction_id(&"x".repeat(256)).is_err());
}

/// Any JSON that can be in a request.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("m.megolm.v1.aes-sha2")),
        Just(json!(CANARY)),
    ];
    let key = prop_oneof![
        any::<String>(),
        Just("algorithm".to_owned()),
        Just("ciphertext".to_owned()),
        Just("m.relates_to".to_owned()),
        Just("encrypted".to_owned()),
        Just("keys".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Puts the value somewhere into the tree: in place of a value, or beside others.
fn put(tree: &mut Value, at: &mut impl Iterator<Item = Index>, what: &Value, key: &str) {
    let Some(step) = at.next() else {
        *tree = what.clone();
        return;
    };
    match tree {
        Value::Object(map) => match step.index(map.len() + 1) {
            here if here == map.len() => {
                map.insert(key.to_owned(), what.clone());
            }
            deeper => put(map.values_mut().nth(deeper).unwrap(), at, what, key),
        },
        Value::Array(items) => match step.index(items.len() + 1) {
            here if here == items.len() => items.push(what.clone()),
            deeper => put(&mut items[deeper], at, what, key),
        },
        leaf => *leaf = what.clone(),
    }
}

/// The pseudonym is the one text that stays readable, by design.
fn without_pseudonym(mut content: CanonicalJsonObject) -> String {
    content.remove("displayname");
    serde_json::to_string(&content).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn words_put_anywhere_never_pass(
        at in prop::collection::vec(any::<Index>(), 1..6),
        canary in prop_oneof![
            Just(json!(CANARY)),
            Just(json!([CANARY])),
            Just(json!({ "body": CANARY })),
            Just(json!({ CANARY: 1 })),
        ],
        key in prop_oneof![
            Just(CANARY), Just("body"), Just("reason"), Just("note"), Just("avatar_url"),
            Just("formatted_body"), Just("key"), Just("name"), Just("unsigned"), Just("order"),
            Just("device_display_name"), Just("m.new_content"), Just("m.mentions"), Just("pattern"),
        ],
    ) {
        for (door, mut content) in samples() {
            put(&mut content, &mut at.clone().into_iter(), &canary, key);
            let Value::Object(_) = content else { continue };
            if let Ok(kept) = door.pass(object(content)) {
                prop_assert!(!without_pseudonym(kept.clone()).contains("canary"), "{door:?}");
                prop_assert_eq!(door.pass(kept.clone()), Ok(kept), "twice through {:?}", door);
            }
        }
    }

    #[test]
    fn no_json_makes_the_gate_panic_or_leak(content in any_json(), name in any::<String>()) {
        let _ = depth_ok(content.to_string().as_bytes());
        let _ = (device_id(&name).is_ok(), transaction_id(&name).is_ok(), tag(&name).is_ok());
        if let Ok(kept) = profile_field(&name, content.clone()) {
            prop_assert!(!kept.to_string().contains("canary"));
        }
        let Ok(value) = CanonicalJsonValue::try_from(content) else { return Ok(()) };
        let _ = (one_time_key(&name, value.clone()).is_ok(), push_actions(value.clone()).is_ok());
        let CanonicalJsonValue::Object(content) = value else { return Ok(()) };
        for (door, _) in samples_without_keys() {
            if let Ok(kept) = door.pass(content.clone()) {
                prop_assert!(!without_pseudonym(kept).contains("canary"), "{:?}", door);
            }
        }
        let ctx = StateContext { at_creation: false, encrypted: true };
        prop_assert!(message_event(&name, content.clone()).is_err());
        prop_assert!(state_event(&name, "", content.clone(), ctx).is_err());
        prop_assert!(to_device_event(&name, content.clone()).is_err());
        prop_assert!(global_account_data(&name, content.clone()).is_err());
        prop_assert!(push_rule(&name, &name, content).is_err());
    }
}

/// The doors alone; making keys for their samples is slow.
fn samples_without_keys() -> Vec<(Door, ())> {
    thread_local!(static DOORS: Vec<(Door, ())> =
        samples().into_iter().map(|(door, _)| (door, ())).collect());
    DOORS.with(Clone::clone)
}

#[test]
fn every_row_that_is_checked_has_a_sample_or_a_test_of_its_own() {
    let named = |row: &Row| {
        samples().iter().any(|(door, _)| {
            let name = match door {
                Door::Message(name) | Door::ToDevice(name) => name,
                Door::Global(name) | Door::Room(name) => name,
                Door::State(name, _) | Door::PushRule(name, _) => name,
                _ => return true,
            };
            row.name
                .strip_suffix('*')
                .map_or(row.name == *name, |stem| name.starts_with(stem))
        })
    };
    let unsampled: Vec<_> = TABLE
        .iter()
        .filter(|row| row.outcome == Outcome::Checked && !named(row))
        .collect();
    assert!(unsampled.is_empty(), "{unsampled:?}");
}

#[test]
fn real_ciphertext_of_any_length_passes() {
    for len in [0, 1, 15, 16, 17, 100, 1_000, 30_000] {
        let body = "x".repeat(len);
        assert!(message_event("m.room.encrypted", object(samples::megolm(&body))).is_ok());
        let (first, later) = olm(&body);
        assert!(to_device_event("m.room.encrypted", object(first)).is_ok());
        assert!(to_device_event("m.room.encrypted", object(later)).is_ok());
    }
    assert!(payload("").len() >= 37);
    let _ = (ROOM, USER, random_bytes(1));
}
