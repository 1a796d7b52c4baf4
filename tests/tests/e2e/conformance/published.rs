//! The published room directory: what is in it, page by page, and who puts rooms there.

use anyhow::{Context, Result, ensure};
use respite_server::config::Scope;
use respite_tests::{
    practice::Practice,
    raw::{self, Raw, text_at},
};
use serde_json::{Value, json};

use super::{together, two};

fn rooms(answer: &Value) -> Vec<&str> {
    let chunk = answer["chunk"].as_array().map(Vec::as_slice);
    chunk
        .unwrap_or_default()
        .iter()
        .filter_map(|room| room["room_id"].as_str())
        .collect()
}

async fn shown(who: &Raw) -> Result<Value> {
    who.get("v3/publicRooms").await?.ok()
}

#[tokio::test]
async fn a_room_is_in_the_directory_when_its_moderator_puts_it_there() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let stranger = raw::stranger(&practice, "stranger").await?;
    let nobody = Raw::nobody(practice.url())?;
    let path = format!("v3/directory/list/room/{room}");
    ensure!(nurse.get(&path).await?.ok()? == json!({ "visibility": "private" }));
    ensure!(rooms(&shown(&stranger).await?).is_empty());
    // Those outside learn nothing of a room that is not there for them.
    for unknown in [path.as_str(), "v3/directory/list/room/!nowhere:localhost"] {
        for who in [&stranger, &nobody] {
            who.get(unknown).await?.refused(404, "M_NOT_FOUND")?;
        }
        stranger
            .put(unknown, json!({ "visibility": "public" }))
            .await?
            .refused(404, "M_NOT_FOUND")?;
    }
    doctor
        .put(&path, json!({ "visibility": "public" }))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    nobody
        .put(&path, json!({ "visibility": "public" }))
        .await?
        .refused(401, "M_MISSING_TOKEN")?;
    nurse
        .put(&path, json!({ "visibility": "secret" }))
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    for _ in 0..2 {
        nurse.put(&path, json!({})).await?.ok()?;
    }
    ensure!(nobody.get(&path).await?.ok()? == json!({ "visibility": "public" }));
    let found = shown(&nobody).await?;
    let expected = json!({
        "room_id": room, "num_joined_members": 2, "world_readable": false, "guest_can_join": true, "join_rule": "invite",
    });
    ensure!(found["chunk"] == json!([expected]), "{found}");
    ensure!(found["total_room_count_estimate"] == 1, "{found}");
    ensure!(
        found.get("next_batch").is_none() && found.get("prev_batch").is_none(),
        "{found}"
    );
    nurse
        .put(&path, json!({ "visibility": "private" }))
        .await?
        .ok()?;
    ensure!(rooms(&shown(&nobody).await?).is_empty());
    Ok(())
}

#[tokio::test]
async fn the_directory_comes_page_by_page_the_largest_room_first() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let mut made = Vec::new();
    for number in 1..=5 {
        let body = json!({ "visibility": "public", "room_alias_name": format!("room-{number}") });
        made.push(nurse.makes_a_room(body).await?);
    }
    let largest = made.last().context("no room")?;
    doctor.joins(largest).await?;
    let mut seen = Vec::new();
    let mut page = nurse.get("v3/publicRooms?limit=2").await?.ok()?;
    ensure!(rooms(&page).first() == Some(&largest.as_str()), "{page}");
    ensure!(
        page["chunk"][0]["canonical_alias"] == "#room-5:localhost",
        "{page}"
    );
    loop {
        seen.extend(rooms(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next_batch"].as_str() else {
            break;
        };
        let body = json!({ "limit": 2, "since": next });
        page = nurse.post("v3/publicRooms", body).await?.ok()?;
        ensure!(rooms(&page).len() <= 2, "{page}");
    }
    let mut all = made.clone();
    seen.sort();
    all.sort();
    ensure!(seen == all, "{seen:?} instead of {all:?}");
    let back = text_at(&page, "prev_batch")?;
    let before = nurse
        .get(&format!("v3/publicRooms?limit=2&since={back}"))
        .await?
        .ok()?;
    ensure!(
        rooms(&before).len() == 2 && before["prev_batch"].is_string(),
        "{before}"
    );
    for since in ["x", "p", "p-1", "p99999999999999999999"] {
        nurse
            .get(&format!("v3/publicRooms?since={since}"))
            .await?
            .refused(400, "M_INVALID_PARAM")?;
    }
    nurse
        .get("v3/publicRooms?limit=many")
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    Ok(())
}

