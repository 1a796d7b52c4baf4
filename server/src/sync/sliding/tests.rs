//! A phone with a list of rooms on its screen.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ruma::{OwnedRoomId, events::room::member::MembershipState};
use serde_json::{Value, json};

use super::*;
use crate::{
    fixture::{device, user},
    inbox::connection::{PENDING, TOLD},
    rooms::{access, event::TIMELINE, membership},
    store::Page,
    sync::practice::{Act, Practice},
};

fn phone() -> Device {
    device("nurse", "PHONE")
}

async fn ask(practice: &Practice, pos: Option<&str>, body: Value) -> Result<Value> {
    let asked = Asked {
        pos: pos.map(ToOwned::to_owned),
        timeout: std::time::Duration::ZERO,
        body: serde_json::from_value(body).unwrap(),
    };
    let answered = sync(practice.server.app.clone(), phone(), asked).await?;
    Ok(serde_json::to_value(answered).unwrap())
}

fn all(limit: u64) -> Value {
    list(0, 9, limit)
}

fn list(first: u64, last: u64, limit: u64) -> Value {
    json!({ "lists": { "all": {
        "ranges": [[first, last]], "timeline_limit": limit, "required_state": [["*", "*"]],
    } } })
}

fn pos(answer: &Value) -> &str {
    answer["pos"].as_str().unwrap()
}

fn events(of: &Value) -> Vec<&str> {
    let events = of.as_array().map(Vec::as_slice).unwrap_or_default();
    events
        .iter()
        .map(|event| event["event_id"].as_str().unwrap())
        .collect()
}

fn is_unknown_pos(answer: Result<Value>) -> bool {
    matches!(answer, Err(Error::Matrix { kind, .. }) if *kind == ErrorKind::UnknownPos)
}

async fn rows(practice: &Practice) -> (usize, usize) {
    let store = &practice.server.app.store;
    let told = store.scan(&TOLD, (), Page::first(100)).await.unwrap();
    let pending = store.scan(&PENDING, (), Page::first(100)).await.unwrap();
    (told.len(), pending.len())
}

#[tokio::test]
async fn a_room_is_told_once_and_then_what_is_new_in_it() {
    let practice = Practice::open().await;
    let room = practice.rooms[0].as_str();
    let first = ask(&practice, None, all(3)).await.unwrap();
    assert_eq!(first["lists"]["all"]["count"], 1);
    assert_eq!(first["rooms"][room]["initial"], true);
    assert_eq!(first["rooms"][room]["joined_count"], 2);
    assert_eq!(first["rooms"][room]["limited"], true);
    assert_eq!(events(&first["rooms"][room]["timeline"]).len(), 3);
    let second = ask(&practice, Some(pos(&first)), all(3)).await.unwrap();
    assert_eq!(second["rooms"], json!({}));
    practice.act(0, Act::Answer).await;
    let third = ask(&practice, Some(pos(&second)), all(3)).await.unwrap();
    let told = &third["rooms"][room];
    assert_eq!(events(&told["timeline"]).len(), 1);
    assert_eq!(told["num_live"], 1);
    assert_eq!(told["notification_count"], 1);
    assert!(told.get("initial").is_none() && told.get("required_state").is_none());
    assert!(told["bump_stamp"].as_u64() > first["rooms"][room]["bump_stamp"].as_u64());
}

