//! Sliding sync: the rooms that a client has on its screen, and what is new in them.

mod extensions;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use respite_tests::{
    practice::Practice,
    raw::{self, Answer, Raw, in_query, text_at},
};
use serde_json::{Value, json};

use super::{ids, kinds, of_kind, together, two};

const PATH: &str = "unstable/org.matrix.simplified_msc3575/sync";

async fn asks(who: &Raw, pos: Option<&str>, timeout: u32, body: Value) -> Result<Answer> {
    let pos = pos.map(|pos| format!("&pos={}", in_query(pos)));
    let path = format!("{PATH}?timeout={timeout}{}", pos.unwrap_or_default());
    who.post(&path, body).await
}

/// What somebody is told at once.
async fn hears(who: &Raw, pos: Option<&str>, body: &Value) -> Result<Value> {
    asks(who, pos, 0, body.clone()).await?.ok()
}

/// All rooms.
fn all(limit: u32) -> Value {
    json!({ "lists": { "all": {
        "ranges": [[0, 99]], "timeline_limit": limit,
        "required_state": [["m.room.create", ""], ["m.room.member", "$ME"], ["m.room.member", "$LAZY"]],
    } } })
}

/// What is on while `act` happens.
async fn woken<T>(
    who: &Raw,
    pos: &str,
    body: &Value,
    act: impl Future<Output = Result<T>>,
) -> Result<Value> {
    let waits = asks(who, Some(pos), 50_000, body.clone());
    let acts = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        act.await
    };
    let (told, acted) = tokio::join!(tokio::time::timeout(Duration::from_secs(30), waits), acts);
    acted?;
    told.context("nobody was woken")??.ok()
}

fn is_nothing(told: &Value) -> bool {
    told["rooms"]
        .as_object()
        .is_some_and(serde_json::Map::is_empty)
}

#[tokio::test]
async fn it_is_announced() -> Result<()> {
    let practice = Practice::open().await?;
    let versions = Raw::nobody(practice.url())?.get("versions").await?.ok()?;
    ensure!(
        versions["unstable_features"]["org.matrix.simplified_msc3575"] == true,
        "{versions}"
    );
    Raw::nobody(practice.url())?
        .post(PATH, json!({}))
        .await?
        .refused(401, "M_MISSING_TOKEN")?;
    Ok(())
}

#[tokio::test]
async fn the_rooms_on_the_screen_come_first_and_then_what_is_new() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let mut rooms = vec![room];
    for _ in 0..3 {
        let room = nurse
            .makes_a_room(json!({ "invite": [doctor.user] }))
            .await?;
        doctor.joins(&room).await?;
        rooms.push(room);
    }
    let top = nurse.says(&rooms[1], "x").await?;
    let mut body = all(1);
    body["lists"]["all"]["ranges"] = json!([[0, 1]]);
    body["txn_id"] = json!("t1");
    let told = hears(&doctor, None, &body).await?;
    ensure!(
        told["lists"]["all"]["count"] == 4 && told["txn_id"] == "t1",
        "{told}"
    );
    let on_screen = told["rooms"].as_object().context("no rooms")?;
    ensure!(on_screen.len() == 2, "{told}");
    let first = &told["rooms"][&rooms[1]];
    ensure!(
        first["initial"] == true && ids(&first["timeline"]) == [top],
        "{first}"
    );
    ensure!(
        first["limited"] == true && first["num_live"] == 0,
        "{first}"
    );
    ensure!(
        first["joined_count"] == 2 && first["invited_count"] == 0,
        "{first}"
    );
    ensure!(
        first["heroes"][0]["user_id"] == nurse.user.as_str(),
        "{first}"
    );
    ensure!(first["notification_count"] == 1, "{first}");
    let state = kinds(&first["required_state"]);
    ensure!(
        state == ["m.room.create", "m.room.member", "m.room.member"],
        "{first}"
    );
    let before = text_at(first, "prev_batch")?;
    let path = format!("v3/rooms/{}/messages?dir=b&from={before}", rooms[1]);
    ensure!(!ids(&doctor.get(&path).await?.ok()?["chunk"]).is_empty());

    // Scrolling down brings the rest, and nothing again.
    body["lists"]["all"]["ranges"] = json!([[0, 9]]);
    let pos = text_at(&told, "pos")?;
    let more = hears(&doctor, Some(&pos), &body).await?;
    ensure!(
        more["rooms"]
            .as_object()
            .is_some_and(|rooms| rooms.len() == 2),
        "{more}"
    );
    ensure!(more["rooms"][&rooms[1]].is_null(), "{more}");

    let pos = text_at(&more, "pos")?;
    let news = woken(&doctor, &pos, &body, nurse.says(&rooms[3], "y")).await?;
    let told = &news["rooms"][&rooms[3]];
    ensure!(told["initial"].is_null() && told["num_live"] == 1, "{news}");
    let pos = text_at(&news, "pos")?;
    let quiet = asks(&doctor, Some(&pos), 200, body.clone()).await?.ok()?;
    ensure!(
        is_nothing(&quiet) && quiet["lists"]["all"]["count"] == 4,
        "{quiet}"
    );
    Ok(())
}

