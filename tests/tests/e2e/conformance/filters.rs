//! What a client asks to hear of, and in which form.

use anyhow::{Result, ensure};
use respite_tests::{
    practice::Practice,
    raw::{self, Raw, in_query, megolm, text_at},
};
use serde_json::{Value, json};

use super::{ids, kinds, of_kind, together};

async fn filtered(who: &Raw, room: &str, filter: Value) -> Result<Value> {
    let filter = in_query(&filter.to_string());
    let path = format!("v3/sync?timeout=0&filter={filter}");
    Ok(who.get(&path).await?.ok()?["rooms"]["join"][room].clone())
}

async fn timeline(who: &Raw, room: &str, filter: Value) -> Result<Value> {
    let filter = json!({ "room": { "timeline": filter } });
    Ok(filtered(who, room, filter).await?["timeline"]["events"].clone())
}

async fn messages(who: &Raw, room: &str, filter: Value) -> Result<Value> {
    let filter = in_query(&filter.to_string());
    let path = format!("v3/rooms/{room}/messages?dir=b&limit=100&filter={filter}");
    Ok(who.get(&path).await?.ok()?["chunk"].clone())
}

#[tokio::test]
async fn what_is_excluded_wins_in_sync_and_in_messages() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let hers = nurse.says(&room, "x").await?;
    let his = doctor.says(&room, "x").await?;
    for (filter, expected) in [
        (json!({ "types": ["m.room.enc*d"] }), vec![&hers, &his]),
        (
            json!({ "types": ["m.*"], "not_types": ["m.room.*r", "m.room.encryption", "m.room.create", "*_*"] }),
            vec![&hers, &his],
        ),
        (
            json!({ "types": ["m.room.encrypted"], "not_senders": [nurse.user] }),
            vec![&his],
        ),
        (
            json!({ "types": ["m.room.encrypted"], "senders": [nurse.user, doctor.user], "not_senders": [doctor.user] }),
            vec![&hers],
        ),
        (
            json!({ "types": ["m.room.encrypted"], "contains_url": false }),
            vec![&hers, &his],
        ),
        (json!({ "contains_url": true }), vec![]),
        (
            json!({ "types": ["m.room.encrypted"], "rooms": [room] }),
            vec![&hers, &his],
        ),
        (json!({ "rooms": ["!elsewhere:localhost"] }), vec![]),
        (json!({ "rooms": [room], "not_rooms": [room] }), vec![]),
        (json!({ "types": [] }), vec![]),
        (json!({ "senders": [] }), vec![]),
    ] {
        let heard = timeline(&doctor, &room, filter.clone()).await?;
        let mut read = ids(&messages(&doctor, &room, filter.clone()).await?);
        read.reverse();
        ensure!(
            ids(&heard).iter().eq(expected.iter().copied()),
            "{filter}: {heard}"
        );
        ensure!(read.iter().eq(expected), "{filter}: {read:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_filter_that_makes_no_sense_is_refused() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let path = format!("v3/user/{}/filter", nurse.user);
    for filter in [
        json!({ "room": "all" }),
        json!({ "room": { "timeline": [] } }),
        json!({ "room": { "timeline": { "rooms": "not a list" } } }),
        json!({ "room": { "timeline": { "rooms": ["no id"] } } }),
        json!({ "room": { "timeline": { "senders": ["no id"] } } }),
        json!({ "room": { "state": { "not_senders": [3] } } }),
        json!({ "room": { "timeline": { "types": "m.room.message" } } }),
        json!({ "room": { "timeline": { "limit": "many" } } }),
        json!({ "room": { "timeline": { "limit": -1 } } }),
        json!({ "room": { "not_rooms": {} } }),
        json!({ "room": { "include_leave": "yes" } }),
        json!({ "event_fields": "type" }),
        json!({ "presence": { "senders": 1 } }),
    ] {
        let stored = nurse.post(&path, filter.clone()).await?;
        ensure!(
            stored.status == 400 && ["M_BAD_JSON", "M_INVALID_PARAM"].contains(&stored.errcode()),
            "{filter}: {stored}"
        );
        let given = in_query(&filter.to_string());
        nurse
            .get(&format!("v3/sync?timeout=0&filter={given}"))
            .await?
            .refused(400, "M_INVALID_PARAM")?;
    }
    for filter in ["{\"types\":3}", "{\"limit\":true}", "nonsense"] {
        let filter = in_query(filter);
        nurse
            .get(&format!("v3/rooms/{room}/messages?dir=b&filter={filter}"))
            .await?
            .refused(400, "M_INVALID_PARAM")?;
    }
    doctor
        .post(&path, json!({}))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    doctor
        .get("v3/sync?timeout=0&filter=nothing")
        .await?
        .refused(404, "M_NOT_FOUND")?;
    Ok(())
}

#[tokio::test]
async fn events_come_as_servers_exchange_them_for_who_asks_so() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    nurse.says(&room, "x").await?;
    let heard = filtered(&doctor, &room, json!({ "event_format": "federation" })).await?;
    let event = of_kind(&heard["timeline"]["events"], "m.room.encrypted")?;
    ensure!(
        event["prev_events"].is_array()
            && event["hashes"]["sha256"].is_string()
            && event["signatures"]["localhost"].is_object()
            && event.get("event_id").is_none(),
        "{event}"
    );
    Ok(())
}

