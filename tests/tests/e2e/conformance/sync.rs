//! `/sync`: whole and by what is new, with filters, lazily loaded members, and waiting.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use respite_tests::{
    practice::Practice,
    raw::{self, Raw, in_query, text_at},
};
use serde_json::{Value, json};

use super::{ids, kinds, of_kind, together};

fn room_of<'a>(news: &'a Value, room: &str) -> &'a Value {
    &news["rooms"]["join"][room]
}

fn people(events: &Value) -> Vec<String> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut people: Vec<String> = events
        .iter()
        .filter(|event| event["type"] == "m.room.member")
        .filter_map(|event| event["state_key"].as_str())
        .map(str::to_owned)
        .collect();
    people.sort();
    people
}

#[tokio::test]
async fn what_is_new_comes_once_and_nothing_is_left_out() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let mut since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    let mut sent = Vec::new();
    let mut heard = Vec::new();
    for round in 0..10 {
        for _ in 0..round % 4 {
            sent.push(nurse.says(&room, "x").await?);
        }
        let news = doctor.syncs(Some(&since)).await?;
        heard.extend(ids(&room_of(&news, &room)["timeline"]["events"]));
        since = text_at(&news, "next_batch")?;
    }
    ensure!(heard == sent, "{heard:?} instead of {sent:?}");
    let news = doctor.syncs(Some(&since)).await?;
    ensure!(
        news["rooms"]["join"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty),
        "{news}"
    );
    Ok(())
}

#[tokio::test]
async fn a_gap_is_told_and_the_state_of_the_gap_comes_along() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    nurse
        .put(
            &format!("v3/rooms/{room}/state/m.room.guest_access"),
            json!({ "guest_access": "forbidden" }),
        )
        .await?
        .ok()?;
    let mut sent = Vec::new();
    for _ in 0..30 {
        sent.push(nurse.says(&room, "x").await?);
    }
    let filter = in_query(&json!({ "room": { "timeline": { "limit": 10 } } }).to_string());
    let news = doctor
        .get(&format!("v3/sync?timeout=0&since={since}&filter={filter}"))
        .await?
        .ok()?;
    let heard = room_of(&news, &room);
    ensure!(
        heard["timeline"]["limited"] == true && ids(&heard["timeline"]["events"]) == sent[20..],
        "{heard}"
    );
    ensure!(
        kinds(&heard["state"]["events"]) == ["m.room.guest_access"],
        "{heard}"
    );
    let before = text_at(&heard["timeline"], "prev_batch")?;
    let page = doctor
        .get(&format!(
            "v3/rooms/{room}/messages?dir=b&limit=21&from={before}"
        ))
        .await?
        .ok()?;
    ensure!(
        kinds(&page["chunk"])
            .last()
            .is_some_and(|kind| kind == "m.room.guest_access"),
        "{page}"
    );
    Ok(())
}