#[tokio::test]
async fn an_opened_room_shows_more_of_what_was_said() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let mut said = Vec::new();
    for _ in 0..6 {
        said.push(nurse.says(&room, "x").await?);
    }
    let mut body = all(1);
    let told = hears(&doctor, None, &body).await?;
    ensure!(
        ids(&told["rooms"][&room]["timeline"]) == said[5..],
        "{told}"
    );
    body["room_subscriptions"] = json!({
        room.as_str(): { "timeline_limit": 5, "required_state": [["m.room.power_levels", ""]] },
        "!elsewhere:localhost": { "timeline_limit": 5, "required_state": [] },
    });
    let opened = hears(&doctor, Some(&text_at(&told, "pos")?), &body).await?;
    let told = &opened["rooms"][&room];
    ensure!(
        told["unstable_expanded_timeline"] == true && told["num_live"] == 0,
        "{told}"
    );
    ensure!(ids(&told["timeline"]) == said[1..], "{told}");
    ensure!(
        kinds(&told["required_state"]) == ["m.room.power_levels"],
        "{told}"
    );
    ensure!(
        opened["rooms"]
            .as_object()
            .is_some_and(|rooms| rooms.len() == 1),
        "{opened}"
    );
    Ok(())
}

#[tokio::test]
async fn an_invitation_a_knock_and_a_departure_are_told() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let told = hears(&doctor, None, &all(5)).await?;
    let pos = text_at(&told, "pos")?;
    let body = all(5);
    let room = nurse.makes_a_room(json!({})).await?;
    let invite = json!({ "user_id": doctor.user });
    let path = format!("v3/rooms/{room}/invite");
    let told = woken(&doctor, &pos, &body, nurse.post(&path, invite)).await?;
    let invited = &told["rooms"][&room];
    of_kind(&invited["invite_state"], "m.room.create")?;
    ensure!(
        invited["timeline"].is_null() && invited["membership"] == "invite",
        "{invited}"
    );
    ensure!(told["lists"]["all"]["count"] == 1, "{told}");
    doctor.joins(&room).await?;
    let told = hears(&doctor, Some(&text_at(&told, "pos")?), &body).await?;
    ensure!(told["rooms"][&room]["initial"] == true, "{told}");
    doctor
        .post(&format!("v3/rooms/{room}/leave"), json!({}))
        .await?
        .ok()?;
    let told = hears(&doctor, Some(&text_at(&told, "pos")?), &body).await?;
    let own = of_kind(&told["rooms"][&room]["required_state"], "m.room.member")?;
    ensure!(own["content"]["membership"] == "leave", "{told}");
    ensure!(told["lists"]["all"]["count"] == 0, "{told}");

    let open = nurse
        .makes_a_room(json!({ "initial_state": [
            { "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } },
        ] }))
        .await?;
    doctor
        .post(&format!("v3/knock/{open}"), json!({}))
        .await?
        .ok()?;
    let told = hears(&doctor, Some(&text_at(&told, "pos")?), &body).await?;
    of_kind(&told["rooms"][&open]["knock_state"], "m.room.member")?;
    Ok(())
}

#[tokio::test]
async fn an_answer_that_was_lost_comes_again_and_a_position_that_is_gone_is_said_to_be()
-> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let body = all(5);
    let told = hears(&doctor, None, &body).await?;
    let pos = text_at(&told, "pos")?;
    let event = nurse.says(&room, "x").await?;
    for _ in 0..3 {
        let again = hears(&doctor, Some(&pos), &body).await?;
        ensure!(
            ids(&again["rooms"][&room]["timeline"]) == [event.clone()],
            "{again}"
        );
    }
    let anew = hears(&doctor, None, &body).await?;
    ensure!(anew["rooms"][&room]["initial"] == true, "{anew}");
    let next = hears(&doctor, Some(&text_at(&anew, "pos")?), &body).await?;
    ensure!(is_nothing(&next), "{next}");
    for gone in [pos.as_str(), "1", "s1_1_1_0123456789abcdef", "%"] {
        asks(&doctor, Some(gone), 0, body.clone())
            .await?
            .refused(400, "M_UNKNOWN_POS")?;
    }
    asks(&nurse, Some(&text_at(&next, "pos")?), 0, body)
        .await?
        .refused(400, "M_UNKNOWN_POS")?;
    Ok(())
}

