//! Who may read what: the four settings of a room's history on every path that reads, rooms that one has left, people whom
//! one ignores.

use anyhow::{Result, ensure};
use respite_tests::{
    practice::Practice,
    raw::{self, Raw, in_query, megolm, text_at},
};
use serde_json::{Value, json};

use super::{ids, kinds, of_kind, together, two};

/// What was said in a room that somebody was invited to, entered and left, each with a thread of its own.
struct Visit {
    room: String,
    doctor: Raw,
    /// Before the invitation, before the entry, inside, and after the leaving.
    roots: Vec<String>,
    times: Vec<u64>,
}

async fn says_in_a_thread(who: &Raw, room: &str) -> Result<(String, u64)> {
    // Each at a millisecond of its own.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let root = who.says(room, "x").await?;
    let mut reply = megolm(room, "x")?;
    reply["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": root });
    who.send(room, "m.room.encrypted", reply).await?.ok()?;
    let event = who.get(&format!("v3/rooms/{room}/event/{root}")).await?;
    let time = event.ok()?["origin_server_ts"].as_u64();
    Ok((root, time.unwrap_or_default()))
}

async fn visit(practice: &Practice, visibility: &str) -> Result<Visit> {
    let nurse = raw::stranger(practice, &format!("nurse-{visibility}")).await?;
    let doctor = raw::stranger(practice, &format!("doctor-{visibility}")).await?;
    let content = json!({ "history_visibility": visibility });
    let state =
        json!([{ "type": "m.room.history_visibility", "state_key": "", "content": content }]);
    let room = nurse
        .makes_a_room(json!({ "initial_state": state }))
        .await?;
    let mut said = vec![says_in_a_thread(&nurse, &room).await?];
    let invite = format!("v3/rooms/{room}/invite");
    let whom = json!({ "user_id": doctor.user });
    nurse.post(&invite, whom).await?.ok()?;
    said.push(says_in_a_thread(&nurse, &room).await?);
    doctor.joins(&room).await?;
    said.push(says_in_a_thread(&nurse, &room).await?);
    let leave = format!("v3/rooms/{room}/leave");
    doctor.post(&leave, json!({})).await?.ok()?;
    said.push(says_in_a_thread(&nurse, &room).await?);
    let (roots, times) = said.into_iter().unzip();
    Ok(Visit {
        room,
        doctor,
        roots,
        times,
    })
}