#[tokio::test]
async fn a_long_poll_waits_for_news_and_ends_without_any() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    let quiet = doctor
        .get(&format!("v3/sync?timeout=300&since={since}"))
        .await?
        .ok()?;
    ensure!(room_of(&quiet, &room).is_null(), "{quiet}");
    let since = text_at(&quiet, "next_batch")?;
    let waits = {
        let (doctor, path) = (
            doctor.clone(),
            format!("v3/sync?timeout=50000&since={since}"),
        );
        tokio::spawn(async move { doctor.get(&path).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    ensure!(!waits.is_finished(), "the long poll did not wait");
    let sent = nurse.says(&room, "x").await?;
    let news = tokio::time::timeout(Duration::from_secs(30), waits)
        .await???
        .ok()?;
    ensure!(
        ids(&room_of(&news, &room)["timeline"]["events"]) == [sent],
        "{news}"
    );
    Ok(())
}

#[tokio::test]
async fn whatever_concerns_one_ends_the_wait() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let tablet = Raw::log_in(practice.url(), "doctor", &doctor.password).await?;
    let event = nurse.says(&room, "x").await?;
    let mut since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    let olm =
        json!({ "messages": { doctor.user.as_str(): { doctor.device.as_str(): raw::olm("x")? } } });
    let marked = json!({ "unread": true });
    let room_data = format!(
        "v3/user/{}/rooms/{room}/account_data/m.marked_unread",
        doctor.user
    );
    let tag = format!("v3/user/{}/rooms/{room}/tags/m.favourite", doctor.user);
    for step in 0..7 {
        let waits = {
            let (doctor, path) = (
                doctor.clone(),
                format!("v3/sync?timeout=60000&since={since}"),
            );
            tokio::spawn(async move { doctor.get(&path).await })
        };
        tokio::time::sleep(Duration::from_millis(50)).await;
        match step {
            0 => {
                nurse
                    .put("v3/sendToDevice/m.room.encrypted/w1", olm.clone())
                    .await?
            }
            1 => tablet.put(&room_data, marked.clone()).await?,
            2 => tablet.put(&tag, json!({})).await?,
            3 => {
                nurse
                    .post(
                        &format!("v3/rooms/{room}/receipt/m.read/{event}"),
                        json!({}),
                    )
                    .await?
            }
            4 => {
                nurse
                    .put(
                        &format!("v3/rooms/{room}/typing/{}", nurse.user),
                        json!({ "typing": true, "timeout": 30_000 }),
                    )
                    .await?
            }
            5 => {
                nurse
                    .post("v3/createRoom", json!({ "invite": [doctor.user] }))
                    .await?
            }
            _ => {
                tablet
                    .put(
                        &format!("v3/user/{}/account_data/m.direct", doctor.user),
                        json!({ nurse.user.as_str(): [room] }),
                    )
                    .await?
            }
        }
        .ok()?;
        let news = tokio::time::timeout(Duration::from_secs(30), waits)
            .await
            .with_context(|| format!("step {step} was not heard"))???
            .ok()?;
        since = text_at(&news, "next_batch")?;
        let found = match step {
            0 => news["to_device"]["events"]
                .as_array()
                .is_some_and(|events| events.len() == 1),
            1 => of_kind(
                &room_of(&news, &room)["account_data"]["events"],
                "m.marked_unread",
            )
            .is_ok(),
            2 => of_kind(&room_of(&news, &room)["account_data"]["events"], "m.tag").is_ok(),
            3 => of_kind(&room_of(&news, &room)["ephemeral"]["events"], "m.receipt").is_ok(),
            4 => of_kind(&room_of(&news, &room)["ephemeral"]["events"], "m.typing").is_ok(),
            5 => news["rooms"]["invite"]
                .as_object()
                .is_some_and(|rooms| rooms.len() == 1),
            _ => of_kind(&news["account_data"]["events"], "m.direct").is_ok(),
        };
        ensure!(found, "step {step}: {news}");
    }
    Ok(())
}

#[tokio::test]
async fn filters_are_kept_and_say_what_comes() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    nurse.says(&room, "x").await?;
    doctor
        .put(
            &format!("v3/user/{}/account_data/m.direct", doctor.user),
            json!({ nurse.user.as_str(): [room] }),
        )
        .await?
        .ok()?;
    let filter = json!({
        "account_data": { "not_types": ["m.direct"] },
        "room": { "timeline": { "types": ["m.room.encrypted"], "limit": 20 }, "state": { "types": ["m.room.create"] }, "ephemeral": { "types": [] } },
    });
    let path = format!("v3/user/{}/filter", doctor.user);
    let id = text_at(
        &doctor.post(&path, filter.clone()).await?.ok()?,
        "filter_id",
    )?;
    ensure!(!id.starts_with('{'), "{id}");
    ensure!(doctor.get(&format!("{path}/{id}")).await?.ok()? == filter);
    doctor
        .get(&format!("{path}/nothing"))
        .await?
        .refused(404, "M_NOT_FOUND")?;
    for given in [id, in_query(&filter.to_string())] {
        let news = doctor
            .get(&format!("v3/sync?timeout=0&filter={given}"))
            .await?
            .ok()?;
        let heard = room_of(&news, &room);
        ensure!(
            kinds(&heard["timeline"]["events"]) == ["m.room.encrypted"],
            "{heard}"
        );
        ensure!(
            kinds(&heard["state"]["events"]) == ["m.room.create"],
            "{heard}"
        );
        ensure!(
            of_kind(&news["account_data"]["events"], "m.direct").is_err(),
            "{news}"
        );
        of_kind(&news["account_data"]["events"], "m.push_rules")?;
    }
    let none = in_query(&json!({ "room": { "rooms": [] } }).to_string());
    let news = doctor
        .get(&format!("v3/sync?timeout=0&filter={none}"))
        .await?
        .ok()?;
    ensure!(room_of(&news, &room).is_null(), "{news}");
    let fields = in_query(&json!({ "event_fields": ["type", "content.membership"] }).to_string());
    let news = doctor
        .get(&format!("v3/sync?timeout=0&filter={fields}"))
        .await?
        .ok()?;
    let events = &room_of(&news, &room)["timeline"]["events"];
    ensure!(
        events.as_array().is_some_and(|events| events
            .iter()
            .all(|event| event.get("sender").is_none() && event["type"].is_string())),
        "{events}"
    );
    Ok(())
}

