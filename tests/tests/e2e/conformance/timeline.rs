//! A room's history: sending, paging, context, redaction, relations.

use anyhow::{Result, ensure};
use respite_tests::{
    practice::Practice,
    raw::{self, Raw, in_query, megolm, text_at},
};
use serde_json::{Value, json};

use super::{ids, kinds, together};

async fn says_many(who: &Raw, room: &str, count: usize) -> Result<Vec<String>> {
    let mut sent = Vec::new();
    for n in 0..count {
        sent.push(who.says(room, &format!("message {n}")).await?);
    }
    Ok(sent)
}

/// Pages through all of a room's history. Returns the events' ids in the order of reading.
async fn pages(who: &Raw, room: &str, direction: &str, limit: usize) -> Result<Vec<String>> {
    let (mut found, mut from) = (Vec::new(), String::new());
    for _ in 0..1_000 {
        let page = who
            .get(&format!(
                "v3/rooms/{room}/messages?dir={direction}&limit={limit}{from}"
            ))
            .await?
            .ok()?;
        let chunk = ids(&page["chunk"]);
        ensure!(chunk.len() <= limit && page["start"].is_string(), "{page}");
        found.extend(chunk);
        match page["end"].as_str() {
            Some(end) => from = format!("&from={end}"),
            None => return Ok(found),
        }
    }
    anyhow::bail!("the history has no end")
}

#[tokio::test]
async fn history_is_read_in_both_directions_to_its_ends_without_holes() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let sent = says_many(&nurse, &room, 25).await?;
    let mut whole = pages(&doctor, &room, "f", 1_000).await?;
    ensure!(whole.ends_with(&sent) && whole.len() > sent.len());
    for limit in [1, 7, 100] {
        ensure!(
            pages(&doctor, &room, "f", limit).await? == whole,
            "forwards by {limit}"
        );
    }
    whole.reverse();
    for limit in [1, 7, 100] {
        ensure!(
            pages(&doctor, &room, "b", limit).await? == whole,
            "backwards by {limit}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_page_continues_where_a_sync_began() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let sent = says_many(&nurse, &room, 30).await?;
    let filter = in_query(&json!({ "room": { "timeline": { "limit": 5 } } }).to_string());
    let news = doctor
        .get(&format!("v3/sync?timeout=0&filter={filter}"))
        .await?
        .ok()?;
    let timeline = &news["rooms"]["join"][&room]["timeline"];
    ensure!(
        timeline["limited"] == true && ids(&timeline["events"]) == sent[25..],
        "{timeline}"
    );
    let before = text_at(timeline, "prev_batch")?;
    let page = doctor
        .get(&format!(
            "v3/rooms/{room}/messages?dir=b&limit=25&from={before}"
        ))
        .await?
        .ok()?;
    let mut seen = ids(&page["chunk"]);
    seen.reverse();
    ensure!(seen == sent[..25], "{seen:?}");
    let to = text_at(
        &doctor
            .get(&format!(
                "v3/rooms/{room}/messages?dir=b&limit=10&from={before}"
            ))
            .await?
            .ok()?,
        "end",
    )?;
    let part = doctor
        .get(&format!(
            "v3/rooms/{room}/messages?dir=b&limit=100&from={before}&to={to}"
        ))
        .await?
        .ok()?;
    ensure!(ids(&part["chunk"]).len() == 10, "{part}");
    Ok(())
}

#[tokio::test]
async fn a_page_holds_what_a_filter_asks_for() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    says_many(&nurse, &room, 3).await?;
    let own = doctor.says(&room, "x").await?;
    let page = async |filter: Value| -> Result<Value> {
        let filter = in_query(&filter.to_string());
        doctor
            .get(&format!(
                "v3/rooms/{room}/messages?dir=b&limit=100&filter={filter}"
            ))
            .await?
            .ok()
    };
    let only = page(json!({ "types": ["m.room.encrypted"], "senders": [doctor.user] })).await?;
    ensure!(ids(&only["chunk"]) == [own], "{only}");
    let members = page(json!({ "types": ["m.room.member"] })).await?;
    ensure!(kinds(&members["chunk"]).len() == 3, "{members}");
    let without = page(json!({ "not_types": ["m.room.*"] })).await?;
    ensure!(without["chunk"] == json!([]), "{without}");
    let lazy = page(json!({ "lazy_load_members": true, "types": ["m.room.encrypted"] })).await?;
    let mut people: Vec<&str> = lazy["state"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter_map(|event| event["state_key"].as_str())
        .collect();
    people.sort_unstable();
    ensure!(
        people == [doctor.user.as_str(), nurse.user.as_str()],
        "{lazy}"
    );
    Ok(())
}

#[tokio::test]
async fn an_event_is_shown_with_what_stands_around_it() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let sent = says_many(&nurse, &room, 11).await?;
    let around = doctor
        .get(&format!("v3/rooms/{room}/context/{}?limit=4", sent[5]))
        .await?
        .ok()?;
    ensure!(around["event"]["event_id"] == sent[5].as_str(), "{around}");
    ensure!(
        ids(&around["events_before"]) == [sent[4].clone(), sent[3].clone()],
        "{around}"
    );
    ensure!(ids(&around["events_after"]) == sent[6..8], "{around}");
    ensure!(
        kinds(&around["state"]).contains(&"m.room.create".to_owned()),
        "{around}"
    );
    let (start, end) = (text_at(&around, "start")?, text_at(&around, "end")?);
    let before = doctor
        .get(&format!(
            "v3/rooms/{room}/messages?dir=b&limit=2&from={start}"
        ))
        .await?
        .ok()?;
    ensure!(
        ids(&before["chunk"]) == [sent[2].clone(), sent[1].clone()],
        "{before}"
    );
    let after = doctor
        .get(&format!(
            "v3/rooms/{room}/messages?dir=f&limit=2&from={end}"
        ))
        .await?
        .ok()?;
    ensure!(ids(&after["chunk"]) == sent[8..10], "{after}");
    let alone = doctor
        .get(&format!("v3/rooms/{room}/context/{}?limit=0", sent[5]))
        .await?
        .ok()?;
    ensure!(
        ids(&alone["events_before"]).is_empty() && ids(&alone["events_after"]).is_empty(),
        "{alone}"
    );
    Ok(())
}

