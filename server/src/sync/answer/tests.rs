//! A therapist and a nurse in two rooms; what the nurse's clients make of what they are told.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ruma::{
    OwnedEventId, OwnedUserId,
    api::client::{
        filter::FilterDefinition,
        sync::sync_events::v3::{Request, State, Timeline},
    },
    serde::Raw,
};
use serde_json::json;

use super::*;
use crate::{
    fixture::{device, user},
    rooms::append::NewEvent,
    sync::practice::{Act, Practice, content},
};

/// What a client has in memory of a room.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    joined: bool,
    timeline: Vec<OwnedEventId>,
    /// Who has sent what is in it.
    senders: Vec<OwnedUserId>,
    state: BTreeMap<(String, String), OwnedEventId>,
}

/// A client that puts together what it is told.
struct Client {
    me: Device,
    filter: FilterDefinition,
    since: Option<Position>,
    known: Known,
    page: usize,
    rooms: BTreeMap<OwnedRoomId, Seen>,
    devices: BTreeSet<OwnedUserId>,
}

#[derive(serde::Deserialize)]
struct Event {
    event_id: OwnedEventId,
    sender: OwnedUserId,
    r#type: String,
    state_key: Option<String>,
}

fn parse<T>(event: &Raw<T>) -> Event {
    serde_json::from_str(event.json().get()).unwrap()
}