#[tokio::test]
async fn a_search_finds_rooms_by_address_and_type_and_beside_the_gate_by_name() -> Result<()> {
    let practice = Practice::open_with(|config| config.gate.scope = Scope::TherapyRooms).await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let public = |more: Value| {
        let mut body = json!({ "visibility": "public" });
        body.as_object_mut()
            .into_iter()
            .for_each(|body| body.extend(more.as_object().cloned().unwrap_or_default()));
        body
    };
    let night = nurse
        .makes_a_room(public(
            json!({ "name": "Night Shift", "topic": "who is awake" }),
        ))
        .await?;
    let space = nurse
        .makes_a_room(public(
            json!({ "room_alias_name": "space-3", "creation_content": { "type": "m.space" } }),
        ))
        .await?;
    let found = async |filter: Value| -> Result<Vec<String>> {
        let answer = nurse
            .post("v3/publicRooms", json!({ "filter": filter }))
            .await?
            .ok()?;
        Ok(rooms(&answer).into_iter().map(str::to_owned).collect())
    };
    ensure!(
        found(json!({ "generic_search_term": "nIGHT" })).await? == std::slice::from_ref(&night)
    );
    ensure!(
        found(json!({ "generic_search_term": "awake" })).await? == std::slice::from_ref(&night)
    );
    ensure!(
        found(json!({ "generic_search_term": "space-" })).await? == std::slice::from_ref(&space)
    );
    ensure!(
        found(json!({ "generic_search_term": "nothing" }))
            .await?
            .is_empty()
    );
    ensure!(found(json!({ "room_types": ["m.space"] })).await? == std::slice::from_ref(&space));
    ensure!(found(json!({ "room_types": [null] })).await? == std::slice::from_ref(&night));
    ensure!(
        found(json!({ "room_types": [null, "m.space"] }))
            .await?
            .len()
            == 2
    );
    let answer = shown(&nurse).await?;
    let chunk = answer["chunk"].as_array().context("no rooms")?;
    let named = chunk
        .iter()
        .find(|room| room["room_id"] == night)
        .context("not there")?;
    ensure!(
        named["name"] == "Night Shift"
            && named["topic"] == "who is awake"
            && named.get("join_rule").is_none_or(|rule| rule == "public"),
        "{named}"
    );
    Ok(())
}

#[tokio::test]
async fn only_this_servers_rooms_are_known_here() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    nurse
        .makes_a_room(json!({ "visibility": "public" }))
        .await?;
    ensure!(rooms(&nurse.get("v3/publicRooms?server=localhost").await?.ok()?).len() == 1);
    nurse
        .get("v3/publicRooms?server=elsewhere.example")
        .await?
        .refused(404, "M_NOT_FOUND")?;
    nurse
        .post("v3/publicRooms?server=elsewhere.example", json!({}))
        .await?
        .refused(404, "M_NOT_FOUND")?;
    let other = json!({ "third_party_instance_id": "irc-example" });
    ensure!(rooms(&nurse.post("v3/publicRooms", other).await?.ok()?).is_empty());
    let nobody = Raw::nobody(practice.url())?;
    nobody
        .post("v3/publicRooms", json!({}))
        .await?
        .refused(401, "M_MISSING_TOKEN")?;
    Ok(())
}

#[tokio::test]
async fn what_rooms_are_called_is_not_in_the_directory_of_a_guarded_server() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    nurse
        .makes_a_room(json!({ "visibility": "public", "name": "Grief", "topic": "Grief" }))
        .await?;
    let found = shown(&nurse).await?;
    ensure!(
        rooms(&found).len() == 1 && !found.to_string().contains("Grief"),
        "{found}"
    );
    Ok(())
}