#[tokio::test]
async fn members_who_are_loaded_lazily_are_those_who_wrote() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let mut others = Vec::new();
    for n in 0..9 {
        let other = raw::stranger(&practice, &format!("other{n}")).await?;
        nurse
            .post(
                &format!("v3/rooms/{room}/invite"),
                json!({ "user_id": other.user }),
            )
            .await?
            .ok()?;
        other.joins(&room).await?;
        others.push(other);
    }
    let mut last = String::new();
    for _ in 0..15 {
        last = nurse.says(&room, "x").await?;
    }
    others[8].says(&room, "x").await?;
    let filter = json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "lazy_load_members": true, "limit": 10 } } });
    let filter = in_query(&filter.to_string());
    let news = doctor
        .get(&format!("v3/sync?timeout=0&filter={filter}"))
        .await?
        .ok()?;
    let heard = room_of(&news, &room);
    ensure!(ids(&heard["timeline"]["events"]).contains(&last));
    ensure!(heard["summary"]["m.joined_member_count"] == 11, "{heard}");
    let heroes = heard["summary"]["m.heroes"]
        .as_array()
        .context("no heroes")?;
    ensure!(
        heroes.len() == 5 && !heroes.contains(&json!(doctor.user)),
        "{heroes:?}"
    );
    // Those who wrote, oneself, and those after whom the room is called; each once, and nobody else.
    let mut expected: Vec<String> = heroes
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    expected.extend([&others[8], &nurse, &doctor].map(|who| who.user.clone()));
    expected.sort();
    expected.dedup();
    let loaded = people(&heard["state"]["events"]);
    ensure!(loaded == expected, "{loaded:?} instead of {expected:?}");
    let since = text_at(&news, "next_batch")?;
    let silent = others
        .iter()
        .find(|other| !loaded.contains(&other.user))
        .context("everybody was loaded")?;
    silent.says(&room, "x").await?;
    let news = doctor
        .get(&format!("v3/sync?timeout=0&since={since}&filter={filter}"))
        .await?
        .ok()?;
    let told = |news: &Value| people(&room_of(news, &room)["state"]["events"]);
    ensure!(told(&news) == [silent.user.clone()], "{news}");
    // Once: whoever is known is not told of again, unless the client asks for that; another one is.
    let since = text_at(&news, "next_batch")?;
    silent.says(&room, "x").await?;
    others[8].says(&room, "x").await?;
    let again = async |filter: &str| {
        let path = format!("v3/sync?timeout=0&since={since}&filter={filter}");
        doctor.get(&path).await?.ok()
    };
    for _ in 0..2 {
        let news = again(&filter).await?;
        ensure!(told(&news).is_empty(), "{news}");
    }
    let redundant = json!({ "room": { "state": { "lazy_load_members": true, "include_redundant_members": true } } });
    let news = again(&in_query(&redundant.to_string())).await?;
    let mut both = vec![silent.user.clone(), others[8].user.clone()];
    both.sort();
    ensure!(told(&news) == both, "{news}");
    let leaves = format!("v3/rooms/{room}/leave");
    doctor.post(&leaves, json!({})).await?.ok()?;
    let left = text_at(&again(&filter).await?, "next_batch")?;
    let invite = json!({ "user_id": doctor.user });
    let invites = format!("v3/rooms/{room}/invite");
    nurse.post(&invites, invite).await?.ok()?;
    doctor.joins(&room).await?;
    silent.says(&room, "x").await?;
    // Who comes again knows nobody.
    let path = format!("v3/sync?timeout=0&since={left}&filter={filter}");
    let news = doctor.get(&path).await?.ok()?;
    ensure!(told(&news).contains(&silent.user), "{news}");
    let news = doctor
        .get(&format!("v3/sync?timeout=0&filter={}", in_query("{}")))
        .await?
        .ok()?;
    let heard = room_of(&news, &room);
    let all: Vec<String> = people(&heard["state"]["events"])
        .into_iter()
        .chain(people(&heard["timeline"]["events"]))
        .collect();
    ensure!(
        others.iter().all(|other| all.contains(&other.user)),
        "{heard}"
    );
    Ok(())
}

