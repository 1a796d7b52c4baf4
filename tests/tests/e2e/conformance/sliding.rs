//! Sliding sync: the rooms that a client has on its screen, and what is new in them.

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
async fn whatever_an_extension_tells_ends_the_wait() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let tablet = Raw::log_in(practice.url(), "doctor", &doctor.password).await?;
    let event = nurse.says(&room, "x").await?;
    let mut body = all(5);
    body["extensions"] = json!({
        "to_device": { "enabled": true }, "e2ee": { "enabled": true }, "account_data": { "enabled": true },
        "receipts": { "enabled": true }, "typing": { "enabled": true },
    });
    let told = hears(&doctor, None, &body).await?;
    let extensions = &told["extensions"];
    of_kind(&extensions["account_data"]["global"], "m.push_rules")?;
    ensure!(
        extensions["e2ee"]["device_one_time_keys_count"].is_object(),
        "{extensions}"
    );
    ensure!(
        extensions["e2ee"]["device_unused_fallback_key_types"].is_array(),
        "{extensions}"
    );
    let mut pos = text_at(&told, "pos")?;
    let own = format!("v3/user/{}", doctor.user);
    let olm =
        json!({ "messages": { doctor.user.as_str(): { doctor.device.as_str(): raw::olm("x")? } } });
    let direct = json!({ nurse.user.as_str(): [room] });
    let typing = json!({ "typing": true, "timeout": 30_000 });
    for step in 0..6 {
        let act = async {
            match step {
                0 => {
                    nurse
                        .put("v3/sendToDevice/m.room.encrypted/w1", olm.clone())
                        .await?
                }
                1 => {
                    tablet
                        .put(&format!("{own}/rooms/{room}/tags/m.favourite"), json!({}))
                        .await?
                }
                2 => {
                    nurse
                        .post(
                            &format!("v3/rooms/{room}/receipt/m.read/{event}"),
                            json!({}),
                        )
                        .await?
                }
                3 => {
                    nurse
                        .put(
                            &format!("v3/rooms/{room}/typing/{}", nurse.user),
                            typing.clone(),
                        )
                        .await?
                }
                4 => {
                    tablet
                        .put(&format!("{own}/account_data/m.direct"), direct.clone())
                        .await?
                }
                _ => {
                    tablet
                        .post(
                            &format!("v3/rooms/{room}/receipt/m.read/{event}"),
                            json!({}),
                        )
                        .await?
                }
            }
            .ok()
        };
        let told = woken(&doctor, &pos, &body, act).await?;
        let extensions = &told["extensions"];
        let found = match step {
            0 => {
                body["extensions"]["to_device"]["since"] =
                    extensions["to_device"]["next_batch"].clone();
                extensions["to_device"]["events"]
                    .as_array()
                    .is_some_and(|events| events.len() == 1)
            }
            1 => of_kind(&extensions["account_data"]["rooms"][&room], "m.tag").is_ok(),
            2 => extensions["receipts"]["rooms"][&room]["type"] == "m.receipt",
            3 => extensions["typing"]["rooms"][&room]["content"]["user_ids"] == json!([nurse.user]),
            4 => {
                of_kind(&extensions["account_data"]["global"], "m.direct").is_ok()
                    && told["rooms"][&room]["is_dm"] == true
            }
            _ => told["rooms"][&room]["notification_count"] == 0,
        };
        ensure!(found, "step {step}: {told}");
        pos = text_at(&told, "pos")?;
    }
    let quiet = asks(&doctor, Some(&pos), 200, body).await?.ok()?;
    ensure!(is_nothing(&quiet), "{quiet}");
    let events = &quiet["extensions"]["to_device"]["events"];
    ensure!(events.as_array().is_none_or(Vec::is_empty), "{quiet}");
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
async fn somebody_who_read_a_message_in_two_ways_is_told_to_have() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let event = nurse.says(&room, "x").await?;
    let mut body = all(5);
    body["extensions"] = json!({ "receipts": { "enabled": true } });
    let reads = async |body: Value| {
        let path = format!("v3/rooms/{room}/receipt/m.read/{event}");
        doctor.post(&path, body).await?.ok()
    };
    let threads = |told: &Value| -> Option<Value> {
        let read = &told["extensions"]["receipts"]["rooms"][&room]["content"][&event];
        let own = read["m.read"].get(&doctor.user)?;
        Some(own["thread_id"].clone())
    };
    let begun = hears(&nurse, None, &body).await?;
    reads(json!({})).await?;
    reads(json!({ "thread_id": "main" })).await?;
    reads(json!({ "thread_id": event })).await?;
    // Whether they have come since or were there before.
    for pos in [Some(text_at(&begun, "pos")?), None] {
        let mut told = asks(&nurse, pos.as_deref(), 0, body.clone()).await?.ok()?;
        let mut heard = Vec::new();
        while let Some(thread) = threads(&told) {
            heard.push(thread);
            let pos = text_at(&told, "pos")?;
            // It does not wait while there is more to tell.
            let wait = if heard.len() < 3 { 50_000 } else { 0 };
            told = asks(&nurse, Some(&pos), wait, body.clone()).await?.ok()?;
        }
        let expected = [Value::Null, json!(event), json!("main")];
        ensure!(heard == expected, "{heard:?}");
    }
    Ok(())
}

