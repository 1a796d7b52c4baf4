use ruma::RoomId;
use serde_json::{Value, json};

use super::world::{Person, World, forbidden, not_found};

async fn visible_from(therapist: &Person, visibility: &str) -> ruma::OwnedRoomId {
    let state = json!({
        "type": "m.room.history_visibility", "state_key": "",
        "content": { "history_visibility": visibility },
    });
    therapist.room(json!({ "initial_state": [state] })).await
}

/// What somebody reads who is invited after "one", joins after "two", leaves after "three".
async fn read_by_a_passer_by(world: &World, visibility: &str) -> (Vec<String>, Vec<String>) {
    let therapist = world.person("therapist").await;
    let nurse = world.person("nurse").await;
    let room = visible_from(&therapist, visibility).await;
    therapist.say(&room, "one").await;
    therapist
        .act(&room, "invite", json!({ "user_id": nurse.user }))
        .await;
    therapist.say(&room, "two").await;
    nurse.act(&room, "join", json!({})).await;
    therapist.say(&room, "three").await;
    let inside = nurse.reads(&room).await;
    nurse.act(&room, "leave", json!({})).await;
    therapist.say(&room, "four").await;
    (inside, nurse.reads(&room).await)
}

#[tokio::test]
async fn history_visibility_decides_what_was_said_for_whom() {
    for (visibility, inside, outside) in [
        (
            "shared",
            &["three", "two", "one"][..],
            &["three", "two", "one"][..],
        ),
        ("joined", &["three"], &["three"]),
        ("invited", &["three", "two"], &["three", "two"]),
        (
            "world_readable",
            &["three", "two", "one"],
            &["four", "three", "two", "one"],
        ),
    ] {
        let world = World::plain().await;
        let read = read_by_a_passer_by(&world, visibility).await;
        assert_eq!(read.0, inside, "{visibility}, in the room");
        assert_eq!(read.1, outside, "{visibility}, after leaving");
    }
}

#[tokio::test]
async fn what_was_said_under_a_stricter_rule_stays_hidden_when_the_rule_is_relaxed() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let stranger = world.person("stranger").await;
    let room = visible_from(&therapist, "joined").await;
    let secret = therapist.say(&room, "secret").await;
    therapist
        .set(
            &room,
            "m.room.history_visibility",
            json!({ "history_visibility": "shared" }),
        )
        .await;
    let open = therapist.say(&room, "open").await;
    therapist
        .act(&room, "invite", json!({ "user_id": nurse.user }))
        .await;
    nurse.act(&room, "join", json!({})).await;
    assert_eq!(nurse.reads(&room).await, ["open"]);
    assert_eq!(
        nurse.refused_read(&room, &format!("event/{secret}")).await,
        not_found()
    );
    assert_eq!(
        nurse
            .refused_read(&room, &format!("context/{secret}"))
            .await,
        not_found()
    );
    assert_eq!(
        nurse
            .refused(
                http::Method::GET,
                &format!("/v1/rooms/{room}/relations/{secret}"),
                Value::Null
            )
            .await,
        not_found()
    );
    let context = nurse
        .get(&format!("/v3/rooms/{room}/context/{open}?limit=50"))
        .await;
    assert!(!context.to_string().contains("secret"));
    let forwards = nurse
        .get(&format!("/v3/rooms/{room}/messages?dir=f&limit=50"))
        .await;
    assert!(!forwards.to_string().contains("secret"));

    assert_eq!(
        stranger.refused_read(&room, "messages?dir=b").await,
        forbidden()
    );
    let all = json!({ "history_visibility": "world_readable" });
    therapist.set(&room, "m.room.history_visibility", all).await;
    therapist.say(&room, "for everybody").await;
    assert_eq!(stranger.reads(&room).await, ["for everybody"]);
    assert_eq!(
        stranger.refused_read(&room, &format!("event/{open}")).await,
        not_found()
    );
}

