use http::Method;
use serde_json::{Value, json};

use super::world::{World, forbidden, not_found};
use crate::rooms::state;

#[tokio::test]
async fn what_is_redacted_is_gone_from_the_store() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    for version in ["10", "11", "12"] {
        let room = therapist.room_with(&[&nurse], version).await;
        let said = nurse.say(&room, "a slip of the tongue").await;
        let redaction = therapist
            .put(&format!("/v3/rooms/{room}/redact/{said}/1"), json!({}))
            .await;
        let event = nurse.get(&format!("/v3/rooms/{room}/event/{said}")).await;
        assert_eq!(event["content"], json!({}));
        let because = &event["unsigned"]["redacted_because"];
        assert_eq!(because["event_id"], redaction["event_id"]);
        assert_eq!(
            (&because["redacts"], &because["content"]["redacts"]),
            (&json!(said), &json!(said))
        );
        for (_, event) in world.timeline(&room).await {
            assert!(!format!("{event:?}").contains("slip of the tongue"));
        }
        let again = nurse
            .put(&format!("/v3/rooms/{room}/redact/{said}/2"), json!({}))
            .await;
        let event = nurse.get(&format!("/v3/rooms/{room}/event/{said}")).await;
        assert_ne!(
            event["unsigned"]["redacted_because"]["event_id"],
            again["event_id"]
        );
    }
}

#[tokio::test]
async fn others_words_are_redacted_by_those_who_have_the_power() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room_with(&[&nurse], "11").await;
    let said = therapist.say(&room, "see you").await;
    let path = |id: &str| format!("/v3/rooms/{room}/redact/{id}/x");
    assert_eq!(
        nurse.refused(Method::PUT, &path(&said), json!({})).await,
        forbidden()
    );
    assert_eq!(
        nurse
            .refused(Method::PUT, &path("$nothing"), json!({}))
            .await,
        not_found()
    );
    let elsewhere = nurse.room(json!({})).await;
    let other = nurse.say(&elsewhere, "hello").await;
    assert_eq!(
        nurse.refused(Method::PUT, &path(&other), json!({})).await,
        not_found()
    );
    let sent = format!("/v3/rooms/{room}/send/m.room.redaction/y");
    assert_eq!(
        nurse
            .refused(Method::PUT, &sent, json!({ "redacts": said }))
            .await,
        forbidden()
    );
    therapist.put(&sent, json!({ "redacts": said })).await;
    assert_eq!(
        nurse.get(&format!("/v3/rooms/{room}/event/{said}")).await["content"],
        json!({})
    );
}

#[tokio::test]
async fn redacted_state_is_gone_from_what_came_after_it_too() {
    let world = World::plain().await;
    let therapist = world.person("therapist").await;
    let room = therapist.room(json!({})).await;
    let first = therapist
        .set(&room, "m.room.topic", json!({ "topic": "canary" }))
        .await;
    therapist
        .set(&room, "m.room.topic", json!({ "topic": "harmless" }))
        .await;
    therapist
        .put(&format!("/v3/rooms/{room}/redact/{first}/1"), json!({}))
        .await;
    for (_, event) in world.timeline(&room).await {
        assert!(!format!("{event:?}").contains("canary"));
    }
    let path = format!("/v3/rooms/{room}/state/m.room.topic/");
    assert_eq!(therapist.get(&path).await["topic"], "harmless");
    let now = therapist
        .set(&room, "m.room.topic", json!({ "topic": "second canary" }))
        .await;
    therapist
        .put(&format!("/v3/rooms/{room}/redact/{now}/2"), json!({}))
        .await;
    assert_eq!(therapist.get(&path).await, json!({}));
    let state = state::current(&world.app, &room).await.unwrap().unwrap();
    assert_eq!(state.get("m.room.topic", "").unwrap().event().content, "{}");
}

#[tokio::test]
async fn a_rooms_foundations_cannot_be_redacted() {
    let world = World::guarded().await;
    let therapist = world.person("therapist").await;
    for version in ["10", "11", "12"] {
        let room = therapist.room(json!({ "room_version": version })).await;
        for kind in ["m.room.create", "m.room.encryption"] {
            let path = format!("/v3/rooms/{room}/state/{kind}/?format=event");
            let event: Value = therapist.get(&path).await;
            let id = event["event_id"].as_str().unwrap();
            let path = format!("/v3/rooms/{room}/redact/{id}/{kind}");
            assert_eq!(
                therapist.refused(Method::PUT, &path, json!({})).await,
                forbidden()
            );
        }
    }
}
