//! A room's state and members, now and at a place in the past.

use anyhow::{Context, Result, ensure};
use respite_tests::{
    practice::Practice,
    raw::{self, Raw, in_query, text_at},
};
use serde_json::{Value, json};

use super::{ids, kinds, of_kind, together};

#[tokio::test]
async fn state_is_read_whole_by_key_and_as_an_event() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let all = doctor.get(&format!("v3/rooms/{room}/state")).await?.ok()?;
    for kind in [
        "m.room.create",
        "m.room.member",
        "m.room.power_levels",
        "m.room.join_rules",
        "m.room.history_visibility",
        "m.room.encryption",
    ] {
        let event = of_kind(&all, kind)?;
        for field in [
            "event_id",
            "sender",
            "origin_server_ts",
            "state_key",
            "room_id",
        ] {
            ensure!(event.get(field).is_some(), "{kind} has no {field}: {event}");
        }
    }
    for path in ["m.room.create", "m.room.create/"] {
        ensure!(
            doctor
                .get(&format!("v3/rooms/{room}/state/{path}"))
                .await?
                .ok()?["room_version"]
                == "11"
        );
    }
    let event = doctor
        .get(&format!("v3/rooms/{room}/state/m.room.create?format=event"))
        .await?
        .ok()?;
    ensure!(
        event["type"] == "m.room.create" && event["content"]["room_version"] == "11",
        "{event}"
    );
    doctor
        .get(&format!("v3/rooms/{room}/state/m.room.pinned_events"))
        .await?
        .refused(404, "M_NOT_FOUND")?;
    doctor
        .get(&format!(
            "v3/rooms/{room}/state/m.room.member/@nobody:localhost"
        ))
        .await?
        .refused(404, "M_NOT_FOUND")?;
    doctor
        .put(
            &format!("v3/rooms/{room}/state/m.room.guest_access"),
            json!({ "guest_access": "forbidden" }),
        )
        .await?
        .refused(403, "M_FORBIDDEN")?;
    let first = nurse
        .put(
            &format!("v3/rooms/{room}/state/m.room.guest_access"),
            json!({ "guest_access": "forbidden" }),
        )
        .await?
        .ok()?;
    let news = doctor.syncs(None).await?;
    let timeline = &news["rooms"]["join"][&room]["timeline"]["events"];
    ensure!(
        ids(timeline).contains(&text_at(&first, "event_id")?),
        "{timeline}"
    );
    let changed = of_kind(timeline, "m.room.guest_access");
    ensure!(changed.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_changed_setting_tells_what_it_was_before() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    let path = format!("v3/rooms/{room}/state/m.room.history_visibility");
    nurse
        .put(&path, json!({ "history_visibility": "joined" }))
        .await?
        .ok()?;
    let news = doctor.syncs(Some(&since)).await?;
    let event = of_kind(
        &news["rooms"]["join"][&room]["timeline"]["events"],
        "m.room.history_visibility",
    )?
    .clone();
    ensure!(
        event["unsigned"]["prev_content"]["history_visibility"] == "shared",
        "{event}"
    );
    ensure!(event["unsigned"]["age"].is_u64(), "{event}");
    Ok(())
}

/// Whatever is shown of a room's state, by its ways: each event with the id that is looked for.
async fn shown(who: &Raw, room: &str, id: &str) -> Result<Vec<(String, Value)>> {
    let lazy = json!({ "room": {
        "state": { "lazy_load_members": true }, "timeline": { "limit": 1 },
    } });
    let short = in_query(&json!({ "room": { "timeline": { "limit": 1 } } }).to_string());
    let body = json!({ "lists": { "all": {
        "ranges": [[0, 9]], "timeline_limit": 1, "required_state": [["*", "*"]],
    } } });
    let mut answers = Vec::new();
    for path in [
        format!("v3/rooms/{room}/state"),
        format!("v3/rooms/{room}/members"),
        format!("v3/rooms/{room}/messages?dir=b&limit=100"),
        format!("v3/sync?timeout=0&filter={short}"),
        format!("v3/sync?timeout=0&filter={}", in_query(&lazy.to_string())),
        format!("v3/sync?timeout=0&use_state_after=true&filter={short}"),
    ] {
        answers.push((path.clone(), who.get(&path).await?.ok()?));
    }
    let sliding = "unstable/org.matrix.simplified_msc3575/sync?timeout=0";
    answers.push((sliding.to_owned(), who.post(sliding, body).await?.ok()?));
    let mut found = Vec::new();
    for (path, answer) in answers {
        let mut rest = vec![answer];
        while let Some(value) = rest.pop() {
            if value["event_id"] == id {
                found.push((path.clone(), value.clone()));
            }
            match value {
                Value::Array(all) => rest.extend(all),
                Value::Object(all) => rest.extend(all.into_iter().map(|(_, value)| value)),
                _ => {}
            }
        }
    }
    Ok(found)
}

