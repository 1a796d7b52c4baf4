//! What sliding sync tells beside rooms: receipts, threads, keys, and what else a client asks for.

use anyhow::{Result, ensure};
use respite_tests::{
    practice::Practice,
    raw::{self, Raw, in_query, text_at},
};
use serde_json::{Value, json};

use super::{
    super::{ids, of_kind, together},
    all, asks, hears, is_nothing, woken,
};

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