#[tokio::test]
async fn what_is_new_in_known_rooms_writes_nothing() {
    let practice = Practice::open().await;
    let mut answer = ask(&practice, None, all(3)).await.unwrap();
    assert_eq!(rows(&practice).await, (0, 1));
    for _ in 0..3 {
        practice.act(0, Act::Answer).await;
        answer = ask(&practice, Some(pos(&answer)), all(3)).await.unwrap();
        assert_eq!(rows(&practice).await, (1, 0));
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_comes_again() {
    let practice = Practice::open().await;
    let room = practice.rooms[0].as_str();
    let narrow = json!({ "lists": {} });
    let nothing = ask(&practice, None, narrow).await.unwrap();
    let mut before = pos(&nothing).to_owned();
    for _ in 0..3 {
        let lost = ask(&practice, Some(&before), all(3)).await.unwrap();
        let again = ask(&practice, Some(&before), all(3)).await.unwrap();
        assert_eq!(lost["rooms"], again["rooms"]);
        assert!(again["rooms"][room].is_object());
        practice.act(0, Act::Answer).await;
        before = pos(&again).to_owned();
        let told = ask(&practice, Some(&before), all(3)).await.unwrap();
        assert_eq!(events(&told["rooms"][room]["timeline"]).len(), 1);
    }
}

#[tokio::test]
async fn a_position_from_before_what_the_phone_has_is_not_known() {
    let practice = Practice::open().await;
    let first = ask(&practice, None, all(3)).await.unwrap();
    let begun_anew = ask(&practice, None, all(3)).await.unwrap();
    ask(&practice, Some(pos(&begun_anew)), all(3))
        .await
        .unwrap();
    assert!(is_unknown_pos(
        ask(&practice, Some(pos(&first)), all(3)).await
    ));
    assert!(is_unknown_pos(ask(&practice, Some("5"), all(3)).await));
    let mut other = all(3);
    other["conn_id"] = json!("other");
    assert!(is_unknown_pos(
        ask(&practice, Some(pos(&begun_anew)), other).await
    ));
}

#[tokio::test]
async fn a_room_that_was_out_of_sight_is_told_from_where_it_was() {
    let practice = Practice::open().await;
    for act in [Act::Invite, Act::Join] {
        practice.act(1, act).await;
    }
    let (below, above) = (practice.rooms[0].as_str(), practice.rooms[1].as_str());
    let both = ask(&practice, None, all(10)).await.unwrap();
    assert!(both["rooms"][below].is_object() && both["rooms"][above].is_object());
    let one = |pos: String| {
        let practice = &practice;
        async move { ask(practice, Some(&pos), list(0, 0, 10)).await.unwrap() }
    };
    // Only the room in which something happened last is in sight.
    practice.act(0, Act::Answer).await;
    practice.act(1, Act::Answer).await;
    let seen = one(pos(&both).to_owned()).await;
    assert!(seen["rooms"].get(below).is_none() && seen["rooms"][above].is_object());
    practice.act(0, Act::Answer).await;
    let back = one(pos(&seen).to_owned()).await;
    assert_eq!(events(&back["rooms"][below]["timeline"]).len(), 2);
    assert!(back["rooms"][below].get("initial").is_none());
    assert_eq!(back["lists"]["all"]["count"], 2);
}

#[tokio::test]
async fn a_longer_timeline_is_told_at_once_and_only_once() {
    let practice = Practice::open().await;
    let room = practice.rooms[0].as_str();
    for _ in 0..5 {
        practice.act(0, Act::Answer).await;
    }
    let short = ask(&practice, None, all(1)).await.unwrap();
    let long = ask(&practice, Some(pos(&short)), all(4)).await.unwrap();
    let told = &long["rooms"][room];
    assert_eq!(told["unstable_expanded_timeline"], true);
    assert_eq!(
        (events(&told["timeline"]).len(), &told["num_live"]),
        (4, &json!(0))
    );
    let mut last = long.clone();
    for limit in [1, 4] {
        last = ask(&practice, Some(pos(&last)), all(limit)).await.unwrap();
        assert_eq!(last["rooms"], json!({}));
    }
}

#[tokio::test]
async fn who_declines_an_invitation_learns_nothing_of_the_room() {
    let practice = Practice::open().await;
    let room = practice.rooms[1].as_str();
    practice.act(1, Act::Invite).await;
    let invited = ask(&practice, None, all(10)).await.unwrap();
    assert!(invited["rooms"][room]["invite_state"].is_array());
    assert!(invited["rooms"][room].get("timeline").is_none());
    practice.act(1, Act::Leave).await;
    let left = ask(&practice, Some(pos(&invited)), all(10)).await.unwrap();
    let told = &left["rooms"][room];
    assert_eq!(events(&told["timeline"]).len(), 1);
    assert_eq!(events(&told["required_state"]), events(&told["timeline"]));
    assert!(told.get("joined_count").is_none() && told.get("heroes").is_none());
    assert_eq!(left["lists"]["all"]["count"], 1);
}

#[tokio::test]
async fn who_was_taken_out_sees_it_also_on_a_new_phone_and_who_left_does_not() {
    let practice = Practice::open().await;
    let room = practice.rooms[0].as_str();
    practice.act(0, Act::Kick).await;
    let told = ask(&practice, None, all(10)).await.unwrap();
    assert_eq!(told["rooms"][room]["membership"], "leave");
    for act in [Act::Invite, Act::Join, Act::Leave] {
        practice.act(0, act).await;
    }
    let told = ask(&practice, None, all(10)).await.unwrap();
    assert_eq!(
        (&told["rooms"], &told["lists"]["all"]["count"]),
        (&json!({}), &json!(0))
    );
}

#[tokio::test]
async fn a_writer_is_told_of_once() {
    let practice = Practice::open().await;
    let room = practice.rooms[0].as_str();
    let lazy = json!({ "lists": { "all": {
        "ranges": [[0, 9]], "timeline_limit": 1, "required_state": [["m.room.member", "$LAZY"], ["m.room.member", "$ME"]],
    } } });
    practice.act(0, Act::Write).await;
    let first = ask(&practice, None, lazy.clone()).await.unwrap();
    assert_eq!(events(&first["rooms"][room]["required_state"]).len(), 1);
    practice.act(0, Act::Answer).await;
    let second = ask(&practice, Some(pos(&first)), lazy.clone())
        .await
        .unwrap();
    let member = &second["rooms"][room]["required_state"][0];
    assert_eq!(member["state_key"], user("therapist").as_str());
    practice.act(0, Act::Answer).await;
    let third = ask(&practice, Some(pos(&second)), lazy).await.unwrap();
    assert!(third["rooms"][room].get("required_state").is_none());
}

/// What a phone does.
#[derive(Clone, Debug)]
enum Step {
    Act(usize, Act),
    /// It asks for so many rooms, so much of the timeline, a room beside them; the answer may be lost.
    Ask {
        last: u64,
        limit: u64,
        beside: bool,
        lost: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let act = prop_oneof![
        Just(Act::Write),
        Just(Act::Answer),
        Just(Act::Answer),
        Just(Act::Topic),
        Just(Act::Leave),
        Just(Act::Invite),
        Just(Act::Join),
        Just(Act::Kick),
    ];
    let act = (0..2_usize, act).prop_map(|(room, act)| Step::Act(room, act));
    let ask = (0..2_u64, 1..6_u64, any::<bool>(), any::<bool>()).prop_map(
        |(last, limit, beside, lost)| Step::Ask {
            last,
            limit,
            beside,
            lost,
        },
    );
    prop::collection::vec(prop_oneof![3 => act, 2 => ask], 1..30)
}

/// What a phone has in memory of a room.
#[derive(Debug, Default)]
struct Seen {
    timeline: Vec<String>,
    state: BTreeMap<(String, String), String>,
}

impl Seen {
    fn hear(&mut self, told: &Value) {
        let new = events(&told["timeline"]);
        if told["initial"] == true {
            self.state.clear();
            self.timeline.clear();
        } else if told["limited"] == true || told["unstable_expanded_timeline"] == true {
            self.timeline.clear();
        }
        for event in new {
            assert!(
                !self.timeline.iter().any(|seen| seen == event),
                "{event} was told twice"
            );
            self.timeline.push(event.to_owned());
        }
        for event in told["required_state"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
        {
            let text = |key: &str| event[key].as_str().unwrap().to_owned();
            self.state
                .insert((text("type"), text("state_key")), text("event_id"));
        }
    }
}

async fn visible(practice: &Practice, room: &OwnedRoomId) -> Vec<String> {
    let app = &practice.server.app;
    let readable = access::readable(app, &user("nurse"), room).await.unwrap();
    let all = app.store.after(&TIMELINE, room, 0, 1_000).await.unwrap();
    let seen = all
        .into_iter()
        .filter(|(position, _)| readable.sees(*position));
    seen.map(|(_, event)| event.event_id.to_string()).collect()
}

async fn play(steps: Vec<Step>) {
    let practice = Practice::open().await;
    let mut rooms = BTreeMap::<String, Seen>::new();
    let mut since: Option<String> = None;
    let last = Step::Ask {
        last: 9,
        limit: 5,
        beside: false,
        lost: false,
    };
    for step in steps.into_iter().chain([last]) {
        let (last, limit, beside, lost) = match step {
            Step::Act(room, act) => {
                practice.act(room, act).await;
                continue;
            }
            Step::Ask {
                last,
                limit,
                beside,
                lost,
            } => (last, limit, beside, lost),
        };
        let mut body = list(0, last, limit);
        if beside {
            body["room_subscriptions"] = json!({ practice.rooms[0].as_str(): {
                "timeline_limit": limit + 1, "required_state": [["*", "*"]],
            } });
        }
        let answer = ask(&practice, since.as_deref(), body).await.unwrap();
        if lost {
            continue;
        }
        for (room, told) in answer["rooms"].as_object().unwrap() {
            rooms.entry(room.clone()).or_default().hear(told);
        }
        since = Some(pos(&answer).to_owned());
    }
    for room in &practice.rooms {
        let membership = membership::of(&practice.server.app.store, &user("nurse"), room).await;
        let joined = membership
            .unwrap()
            .is_some_and(|m| m.state == MembershipState::Join);
        if !joined {
            continue;
        }
        let seen = &rooms[room.as_str()];
        let all = visible(&practice, room).await;
        assert!(
            all.ends_with(&seen.timeline),
            "{:?} is not the end of {all:?}",
            seen.timeline
        );
        assert!(seen.timeline.len() >= all.len().min(1));
        let state = practice.state(room).await;
        let state: BTreeMap<_, _> = state
            .into_iter()
            .map(|(key, event)| (key, event.to_string()))
            .collect();
        assert_eq!(seen.state, state);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_happens_a_phone_knows_what_it_shows(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps));
    }
}

#[tokio::test]
async fn a_room_is_in_a_list_if_it_fits_the_filters() {
    let practice = Practice::open().await;
    let app = &practice.server.app;
    for act in [Act::Invite, Act::Join] {
        practice.act(1, act).await;
    }
    let (first, second) = (practice.rooms[0].to_string(), practice.rooms[1].to_string());
    let set = async |room: Option<&OwnedRoomId>, kind: &str, value: Value| {
        let (nurse, text) = (&user("nurse"), &value.to_string());
        app.store
            .transact(async |mut tx| {
                crate::account_data::set_in(&mut tx, nurse, room.map(|room| &**room), kind, text)
                    .await?;
                Ok::<_, Error>((tx, ()))
            })
            .await
            .unwrap();
    };
    set(None, "m.direct", json!({ "@therapist:localhost": [first] })).await;
    set(
        Some(&practice.rooms[1]),
        "m.tag",
        json!({ "tags": { "m.favourite": {} } }),
    )
    .await;
    let both: BTreeSet<&str> = [first.as_str(), second.as_str()].into();
    for (filters, rooms) in [
        (json!({}), both.clone()),
        (json!({ "is_dm": true }), [first.as_str()].into()),
        (json!({ "is_dm": false }), [second.as_str()].into()),
        (
            json!({ "tags": ["m.favourite", "m.lowpriority"] }),
            [second.as_str()].into(),
        ),
        (
            json!({ "not_tags": ["m.favourite"] }),
            [first.as_str()].into(),
        ),
        (json!({ "is_invite": true }), BTreeSet::new()),
        (json!({ "is_invite": false }), both.clone()),
        (json!({ "room_types": [null] }), both.clone()),
        (json!({ "room_types": ["m.space"] }), BTreeSet::new()),
        (json!({ "not_room_types": ["m.space"] }), both.clone()),
        (
            json!({ "not_room_types": ["m.space", null] }),
            BTreeSet::new(),
        ),
        (json!({ "spaces": [first] }), BTreeSet::new()),
    ] {
        let mut body = all(1);
        body["lists"]["all"]["filters"] = filters.clone();
        let answer = ask(&practice, None, body).await.unwrap();
        let told: BTreeSet<&str> = answer["rooms"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(told, rooms, "{filters}");
        assert_eq!(answer["lists"]["all"]["count"], rooms.len(), "{filters}");
    }
}

#[tokio::test]
async fn more_than_one_request_may_ask_for_is_refused() {
    let practice = Practice::open().await;
    for body in [
        json!({ "conn_id": "x".repeat(MAX_NAME_BYTES + 1) }),
        list(3, 2, 1),
        json!({ "lists": { "x": { "timeline_limit": 1, "required_state": vec![json!(["a", "b"]); MAX_NAMED + 1] } } }),
    ] {
        let refused = ask(&practice, None, body).await;
        assert!(
            matches!(refused, Err(Error::Matrix { kind, .. }) if *kind == ErrorKind::InvalidParam)
        );
    }
}