#[tokio::test]
async fn whoever_has_left_sees_the_room_as_they_left_it() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room_with(&[&nurse], "11").await;
    therapist
        .set(&room, "m.room.name", json!({ "name": "then" }))
        .await;
    nurse.act(&room, "leave", json!({})).await;
    therapist
        .set(&room, "m.room.name", json!({ "name": "now" }))
        .await;
    let path = format!("/v3/rooms/{room}/state/m.room.name/");
    assert_eq!(nurse.get(&path).await["name"], "then");
    assert_eq!(therapist.get(&path).await["name"], "now");
    let member = |events: Value| {
        let mut names = events.as_array().unwrap().iter();
        names.find(|event| event["type"] == "m.room.name").unwrap()["content"]["name"].clone()
    };
    assert_eq!(
        member(nurse.get(&format!("/v3/rooms/{room}/state")).await),
        "then"
    );
    assert_eq!(
        nurse.refused_read(&room, "joined_members").await,
        forbidden()
    );
    nurse.act(&room, "forget", json!({})).await;
    assert_eq!(nurse.refused_read(&room, "state").await, forbidden());
    assert_eq!(
        nurse.refused_read(&room, "messages?dir=b").await,
        forbidden()
    );
}

#[tokio::test]
async fn members_are_known_for_every_moment() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room(json!({})).await;
    let alone = world.timeline(&room).await.len();
    therapist
        .act(&room, "invite", json!({ "user_id": nurse.user }))
        .await;
    nurse.act(&room, "join", json!({})).await;
    let members = |query: String| {
        let path = format!("/v3/rooms/{room}/members?{query}");
        let therapist = &therapist;
        async move {
            therapist.get(&path).await["chunk"]
                .as_array()
                .unwrap()
                .len()
        }
    };
    assert_eq!(members(String::new()).await, 2);
    assert_eq!(members(format!("at=t{alone}")).await, 1);
    assert_eq!(
        members(format!("at=t{}&membership=invite", alone + 1)).await,
        1
    );
    assert_eq!(members("not_membership=join".to_owned()).await, 0);
    let bad = therapist.refused_read(&room, "members?at=nonsense").await;
    assert_eq!(bad, (400, "M_INVALID_PARAM".to_owned()));
}

