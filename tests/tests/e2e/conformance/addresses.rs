//! Addresses of rooms: giving, looking up, taking, and those that a room says it goes by.

use anyhow::{Result, ensure};
use respite_server::config::Scope;
use respite_tests::{
    practice::Practice,
    raw::{self, Raw, in_query, text_at},
};
use serde_json::{Value, json};

use super::{of_kind, together, two};

fn at(address: &str) -> String {
    format!("v3/directory/room/{}", in_query(address))
}

async fn gives(who: &Raw, address: &str, room: &str) -> Result<()> {
    who.put(&at(address), json!({ "room_id": room }))
        .await?
        .ok()
        .map(drop)
}

async fn addresses(who: &Raw, room: &str) -> Result<Value> {
    Ok(who.get(&format!("v3/rooms/{room}/aliases")).await?.ok()?["aliases"].clone())
}

/// The addresses that the room says it goes by; null if it says none.
async fn goes_by(who: &Raw, room: &str) -> Result<Value> {
    let path = format!("v3/rooms/{room}/state/m.room.canonical_alias");
    Ok(who.get(&path).await?.body)
}

#[tokio::test]
async fn an_address_leads_to_its_room_until_it_is_taken_away() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let nobody = Raw::nobody(practice.url())?;
    nobody
        .get(&at("#room-12:localhost"))
        .await?
        .refused(404, "M_NOT_FOUND")?;
    gives(&nurse, "#room-12:localhost", &room).await?;
    gives(&doctor, "#7:localhost", &room).await?;
    let found = nobody.get(&at("#room-12:localhost")).await?.ok()?;
    ensure!(
        found == json!({ "room_id": room, "servers": ["localhost"] }),
        "{found}"
    );
    ensure!(addresses(&doctor, &room).await? == json!(["#room-12:localhost", "#7:localhost"]));
    doctor
        .put(&at("#room-12:localhost"), json!({ "room_id": room }))
        .await?
        .refused(409, "M_UNKNOWN")?;
    nurse.delete(&at("#room-12:localhost")).await?.ok()?;
    nurse
        .delete(&at("#room-12:localhost"))
        .await?
        .refused(404, "M_NOT_FOUND")?;
    ensure!(addresses(&nurse, &room).await? == json!(["#7:localhost"]));
    Ok(())
}

#[tokio::test]
async fn one_comes_in_by_an_address() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let body = json!({ "preset": "public_chat", "room_alias_name": "lobby" });
    let room = nurse.makes_a_room(body.clone()).await?;
    ensure!(goes_by(&nurse, &room).await? == json!({ "alias": "#lobby:localhost" }));
    let came = doctor
        .post(
            &format!("v3/join/{}", in_query("#lobby:localhost")),
            json!({}),
        )
        .await?
        .ok()?;
    ensure!(came["room_id"] == room, "{came}");
    doctor
        .post(
            &format!("v3/join/{}", in_query("#lobby-2:localhost")),
            json!({}),
        )
        .await?
        .refused(404, "M_NOT_FOUND")?;
    doctor
        .post(
            &format!("v3/knock/{}", in_query("#lobby:elsewhere.example")),
            json!({}),
        )
        .await?
        .refused(404, "M_NOT_FOUND")?;
    nurse
        .post("v3/createRoom", body)
        .await?
        .refused(400, "M_ROOM_IN_USE")?;
    Ok(())
}

#[tokio::test]
async fn only_people_in_a_room_give_it_addresses_and_only_givers_and_moderators_take_them()
-> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let stranger = raw::stranger(&practice, "stranger").await?;
    for room in [room.as_str(), "!nowhere:localhost"] {
        stranger
            .put(&at("#room-1:localhost"), json!({ "room_id": room }))
            .await?
            .refused(403, "M_FORBIDDEN")?;
        stranger
            .get(&format!("v3/rooms/{room}/aliases"))
            .await?
            .refused(403, "M_FORBIDDEN")?;
    }
    let nobody = Raw::nobody(practice.url())?;
    nobody
        .put(&at("#room-1:localhost"), json!({ "room_id": room }))
        .await?
        .refused(401, "M_MISSING_TOKEN")?;
    gives(&nurse, "#room-1:localhost", &room).await?;
    gives(&doctor, "#room-2:localhost", &room).await?;
    for other in [&doctor, &stranger] {
        other
            .delete(&at("#room-1:localhost"))
            .await?
            .refused(403, "M_FORBIDDEN")?;
    }
    // The nurse moderates the room; the doctor takes back what the doctor gave, even from outside.
    nurse.delete(&at("#room-2:localhost")).await?.ok()?;
    gives(&doctor, "#room-3:localhost", &room).await?;
    doctor
        .post(&format!("v3/rooms/{room}/leave"), json!({}))
        .await?
        .ok()?;
    doctor.delete(&at("#room-3:localhost")).await?.ok()?;
    ensure!(addresses(&nurse, &room).await? == json!(["#room-1:localhost"]));
    let open = json!({ "history_visibility": "world_readable" });
    nurse
        .put(
            &format!("v3/rooms/{room}/state/m.room.history_visibility"),
            open,
        )
        .await?
        .ok()?;
    ensure!(addresses(&stranger, &room).await? == json!(["#room-1:localhost"]));
    Ok(())
}