#[tokio::test]
async fn a_message_that_is_sent_again_is_there_once() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let since = text_at(&nurse.syncs(None).await?, "next_batch")?;
    let path = format!("v3/rooms/{room}/send/m.room.encrypted/same");
    let first = nurse.put(&path, megolm(&room, "x")?).await?.ok()?;
    let again = nurse.put(&path, megolm(&room, "x")?).await?.ok()?;
    ensure!(first == again, "{first} and {again}");
    // Another person's and another device's transactions are others.
    let others = doctor.put(&path, megolm(&room, "x")?).await?.ok()?;
    let tablet = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    let tablets = tablet.put(&path, megolm(&room, "x")?).await?.ok()?;
    ensure!(first != others && first != tablets && others != tablets);
    let event = |news: &Value| -> Value {
        let timeline = news["rooms"]["join"][&room]["timeline"]["events"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        timeline
            .into_iter()
            .find(|event| event["event_id"] == first["event_id"])
            .unwrap_or_default()
    };
    ensure!(event(&nurse.syncs(Some(&since)).await?)["unsigned"]["transaction_id"] == "same");
    let seen = event(&doctor.syncs(None).await?);
    ensure!(
        seen["unsigned"].get("transaction_id").is_none() && seen["sender"] == nurse.user,
        "{seen}"
    );
    Ok(())
}

#[tokio::test]
async fn one_redacts_ones_own_and_others_with_the_power_to() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let (hers, his) = (
        nurse.says(&room, "x").await?,
        doctor.says(&room, "x").await?,
    );
    doctor
        .put(&format!("v3/rooms/{room}/redact/{hers}/r1"), json!({}))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    let first = doctor
        .put(&format!("v3/rooms/{room}/redact/{his}/r2"), json!({}))
        .await?
        .ok()?;
    let again = doctor
        .put(&format!("v3/rooms/{room}/redact/{his}/r2"), json!({}))
        .await?
        .ok()?;
    ensure!(first == again);
    nurse
        .put(&format!("v3/rooms/{room}/redact/{hers}/r3"), json!({}))
        .await?
        .ok()?;
    for event in [&hers, &his] {
        let seen = doctor
            .get(&format!("v3/rooms/{room}/event/{event}"))
            .await?
            .ok()?;
        ensure!(
            seen["content"] == json!({})
                && seen["unsigned"]["redacted_because"]["type"] == "m.room.redaction",
            "{seen}"
        );
    }
    let news = doctor.syncs(Some(&since)).await?;
    let timeline = &news["rooms"]["join"][&room]["timeline"]["events"];
    ensure!(
        kinds(timeline) == ["m.room.redaction", "m.room.redaction"],
        "{timeline}"
    );
    // A redacted member is still one.
    let member = nurse
        .get(&format!(
            "v3/rooms/{room}/state/m.room.member/{}?format=event",
            doctor.user
        ))
        .await?
        .ok()?;
    nurse
        .put(
            &format!(
                "v3/rooms/{room}/redact/{}/r4",
                text_at(&member, "event_id")?
            ),
            json!({}),
        )
        .await?
        .ok()?;
    ensure!(
        nurse
            .get(&format!(
                "v3/rooms/{room}/state/m.room.member/{}",
                doctor.user
            ))
            .await?
            .ok()?["membership"]
            == "join"
    );
    doctor.says(&room, "still here").await?;
    Ok(())
}