const THREADS: &str = "io.element.msc4360.threads";

/// The threads that an answer or a page names, by their rooms.
fn threads_of(updates: &Value) -> Vec<(String, String)> {
    let rooms = updates.as_object().into_iter().flatten();
    let named = rooms.flat_map(|(room, threads)| {
        let threads = threads.as_object().into_iter().flatten();
        threads.map(|(root, _)| (room.clone(), root.clone()))
    });
    named.collect()
}

#[tokio::test]
async fn whoever_comes_back_hears_in_which_threads_there_are_new_replies() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let versions = nurse.get("versions").await?.ok()?;
    ensure!(
        versions["unstable_features"]["io.element.msc4360"] == true,
        "{versions}"
    );
    let other = nurse
        .makes_a_room(json!({ "invite": [doctor.user] }))
        .await?;
    doctor.joins(&other).await?;
    let replies = async |room: &str, root: &str| -> Result<String> {
        let mut content = raw::megolm(room, "x")?;
        content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": root });
        let sent = nurse.send(room, "m.room.encrypted", content).await?.ok()?;
        text_at(&sent, "event_id")
    };
    let mut roots = Vec::new();
    for room in [&room, &room, &other] {
        let root = nurse.says(room, "x").await?;
        replies(room, &root).await?;
        roots.push((room.clone(), root));
    }
    let mut all = roots.clone();
    all.sort();
    let body = |limit: u32, threads: Value| {
        let mut body = json!({ "lists": { "all": {
            "ranges": [[0, 9]], "timeline_limit": limit, "required_state": [],
        } } });
        body["extensions"] = json!({ THREADS: threads });
        body
    };
    let wanted = json!({ "enabled": true, "include_roots": true });
    let off = hears(&doctor, None, &body(1, json!({}))).await?;
    ensure!(off["extensions"].get(THREADS).is_none(), "{off}");

    // Who begins is told of all threads, and where there are more.
    let begun = hears(&doctor, None, &body(1, wanted.clone())).await?;
    let told = &begun["extensions"][THREADS];
    let mut named = threads_of(&told["updates"]);
    named.sort();
    ensure!(named == all && told.get("prev_batch").is_none(), "{told}");
    let (first, root) = &roots[0];
    let shown = &told["updates"][first][root];
    ensure!(shown["thread_root"]["event_id"] == root.as_str(), "{shown}");
    let bundled = &shown["thread_root"]["unsigned"]["m.relations"]["m.thread"];
    ensure!(
        bundled["count"] == 1 && shown.get("prev_batch").is_none(),
        "{shown}"
    );
    let few = json!({ "enabled": true, "include_roots": true, "limit": 1 });
    let told = hears(&doctor, None, &body(1, few.clone())).await?;
    let mut pages = threads_of(&told["extensions"][THREADS]["updates"]);
    let mut from = told["extensions"][THREADS]["prev_batch"].clone();
    const PAGES: &str = "unstable/io.element.msc4360/thread_updates?dir=b";
    while let Some(token) = from.as_str() {
        let path = format!("{PAGES}&limit=1&from={}", in_query(token));
        let page = doctor.get(&path).await?.ok()?;
        pages.extend(threads_of(&page["chunk"]));
        from = page["next_batch"].clone();
    }
    pages.sort();
    ensure!(pages == all, "{pages:?}");

    // Nothing is said of threads where nothing is new, nor of what the timeline says itself.
    let pos = text_at(&begun, "pos")?;
    let quiet = hears(&doctor, Some(&pos), &body(1, wanted.clone())).await?;
    ensure!(quiet["extensions"].get(THREADS).is_none(), "{quiet}");
    let plain = json!({ "enabled": true });
    replies(first, root).await?;
    let news = hears(&doctor, Some(&pos), &body(5, plain.clone())).await?;
    ensure!(news["extensions"].get(THREADS).is_none(), "{news}");
    let news = hears(&doctor, Some(&pos), &body(5, wanted.clone())).await?;
    let told = &news["extensions"][THREADS]["updates"];
    ensure!(threads_of(told) == [roots[0].clone()], "{news}");

    // Who missed something is told so, and gets the rest of the thread.
    let missed = replies(first, root).await?;
    replies(first, root).await?;
    nurse.says(first, "x").await?;
    let news = hears(&doctor, Some(&pos), &body(1, plain)).await?;
    let told = &news["extensions"][THREADS]["updates"];
    ensure!(threads_of(told) == [roots[0].clone()], "{news}");
    let from = text_at(&told[first][root], "prev_batch")?;
    let path = format!("v1/rooms/{first}/relations/{root}/m.thread?dir=b&limit=1&from={from}");
    let rest = doctor.get(&path).await?.ok()?;
    ensure!(ids(&rest["chunk"]) == [missed], "{rest}");
    let path = format!("{PAGES}&to={}", in_query(&text_at(&news, "pos")?));
    ensure!(!threads_of(&doctor.get(&path).await?.ok()?["chunk"]).is_empty());

    // A thread ends the wait although its room is on nobody's screen. Strangers hear nothing.
    let mut body = json!({ "lists": {} });
    body["extensions"] = json!({ THREADS: wanted });
    let begun = hears(&doctor, None, &body).await?;
    let (second, root) = roots[2].clone();
    let told = woken(
        &doctor,
        &text_at(&begun, "pos")?,
        &body,
        replies(&second, &root),
    )
    .await?;
    let told = &told["extensions"][THREADS]["updates"];
    ensure!(threads_of(told) == [(second, root)], "{told}");
    let stranger = raw::stranger(&practice, "stranger").await?;
    let page = stranger.get(PAGES).await?.ok()?;
    ensure!(page == json!({ "chunk": {} }), "{page}");
    for wrong in [
        "dir=f",
        "dir=b&from=there",
        "dir=b&to=there",
        "dir=b&limit=many",
    ] {
        let path = format!("unstable/io.element.msc4360/thread_updates?{wrong}");
        let refused = doctor.get(&path).await?;
        refused.refused(400, "M_INVALID_PARAM")?;
    }
    Ok(())
}

#[tokio::test]
async fn who_only_wants_keys_hears_of_devices_and_nothing_else() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let body = json!({ "conn_id": "encryption", "extensions": { "e2ee": { "enabled": true }, "to_device": { "enabled": true } } });
    let told = hears(&doctor, None, &body).await?;
    ensure!(
        told["extensions"]["e2ee"]["device_lists"].is_null(),
        "{told}"
    );
    nurse.says(&room, "x").await?;
    let quiet = asks(&doctor, Some(&text_at(&told, "pos")?), 200, body.clone())
        .await?
        .ok()?;
    ensure!(is_nothing(&quiet), "{quiet}");
    let pos = text_at(&quiet, "pos")?;
    let joins = async {
        let other = raw::stranger(&practice, "porter").await?;
        let invite = json!({ "user_id": other.user });
        nurse
            .post(&format!("v3/rooms/{room}/invite"), invite)
            .await?
            .ok()?;
        Ok(other)
    };
    let told = woken(&doctor, &pos, &body, joins).await?;
    let changed = told["extensions"]["e2ee"]["device_lists"]["changed"].as_array();
    ensure!(changed.is_some_and(|changed| changed.len() == 1), "{told}");
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