impl Seen {
    fn hear(&mut self, timeline: &Timeline, state: &State) {
        if timeline.limited {
            self.timeline.clear();
            self.senders.clear();
        }
        let State::Before(state) = state else {
            panic!("state was asked for as it was before")
        };
        for event in state.events.iter().map(parse) {
            self.state
                .insert((event.r#type, event.state_key.unwrap()), event.event_id);
        }
        for event in timeline.events.iter().map(parse) {
            if let Some(key) = event.state_key {
                self.state
                    .insert((event.r#type, key), event.event_id.clone());
            }
            assert!(
                !self.timeline.contains(&event.event_id),
                "an event was told twice"
            );
            self.timeline.push(event.event_id);
            self.senders.push(event.sender);
        }
    }
}

impl Client {
    fn new(page: usize, filter: serde_json::Value) -> Self {
        Self {
            me: device("nurse", "PHONE"),
            filter: serde_json::from_value(filter).unwrap(),
            since: None,
            known: Known::default(),
            page,
            rooms: BTreeMap::new(),
            devices: BTreeSet::new(),
        }
    }

    /// One answer; whether there is more.
    async fn ask(&mut self, app: &App) -> Answer {
        let tokens = Tokens::of(app, &self.me);
        let mut answerer = Answerer::new(app, &self.me, &tokens, &Request::new());
        answerer.page = self.page;
        let answer = answerer.since(&self.filter, self.since, &self.known);
        let answer = answer.await.unwrap();
        (self.since, self.known) = (Some(answer.position), answer.known.clone());
        for (room, joined) in &answer.response.rooms.join {
            let seen = self.rooms.entry(room.clone()).or_default();
            seen.joined = true;
            seen.hear(&joined.timeline, &joined.state);
        }
        for room in answer.response.rooms.invite.keys() {
            self.rooms.entry(room.clone()).or_default().joined = false;
        }
        for (room, left) in &answer.response.rooms.leave {
            let seen = self.rooms.entry(room.clone()).or_default();
            seen.joined = false;
            seen.hear(&left.timeline, &left.state);
        }
        for user in &answer.response.device_lists.left {
            self.devices.remove(user);
        }
        self.devices
            .extend(answer.response.device_lists.changed.iter().cloned());
        answer
    }

    async fn catch_up(&mut self, app: &App) {
        while self.ask(app).await.more {}
    }

    fn joined(&self) -> BTreeMap<&OwnedRoomId, &Seen> {
        self.rooms.iter().filter(|(_, seen)| seen.joined).collect()
    }
}

fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let act = prop_oneof![
        3 => Just(Act::Write),
        3 => Just(Act::Answer),
        1 => Just(Act::Topic),
        1 => Just(Act::Leave),
        3 => Just(Act::Invite),
        3 => Just(Act::Join),
        1 => Just(Act::Kick),
    ];
    prop::collection::vec((0..2_usize, act), 0..40)
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// However an inbox is cut into pages, a client ends up with the same rooms, each event once, and the room's state.
    #[test]
    fn no_event_is_missed_and_none_is_told_twice(acts in acts(), page in 1..6_usize, often in any::<bool>()) {
        run(async {
            let practice = Practice::open().await;
            let all = json!({ "room": { "timeline": { "limit": 100 } } });
            let (mut slow, mut fast) = (Client::new(page, all.clone()), Client::new(MAX_ENTRIES, all));
            slow.ask(&practice.server.app).await;
            fast.ask(&practice.server.app).await;
            for (room, act) in acts {
                practice.act(room, act).await;
                if often {
                    slow.ask(&practice.server.app).await;
                }
            }
            slow.catch_up(&practice.server.app).await;
            fast.catch_up(&practice.server.app).await;
            assert_eq!(slow.joined(), fast.joined());
            let mut fresh = Client::new(MAX_ENTRIES, json!({ "room": { "timeline": { "limit": 100 } } }));
            fresh.ask(&practice.server.app).await;
            assert_eq!(slow.joined(), fresh.joined());
            for (room, seen) in slow.joined() {
                assert_eq!(seen.state, practice.state(room).await);
            }
        });
    }

    /// A client that takes two events a room at a time still knows each room's state.
    #[test]
    fn the_state_is_right_with_short_timelines(acts in acts(), page in 1..30_usize, skip in 1..9_usize) {
        run(async {
            let practice = Practice::open().await;
            let mut client = Client::new(page, json!({ "room": { "timeline": { "limit": 2 } } }));
            for (turn, (room, act)) in acts.into_iter().enumerate() {
                practice.act(room, act).await;
                if turn % skip == 0 {
                    client.ask(&practice.server.app).await;
                }
            }
            client.catch_up(&practice.server.app).await;
            for (room, seen) in client.joined() {
                assert_eq!(seen.state, practice.state(room).await);
                assert!(seen.timeline.len() <= 60);
            }
        });
    }

    /// A client that is told of members when it needs them knows everybody who is in its timeline, and all other state.
    #[test]
    fn whoever_wrote_is_known_to_a_client_that_loads_members_lazily(
        acts in acts(), page in 1..30_usize, limit in 0..4_usize, skip in 1..9_usize,
    ) {
        run(async {
            let practice = Practice::open().await;
            let lazy = json!({ "room": {
                "state": { "lazy_load_members": true }, "timeline": { "limit": limit },
            } });
            let mut client = Client::new(page, lazy);
            for (turn, (room, act)) in acts.into_iter().enumerate() {
                practice.act(room, act).await;
                if turn % skip == 0 {
                    client.ask(&practice.server.app).await;
                }
            }
            client.catch_up(&practice.server.app).await;
            for (room, seen) in client.joined() {
                let mut missing = practice.state(room).await;
                missing.retain(|key, event| seen.state.get(key) != Some(event));
                let wrote = |member: &str| seen.senders.iter().any(|sender| sender == member);
                assert!(missing.keys().all(|(kind, key)| kind == "m.room.member" && !wrote(key)));
                assert!(limit > 0 || seen.timeline.is_empty());
            }
        });
    }

    /// The same for a client that wants no state events in its timeline.
    #[test]
    fn the_state_is_right_for_a_timeline_of_messages_only(acts in acts(), page in 1..30_usize) {
        run(async {
            let practice = Practice::open().await;
            let filter = json!({ "room": { "timeline": { "limit": 3, "types": ["m.room.encrypted"] } } });
            let mut client = Client::new(page, filter);
            client.ask(&practice.server.app).await;
            for (room, act) in acts {
                practice.act(room, act).await;
            }
            client.catch_up(&practice.server.app).await;
            for (room, seen) in client.joined() {
                assert_eq!(seen.state, practice.state(room).await);
            }
        });
    }
}

#[tokio::test]
async fn an_invitation_shows_who_invites_and_nothing_that_was_said() {
    let practice = Practice::open().await;
    practice.act(1, Act::Answer).await;
    practice.act(1, Act::Invite).await;
    for since_the_beginning in [true, false] {
        let mut client = Client::new(MAX_ENTRIES, json!({}));
        if !since_the_beginning {
            client.since = Some(Position::default());
        }
        let answer = client.ask(&practice.server.app).await;
        let invited = &answer.response.rooms.invite[&practice.rooms[1]]
            .invite_state
            .events;
        let text = invited
            .iter()
            .map(|event| event.json().get())
            .collect::<String>();
        assert!(text.contains("@therapist:localhost") && text.contains("m.room.create"));
        assert!(!text.contains("ciphertext") && !text.contains("event_id"));
        assert!(!answer.response.rooms.join.contains_key(&practice.rooms[1]));
    }
}

#[tokio::test]
async fn a_declined_invitation_tells_nothing_of_the_room() {
    let practice = Practice::open().await;
    let mut client = Client::new(MAX_ENTRIES, json!({ "room": { "include_leave": true } }));
    client.ask(&practice.server.app).await;
    practice.act(1, Act::Answer).await;
    practice.act(1, Act::Invite).await;
    practice.act(1, Act::Leave).await;
    practice.act(1, Act::Answer).await;
    let answer = client.ask(&practice.server.app).await;
    let left = &answer.response.rooms.leave[&practice.rooms[1]];
    assert!(
        left.timeline
            .events
            .iter()
            .all(|event| parse(event).r#type == "m.room.member")
    );
    assert!(left.state.is_empty());
    let mut fresh = Client::new(MAX_ENTRIES, json!({ "room": { "include_leave": true } }));
    let answer = fresh.ask(&practice.server.app).await;
    let left = &answer.response.rooms.leave[&practice.rooms[1]];
    assert_eq!(left.timeline.events.len(), 1);
    assert!(left.state.is_empty());
}

#[tokio::test]
async fn after_a_long_night_the_client_gets_the_end_and_a_way_back() {
    let practice = Practice::open().await;
    let mut client = Client::new(
        MAX_ENTRIES,
        json!({ "room": { "timeline": { "limit": 3 } } }),
    );
    client.ask(&practice.server.app).await;
    for _ in 0..3 {
        practice.act(0, Act::Answer).await;
    }
    let three = client
        .ask(&practice.server.app)
        .await
        .response
        .rooms
        .join
        .remove(&practice.rooms[0]);
    let three = three.unwrap();
    assert!(!three.timeline.limited);
    practice.act(0, Act::Topic).await;
    for _ in 0..4 {
        practice.act(0, Act::Answer).await;
    }
    let four = client
        .ask(&practice.server.app)
        .await
        .response
        .rooms
        .join
        .remove(&practice.rooms[0]);
    let four = four.unwrap();
    assert!(four.timeline.limited);
    assert_eq!(four.timeline.events.len(), 3);
    assert!(four.timeline.prev_batch.is_some());
    let unread = |count: Option<ruma::UInt>| u64::from(count.unwrap());
    assert_eq!(
        unread(four.unread_notifications.notification_count),
        unread(three.unread_notifications.notification_count) + 4
    );
    let State::Before(state) = four.state else {
        panic!("state was asked for as it was before")
    };
    let state: Vec<Event> = state.events.iter().map(parse).collect();
    assert_eq!(state.len(), 1);
    assert_eq!(state[0].r#type, "m.room.topic");
}

#[tokio::test]
async fn lazily_loaded_members_are_those_who_wrote_and_oneself() {
    let practice = Practice::open().await;
    for name in ["colleague", "supervisor"] {
        let invite = NewEvent::state(
            "m.room.member",
            user(name).as_str(),
            content(json!({ "membership": "invite" })),
        );
        practice.send(&user("therapist"), 0, invite).await.unwrap();
        let join = NewEvent::state(
            "m.room.member",
            user(name).as_str(),
            content(json!({ "membership": "join" })),
        );
        practice.send(&user(name), 0, join).await.unwrap();
    }
    practice.act(0, Act::Topic).await;
    practice.act(0, Act::Answer).await;
    let filter =
        json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": 1 } } });
    let mut client = Client::new(MAX_ENTRIES, filter);
    client.ask(&practice.server.app).await;
    let state = practice.state(&practice.rooms[0]).await;
    let seen = &client.rooms[&practice.rooms[0]].state;
    let heroes = 3;
    let members = seen
        .keys()
        .filter(|(kind, _)| kind == "m.room.member")
        .count();
    assert_eq!(members, heroes + 1);
    assert_eq!(seen.len(), state.len());

    // Whom the client knows already it is not told of again, unless it asks for that.
    for redundant in [false, true] {
        client.filter = serde_json::from_value(json!({ "room": {
            "state": { "lazy_load_members": true, "include_redundant_members": redundant },
            "timeline": { "limit": 1 },
        } }))
        .unwrap();
        practice.act(0, Act::Answer).await;
        let answer = client.ask(&practice.server.app).await;
        let State::Before(told) = &answer.response.rooms.join[&practice.rooms[0]].state else {
            panic!("state was asked for as it was before")
        };
        let told: Vec<Event> = told.events.iter().map(parse).collect();
        let told: Vec<_> = told
            .iter()
            .filter_map(|event| event.state_key.as_deref())
            .collect();
        match redundant {
            false => assert!(told.is_empty(), "{told:?}"),
            true => assert_eq!(told, ["@therapist:localhost"]),
        }
    }
}

#[tokio::test]
async fn who_comes_into_view_is_told_and_who_goes_out_of_it() {
    let practice = Practice::open().await;
    let mut client = Client::new(MAX_ENTRIES, json!({}));
    client.ask(&practice.server.app).await;
    assert!(client.devices.is_empty());
    practice.act(1, Act::Invite).await;
    practice.act(1, Act::Join).await;
    client.ask(&practice.server.app).await;
    assert_eq!(client.devices, [user("therapist")].into());
    practice.act(0, Act::Leave).await;
    client.ask(&practice.server.app).await;
    assert_eq!(
        client.devices,
        [user("therapist")].into(),
        "they still share a room"
    );
    practice.act(1, Act::Kick).await;
    client.ask(&practice.server.app).await;
    assert!(client.devices.is_empty());
}

#[tokio::test]
async fn a_newcomer_who_renamed_themselves_comes_into_view_also_behind_a_gap() {
    let practice = Practice::open().await;
    let filter = json!({ "room": { "timeline": { "limit": 1 } } });
    let mut client = Client::new(MAX_ENTRIES, filter);
    client.ask(&practice.server.app).await;
    let colleague = user("colleague");
    let member = |json| NewEvent::state("m.room.member", colleague.as_str(), content(json));
    let invite = member(json!({ "membership": "invite" }));
    practice.send(&user("therapist"), 0, invite).await.unwrap();
    for name in ["Wren", "Owl"] {
        let joined = member(json!({ "membership": "join", "displayname": name }));
        practice.send(&colleague, 0, joined).await.unwrap();
    }
    for _ in 0..3 {
        practice.act(0, Act::Answer).await;
    }
    client.ask(&practice.server.app).await;
    assert!(client.devices.contains(&colleague));
}

#[tokio::test]
async fn a_token_from_before_a_restored_backup_begins_anew() {
    let practice = Practice::open().await;
    let mut client = Client::new(MAX_ENTRIES, json!({}));
    client.ask(&practice.server.app).await;
    let position = client.since.unwrap();
    client.since = Some(Position {
        inbox: position.inbox + 1_000,
        ..position
    });
    client.rooms.clear();
    assert!(client.ask(&practice.server.app).await.anew);
    assert_eq!(client.since, Some(position));
    assert_eq!(client.joined().len(), 1);
}

#[tokio::test]
async fn somebody_typing_is_told_to_the_room_and_to_nobody_else() {
    let practice = Practice::open().await;
    let app = &practice.server.app;
    let mut client = Client::new(MAX_ENTRIES, json!({}));
    client.ask(app).await;
    let (therapist, nurse) = (user("therapist"), user("nurse"));
    let long = std::time::Duration::from_secs(60);
    let begin = async |room: usize, members: &[&OwnedUserId]| {
        let members = members.iter().copied().cloned().collect();
        typing::begin(app, &practice.rooms[room], &therapist, &members, long)
            .await
            .unwrap();
    };
    begin(1, &[&therapist]).await;
    assert!(!client.ask(app).await.says_something());
    begin(0, &[&therapist, &nurse]).await;
    let answer = client.ask(app).await;
    let told = &answer.response.rooms.join[&practice.rooms[0]]
        .ephemeral
        .events;
    assert!(told[0].json().get().contains("@therapist:localhost"));
    begin(0, &[&therapist, &nurse]).await;
    assert!(
        !client.ask(app).await.says_something(),
        "they type on: nothing new"
    );
    typing::end(app, &practice.rooms[0], &therapist, None)
        .await
        .unwrap();
    let answer = client.ask(app).await;
    let told = &answer.response.rooms.join[&practice.rooms[0]]
        .ephemeral
        .events;
    assert!(!told[0].json().get().contains("@therapist:localhost"));
}

#[tokio::test]
async fn who_was_put_out_learns_nothing_more_of_the_room_whatever_their_inbox_holds() {
    let practice = Practice::open().await;
    let app = &practice.server.app;
    let mut client = Client::new(MAX_ENTRIES, json!({ "room": { "include_leave": true } }));
    practice.act(0, Act::Kick).await;
    client.ask(app).await;
    practice.act(0, Act::Topic).await;
    let room = &practice.rooms[0];
    let unread = crate::inbox::Entry::AccountData(Some(room.clone()), "m.marked_unread".to_owned());
    app.store
        .transact(async |mut tx| {
            crate::inbox::deliver(&mut tx, &user("nurse"), unread.clone())?;
            Ok::<_, crate::error::Error>((tx, ()))
        })
        .await
        .unwrap();
    let tokens = Tokens::of(app, &client.me);
    let mut answerer = Answerer::new(app, &client.me, &tokens, &Request::new());
    answerer.full_state = true;
    let answer = answerer.since(&client.filter, client.since, &client.known);
    let answer = answer.await.unwrap();
    assert!(answer.response.rooms.is_empty());
}