#[tokio::test]
async fn what_a_setting_was_before_ones_time_is_not_told() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let visibility = format!("v3/rooms/{room}/state/m.room.history_visibility");
    let joined = json!({ "history_visibility": "joined" });
    nurse.put(&visibility, joined).await?.ok()?;
    // The change itself is the last that everybody may read who comes later.
    nurse.says(&room, "x").await?;
    let powers = format!("v3/rooms/{room}/state/m.room.power_levels");
    let own = format!("v3/profile/{}/displayname", nurse.user);
    nurse
        .put(&own, json!({ "displayname": "N." }))
        .await?
        .ok()?;
    let mut levels = nurse.get(&powers).await?.ok()?;
    let mut ids = Vec::new();
    for level in [60, 70] {
        levels["invite"] = json!(level);
        let changed = nurse.put(&powers, levels.clone()).await?.ok()?;
        ids.push(text_at(&changed, "event_id")?);
    }
    let named = nurse
        .get(&format!(
            "v3/rooms/{room}/state/m.room.member/{}?format=event",
            nurse.user
        ))
        .await?
        .ok()?;
    ids.push(text_at(&named, "event_id")?);
    let visitor = raw::stranger(&practice, "visitor").await?;
    let invite = json!({ "user_id": visitor.user });
    nurse
        .post(&format!("v3/rooms/{room}/invite"), invite)
        .await?
        .ok()?;
    visitor.joins(&room).await?;
    nurse.says(&room, "x").await?;
    let before = |event: &Value| event["unsigned"].get("prev_content").is_some();
    for id in &ids[1..] {
        let to_doctor = shown(&doctor, &room, id).await?;
        ensure!(
            !to_doctor.is_empty() && to_doctor.iter().all(|(_, event)| before(event)),
            "{to_doctor:?}"
        );
        let to_visitor = shown(&visitor, &room, id).await?;
        ensure!(to_visitor.len() >= 4, "{to_visitor:?}");
        ensure!(
            !to_visitor.iter().any(|(_, event)| before(event)),
            "{to_visitor:?}"
        );
    }
    // What they were themselves they know, and how it was when they came.
    let own = format!("v3/rooms/{room}/state/m.room.member/{}", visitor.user);
    let event = visitor.get(&format!("{own}?format=event")).await?.ok()?;
    ensure!(
        event["unsigned"]["prev_content"]["membership"] == "invite",
        "{event}"
    );
    levels["invite"] = json!(80);
    let changed = nurse.put(&powers, levels).await?.ok()?;
    let to_visitor = shown(&visitor, &room, &text_at(&changed, "event_id")?).await?;
    ensure!(
        to_visitor
            .iter()
            .all(|(_, event)| event["unsigned"]["prev_content"]["invite"] == 70),
        "{to_visitor:?}"
    );
    Ok(())
}

