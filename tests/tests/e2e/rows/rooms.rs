//! The rows about rooms: what is said in them, who is in them, how they are found.

use anyhow::Result;
use respite_tests::raw::{in_query, megolm};
use serde_json::{Value, json};

use super::{row::Row, world::World};

/// What is said and read in a room.
pub(super) fn within(world: &World) -> Result<Vec<Row>> {
    let World {
        nurse, room, event, ..
    } = world;
    let me = &nurse.user;
    let at = |rest: &str| format!("v3/rooms/{room}/{rest}");
    let newer = |rest: &str| format!("v1/rooms/{room}/{rest}");
    let say = |txn: &str| -> Result<Row> {
        let path = at(&format!("send/m.room.encrypted/{txn}"));
        Ok(Row::put(nurse, path, megolm(room, "x")?))
    };
    Ok(vec![
        say("r1")?,
        Row::get(nurse, at(&format!("event/{event}"))),
        Row::get(nurse, at(&format!("context/{event}"))),
        Row::get(nurse, at("messages?dir=b")),
        Row::get(nurse, newer(&format!("relations/{event}"))),
        Row::get(nurse, newer(&format!("relations/{event}/m.thread"))),
        Row::get(
            nurse,
            newer(&format!("relations/{event}/m.thread/m.room.encrypted")),
        ),
        Row::get(nurse, newer("threads")),
        Row::get(nurse, newer("timestamp_to_event?ts=1&dir=f")),
        Row::get(nurse, newer("hierarchy")),
        Row::put(
            nurse,
            at("state/m.room.history_visibility/"),
            json!({ "history_visibility": "joined" }),
        ),
        Row::get(nurse, at("state/m.room.history_visibility/")),
        Row::get(nurse, at("state")),
        Row::get(nurse, at("members")),
        Row::get(nurse, at("joined_members")),
        Row::put(
            nurse,
            at(&format!("typing/{me}")),
            json!({ "typing": true, "timeout": 1000 }),
        ),
        Row::post(nurse, at(&format!("receipt/m.read/{event}")), json!({})),
        Row::post(nurse, at("read_markers"), json!({ "m.fully_read": event })),
        Row::post(nurse, at("report"), json!({ "reason": "x" })),
        Row::post(
            &world.doctor,
            at(&format!("report/{event}")),
            json!({ "reason": "x" }),
        ),
        Row::put(nurse, at(&format!("redact/{event}/r2")), json!({})),
    ])
}

/// Who comes and goes.
pub(super) fn members(world: &World) -> Vec<Row> {
    let World {
        nurse,
        paramedic,
        porter,
        room,
        open,
        another,
        closed,
        left,
        ..
    } = world;
    let at = |rest: &str| format!("v3/rooms/{room}/{rest}");
    let who = |user: &str| json!({ "user_id": user });
    vec![
        Row::post(nurse, "v3/createRoom", json!({})),
        Row::post(nurse, at("invite"), who(&paramedic.user)),
        Row::post(paramedic, at("join"), json!({})),
        Row::post(nurse, at("kick"), who(&porter.user)),
        Row::post(nurse, at("ban"), who(&porter.user)),
        Row::post(nurse, at("unban"), who(&porter.user)),
        Row::post(nurse, format!("v3/rooms/{open}/join"), json!({})),
        Row::post(nurse, format!("v3/join/{another}"), json!({})),
        Row::post(nurse, format!("v3/knock/{closed}"), json!({})),
        Row::post(nurse, format!("v3/rooms/{open}/leave"), json!({})),
        Row::post(nurse, format!("v3/rooms/{left}/forget"), json!({})),
    ]
}

/// How rooms are found, and where they go on.
pub(super) fn directory(world: &World) -> Vec<Row> {
    let World { nurse, room, .. } = world;
    let alias = format!("v3/directory/room/{}", in_query("#room-12:localhost"));
    let listed = format!("v3/directory/list/room/{room}");
    vec![
        Row::put(nurse, &alias, json!({ "room_id": room })),
        Row::get(nurse, &alias).by_anybody(),
        Row::get(nurse, format!("v3/rooms/{room}/aliases")),
        Row::put(nurse, &listed, json!({ "visibility": "public" })),
        Row::get(nurse, &listed).by_anybody(),
        Row::get(nurse, "v3/publicRooms").by_anybody(),
        Row::post(nurse, "v3/publicRooms", json!({})),
        Row::get(nurse, format!("v1/room_summary/{room}")),
        Row::delete(nurse, &alias),
        Row::post(
            nurse,
            format!("v3/rooms/{room}/upgrade"),
            json!({ "new_version": "12" }),
        ),
    ]
}

/// A body in which the room's id and the event's are others.
pub(super) fn about(text: &str, world: &World, room: &str, event: &str) -> String {
    text.replace(&world.room, room).replace(&world.event, event)
}

/// The same for JSON.
pub(super) fn body_about(body: &Value, world: &World, room: &str, event: &str) -> Vec<u8> {
    about(&body.to_string(), world, room, event).into_bytes()
}
