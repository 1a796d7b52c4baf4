//! A room of another version takes a room's place.

use anyhow::{Result, ensure};
use respite_tests::{
    practice::Practice,
    raw::{self, Raw, in_query, text_at},
};
use serde_json::{Value, json};

use super::{kinds, together};

async fn state(who: &Raw, room: &str, kind: &str) -> Result<Value> {
    who.get(&format!("v3/rooms/{room}/state/{kind}"))
        .await?
        .ok()
}

async fn upgrades(who: &Raw, room: &str, version: &str) -> Result<String> {
    let body = json!({ "new_version": version });
    let answer = who
        .post(&format!("v3/rooms/{room}/upgrade"), body)
        .await?
        .ok()?;
    text_at(&answer, "replacement_room")
}

/// A space of a version with settings of its own, in which somebody is a moderator and somebody is banned. Returns the last
/// message's id too.
async fn settled(
    version: &str,
    nurse: &Raw,
    moderator: &Raw,
    banned: &Raw,
) -> Result<(String, String)> {
    let mut users = json!({ moderator.user.as_str(): 60 });
    if version != "12" {
        users[&nurse.user] = json!(100);
    }
    let setting =
        |kind: &str, content: Value| json!({ "type": kind, "state_key": "", "content": content });
    let encryption = json!({ "algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 50 });
    let room = nurse
        .makes_a_room(json!({
            "room_version": version, "invite": [moderator.user],
            "creation_content": { "type": "m.space" },
            "power_level_content_override": { "users": users, "kick": 55 },
            "initial_state": [
                setting("m.room.join_rules", json!({ "join_rule": "knock" })),
                setting("m.room.history_visibility", json!({ "history_visibility": "joined" })),
                setting("m.room.encryption", encryption),
            ],
        }))
        .await?;
    moderator.joins(&room).await?;
    let child = format!("v3/rooms/{room}/state/m.space.child/!child:localhost");
    let via = json!({ "via": ["localhost"] });
    nurse.put(&child, via).await?.ok()?;
    let whom = json!({ "user_id": banned.user });
    let ban = format!("v3/rooms/{room}/ban");
    nurse.post(&ban, whom).await?.ok()?;
    let last = nurse.says(&room, "x").await?;
    Ok((room, last))
}

#[tokio::test]
async fn the_new_room_is_like_the_old_one() -> Result<()> {
    let practice = Practice::open().await?;
    for (from, to) in [("10", "11"), ("11", "12"), ("12", "11"), ("12", "12")] {
        let person =
            async |name: &str| raw::stranger(&practice, &format!("{name}{from}to{to}")).await;
        let (nurse, doctor) = (person("nurse").await?, person("doctor").await?);
        let paramedic = person("paramedic").await?;
        let (room, last) = settled(from, &nurse, &doctor, &paramedic).await?;
        let new = upgrades(&nurse, &room, to).await?;
        let create = state(&nurse, &new, "m.room.create").await?;
        ensure!(
            create["room_version"] == to && create["type"] == "m.space",
            "{create}"
        );
        let predecessor = &create["predecessor"];
        ensure!(predecessor["room_id"] == room.as_str(), "{create}");
        match to {
            "12" => ensure!(predecessor.get("event_id").is_none(), "{create}"),
            _ => ensure!(predecessor["event_id"] == last.as_str(), "{create}"),
        }
        for kind in [
            "m.room.join_rules",
            "m.room.history_visibility",
            "m.room.encryption",
            "m.room.guest_access",
            "m.space.child/!child:localhost",
        ] {
            let old = state(&nurse, &room, kind).await?;
            let new = state(&nurse, &new, kind).await?;
            ensure!(old == new, "{from} to {to}: {kind}: {old} and {new}");
        }
        let levels = state(&nurse, &new, "m.room.power_levels").await?;
        ensure!(
            levels["users"][&doctor.user] == 60 && levels["kick"] == 55 && levels["invite"] == 0,
            "{from} to {to}: {levels}"
        );
        let own = &levels["users"][&nurse.user];
        let tombstone = &levels["events"]["m.room.tombstone"];
        match to {
            "12" => ensure!(own.is_null() && tombstone == 150, "{levels}"),
            _ => ensure!(own == 100 && tombstone == 100, "{levels}"),
        }
        let banned = format!("m.room.member/{}", paramedic.user);
        let banned = state(&nurse, &new, &banned).await?;
        ensure!(banned["membership"] == "ban", "{banned}");
        let tombstone = state(&doctor, &room, "m.room.tombstone").await?;
        ensure!(
            tombstone == json!({ "body": "", "replacement_room": new }),
            "{tombstone}"
        );
        let quiet = state(&doctor, &room, "m.room.power_levels").await?;
        ensure!(
            quiet["events_default"] == 50 && quiet["invite"] == 50,
            "{quiet}"
        );
        nurse.says(&new, "x").await?;
    }
    Ok(())
}

#[tokio::test]
async fn members_hear_where_their_room_goes_on() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "10").await?;
    let paramedic = raw::stranger(&practice, "paramedic").await?;
    nurse
        .put(
            &format!("v3/rooms/{room}/state/m.room.join_rules"),
            json!({ "join_rule": "public" }),
        )
        .await?
        .ok()?;
    paramedic.joins(&room).await?;
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    let new = upgrades(&nurse, &room, "11").await?;
    let news = doctor.syncs(Some(&since)).await?;
    let told = &news["rooms"]["join"][&room]["timeline"]["events"];
    ensure!(
        kinds(told) == ["m.room.tombstone", "m.room.power_levels"],
        "{told}"
    );
    // Only moderators write in a room that has ended.
    let content = raw::megolm(&room, "x")?;
    paramedic
        .send(&room, "m.room.encrypted", content)
        .await?
        .refused(403, "M_FORBIDDEN")?;
    doctor.joins(&new).await?;
    paramedic.joins(&new).await?;
    paramedic.says(&new, "x").await?;
    Ok(())
}

