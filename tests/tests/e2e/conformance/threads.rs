//! Threads, edits and references: what an event is shown with, the list of threads, and what relates to what.

use anyhow::{Context, Result, ensure};
use respite_tests::{
    practice::Practice,
    raw::{self, Answer, Raw, in_query, megolm, text_at},
};
use serde_json::{Value, json};

use super::{ids, together};

async fn refer(who: &Raw, room: &str, how: &str, to: &str) -> Result<Answer> {
    let mut content = megolm(room, "x")?;
    content["m.relates_to"] = json!({ "rel_type": how, "event_id": to });
    who.send(room, "m.room.encrypted", content).await
}

async fn refers(who: &Raw, room: &str, how: &str, to: &str) -> Result<String> {
    text_at(&refer(who, room, how, to).await?.ok()?, "event_id")
}

async fn redacts(who: &Raw, room: &str, event: &str) -> Result<()> {
    let txn = format!("r{:x}", rand::random::<u64>());
    let path = format!("v3/rooms/{room}/redact/{event}/{txn}");
    who.put(&path, json!({})).await?.ok()?;
    Ok(())
}

/// What an event is shown with to somebody who asks for it.
async fn bundle(who: &Raw, room: &str, event: &str) -> Result<Value> {
    let path = format!("v3/rooms/{room}/event/{event}");
    Ok(who.get(&path).await?.ok()?["unsigned"]["m.relations"].clone())
}

async fn threads(who: &Raw, room: &str, query: &str) -> Result<Value> {
    let path = format!("v1/rooms/{room}/threads{query}");
    who.get(&path).await?.ok()
}

async fn ignores(who: &Raw, whom: &Raw) -> Result<()> {
    let path = format!("v3/user/{}/account_data/m.ignored_user_list", who.user);
    let list = json!({ "ignored_users": { whom.user.as_str(): {} } });
    who.put(&path, list).await?.ok()?;
    Ok(())
}

fn event_of<'a>(events: &'a Value, id: &str) -> Result<&'a Value> {
    let events = events.as_array().context("no events")?;
    events
        .iter()
        .find(|event| event["event_id"] == id)
        .with_context(|| format!("no {id} in {events:?}"))
}

#[tokio::test]
async fn threads_are_listed_by_their_newest_reply() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    ensure!(threads(&doctor, &room, "").await? == json!({ "chunk": [] }));
    let mut roots = Vec::new();
    for _ in 0..3 {
        let root = nurse.says(&room, "x").await?;
        refers(&nurse, &room, "m.thread", &root).await?;
        roots.push(root);
    }
    nurse.says(&room, "alone").await?;
    refers(&doctor, &room, "m.thread", &roots[0]).await?;
    let expected = [roots[0].clone(), roots[2].clone(), roots[1].clone()];
    ensure!(ids(&threads(&doctor, &room, "").await?["chunk"]) == expected);
    let (mut paged, mut from) = (Vec::new(), String::new());
    for _ in 0..4 {
        let page = threads(&doctor, &room, &format!("?limit=1{from}")).await?;
        paged.extend(ids(&page["chunk"]));
        match page["next_batch"].as_str() {
            Some(next) => from = format!("&from={next}"),
            None => break,
        }
    }
    ensure!(paged == expected, "{paged:?}");
    let own = threads(&doctor, &room, "?include=participated").await?;
    ensure!(ids(&own["chunk"]) == expected[..1], "{own}");
    let own = threads(&nurse, &room, "?include=participated&limit=1000").await?;
    ensure!(ids(&own["chunk"]) == expected, "{own}");
    Ok(())
}