#[tokio::test]
async fn what_is_no_address_or_says_something_is_refused() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let room = nurse.makes_a_room(json!({})).await?;
    let body = json!({ "room_id": room });
    for address in [
        "room-1",
        "#room-1",
        "#:localhost",
        "#room-1:elsewhere.example",
        "!room-1:localhost",
    ] {
        nurse
            .put(&at(address), body.clone())
            .await?
            .refused(400, "M_INVALID_PARAM")
            .map_err(|error| error.context(address))?;
    }
    for address in [
        "#grief:localhost",
        "#grief-1:localhost",
        "#room-1-grief:localhost",
        "#12345678:localhost",
    ] {
        nurse
            .put(&at(address), body.clone())
            .await?
            .refused(403, "M_FORBIDDEN")
            .map_err(|error| error.context(address))?;
        nurse.get(&at(address)).await?.refused(404, "M_NOT_FOUND")?;
    }
    nurse
        .put(&at("#room-1:localhost"), json!({}))
        .await?
        .refused(400, "M_BAD_JSON")?;
    nurse
        .post(
            "v3/createRoom",
            json!({ "room_alias_name": "#room-1:localhost" }),
        )
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    Ok(())
}

#[tokio::test]
async fn a_room_has_so_many_addresses_and_no_more() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let room = nurse.makes_a_room(json!({})).await?;
    for number in 0..32 {
        gives(&nurse, &format!("#{number}:localhost"), &room).await?;
    }
    nurse
        .put(&at("#32:localhost"), json!({ "room_id": room }))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    nurse.delete(&at("#31:localhost")).await?.ok()?;
    gives(&nurse, "#32:localhost", &room).await
}

#[tokio::test]
async fn a_room_goes_only_by_addresses_that_lead_to_it() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let other = nurse
        .makes_a_room(json!({ "room_alias_name": "room-9" }))
        .await?;
    gives(&nurse, "#room-1:localhost", &room).await?;
    gives(&doctor, "#room-2:localhost", &room).await?;
    let path = format!("v3/rooms/{room}/state/m.room.canonical_alias");
    for elsewhere in [
        "#room-9:localhost",
        "#room-8:localhost",
        "#room-1:elsewhere.example",
    ] {
        for content in [
            json!({ "alias": elsewhere }),
            json!({ "alt_aliases": [elsewhere] }),
        ] {
            nurse
                .put(&path, content)
                .await?
                .refused(400, "M_BAD_ALIAS")
                .map_err(|error| error.context(elsewhere))?;
        }
    }
    let both = json!({ "alias": "#room-1:localhost", "alt_aliases": ["#room-2:localhost"] });
    doctor
        .put(&path, both.clone())
        .await?
        .refused(403, "M_FORBIDDEN")?;
    nurse.put(&path, both.clone()).await?.ok()?;
    ensure!(goes_by(&doctor, &room).await? == both);
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    // Who takes an address away and may say so makes the room go by it no longer; who may not only takes it away.
    doctor.delete(&at("#room-2:localhost")).await?.ok()?;
    ensure!(goes_by(&doctor, &room).await? == both);
    nurse.delete(&at("#room-1:localhost")).await?.ok()?;
    let left = json!({ "alt_aliases": ["#room-2:localhost"] });
    ensure!(goes_by(&doctor, &room).await? == left);
    let news = doctor.syncs(Some(&since)).await?;
    let told = of_kind(
        &news["rooms"]["join"][&room]["timeline"]["events"],
        "m.room.canonical_alias",
    )?;
    ensure!(
        told["content"] == left && told["sender"] == nurse.user,
        "{told}"
    );
    // What was there before may stay, although it leads nowhere by now.
    nurse.put(&path, left).await?.ok()?;
    nurse.put(&path, json!({})).await?.ok()?;
    ensure!(addresses(&nurse, &other).await? == json!(["#room-9:localhost"]));
    let state = json!([{ "type": "m.room.canonical_alias", "state_key": "", "content": { "alias": "#room-9:localhost" } }]);
    nurse
        .post("v3/createRoom", json!({ "initial_state": state }))
        .await?
        .refused(400, "M_BAD_ALIAS")?;
    Ok(())
}

#[tokio::test]
async fn the_address_of_a_deleted_room_leads_nowhere_and_is_free() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let room = nurse
        .makes_a_room(json!({ "room_alias_name": "room-1", "visibility": "public" }))
        .await?;
    for what in ["leave", "forget"] {
        nurse
            .post(&format!("v3/rooms/{room}/{what}"), json!({}))
            .await?
            .ok()?;
    }
    nurse
        .get(&at("#room-1:localhost"))
        .await?
        .refused(404, "M_NOT_FOUND")?;
    ensure!(nurse.get("v3/publicRooms").await?.ok()?["chunk"] == json!([]));
    nurse
        .makes_a_room(json!({ "room_alias_name": "room-1" }))
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_therapy_room_has_no_address() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, _, room) = raw::therapist_and_nurse(&practice).await?;
    therapist
        .put(&at("#room-1:localhost"), json!({ "room_id": room }))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    therapist
        .put(&format!("v3/directory/list/room/{room}"), json!({}))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    Ok(())
}

#[tokio::test]
async fn beside_the_gate_an_address_is_what_people_like() -> Result<()> {
    let practice = Practice::open_with(|config| config.gate.scope = Scope::TherapyRooms).await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let room = nurse
        .makes_a_room(json!({ "room_alias_name": "Nachtdienst_é", "name": "Night shift" }))
        .await?;
    gives(&nurse, "#night-shift:localhost", &room).await?;
    let found = nurse.get(&at("#Nachtdienst_é:localhost")).await?.ok()?;
    ensure!(found["room_id"] == room, "{found}");
    nurse
        .put(&at("#night shift:localhost"), json!({ "room_id": room }))
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    let long = format!("#{}:localhost", "n".repeat(250));
    nurse
        .put(&at(&long), json!({ "room_id": room }))
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    let path = format!("v3/rooms/{room}/state/m.room.canonical_alias");
    nurse
        .put(&path, json!({ "alias": "no address" }))
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    Ok(())
}