#[tokio::test]
async fn members_are_read_by_what_they_are_and_as_they_were() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let paramedic = raw::stranger(&practice, "paramedic").await?;
    let before = text_at(&nurse.syncs(None).await?, "next_batch")?;
    nurse
        .post(
            &format!("v3/rooms/{room}/invite"),
            json!({ "user_id": paramedic.user }),
        )
        .await?
        .ok()?;
    doctor
        .post(&format!("v3/rooms/{room}/leave"), json!({}))
        .await?
        .ok()?;
    let members = async |query: &str| -> Result<Vec<(String, String)>> {
        let answer = nurse
            .get(&format!("v3/rooms/{room}/members{query}"))
            .await?
            .ok()?;
        let chunk = answer["chunk"].as_array().context("no members")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut found: Vec<_> = chunk
            .iter()
            .map(|event| {
                (
                    text(&event["state_key"]),
                    text(&event["content"]["membership"]),
                )
            })
            .collect();
        found.sort();
        Ok(found)
    };
    let who = |person: &raw::Raw, membership: &str| (person.user.clone(), membership.to_owned());
    ensure!(
        members("").await?
            == [
                who(&doctor, "leave"),
                who(&nurse, "join"),
                who(&paramedic, "invite")
            ]
    );
    ensure!(members("?membership=join").await? == [who(&nurse, "join")]);
    ensure!(
        members("?not_membership=leave").await? == [who(&nurse, "join"), who(&paramedic, "invite")]
    );
    ensure!(
        members(&format!("?at={before}")).await? == [who(&doctor, "join"), who(&nurse, "join")]
    );
    let joined = nurse
        .get(&format!("v3/rooms/{room}/joined_members"))
        .await?
        .ok()?;
    ensure!(
        joined["joined"]
            .as_object()
            .is_some_and(|joined| joined.keys().eq([&nurse.user])),
        "{joined}"
    );
    Ok(())
}

#[tokio::test]
async fn who_has_left_sees_the_state_as_it_was_then() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    doctor
        .post(&format!("v3/rooms/{room}/leave"), json!({}))
        .await?
        .ok()?;
    let path = format!("v3/rooms/{room}/state/m.room.guest_access");
    nurse
        .put(&path, json!({ "guest_access": "forbidden" }))
        .await?
        .ok()?;
    ensure!(doctor.get(&path).await?.ok()?["guest_access"] == "can_join");
    ensure!(nurse.get(&path).await?.ok()?["guest_access"] == "forbidden");
    Ok(())
}

#[tokio::test]
async fn who_joins_reads_as_much_of_the_past_as_the_room_allows() -> Result<()> {
    let practice = Practice::open().await?;
    for (visibility, reads) in [("shared", true), ("invited", false), ("joined", false)] {
        let nurse = raw::stranger(&practice, &format!("nurse-{visibility}")).await?;
        let doctor = raw::stranger(&practice, &format!("doctor-{visibility}")).await?;
        let state = json!([{ "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": visibility } }]);
        let room = nurse
            .makes_a_room(json!({ "initial_state": state }))
            .await?;
        let before = nurse.says(&room, "before").await?;
        nurse
            .post(
                &format!("v3/rooms/{room}/invite"),
                json!({ "user_id": doctor.user }),
            )
            .await?
            .ok()?;
        let between = nurse.says(&room, "between").await?;
        doctor.joins(&room).await?;
        let after = nurse.says(&room, "after").await?;
        let page = doctor
            .get(&format!("v3/rooms/{room}/messages?dir=b&limit=100"))
            .await?
            .ok()?;
        let seen = ids(&page["chunk"]);
        ensure!(seen.contains(&after), "{visibility}: {seen:?}");
        ensure!(
            seen.contains(&between) == (visibility != "joined"),
            "{visibility}: {seen:?}"
        );
        ensure!(seen.contains(&before) == reads, "{visibility}: {seen:?}");
        let answer = doctor
            .get(&format!("v3/rooms/{room}/event/{before}"))
            .await?;
        ensure!((answer.status == 200) == reads, "{visibility}: {answer}");
        let news = doctor.syncs(None).await?;
        let timeline = &news["rooms"]["join"][&room]["timeline"];
        ensure!(
            ids(&timeline["events"]).contains(&before) == reads,
            "{visibility}: {timeline}"
        );
        // The state is whole, whatever of the timeline is hidden.
        let state = kinds(&news["rooms"]["join"][&room]["state"]["events"]);
        let timeline = kinds(&timeline["events"]);
        ensure!(
            state
                .iter()
                .chain(&timeline)
                .any(|kind| kind == "m.room.create"),
            "{visibility}: {state:?} {timeline:?}"
        );
    }
    Ok(())
}