#[tokio::test]
async fn threads_are_for_those_who_may_read_the_room() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, _, room) = together(&practice, "11").await?;
    let paramedic = raw::stranger(&practice, "paramedic").await?;
    let here = paramedic.get(&format!("v1/rooms/{room}/threads")).await?;
    let nowhere = paramedic.get("v1/rooms/!nowhere:localhost/threads").await?;
    ensure!(here.refused(403, "M_FORBIDDEN")? == nowhere.refused(403, "M_FORBIDDEN")?);
    let nobody = nurse.with_token(None);
    nobody
        .get(&format!("v1/rooms/{room}/threads"))
        .await?
        .refused(401, "M_MISSING_TOKEN")?;
    for query in ["?include=some", "?from=there", "?limit=many"] {
        nurse
            .get(&format!("v1/rooms/{room}/threads{query}"))
            .await?
            .refused(400, "M_INVALID_PARAM")?;
    }
    Ok(())
}

#[tokio::test]
async fn a_thread_is_shown_with_its_newest_reply_wherever_its_root_is() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let root = nurse.says(&room, "x").await?;
    refers(&nurse, &room, "m.thread", &root).await?;
    let reply = refers(&nurse, &room, "m.thread", &root).await?;
    let edit = refers(&nurse, &room, "m.replace", &reply).await?;
    let event = doctor.get(&format!("v3/rooms/{room}/event/{root}")).await?;
    let messages = doctor
        .get(&format!("v3/rooms/{room}/messages?dir=b&limit=100"))
        .await?
        .ok()?;
    let context = doctor
        .get(&format!("v3/rooms/{room}/context/{root}"))
        .await?
        .ok()?;
    let around = doctor
        .get(&format!("v3/rooms/{room}/context/{reply}"))
        .await?
        .ok()?;
    let filter = in_query(&json!({ "room": { "timeline": { "limit": 4 } } }).to_string());
    let first = doctor
        .get(&format!("v3/sync?timeout=0&filter={filter}"))
        .await?
        .ok()?;
    let told = &first["rooms"]["join"][&room]["timeline"]["events"];
    let list = threads(&doctor, &room, "").await?;
    for event in [
        &event.ok()?,
        event_of(&messages["chunk"], &root)?,
        &context["event"],
        event_of(&around["events_before"], &root)?,
        event_of(told, &root)?,
        event_of(&list["chunk"], &root)?,
    ] {
        let thread = &event["unsigned"]["m.relations"]["m.thread"];
        ensure!(thread["count"] == 2, "{event}");
        ensure!(thread["current_user_participated"] == false, "{event}");
        let latest = &thread["latest_event"];
        ensure!(latest["event_id"] == reply.as_str(), "{event}");
        ensure!(latest["room_id"] == room.as_str(), "{event}");
        let edited = &latest["unsigned"]["m.relations"]["m.replace"];
        ensure!(edited["event_id"] == edit.as_str(), "{event}");
    }
    let own = bundle(&nurse, &room, &root).await?;
    ensure!(
        own["m.thread"]["current_user_participated"] == true,
        "{own}"
    );
    // Who hears of everything as it happens puts it together by themselves.
    let since = text_at(&first, "next_batch")?;
    let root = nurse.says(&room, "x").await?;
    refers(&nurse, &room, "m.thread", &root).await?;
    let news = doctor.syncs(Some(&since)).await?;
    let told = &news["rooms"]["join"][&room]["timeline"]["events"];
    let unsigned = &event_of(told, &root)?["unsigned"];
    ensure!(unsigned.get("m.relations").is_none(), "{unsigned}");
    Ok(())
}

#[tokio::test]
async fn a_reply_that_is_redacted_no_longer_counts() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let root = nurse.says(&room, "x").await?;
    let other = nurse.says(&room, "x").await?;
    let first = refers(&doctor, &room, "m.thread", &root).await?;
    refers(&nurse, &room, "m.thread", &other).await?;
    let second = refers(&doctor, &room, "m.thread", &root).await?;
    ensure!(ids(&threads(&nurse, &room, "").await?["chunk"]) == [root.clone(), other.clone()]);
    redacts(&doctor, &room, &second).await?;
    let thread = bundle(&doctor, &room, &root).await?;
    ensure!(thread["m.thread"]["count"] == 1, "{thread}");
    ensure!(
        thread["m.thread"]["latest_event"]["event_id"] == first.as_str(),
        "{thread}"
    );
    ensure!(ids(&threads(&nurse, &room, "").await?["chunk"]) == [other.clone(), root.clone()]);
    redacts(&doctor, &room, &first).await?;
    ensure!(bundle(&doctor, &room, &root).await?.is_null());
    ensure!(ids(&threads(&nurse, &room, "").await?["chunk"]) == [other.as_str()]);
    let own = threads(&doctor, &room, "?include=participated").await?;
    ensure!(own["chunk"] == json!([]), "{own}");
    // A thread outlives its root.
    redacts(&nurse, &room, &other).await?;
    let list = threads(&nurse, &room, "").await?;
    ensure!(ids(&list["chunk"]) == [other], "{list}");
    ensure!(list["chunk"][0]["content"] == json!({}), "{list}");
    Ok(())
}

