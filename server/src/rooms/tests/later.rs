//! Events that are sent later.

use http::Method;
use ruma::RoomId;
use serde_json::{Value, json};

use super::world::{Person, World, forbidden, not_found};
use crate::rooms::later::{self, DELAYED, DELAYED_DUE, DELAYED_IN, DELAYED_OF, MAX_WAITING};
use crate::store::Page;

const HOUR: u64 = 3_600_000;
const WAITING: &str = "/unstable/org.matrix.msc4140/delayed_events";

async fn later_says(person: &Person, room: &RoomId, text: &str, delay: u64) -> String {
    let path =
        format!("/v3/rooms/{room}/send/m.room.message/{text}?org.matrix.msc4140.delay={delay}");
    let answer = person
        .put(&path, json!({ "msgtype": "m.text", "body": text }))
        .await;
    answer["delay_id"].as_str().unwrap().to_owned()
}

async fn act(person: &Person, id: &str, action: &str) {
    person
        .post(&format!("{WAITING}/{id}"), json!({ "action": action }))
        .await;
}

async fn waiting(person: &Person) -> Vec<Value> {
    let answer = person.get(WAITING).await;
    assert_eq!(answer["delayed_events"], answer["scheduled"]);
    answer["scheduled"].as_array().unwrap().clone()
}

impl World {
    async fn after(&self, millis: u64) -> usize {
        self.later(millis);
        later::release_due(&self.app).await.unwrap()
    }

    /// Nothing is left of what waited.
    async fn nothing_waits(&self) -> bool {
        let store = &self.app.store;
        let page = Page::first(1);
        store.scan(&DELAYED, (), page).await.unwrap().is_empty()
            && store.scan(&DELAYED_DUE, (), page).await.unwrap().is_empty()
            && store.scan(&DELAYED_IN, (), page).await.unwrap().is_empty()
            && store.scan(&DELAYED_OF, (), page).await.unwrap().is_empty()
    }
}

#[tokio::test]
async fn a_message_is_sent_when_its_time_has_come_and_once() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room_with(&[&nurse], "11").await;
    let id = later_says(&nurse, &room, "morning", HOUR).await;
    assert_eq!(later_says(&nurse, &room, "morning", HOUR).await, id);
    let listed = waiting(&nurse).await;
    assert_eq!(
        listed,
        [json!({
            "delay_id": id, "room_id": room, "type": "m.room.message", "delay": HOUR,
            "running_since": world.app.clock.millis(),
            "content": { "msgtype": "m.text", "body": "morning" },
        })]
    );
    assert_eq!(waiting(&therapist).await.len(), 0);
    assert_eq!(world.after(HOUR - 1).await, 0);
    let (one, other) = tokio::join!(world.after(1), later::release_due(&world.app));
    assert!(one + other.unwrap() >= 1);
    assert_eq!(therapist.reads(&room).await, ["morning"]);
    assert!(world.nothing_waits().await);
    // A client that never heard the answer asks again.
    assert_eq!(later_says(&nurse, &room, "morning", HOUR).await, id);
    assert_eq!(world.after(2 * HOUR).await, 0);
}

#[tokio::test]
async fn what_waits_is_restarted_sent_at_once_or_cancelled() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room_with(&[&nurse], "11").await;
    let kept_alive = later_says(&nurse, &room, "gone", HOUR).await;
    world.later(HOUR - 1);
    act(&nurse, &kept_alive, "restart").await;
    assert_eq!(world.after(HOUR - 1).await, 0);
    assert_eq!(world.after(1).await, 1);
    let urgent = later_says(&nurse, &room, "now", HOUR).await;
    act(&nurse, &urgent, "send").await;
    let mistaken = later_says(&nurse, &room, "never", HOUR).await;
    act(&nurse, &mistaken, "cancel").await;
    assert!(world.nothing_waits().await);
    assert_eq!(world.after(HOUR).await, 0);
    assert_eq!(therapist.reads(&room).await, ["now", "gone"]);
    for (id, action) in [
        (&*urgent, "send"),
        (&*mistaken, "restart"),
        ("nothing", "cancel"),
    ] {
        let path = format!("{WAITING}/{id}");
        let refused = nurse.refused(Method::POST, &path, json!({ "action": action }));
        assert_eq!(refused.await, not_found());
    }
}

#[tokio::test]
async fn who_knows_an_id_may_act_without_logging_in_and_who_logs_in_only_on_their_own() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room_with(&[&nurse], "11").await;
    let id = later_says(&nurse, &room, "gone", HOUR).await;
    let path = format!("{WAITING}/{id}");
    let refused = therapist.refused(Method::POST, &path, json!({ "action": "cancel" }));
    assert_eq!(refused.await, not_found());
    let unknown = nurse.refused(Method::POST, &path, json!({ "action": "forget" }));
    assert_eq!(unknown.await, (400, "M_INVALID_PARAM".to_owned()));
    therapist.post(&format!("{path}/send"), json!({})).await;
    assert_eq!(therapist.reads(&room).await, ["gone"]);
    let path = format!("{path}/cancel");
    let refused = therapist.refused(Method::POST, &path, json!({}));
    assert_eq!(refused.await, not_found());
}

