//! Spaces and what a room is for those who are not in it.

use anyhow::{Result, ensure};
use respite_tests::{
    practice::Practice,
    raw::{self, Raw},
};
use serde_json::{Value, json};

use super::two;

async fn makes_a_space(who: &Raw) -> Result<String> {
    who.makes_a_room(json!({ "creation_content": { "type": "m.space" } }))
        .await
}

async fn lists(who: &Raw, space: &str, room: &str, content: Value) -> Result<()> {
    who.put(
        &format!("v3/rooms/{space}/state/m.space.child/{room}"),
        content,
    )
    .await?
    .ok()?;
    Ok(())
}

fn via() -> Value {
    json!({ "via": ["localhost"] })
}

async fn tree(who: &Raw, space: &str, query: &str) -> Result<Value> {
    who.get(&format!("v1/rooms/{space}/hierarchy{query}"))
        .await?
        .ok()
}

fn rooms(tree: &Value) -> Vec<String> {
    let rooms = tree["rooms"].as_array().map(Vec::as_slice);
    rooms
        .unwrap_or_default()
        .iter()
        .filter_map(|room| room["room_id"].as_str())
        .map(str::to_owned)
        .collect()
}

/// A room open to whoever is in another one.
async fn restricted_to(who: &Raw, room: &str) -> Result<String> {
    let rules = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": room }] });
    who.makes_a_room(json!({
        "initial_state": [{ "type": "m.room.join_rules", "state_key": "", "content": rules }],
    }))
    .await
}

async fn public(who: &Raw) -> Result<String> {
    who.makes_a_room(json!({ "preset": "public_chat" })).await
}

#[tokio::test]
async fn a_space_is_walked_each_room_before_those_in_it() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, _) = two(&practice).await?;
    let (space, below) = (makes_a_space(&nurse).await?, makes_a_space(&nurse).await?);
    let (one, two, three) = (
        public(&nurse).await?,
        public(&nurse).await?,
        public(&nurse).await?,
    );
    lists(&nurse, &space, &one, via()).await?;
    lists(&nurse, &space, &below, via()).await?;
    lists(&nurse, &space, &two, via()).await?;
    lists(&nurse, &below, &three, via()).await?;
    // A space may list itself and what lists it; each room is told of once.
    lists(&nurse, &below, &space, via()).await?;
    lists(&nurse, &below, &one, via()).await?;
    let expected = [&space, &one, &below, &three, &two].map(Clone::clone);
    let whole = tree(&nurse, &space, "").await?;
    ensure!(rooms(&whole) == expected, "{whole}");
    ensure!(whole.get("next_batch").is_none(), "{whole}");
    let first = &whole["rooms"][0];
    ensure!(
        first["room_type"] == "m.space"
            && first["num_joined_members"] == 1
            && first["join_rule"] == "invite"
            && first["world_readable"] == false
            && first["encryption"] == "m.megolm.v1.aes-sha2"
            && first["room_version"].is_string(),
        "{first}"
    );
    let children = first["children_state"].as_array().map_or(0, Vec::len);
    ensure!(children == 3, "{first}");
    let child = &first["children_state"][0];
    ensure!(
        child["type"] == "m.space.child"
            && child["sender"] == nurse.user
            && child["origin_server_ts"].is_u64()
            && child["content"]["via"] == json!(["localhost"]),
        "{child}"
    );
    ensure!(whole["rooms"][1]["children_state"] == json!([]), "{whole}");
    let (mut paged, mut from) = (Vec::new(), String::new());
    for _ in 0..9 {
        let page = tree(&nurse, &space, &format!("?limit=2{from}")).await?;
        paged.extend(rooms(&page));
        match page["next_batch"].as_str() {
            Some(next) => from = format!("&from={next}"),
            None => break,
        }
    }
    ensure!(paged == expected, "{paged:?}");
    ensure!(rooms(&tree(&nurse, &space, "?max_depth=0").await?) == expected[..1]);
    let shallow = rooms(&tree(&nurse, &space, "?max_depth=1").await?);
    ensure!(shallow == [&space, &one, &below, &two].map(Clone::clone));
    // What is taken off the list is gone from it.
    lists(&nurse, &space, &two, json!({})).await?;
    ensure!(rooms(&tree(&nurse, &space, "").await?) == expected[..4]);
    Ok(())
}

#[tokio::test]
async fn suggested_rooms_can_be_asked_for_alone() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, _) = two(&practice).await?;
    let space = makes_a_space(&nurse).await?;
    let (one, two) = (public(&nurse).await?, public(&nurse).await?);
    lists(&nurse, &space, &one, via()).await?;
    lists(
        &nurse,
        &space,
        &two,
        json!({ "via": ["localhost"], "suggested": true }),
    )
    .await?;
    let some = tree(&nurse, &space, "?suggested_only=true").await?;
    ensure!(rooms(&some) == [space.clone(), two], "{some}");
    let children = some["rooms"][0]["children_state"].as_array();
    ensure!(children.is_some_and(|list| list.len() == 1), "{some}");
    let first = tree(&nurse, &space, "?suggested_only=true&limit=1&max_depth=3").await?;
    let next = first["next_batch"].as_str().unwrap_or_default();
    for query in [
        format!("?limit=1&max_depth=3&from={next}"),
        format!("?suggested_only=true&limit=1&max_depth=2&from={next}"),
        "?from=there".to_owned(),
        "?limit=0".to_owned(),
        "?max_depth=-1".to_owned(),
    ] {
        nurse
            .get(&format!("v1/rooms/{space}/hierarchy{query}"))
            .await?
            .refused(400, "M_INVALID_PARAM")?;
    }
    Ok(())
}