#[tokio::test]
async fn an_edit_is_shown_with_what_it_edits() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let event = nurse.says(&room, "x").await?;
    ensure!(bundle(&doctor, &room, &event).await?.is_null());
    let first = refers(&nurse, &room, "m.replace", &event).await?;
    let second = refers(&nurse, &room, "m.replace", &event).await?;
    // Nobody edits what another person said, and nobody edits an edit.
    refers(&doctor, &room, "m.replace", &event).await?;
    refers(&nurse, &room, "m.replace", &second).await?;
    let shown = bundle(&doctor, &room, &event).await?;
    let edit = &shown["m.replace"];
    ensure!(edit["event_id"] == second.as_str(), "{shown}");
    ensure!(edit["content"]["ciphertext"].is_string(), "{shown}");
    ensure!(bundle(&doctor, &room, &second).await?.is_null());
    redacts(&nurse, &room, &second).await?;
    let shown = bundle(&doctor, &room, &event).await?;
    ensure!(shown["m.replace"]["event_id"] == first.as_str(), "{shown}");
    redacts(&nurse, &room, &event).await?;
    ensure!(bundle(&doctor, &room, &event).await?.is_null());
    Ok(())
}

#[tokio::test]
async fn answers_to_a_poll_are_named_with_it() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let poll = doctor.says(&room, "x").await?;
    let mut answers = Vec::new();
    for who in [&nurse, &doctor] {
        answers.push(refers(who, &room, "m.reference", &poll).await?);
    }
    let shown = bundle(&nurse, &room, &poll).await?;
    ensure!(ids(&shown["m.reference"]["chunk"]) == answers, "{shown}");
    redacts(&nurse, &room, &answers[0]).await?;
    let shown = bundle(&nurse, &room, &poll).await?;
    ensure!(
        ids(&shown["m.reference"]["chunk"]) == answers[1..],
        "{shown}"
    );
    Ok(())
}

#[tokio::test]
async fn what_an_ignored_person_says_is_left_out() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let (mine, theirs) = (
        nurse.says(&room, "x").await?,
        doctor.says(&room, "x").await?,
    );
    let seen = refers(&nurse, &room, "m.thread", &mine).await?;
    let unseen = refers(&doctor, &room, "m.thread", &mine).await?;
    refers(&nurse, &room, "m.thread", &theirs).await?;
    refers(&doctor, &room, "m.reference", &mine).await?;
    ignores(&nurse, &doctor).await?;
    let shown = bundle(&nurse, &room, &mine).await?;
    ensure!(shown["m.thread"]["count"] == 1, "{shown}");
    ensure!(
        shown["m.thread"]["latest_event"]["event_id"] == seen.as_str(),
        "{shown}"
    );
    ensure!(shown.get("m.reference").is_none(), "{shown}");
    let list = threads(&nurse, &room, "").await?;
    ensure!(
        event_of(&list["chunk"], &theirs)?["content"] == json!({}),
        "{list}"
    );
    let messages = nurse
        .get(&format!("v3/rooms/{room}/messages?dir=b&limit=100"))
        .await?
        .ok()?;
    let read = ids(&messages["chunk"]);
    ensure!(read.contains(&seen) && !read.contains(&unseen), "{read:?}");
    let around = nurse
        .get(&format!("v3/rooms/{room}/context/{seen}?limit=20"))
        .await?
        .ok()?;
    ensure!(!ids(&around["events_after"]).contains(&unseen), "{around}");
    let related = nurse
        .get(&format!("v1/rooms/{room}/relations/{mine}"))
        .await?
        .ok()?;
    ensure!(ids(&related["chunk"]) == [seen], "{related}");
    // Others still see them.
    let shown = bundle(&doctor, &room, &mine).await?;
    ensure!(shown["m.thread"]["count"] == 2, "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_thread_does_not_begin_inside_another_one() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let root = nurse.says(&room, "x").await?;
    for how in ["m.thread", "m.replace", "m.reference"] {
        let reply = refers(&nurse, &room, how, &root).await?;
        refer(&doctor, &room, "m.thread", &reply)
            .await?
            .refused(400, "M_INVALID_PARAM")?;
    }
    // What is not in the room begins no thread.
    let other = doctor.makes_a_room(json!({})).await?;
    let elsewhere = doctor.says(&other, "x").await?;
    refers(&doctor, &room, "m.thread", &elsewhere).await?;
    let list = threads(&doctor, &room, "").await?;
    ensure!(ids(&list["chunk"]) == [root], "{list}");
    Ok(())
}