#[tokio::test]
async fn a_change_of_the_room_waits_until_somebody_else_makes_it() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room_with(&[&nurse], "11").await;
    let later_named = async |name: &str| {
        let path = format!("/v3/rooms/{room}/state/m.room.name/?org.matrix.msc4140.delay={HOUR}");
        therapist.put(&path, json!({ "name": name })).await["delay_id"].clone()
    };
    later_named("night").await;
    // One's own change leaves it waiting.
    therapist
        .set(&room, "m.room.name", json!({ "name": "day" }))
        .await;
    assert_eq!(world.after(HOUR).await, 1);
    let path = format!("/v3/rooms/{room}/state/m.room.name/");
    assert_eq!(nurse.get(&path).await["name"], "night");
    later_named("day").await;
    let mut levels = therapist
        .get(&format!("/v3/rooms/{room}/state/m.room.power_levels/"))
        .await;
    levels["users"][nurse.user.as_str()] = json!(100);
    therapist.set(&room, "m.room.power_levels", levels).await;
    nurse
        .set(&room, "m.room.name", json!({ "name": "shift" }))
        .await;
    assert!(world.nothing_waits().await);
}

#[tokio::test]
async fn who_may_not_send_it_any_more_has_it_dropped() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room_with(&[&nurse], "11").await;
    later_says(&nurse, &room, "late", HOUR).await;
    nurse.act(&room, "leave", json!({})).await;
    assert_eq!(world.after(HOUR).await, 1);
    assert!(world.nothing_waits().await);
    assert!(therapist.reads(&room).await.is_empty());
    let path = format!("/v3/rooms/{room}/send/m.room.message/x?org.matrix.msc4140.delay=1");
    let refused = nurse
        .refused(Method::PUT, &path, json!({ "body": "x" }))
        .await;
    assert_eq!(refused, forbidden());
}

#[tokio::test]
async fn delays_and_numbers_have_an_end() {
    let world = World::plain().await;
    let nurse = world.person("nurse").await;
    let room = nurse.room(json!({})).await;
    let path = |delay: &str| {
        format!("/v3/rooms/{room}/send/m.room.message/x?org.matrix.msc4140.delay={delay}")
    };
    for bad in ["0", "-1", "soon", ""] {
        let path = path(bad);
        let refused = nurse.refused(Method::PUT, &path, json!({ "body": "x" }));
        assert_eq!(refused.await, (400, "M_INVALID_PARAM".to_owned()), "{bad}");
    }
    let (status, body) = nurse
        .ask(Method::PUT, &path("999999999999"), json!({ "body": "x" }))
        .await;
    assert_eq!(status, 400);
    assert_eq!(body["org.matrix.msc4140.errcode"], "M_MAX_DELAY_EXCEEDED");
    assert!(body["org.matrix.msc4140.max_delay"].is_u64(), "{body}");
    for number in 0..MAX_WAITING {
        later_says(&nurse, &room, &format!("m{number}"), HOUR).await;
    }
    let one_more = path("5");
    let refused = nurse.refused(Method::PUT, &one_more, json!({ "body": "x" }));
    assert_eq!(refused.await, (400, "M_UNKNOWN".to_owned()));
    assert!(
        later::forget_sender(&world.app.store, &nurse.user, 60)
            .await
            .unwrap()
    );
    assert!(
        later::forget_room(&world.app.store, &room, 60)
            .await
            .unwrap()
    );
    assert!(
        !later::forget_room(&world.app.store, &room, 60)
            .await
            .unwrap()
    );
    assert!(world.nothing_waits().await);
}

#[tokio::test]
async fn words_do_not_wait_here_either() {
    let world = World::guarded().await;
    let nurse = world.person("nurse").await;
    let room = nurse.room(json!({})).await;
    let send = format!("/v3/rooms/{room}/send/m.room.message/x?org.matrix.msc4140.delay=5");
    let refused = nurse.refused(Method::PUT, &send, json!({ "body": "I cannot sleep" }));
    assert_eq!(refused.await, forbidden());
    let name = format!("/v3/rooms/{room}/state/m.room.name/?org.matrix.msc4140.delay=5");
    let refused = nurse.refused(Method::PUT, &name, json!({ "name": "Sleepless" }));
    assert_eq!(refused.await, forbidden());
    assert!(world.nothing_waits().await);
}
