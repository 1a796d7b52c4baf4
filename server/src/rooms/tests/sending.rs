use std::collections::BTreeSet;

use futures_util::future::join_all;
use http::Method;
use ruma::{CanonicalJsonObject, RoomId};
use serde_json::json;

use super::world::{World, forbidden, not_found};
use crate::{
    error::Error,
    rooms::{
        append::{NewEvent, append_in, send},
        timeline::MAX_EVENTS,
    },
    store::Tx,
};

#[tokio::test]
async fn what_is_sent_twice_with_one_transaction_id_is_said_once() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room_with(&[&nurse], "11").await;
    let before = world.timeline(&room).await.len();
    let first = nurse.say(&room, "once").await;
    assert_eq!(nurse.say(&room, "once").await, first);
    let again = join_all((0..8).map(|_| nurse.say(&room, "at the same time"))).await;
    assert_eq!(again.iter().collect::<BTreeSet<_>>().len(), 1);
    assert_ne!(therapist.say(&room, "once").await, first);
    assert_eq!(world.timeline(&room).await.len(), before + 3);
}

#[tokio::test]
async fn only_the_device_that_sent_a_message_is_told_its_transaction_id() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room_with(&[&nurse], "11").await;
    let event = nurse.say(&room, "hello").await;
    world.later(250);
    let path = format!("/v3/rooms/{room}/event/{event}");
    let own = nurse.get(&path).await;
    assert_eq!(own["unsigned"]["transaction_id"], "hello");
    assert_eq!(own["unsigned"]["age"], 250);
    let other = therapist.get(&path).await;
    assert!(other["unsigned"].get("transaction_id").is_none());
    assert_eq!(other["unsigned"]["membership"], "join");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_talk_at_once_and_everybody_hears_each_word_once() {
    const EACH: usize = 25;
    let world = World::plain().await;
    let therapist = world.person("therapist").await;
    let mut people = vec![];
    for name in ["nurse", "doctor", "paramedic"] {
        people.push(world.person(name).await);
    }
    let room = therapist
        .room_with(&people.iter().collect::<Vec<_>>(), "11")
        .await;
    people.push(therapist);
    let before = u64::try_from(world.timeline(&room).await.len()).unwrap();
    let talks = people.iter().enumerate().map(|(who, person)| {
        let room = &room;
        async move {
            for word in 0..EACH {
                person.say(room, &format!("{who} says {word}")).await;
            }
        }
    });
    join_all(talks).await;
    let timeline = world.timeline(&room).await;
    let positions: Vec<u64> = timeline.iter().map(|(position, _)| *position).collect();
    let all = before + u64::try_from(EACH * people.len()).unwrap();
    assert_eq!(positions, (1..=all).collect::<Vec<_>>());
    let ids: BTreeSet<_> = timeline.iter().map(|(_, event)| &event.event_id).collect();
    assert_eq!(ids.len(), timeline.len());
    for person in &people {
        let heard = world.inbox(person, &room).await;
        assert_eq!(
            heard
                .into_iter()
                .filter(|at| *at > before)
                .collect::<Vec<_>>(),
            (before + 1..=all).collect::<Vec<_>>()
        );
    }
    for (_, event) in &timeline[1..] {
        assert!(event.seal.prev_events.iter().all(|id| ids.contains(id)));
        assert_eq!(event.seal.prev_events.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_kicked_while_talking_says_nothing_after_it() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    for round in 0..10 {
        let room = therapist.room_with(&[&nurse], "11").await;
        let talking = async {
            for word in 0.. {
                let path = format!("/v3/rooms/{room}/send/m.room.message/{round}-{word}");
                let body = json!({ "msgtype": "m.text", "body": "…" });
                if !nurse.ask(Method::PUT, &path, body).await.0.is_success() {
                    break;
                }
            }
        };
        let kick = therapist.act(&room, "kick", json!({ "user_id": nurse.user }));
        tokio::join!(talking, kick);
        let timeline = world.timeline(&room).await;
        let last = timeline
            .iter()
            .rposition(|(_, event)| event.sender == nurse.user)
            .unwrap();
        let kicked = timeline.iter().position(|(_, event)| {
            event.target().as_ref() == Some(&nurse.user)
                && event.membership() == Some(ruma::events::room::member::MembershipState::Leave)
        });
        assert!(last < kicked.unwrap());
        assert_eq!(
            world.inbox(&nurse, &room).await.last().copied(),
            kicked.map(|at| at as u64 + 1)
        );
    }
}

#[tokio::test]
async fn power_levels_decide_who_may_change_what() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room_with(&[&nurse], "11").await;
    let rename = format!("/v3/rooms/{room}/state/m.room.name");
    assert_eq!(
        nurse
            .refused(Method::PUT, &rename, json!({ "name": "Mine" }))
            .await,
        forbidden()
    );
    let path = format!("/v3/rooms/{room}/state/m.room.power_levels");
    let mut powers = therapist.get(&path).await;
    powers["users"][nurse.user.as_str()] = json!(50);
    therapist.put(&path, powers.clone()).await;
    nurse.put(&rename, json!({ "name": "Mine" })).await;
    powers["users"][nurse.user.as_str()] = json!(100);
    assert_eq!(nurse.refused(Method::PUT, &path, powers).await, forbidden());
    let visibility = format!("/v3/rooms/{room}/state/m.room.history_visibility");
    let open = json!({ "history_visibility": "world_readable" });
    assert_eq!(
        nurse.refused(Method::PUT, &visibility, open).await,
        forbidden()
    );
}

#[tokio::test]
async fn a_member_is_a_user_of_this_server_by_todays_grammar() {
    let world = World::plain().await;
    let therapist = world.person("therapist").await;
    let room = therapist.room(json!({})).await;
    for words in ["I am sad", "@I am sad:localhost", "@sad:elsewhere.example"] {
        let content = serde_json::from_value(json!({ "membership": "invite" })).unwrap();
        let event = NewEvent::state("m.room.member", words, content);
        let sent = send(&world.app, &therapist.user, &room, event, None).await;
        assert!(sent.is_err(), "{words}");
    }
}

#[tokio::test]
async fn an_event_follows_the_newest_one_whoever_wrote_it() {
    let world = World::plain().await;
    let therapist = world.person("therapist").await;
    let room = therapist.room(json!({})).await;
    therapist.say(&room, "before").await;
    let (app, sender, id) = (&world.app, &therapist.user, &room);
    let prompt = app.store.transact(|mut tx: Tx| async move {
        let prompt = NewEvent::message("m.room.message", CanonicalJsonObject::new());
        let event = append_in(&mut tx, app, sender, id, prompt).await?;
        Ok::<_, Error>((tx, event))
    });
    let prompt = prompt.await.unwrap().value;
    therapist.say(&room, "after").await;
    let (_, after) = world.timeline(&room).await.pop().unwrap();
    assert_eq!(after.seal.prev_events, [prompt]);
}

#[tokio::test]
async fn a_page_has_an_end_whatever_is_asked_for_and_a_token_to_go_on() {
    let world = World::plain().await;
    let therapist = world.person("therapist").await;
    let room = therapist.room(json!({})).await;
    for word in 0..MAX_EVENTS {
        therapist.say(&room, &word.to_string()).await;
    }
    let path = format!("/v3/rooms/{room}/messages?dir=b&limit=1000");
    let page = therapist.get(&path).await;
    assert_eq!(page["chunk"].as_array().unwrap().len(), MAX_EVENTS);
    let from = page["end"].as_str().unwrap();
    let rest = therapist.get(&format!("{path}&from={from}")).await;
    let rest = rest["chunk"].as_array().unwrap().len();
    assert_eq!(rest + MAX_EVENTS, world.timeline(&room).await.len());
}

#[tokio::test]
async fn the_same_state_again_is_no_event() {
    let world = World::plain().await;
    let therapist = world.person("therapist").await;
    let room = therapist.room(json!({})).await;
    let first = therapist
        .set(&room, "m.room.topic", json!({ "topic": "sleep" }))
        .await;
    assert_eq!(
        therapist
            .set(&room, "m.room.topic", json!({ "topic": "sleep" }))
            .await,
        first
    );
    assert_ne!(
        therapist
            .set(&room, "m.room.topic", json!({ "topic": "work" }))
            .await,
        first
    );
    let path = format!("/v3/rooms/{room}/state/m.room.topic/?format=event");
    let topic = therapist.get(&path).await;
    assert_eq!(topic["unsigned"]["prev_content"]["topic"], "sleep");
    assert_eq!(topic["unsigned"]["replaces_state"], first);
}

#[tokio::test]
async fn an_event_has_a_size_and_numbers_have_an_end() {
    let world = World::plain().await;
    let therapist = world.person("therapist").await;
    let room = therapist.room(json!({})).await;
    let path = |n: u32| format!("/v3/rooms/{room}/send/m.room.message/{n}");
    let too_large = (413, "M_TOO_LARGE".to_owned());
    let long = |length: usize| json!({ "body": "x".repeat(length) });
    assert_eq!(
        therapist.refused(Method::PUT, &path(1), long(65_536)).await,
        too_large
    );
    therapist.put(&path(2), long(64_000)).await;
    let largest = |from: usize| {
        let therapist = &therapist;
        let path = &path;
        async move {
            let mut length = from;
            while therapist
                .ask(
                    Method::PUT,
                    &path(u32::try_from(length).unwrap()),
                    long(length),
                )
                .await
                .0
                .is_success()
            {
                length += 1;
            }
            length - 1
        }
    };
    let length = largest(64_900).await;
    let timeline = world.timeline(&room).await;
    let (_, event) = timeline
        .iter()
        .rfind(|(_, event)| event.content.len() >= length)
        .unwrap();
    let pdu = event.pdu(&World::rules("11")).unwrap();
    assert_eq!(serde_json::to_string(&pdu).unwrap().len(), 65_536);

    let bad_json = (400, "M_BAD_JSON".to_owned());
    for content in [
        json!({ "a": 1.5 }),
        json!({ "a": 9_007_199_254_740_992_u64 }),
        json!({ "a": [{ "b": -9_007_199_254_740_993_i64 }] }),
    ] {
        assert_eq!(
            therapist.refused(Method::PUT, &path(3), content).await,
            bad_json
        );
    }
    let kind = "x".repeat(256);
    let path = format!("/v3/rooms/{room}/send/{kind}/4");
    assert_eq!(
        therapist.refused(Method::PUT, &path, json!({})).await,
        too_large
    );
}

#[tokio::test]
async fn a_stranger_gets_the_same_answer_as_for_a_room_that_does_not_exist() {
    let world = World::plain().await;
    let (therapist, stranger) = (
        world.person("therapist").await,
        world.person("stranger").await,
    );
    let room = therapist.room(json!({})).await;
    let event = therapist.say(&room, "private").await;
    let nowhere = <&RoomId>::try_from("!nowhere:localhost").unwrap();
    for kind in ["m.room.message", "m.room.create", "m.room.redaction"] {
        for room in [&*room, nowhere] {
            let path = format!("/v3/rooms/{room}/send/{kind}/1");
            let body = json!({ "msgtype": "m.text", "body": "hello", "redacts": event });
            let (status, body) = stranger.ask(Method::PUT, &path, body).await;
            assert_eq!(status, 403, "{kind}");
            if kind != "m.room.create" {
                assert_eq!(
                    body["error"],
                    "You are not in this room, or it does not exist."
                );
            }
        }
    }
    for what in [
        "state",
        "state/m.room.create/",
        "members",
        "joined_members",
        "messages?dir=b",
        &format!("context/{event}"),
    ] {
        assert_eq!(
            stranger.refused_read(&room, what).await,
            stranger.refused_read(nowhere, what).await
        );
        assert_eq!(stranger.refused_read(&room, what).await, forbidden());
    }
    for room in [&*room, nowhere] {
        let what = format!("event/{event}");
        assert_eq!(stranger.refused_read(room, &what).await, not_found());
    }
    let other = stranger.room(json!({})).await;
    assert_eq!(
        stranger
            .refused_read(&other, &format!("event/{event}"))
            .await,
        not_found()
    );
    assert_eq!(
        stranger
            .refused_read(&other, &format!("context/{event}"))
            .await,
        not_found()
    );
}

#[tokio::test]
async fn nobody_founds_a_room_a_second_time() {
    let world = World::plain().await;
    let (therapist, stranger) = (
        world.person("therapist").await,
        world.person("stranger").await,
    );
    let room = therapist.room(json!({})).await;
    for sender in [&therapist, &stranger] {
        for event in [
            NewEvent::message("m.room.create", Default::default()),
            NewEvent::state("m.room.create", "", Default::default()),
            NewEvent::state("m.room.create", "x", Default::default()),
        ] {
            assert!(
                send(&world.app, &sender.user, &room, event, None)
                    .await
                    .is_err()
            );
        }
    }
}