#[tokio::test]
async fn relations_are_paged_whatever_lies_between_them() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let root = nurse.says(&room, "x").await?;
    let mut edits = Vec::new();
    for n in 0..24 {
        let how = if n % 8 == 0 { "m.replace" } else { "m.thread" };
        let event = refers(&nurse, &room, how, &root).await?;
        if how == "m.replace" {
            edits.push(event);
        }
    }
    for dir in ["f", "b"] {
        let (mut found, mut from) = (Vec::new(), String::new());
        loop {
            let path =
                format!("v1/rooms/{room}/relations/{root}/m.replace?dir={dir}&limit=1{from}");
            let page = doctor.get(&path).await?.ok()?;
            ensure!(page.get("recursion_depth").is_none(), "{page}");
            found.extend(ids(&page["chunk"]));
            match page["next_batch"].as_str() {
                Some(next) => from = format!("&from={next}"),
                None => break,
            }
        }
        if dir == "b" {
            found.reverse();
        }
        ensure!(found == edits, "{dir}: {found:?}");
    }
    doctor
        .get(&format!("v1/rooms/{room}/relations/{root}?from=there"))
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    doctor
        .get(&format!("v1/rooms/{room}/relations/$nothing"))
        .await?
        .refused(404, "M_NOT_FOUND")?;
    Ok(())
}

#[tokio::test]
async fn relations_of_relations_are_found_on_request() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let root = nurse.says(&room, "x").await?;
    let reply = refers(&nurse, &room, "m.thread", &root).await?;
    let edit = refers(&nurse, &room, "m.replace", &reply).await?;
    let answer = refers(&doctor, &room, "m.reference", &edit).await?;
    let related = async |query: &str| -> Result<Value> {
        let path = format!("v1/rooms/{room}/relations/{root}{query}");
        doctor.get(&path).await?.ok()
    };
    ensure!(ids(&related("").await?["chunk"]) == [reply.as_str()]);
    let all = related("?recurse=true&dir=f").await?;
    ensure!(ids(&all["chunk"]) == [reply.clone(), edit.clone(), answer.clone()]);
    ensure!(all["recursion_depth"] == 3, "{all}");
    let edits = related("/m.replace?recurse=true").await?;
    ensure!(ids(&edits["chunk"]) == [edit.clone()], "{edits}");
    let first = related("?recurse=true&limit=2").await?;
    ensure!(ids(&first["chunk"]) == [answer, edit], "{first}");
    let next = text_at(&first, "next_batch")?;
    let rest = related(&format!("?recurse=true&limit=2&from={next}")).await?;
    ensure!(ids(&rest["chunk"]) == [reply], "{rest}");
    ensure!(rest.get("next_batch").is_none(), "{rest}");
    Ok(())
}