#[tokio::test]
async fn a_space_shows_only_the_rooms_that_one_could_enter_or_read() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let paramedic = raw::stranger(&practice, "paramedic").await?;
    let space = makes_a_space(&nurse).await?;
    let closed = nurse.makes_a_room(json!({})).await?;
    let members = restricted_to(&nurse, &space).await?;
    let others = restricted_to(&nurse, &closed).await?;
    let knockable = nurse
        .makes_a_room(json!({
            "initial_state": [{ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } }],
        }))
        .await?;
    let readable = nurse
        .makes_a_room(json!({
            "initial_state": [{ "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": "world_readable" } }],
        }))
        .await?;
    let invited = nurse
        .makes_a_room(json!({ "invite": [doctor.user] }))
        .await?;
    for room in [&closed, &members, &others, &knockable, &readable, &invited] {
        lists(&nurse, &space, room, via()).await?;
    }
    nurse
        .post(
            &format!("v3/rooms/{space}/invite"),
            json!({ "user_id": doctor.user }),
        )
        .await?
        .ok()?;
    doctor.joins(&space).await?;
    let seen = tree(&doctor, &space, "").await?;
    let expected = [&space, &members, &knockable, &readable, &invited].map(Clone::clone);
    ensure!(rooms(&seen) == expected, "{seen}");
    ensure!(
        seen["rooms"][1]["join_rule"] == "restricted"
            && seen["rooms"][1]["allowed_room_ids"] == json!([space]),
        "{seen}"
    );
    doctor.joins(&members).await?;
    doctor
        .post(&format!("v3/rooms/{others}/join"), json!({}))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    let here = paramedic
        .get(&format!("v1/rooms/{space}/hierarchy"))
        .await?;
    let nowhere = paramedic
        .get("v1/rooms/!nowhere:localhost/hierarchy")
        .await?;
    ensure!(here.refused(403, "M_FORBIDDEN")? == nowhere.refused(403, "M_FORBIDDEN")?);
    Ok(())
}

#[tokio::test]
async fn a_room_open_to_members_of_another_can_be_knocked_at_too() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let paramedic = raw::stranger(&practice, "paramedic").await?;
    let hall = public(&nurse).await?;
    let rules = json!({ "join_rule": "knock_restricted", "allow": [{ "type": "m.room_membership", "room_id": hall }] });
    let room = nurse
        .makes_a_room(json!({
            "initial_state": [{ "type": "m.room.join_rules", "state_key": "", "content": rules }],
        }))
        .await?;
    doctor.joins(&hall).await?;
    doctor.joins(&room).await?;
    paramedic
        .post(&format!("v3/rooms/{room}/join"), json!({}))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    paramedic
        .post(&format!("v3/knock/{room}"), json!({}))
        .await?
        .ok()?;
    nurse
        .post(
            &format!("v3/rooms/{room}/invite"),
            json!({ "user_id": paramedic.user }),
        )
        .await?
        .ok()?;
    paramedic.joins(&room).await
}

#[tokio::test]
async fn a_room_is_summed_up_for_those_to_whom_it_is_open() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let open = nurse
        .makes_a_room(json!({ "preset": "public_chat", "room_version": "11" }))
        .await?;
    let summary = doctor.get(&format!("v1/room_summary/{open}")).await?.ok()?;
    // Without a join rule, a room is public.
    let expected = json!({
        "room_id": open, "num_joined_members": 1, "world_readable": false, "guest_can_join": false, "encryption": "m.megolm.v1.aes-sha2", "room_version": "11",
        "membership": "leave",
    });
    ensure!(summary == expected, "{summary}");
    doctor.joins(&open).await?;
    let summary = doctor.get(&format!("v1/room_summary/{open}")).await?.ok()?;
    ensure!(
        summary["membership"] == "join" && summary["num_joined_members"] == 2,
        "{summary}"
    );
    let closed = nurse.makes_a_room(json!({})).await?;
    let here = doctor.get(&format!("v1/room_summary/{closed}")).await?;
    let nowhere = doctor.get("v1/room_summary/!nowhere:localhost").await?;
    ensure!(here.refused(404, "M_NOT_FOUND")? == nowhere.refused(404, "M_NOT_FOUND")?);
    doctor
        .get("v1/room_summary/%23nowhere:localhost")
        .await?
        .refused(404, "M_NOT_FOUND")?;
    nurse
        .post(
            &format!("v3/rooms/{closed}/invite"),
            json!({ "user_id": doctor.user }),
        )
        .await?
        .ok()?;
    let invited = doctor
        .get(&format!("v1/room_summary/{closed}"))
        .await?
        .ok()?;
    ensure!(invited["membership"] == "invite", "{invited}");
    doctor
        .with_token(None)
        .get(&format!("v1/room_summary/{open}"))
        .await?
        .refused(401, "M_MISSING_TOKEN")?;
    doctor
        .get("v1/room_summary/nonsense")
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    Ok(())
}