#[tokio::test]
async fn what_stands_around_an_event_comes_with_the_members_one_needs() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let paramedic = raw::stranger(&practice, "paramedic").await?;
    nurse
        .post(
            &format!("v3/rooms/{room}/invite"),
            json!({ "user_id": paramedic.user }),
        )
        .await?
        .ok()?;
    paramedic.joins(&room).await?;
    let event = doctor.says(&room, "x").await?;
    nurse.says(&room, "x").await?;
    let filter =
        in_query(&json!({ "lazy_load_members": true, "types": ["m.room.encrypted"] }).to_string());
    let around = doctor
        .get(&format!(
            "v3/rooms/{room}/context/{event}?limit=4&filter={filter}"
        ))
        .await?
        .ok()?;
    let members = around["state"].as_array().map_or(0, |state| {
        let members = state
            .iter()
            .filter(|event| event["type"] == "m.room.member");
        members.count()
    });
    ensure!(members == 2, "{around}");
    ensure!(
        kinds(&around["events_before"]).is_empty() && kinds(&around["events_after"]).len() == 1,
        "{around}"
    );
    Ok(())
}

#[tokio::test]
async fn the_state_after_the_timeline_is_told_on_request() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let first = doctor
        .get("v3/sync?timeout=0&use_state_after=true")
        .await?
        .ok()?;
    let told = &first["rooms"]["join"][&room];
    ensure!(told.get("state").is_none(), "{told}");
    for kind in ["m.room.create", "m.room.encryption", "m.room.power_levels"] {
        of_kind(&told["state_after"]["events"], kind)?;
    }
    let since = text_at(&first, "next_batch")?;
    let path = format!("v3/rooms/{room}/state/m.room.guest_access");
    for access in ["forbidden", "can_join", "forbidden"] {
        nurse
            .put(&path, json!({ "guest_access": access }))
            .await?
            .ok()?;
    }
    nurse.says(&room, "x").await?;
    let news = doctor
        .get(&format!(
            "v3/sync?timeout=0&use_state_after=true&since={since}"
        ))
        .await?
        .ok()?;
    let told = &news["rooms"]["join"][&room];
    let after = &told["state_after"]["events"];
    ensure!(kinds(after) == ["m.room.guest_access"], "{told}");
    ensure!(after[0]["content"]["guest_access"] == "forbidden", "{told}");
    ensure!(kinds(&told["timeline"]["events"]).len() == 4, "{told}");
    // Without it the state is that before the timeline, which has changed nothing before.
    let news = doctor.syncs(Some(&since)).await?;
    let told = &news["rooms"]["join"][&room];
    let before = told["state"]["events"].as_array();
    ensure!(
        before.is_none_or(Vec::is_empty) && told.get("state_after").is_none(),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
async fn messages_can_be_asked_for_by_what_refers_to_them() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let (one, two) = (nurse.says(&room, "x").await?, nurse.says(&room, "x").await?);
    for (who, how, to) in [(&nurse, "m.thread", &one), (&doctor, "m.reference", &two)] {
        let mut content = megolm(&room, "x")?;
        content["m.relates_to"] = json!({ "rel_type": how, "event_id": to });
        who.send(&room, "m.room.encrypted", content).await?.ok()?;
    }
    for (filter, expected) in [
        (json!({ "related_by_rel_types": ["m.thread"] }), vec![&one]),
        (json!({ "related_by_senders": [doctor.user] }), vec![&two]),
        (
            json!({ "related_by_rel_types": ["m.thread", "m.reference"], "types": ["m.room.*"] }),
            vec![&one, &two],
        ),
        (
            json!({ "related_by_rel_types": ["m.thread"], "related_by_senders": [doctor.user] }),
            vec![],
        ),
    ] {
        let given = in_query(&filter.to_string());
        let path = format!("v3/rooms/{room}/messages?dir=f&limit=100&filter={given}");
        let page = doctor.get(&path).await?.ok()?;
        ensure!(ids(&page["chunk"]).iter().eq(expected), "{filter}: {page}");
    }
    let given = in_query("{\"related_by_senders\":[\"nobody\"]}");
    let path = format!("v3/rooms/{room}/messages?dir=f&filter={given}");
    doctor.get(&path).await?.refused(400, "M_BAD_JSON")?;
    Ok(())
}