#[tokio::test]
async fn whoever_wants_no_timeline_is_told_that_there_is_one() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let filter = json!({ "room": { "timeline": { "limit": 0 } } });
    let filter = in_query(&filter.to_string());
    let hears = async |since: Option<&str>| {
        let since = since.map_or(String::new(), |since| format!("&since={since}"));
        let path = format!("v3/sync?timeout=0&filter={filter}{since}");
        doctor.get(&path).await?.ok()
    };
    let news = hears(None).await?;
    let told = room_of(&news, &room);
    ensure!(
        told["timeline"]["limited"] == true && ids(&told["timeline"]["events"]).is_empty(),
        "{told}"
    );
    ensure!(
        kinds(&told["state"]["events"]).contains(&"m.room.create".to_owned()),
        "{told}"
    );
    let said = nurse.says(&room, "x").await?;
    let path = format!("v3/rooms/{room}/state/m.room.join_rules");
    let state = nurse.put(&path, json!({ "join_rule": "public" })).await?;
    let state = text_at(&state.ok()?, "event_id")?;
    let news = hears(Some(&text_at(&news, "next_batch")?)).await?;
    let told = room_of(&news, &room);
    ensure!(
        told["timeline"]["limited"] == true && ids(&told["timeline"]["events"]).is_empty(),
        "{told}"
    );
    ensure!(ids(&told["state"]["events"]) == [state.clone()], "{told}");
    let from = text_at(&told["timeline"], "prev_batch")?;
    let path = format!("v3/rooms/{room}/messages?dir=b&limit=2&from={from}");
    let before = doctor.get(&path).await?.ok()?;
    ensure!(ids(&before["chunk"]) == [state, said], "{before}");
    Ok(())
}

#[tokio::test]
async fn a_full_state_is_the_whole_of_it_again() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, doctor, room) = together(&practice, "11").await?;
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    let news = doctor
        .get(&format!(
            "v3/sync?timeout=30000&since={since}&full_state=true"
        ))
        .await?
        .ok()?;
    let state = kinds(&room_of(&news, &room)["state"]["events"]);
    ensure!(
        state.iter().any(|kind| kind == "m.room.create")
            && state.iter().filter(|kind| *kind == "m.room.member").count() == 2,
        "{news}"
    );
    Ok(())
}

#[tokio::test]
async fn a_room_that_one_joins_comes_whole() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = super::two(&practice).await?;
    let room = nurse
        .makes_a_room(json!({ "invite": [doctor.user] }))
        .await?;
    for _ in 0..30 {
        nurse.says(&room, "x").await?;
    }
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    doctor.joins(&room).await?;
    let last = nurse.says(&room, "welcome").await?;
    let news = doctor.syncs(Some(&since)).await?;
    let heard = room_of(&news, &room);
    ensure!(
        ids(&heard["timeline"]["events"]).last() == Some(&last),
        "{heard}"
    );
    let state = kinds(&heard["state"]["events"]);
    for kind in [
        "m.room.create",
        "m.room.power_levels",
        "m.room.encryption",
        "m.room.member",
    ] {
        ensure!(
            state.iter().any(|found| found == kind),
            "no {kind} in {state:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn whoever_comes_into_a_therapy_room_knows_all_of_its_settings() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let now = therapist.get(&format!("v3/rooms/{room}/state")).await?;
    let mut now: Vec<_> = ids(&now.ok()?);
    now.sort();
    for (limit, lazy) in [(1, true), (3, false), (20, true), (20, false)] {
        let filter = json!({ "room": {
            "timeline": { "limit": limit }, "state": { "lazy_load_members": lazy },
        } });
        let path = format!("v3/sync?filter={}", in_query(&filter.to_string()));
        let heard = nurse.get(&path).await?.ok()?;
        let heard = room_of(&heard, &room);
        // What was set before she was invited is no event that she may read, but it holds for her too.
        let mut known = ids(&heard["state"]["events"]);
        known.extend(ids(&heard["timeline"]["events"]));
        known.sort();
        known.dedup();
        let missing: Vec<_> = now.iter().filter(|id| !known.contains(id)).collect();
        ensure!(missing.is_empty(), "with {filter} {missing:?} of {heard}");
    }
    Ok(())
}