#[tokio::test]
async fn every_way_to_read_a_room_shows_the_same_part_of_its_history() -> Result<()> {
    let practice = Practice::open().await?;
    for (visibility, expected) in [
        ("joined", [false, false, true, false]),
        ("invited", [false, true, true, false]),
        ("shared", [true, true, true, false]),
        ("world_readable", [true, true, true, true]),
    ] {
        let visit = visit(&practice, visibility).await?;
        let (room, doctor) = (&visit.room, &visit.doctor);
        let chunk = async |path: &str| -> Result<Vec<String>> {
            Ok(ids(&doctor.get(path).await?.ok()?["chunk"]))
        };
        let backwards = chunk(&format!("v3/rooms/{room}/messages?dir=b&limit=100")).await?;
        let forwards = chunk(&format!("v3/rooms/{room}/messages?dir=f&limit=100")).await?;
        let threads = chunk(&format!("v1/rooms/{room}/threads")).await?;
        let middle = format!("v3/rooms/{room}/context/{}?limit=100", visit.roots[2]);
        let around = doctor.get(&middle).await?.ok()?;
        for (n, (root, reads)) in visit.roots.iter().zip(expected).enumerate() {
            let told = |found: &[String]| found.contains(root) == reads;
            ensure!(
                told(&backwards) && told(&forwards) && told(&threads),
                "{visibility}: {n}: {backwards:?} {threads:?}"
            );
            let near = [ids(&around["events_before"]), ids(&around["events_after"])].concat();
            ensure!(n == 2 || told(&near), "{visibility}: {n}: {around}");
            for path in [
                format!("v3/rooms/{room}/event/{root}"),
                format!("v3/rooms/{room}/context/{root}"),
                format!("v1/rooms/{room}/relations/{root}"),
            ] {
                let answer = doctor.get(&path).await?;
                match reads {
                    true => drop(answer.ok()?),
                    false => drop(answer.refused(404, "M_NOT_FOUND")?.to_owned()),
                }
            }
            let jump = format!(
                "v1/rooms/{room}/timestamp_to_event?dir=f&ts={}",
                visit.times[n]
            );
            let found = doctor.get(&jump).await?;
            let found = found.body["event_id"] == root.as_str();
            ensure!(found == reads, "{visibility}: {n}: {jump}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_thread_ends_for_who_leaves_where_they_left() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let root = nurse.says(&room, "x").await?;
    let reply = async || -> Result<String> {
        let mut reply = megolm(&room, "x")?;
        reply["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": root });
        let sent = nurse.send(&room, "m.room.encrypted", reply).await?;
        text_at(&sent.ok()?, "event_id")
    };
    let seen = reply().await?;
    let leave = format!("v3/rooms/{room}/leave");
    doctor.post(&leave, json!({})).await?.ok()?;
    reply().await?;
    let event = doctor
        .get(&format!("v3/rooms/{room}/event/{root}"))
        .await?
        .ok()?;
    let thread = &event["unsigned"]["m.relations"]["m.thread"];
    ensure!(
        thread["count"] == 1 && thread["latest_event"]["event_id"] == seen.as_str(),
        "{event}"
    );
    Ok(())
}

#[tokio::test]
async fn rooms_that_one_has_left_are_told_on_request() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let seen = nurse.says(&room, "x").await?;
    let leave = format!("v3/rooms/{room}/leave");
    doctor.post(&leave, json!({})).await?.ok()?;
    nurse.says(&room, "x").await?;
    let none = doctor.syncs(None).await?;
    ensure!(none["rooms"]["leave"][&room].is_null(), "{none}");
    let filter = in_query(&json!({ "room": { "include_leave": true } }).to_string());
    let path = format!("v3/sync?timeout=0&filter={filter}");
    let news = doctor.get(&path).await?.ok()?;
    let left = &news["rooms"]["leave"][&room];
    let events = &left["timeline"]["events"];
    ensure!(
        kinds(events)
            .last()
            .is_some_and(|kind| kind == "m.room.member"),
        "{left}"
    );
    ensure!(ids(events).contains(&seen), "{left}");
    ensure!(left["timeline"]["prev_batch"].is_string(), "{left}");
    ensure!(news["rooms"]["join"][&room].is_null(), "{news}");
    Ok(())
}

async fn ignores(who: &Raw, whom: &Raw) -> Result<()> {
    let path = format!("v3/user/{}/account_data/m.ignored_user_list", who.user);
    let list = json!({ "ignored_users": { whom.user.as_str(): {} } });
    who.put(&path, list).await?.ok()?;
    Ok(())
}

#[tokio::test]
async fn who_ignores_somebody_hears_neither_their_words_nor_their_invitations() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    ignores(&nurse, &doctor).await?;
    let since = text_at(&nurse.syncs(None).await?, "next_batch")?;
    let said = doctor.says(&room, "x").await?;
    let path = format!("v3/rooms/{room}/state/m.room.member/{}", doctor.user);
    doctor
        .put(&path, json!({ "membership": "leave" }))
        .await?
        .ok()?;
    let other = doctor
        .makes_a_room(json!({ "invite": [nurse.user] }))
        .await?;
    for since in [Some(since.as_str()), None] {
        let news = nurse.syncs(since).await?;
        let told = &news["rooms"]["join"][&room]["timeline"]["events"];
        ensure!(!ids(told).contains(&said), "{news}");
        // That somebody has left is not their word.
        of_kind(told, "m.room.member")?;
        ensure!(news["rooms"]["invite"][&other].is_null(), "{news}");
    }
    Ok(())
}

#[tokio::test]
async fn who_is_asked_in_or_knocks_is_told_what_the_room_is() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let rules = json!({ "join_rule": "knock" });
    let state = json!([{ "type": "m.room.join_rules", "state_key": "", "content": rules }]);
    let open = nurse
        .makes_a_room(json!({ "initial_state": state, "room_version": "12" }))
        .await?;
    let asked = nurse
        .makes_a_room(json!({ "invite": [doctor.user] }))
        .await?;
    doctor
        .post(&format!("v3/knock/{open}"), json!({}))
        .await?
        .ok()?;
    let news = doctor.syncs(None).await?;
    let shown = |events: &Value| -> Result<()> {
        for kind in ["m.room.create", "m.room.join_rules", "m.room.encryption"] {
            let event = of_kind(events, kind)?;
            ensure!(
                event["sender"] == nurse.user
                    && event["content"].is_object()
                    && event["state_key"] == ""
                    && event.get("event_id").is_none(),
                "{event}"
            );
        }
        Ok(())
    };
    let invitation = &news["rooms"]["invite"][&asked]["invite_state"]["events"];
    let knock = &news["rooms"]["knock"][&open]["knock_state"]["events"];
    shown(invitation)?;
    shown(knock)?;
    for (events, membership) in [(invitation, "invite"), (knock, "knock")] {
        let own =
            events.as_array().into_iter().flatten().find(|event| {
                event["type"] == "m.room.member" && event["state_key"] == doctor.user
            });
        ensure!(
            own.is_some_and(|own| own["content"]["membership"] == membership),
            "{events}"
        );
    }
    Ok(())
}