#[tokio::test]
async fn threads_and_edits_are_found_by_what_they_relate_to() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let root = nurse.says(&room, "x").await?;
    let mut replies = Vec::new();
    for kind in ["m.thread", "m.thread", "m.replace"] {
        let mut content = megolm(&room, "x")?;
        content["m.relates_to"] = json!({ "rel_type": kind, "event_id": root });
        replies.push(text_at(
            &nurse.send(&room, "m.room.encrypted", content).await?.ok()?,
            "event_id",
        )?);
    }
    let related = async |path: &str| -> Result<Vec<String>> {
        let found = doctor
            .get(&format!("v1/rooms/{room}/relations/{root}{path}"))
            .await?
            .ok()?;
        Ok(ids(&found["chunk"]))
    };
    ensure!(related("").await? == [replies[2].clone(), replies[1].clone(), replies[0].clone()]);
    ensure!(related("/m.thread").await? == [replies[1].clone(), replies[0].clone()]);
    ensure!(related("/m.replace/m.room.encrypted").await? == [replies[2].clone()]);
    ensure!(related("/m.thread/m.room.message").await?.is_empty());
    ensure!(related("/m.thread?dir=f&limit=1").await? == [replies[0].clone()]);
    nurse
        .put(
            &format!("v3/rooms/{room}/redact/{}/r1", replies[0]),
            json!({}),
        )
        .await?
        .ok()?;
    ensure!(related("/m.thread").await? == [replies[1].clone()]);
    Ok(())
}

#[tokio::test]
async fn the_event_nearest_to_a_time_is_found_by_who_may_read_it() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let sent = says_many(&nurse, &room, 5).await?;
    let jump = |ts: u64, dir: &'static str| {
        format!("v1/rooms/{room}/timestamp_to_event?ts={ts}&dir={dir}")
    };
    for id in &sent {
        let event = doctor
            .get(&format!("v3/rooms/{room}/event/{id}"))
            .await?
            .ok()?;
        let at = event["origin_server_ts"].as_u64().unwrap_or_default();
        for dir in ["f", "b"] {
            let found = doctor.get(&jump(at, dir)).await?.ok()?;
            ensure!(found["origin_server_ts"] == at, "{dir} {at}: {found}");
        }
    }
    let first = doctor.get(&jump(0, "f")).await?.ok()?;
    let last = doctor.get(&jump(9_000_000_000_000, "b")).await?.ok()?;
    let whole = pages(&doctor, &room, "f", 100).await?;
    ensure!(whole.first().map(String::as_str) == first["event_id"].as_str());
    ensure!(sent.last().map(String::as_str) == last["event_id"].as_str());
    for (ts, dir) in [(0, "b"), (9_000_000_000_000, "f")] {
        doctor
            .get(&jump(ts, dir))
            .await?
            .refused(404, "M_NOT_FOUND")?;
    }
    doctor
        .get(&jump(0, "x"))
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    let paramedic = raw::stranger(&practice, "paramedic").await?;
    let elsewhere = "v1/rooms/!nowhere:localhost/timestamp_to_event?ts=0&dir=f";
    let here = paramedic.get(&jump(0, "f")).await?;
    let nowhere = paramedic.get(elsewhere).await?;
    ensure!(here.refused(403, "M_FORBIDDEN")? == nowhere.refused(403, "M_FORBIDDEN")?);
    Ok(())
}