async fn pages(person: &Person, room: &RoomId, direction: &str, filter: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut from = String::new();
    loop {
        let path = format!("/v3/rooms/{room}/messages?dir={direction}&limit=4{filter}{from}");
        let page = person.get(&path).await;
        let chunk = page["chunk"].as_array().unwrap().iter();
        pages.push(
            chunk
                .map(|event| event["event_id"].as_str().unwrap().to_owned())
                .collect(),
        );
        match page["end"].as_str() {
            Some(end) => from = format!("&from={end}"),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn history_is_read_page_by_page_without_a_gap_in_both_directions() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room_with(&[&nurse], "11").await;
    for word in 0..9 {
        let speaker = if word % 3 == 0 { &nurse } else { &therapist };
        speaker.say(&room, &format!("word {word}")).await;
    }
    let timeline = world.timeline(&room).await;
    let mut all: Vec<String> = timeline
        .iter()
        .map(|(_, event)| event.event_id.to_string())
        .collect();
    assert_eq!(pages(&nurse, &room, "f", "").await.concat(), all);
    all.reverse();
    assert_eq!(pages(&nurse, &room, "b", "").await.concat(), all);
    let filter = format!(
        "&filter={}",
        json!({ "types": ["m.room.m*"], "not_types": ["m.room.member"], "senders": [nurse.user] })
            .to_string()
            .replace('"', "%22")
            .replace('{', "%7B")
            .replace('}', "%7D")
    );
    assert_eq!(
        pages(&therapist, &room, "b", &filter).await.concat().len(),
        3
    );
    let lazy = "messages?dir=b&limit=3&filter=%7B%22lazy_load_members%22:true%7D";
    let page = therapist.get(&format!("/v3/rooms/{room}/{lazy}")).await;
    let members = page["state"].as_array().unwrap();
    assert!(members.iter().all(|event| event["type"] == "m.room.member"));
    assert_eq!(members.len(), 2);
    let to = therapist
        .get(&format!("/v3/rooms/{room}/messages?dir=b&limit=50&to=t12"))
        .await;
    assert_eq!(to["chunk"].as_array().unwrap().len(), timeline.len() - 12);
}

#[tokio::test]
async fn an_event_is_shown_among_its_neighbours() {
    let world = World::plain().await;
    let therapist = world.person("therapist").await;
    let room = therapist.room(json!({})).await;
    let mut said = vec![];
    for word in 0..7 {
        said.push(therapist.say(&room, &format!("word {word}")).await);
    }
    let context = therapist
        .get(&format!("/v3/rooms/{room}/context/{}?limit=4", said[3]))
        .await;
    let ids = |key: &str| {
        let events = context[key].as_array().unwrap().iter();
        events
            .map(|event| event["event_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("events_before"), [said[2].clone(), said[1].clone()]);
    assert_eq!(ids("events_after"), [said[4].clone(), said[5].clone()]);
    assert_eq!(context["event"]["event_id"], said[3]);
    assert!(!ids("state").is_empty());
    let (start, end) = (
        context["start"].as_str().unwrap(),
        context["end"].as_str().unwrap(),
    );
    let before = therapist
        .get(&format!(
            "/v3/rooms/{room}/messages?dir=b&from={start}&limit=1"
        ))
        .await;
    assert_eq!(before["chunk"][0]["event_id"], said[0]);
    let after = therapist
        .get(&format!(
            "/v3/rooms/{room}/messages?dir=f&from={end}&limit=5"
        ))
        .await;
    assert_eq!(after["chunk"][0]["event_id"], said[6]);
}

#[tokio::test]
async fn what_refers_to_an_event_is_found() {
    let world = World::plain().await;
    let therapist = world.person("therapist").await;
    let room = therapist.room(json!({})).await;
    let root = therapist.say(&room, "root").await;
    let mut replies = vec![];
    for n in 0..3 {
        let path = format!("/v3/rooms/{room}/send/m.room.message/thread-{n}");
        let relates_to = json!({ "rel_type": "m.thread", "event_id": root });
        let body = json!({ "msgtype": "m.text", "body": "reply", "m.relates_to": relates_to });
        replies.push(
            therapist.put(&path, body).await["event_id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let path = |rest: &str| format!("/v1/rooms/{room}/relations/{root}{rest}");
    let ids = |found: &Value| {
        let chunk = found["chunk"].as_array().unwrap().iter();
        chunk
            .map(|event| event["event_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let first = therapist.get(&path("/m.thread?limit=2")).await;
    assert_eq!(ids(&first), [replies[2].clone(), replies[1].clone()]);
    let next = first["next_batch"].as_str().unwrap();
    let second = therapist
        .get(&path(&format!("/m.thread?limit=2&from={next}")))
        .await;
    assert_eq!(ids(&second), [replies[0].clone()]);
    assert!(second.get("next_batch").is_none());
    assert_eq!(ids(&therapist.get(&path("?dir=f")).await), replies);
    assert!(ids(&therapist.get(&path("/m.reference")).await).is_empty());
    assert_eq!(
        ids(&therapist.get(&path("/m.thread/m.room.message")).await).len(),
        3
    );
    therapist
        .put(
            &format!("/v3/rooms/{room}/redact/{}/1", replies[0]),
            json!({}),
        )
        .await;
    assert_eq!(ids(&therapist.get(&path("")).await).len(), 2);
}

#[tokio::test]
async fn a_newcomer_does_not_learn_who_was_there_before_what_they_may_read() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let before = world.person("before").await;
    let room = visible_from(&therapist, "joined").await;
    for person in [&before, &nurse] {
        let who = json!({ "user_id": person.user });
        therapist.act(&room, "invite", who).await;
        person.act(&room, "join", json!({})).await;
        if person.user == before.user {
            person.act(&room, "leave", json!({})).await;
        }
    }
    let path = |at| format!("/v3/rooms/{room}/members?membership=join&at=t{at}");
    for at in 0..20 {
        let members = nurse.get(&path(at)).await.to_string();
        assert!(!members.contains(before.user.as_str()), "at {at}");
    }
}