#[tokio::test]
async fn who_has_the_power_upgrades_and_nobody_else() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let paramedic = raw::stranger(&practice, "paramedic").await?;
    let path = format!("v3/rooms/{room}/upgrade");
    let ask = |version: &str| json!({ "new_version": version });
    doctor
        .post(&path, ask("12"))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    let here = paramedic.post(&path, ask("12")).await?;
    let nowhere = paramedic
        .post("v3/rooms/!nowhere:localhost/upgrade", ask("12"))
        .await?;
    ensure!(here.refused(403, "M_FORBIDDEN")? == nowhere.refused(403, "M_FORBIDDEN")?);
    for version in ["1", "9", "13", "twelve"] {
        nurse
            .post(&path, ask(version))
            .await?
            .refused(400, "M_UNSUPPORTED_ROOM_VERSION")?;
    }
    nurse
        .post(&path, json!({}))
        .await?
        .refused(400, "M_BAD_JSON")?;
    nurse
        .with_token(None)
        .post(&path, ask("12"))
        .await?
        .refused(401, "M_MISSING_TOKEN")?;
    let strangers = json!({ "new_version": "12", "additional_creators": ["@nobody:localhost"] });
    nurse
        .post(&path, strangers)
        .await?
        .refused(404, "M_NOT_FOUND")?;
    // Nothing of all that has happened.
    nurse
        .get(&format!("v3/rooms/{room}/state/m.room.tombstone"))
        .await?
        .refused(404, "M_NOT_FOUND")?;
    ensure!(nurse.rooms().await?.len() == 1);
    let both = json!({ "new_version": "12", "additional_creators": [doctor.user] });
    let new = nurse.post(&path, both).await?.ok()?;
    let new = text_at(&new, "replacement_room")?;
    let create = state(&nurse, &new, "m.room.create").await?;
    ensure!(
        create["additional_creators"] == json!([doctor.user]),
        "{create}"
    );
    // Where rooms have one creator only, others named are left out.
    let one = json!({ "new_version": "11", "additional_creators": [doctor.user] });
    let new = nurse
        .post(&format!("v3/rooms/{new}/upgrade"), one)
        .await?
        .ok()?;
    let new = text_at(&new, "replacement_room")?;
    let create = state(&nurse, &new, "m.room.create").await?;
    ensure!(create.get("additional_creators").is_none(), "{create}");
    let levels = state(&nurse, &new, "m.room.power_levels").await?;
    ensure!(
        levels["users"][&doctor.user] == 100 && levels["users"][&nurse.user] == 100,
        "{levels}"
    );
    Ok(())
}

#[tokio::test]
async fn what_one_has_set_for_a_room_holds_for_the_one_that_follows() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let open = json!({ "join_rule": "public" });
    nurse
        .put(&format!("v3/rooms/{room}/state/m.room.join_rules"), open)
        .await?
        .ok()?;
    let others = [(&nurse, &doctor), (&doctor, &nurse)];
    for (who, with) in others {
        let user = &who.user;
        who.put(
            &format!("v3/user/{user}/rooms/{room}/tags/m.favourite"),
            json!({ "order": 0.5 }),
        )
        .await?
        .ok()?;
        who.put(
            &format!("v3/user/{user}/account_data/m.direct"),
            json!({ with.user.as_str(): [room] }),
        )
        .await?
        .ok()?;
        who.put(
            &format!("v3/pushrules/global/room/{room}"),
            json!({ "actions": [] }),
        )
        .await?
        .ok()?;
    }
    let new = upgrades(&nurse, &room, "12").await?;
    doctor.joins(&new).await?;
    for (who, with) in others {
        let user = &who.user;
        let tags = format!("v3/user/{user}/rooms/{new}/tags");
        let tags = who.get(&tags).await?.ok()?;
        ensure!(tags["tags"]["m.favourite"]["order"] == 0.5, "{tags}");
        let direct = format!("v3/user/{user}/account_data/m.direct");
        let direct = who.get(&direct).await?.ok()?;
        ensure!(
            direct == json!({ with.user.as_str(): [room, new] }),
            "{direct}"
        );
        let rule = format!("v3/pushrules/global/room/{new}");
        let rule = who.get(&rule).await?.ok()?;
        ensure!(
            rule["actions"] == json!([]) && rule["enabled"] == true,
            "{rule}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_address_and_the_place_in_the_directory_go_along() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let body = json!({ "preset": "public_chat", "room_alias_name": "lobby", "room_version": "11" });
    let room = nurse.makes_a_room(body).await?;
    let listed = |room: &str| format!("v3/directory/list/room/{room}");
    let public = json!({ "visibility": "public" });
    nurse.put(&listed(&room), public.clone()).await?.ok()?;
    let new = upgrades(&nurse, &room, "12").await?;
    for path in ["v3/directory/room", "v1/room_summary"] {
        let found = nurse
            .get(&format!("{path}/{}", in_query("#lobby:localhost")))
            .await?
            .ok()?;
        ensure!(found["room_id"] == new.as_str(), "{found}");
    }
    let goes_by = state(&nurse, &new, "m.room.canonical_alias").await?;
    ensure!(goes_by["alias"] == "#lobby:localhost", "{goes_by}");
    ensure!(state(&nurse, &room, "m.room.canonical_alias").await? == json!({}));
    ensure!(nurse.get(&listed(&new)).await?.ok()? == public);
    ensure!(nurse.get(&listed(&room)).await?.ok()?["visibility"] == "private");
    Ok(())
}