#[tokio::test]
async fn connections_of_one_device_do_not_know_of_each_other() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let named = |name: &str| {
        let mut body = all(5);
        body["conn_id"] = json!(name);
        body
    };
    let (list, side) = (named("room-list"), named("side"));
    let first = hears(&doctor, None, &list).await?;
    let second = hears(&doctor, None, &side).await?;
    ensure!(second["rooms"][&room]["initial"] == true, "{second}");
    let event = nurse.says(&room, "x").await?;
    for (told, body) in [(&first, &list), (&second, &side)] {
        let news = hears(&doctor, Some(&text_at(told, "pos")?), body).await?;
        ensure!(
            ids(&news["rooms"][&room]["timeline"]) == [event.clone()],
            "{news}"
        );
    }
    asks(&doctor, Some(&text_at(&first, "pos")?), 0, side)
        .await?
        .refused(400, "M_UNKNOWN_POS")?;
    Ok(())
}

#[tokio::test]
async fn what_refers_to_a_message_is_shown_with_it_where_the_rest_was_left_out() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let refers = async |how: &str, to: &str| -> Result<String> {
        let mut content = raw::megolm(&room, "x")?;
        content["m.relates_to"] = json!({ "rel_type": how, "event_id": to });
        let sent = nurse.send(&room, "m.room.encrypted", content).await?.ok()?;
        text_at(&sent, "event_id")
    };
    let (root, plain) = (nurse.says(&room, "x").await?, nurse.says(&room, "x").await?);
    let pos = text_at(&hears(&doctor, None, &all(2)).await?, "pos")?;
    let first = refers("m.thread", &root).await?;
    let reply = refers("m.thread", &root).await?;
    refers("m.replace", &plain).await?;
    let shown = |told: &Value, event: &str| -> Result<Value> {
        let timeline = &told["rooms"][&room]["timeline"];
        let events = timeline.as_array().context("no timeline")?;
        let found = events.iter().find(|one| one["event_id"] == event);
        Ok(found.context("it is not told")?["unsigned"]["m.relations"].clone())
    };
    // To somebody who opens the room, of whose timeline there is only the end.
    let told = hears(&doctor, None, &all(5)).await?;
    ensure!(told["rooms"][&room]["limited"] == true, "{told}");
    let thread = &shown(&told, &root)?["m.thread"];
    ensure!(
        thread["count"] == 2 && thread["latest_event"]["event_id"] == reply.as_str(),
        "{thread}"
    );
    ensure!(thread["current_user_participated"] == false, "{thread}");
    ensure!(shown(&told, &plain)?["m.replace"].is_object(), "{told}");
    ensure!(shown(&told, &first)?.is_null(), "{told}");
    // To somebody who was away for too long.
    let told = hears(&doctor, Some(&pos), &all(2)).await?;
    ensure!(told["rooms"][&room]["limited"] == true, "{told}");
    ensure!(shown(&told, &reply)?.is_null(), "{told}");
    let pos = text_at(&told, "pos")?;
    let edit = refers("m.replace", &reply).await?;
    let told = hears(&doctor, Some(&pos), &all(2)).await?;
    ensure!(shown(&told, &edit)?.is_null(), "{told}");
    // And to somebody who scrolls back.
    let told = hears(&doctor, Some(&text_at(&told, "pos")?), &all(6)).await?;
    ensure!(
        told["rooms"][&room]["unstable_expanded_timeline"] == true,
        "{told}"
    );
    ensure!(shown(&told, &reply)?["m.replace"].is_object(), "{told}");
    Ok(())
}

#[tokio::test]
async fn any_of_several_servers_goes_on_where_another_was() -> Result<()> {
    let practice = Practice::open_several(3).await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let mut body = all(2);
    let mut pos = text_at(&hears(&doctor, None, &body).await?, "pos")?;
    for turn in 0..6 {
        let event = nurse.says(&room, "x").await?;
        body["lists"]["all"]["ranges"] = json!([[0, 10 + turn]]);
        let told = hears(&doctor, Some(&pos), &body).await?;
        ensure!(
            ids(&told["rooms"][&room]["timeline"]) == [event.clone()],
            "{told}"
        );
        ensure!(told["rooms"][&room]["initial"].is_null(), "{told}");
        pos = text_at(&told, "pos")?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_malformed_or_too_much_is_refused() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let list = |list: Value| json!({ "lists": { "all": list } });
    for (body, code) in [
        (list(json!({ "ranges": [[0, 1]] })), "M_BAD_JSON"),
        (
            list(json!({ "ranges": [["a", 1]], "timeline_limit": 1 })),
            "M_BAD_JSON",
        ),
        (
            list(json!({ "ranges": [[0, -1]], "timeline_limit": 1 })),
            "M_BAD_JSON",
        ),
        (
            list(json!({ "ranges": [[2, 1]], "timeline_limit": 1 })),
            "M_INVALID_PARAM",
        ),
        (json!({ "conn_id": "x".repeat(300) }), "M_INVALID_PARAM"),
        (
            json!({ "extensions": { "to_device": { "enabled": true, "since": "yesterday" } } }),
            "M_INVALID_PARAM",
        ),
    ] {
        asks(&nurse, None, 0, body).await?.refused(400, code)?;
    }
    Ok(())
}
