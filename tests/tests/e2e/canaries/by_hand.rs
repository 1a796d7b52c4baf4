//! What a client could send that was written by somebody else.

use anyhow::Result;
use respite_tests::{
    person::Person,
    raw::{Raw, THERAPY, encrypted_bytes, in_query, megolm},
};
use ruma::RoomId;
use serde_json::json;

use super::Watched;

/// What somebody sends who is logged in.
pub(super) async fn inside(
    watched: &Watched,
    gap: &str,
    nurse: &Person,
    room: &RoomId,
) -> Result<()> {
    let word = |field: &str| watched.word(gap, field);
    let encoded = |field: &str| in_query(&word(field));
    let me = Raw::log_in(watched.wire.url(), nurse.id().localpart(), &nurse.password).await?;
    let user = &me.user;
    let plain = json!({ "msgtype": "m.text", "body": word("plain") });
    me.send(room.as_str(), "m.room.message", plain).await?;
    let mut beside = megolm(room.as_str(), "x")?;
    beside["note"] = json!(word("beside"));
    me.send(room.as_str(), "m.room.encrypted", beside).await?;
    let content = megolm(room.as_str(), "x")?;
    me.put(
        &format!(
            "v3/rooms/{room}/send/m.room.encrypted/{}",
            encoded("transaction")
        ),
        content,
    )
    .await?;
    me.put(
        &format!("v3/profile/{user}/org.example.mood"),
        json!({ "org.example.mood": word("profile") }),
    )
    .await?;
    me.put(
        &format!("v3/profile/{user}/m.tz"),
        json!({ "m.tz": word("profile") }),
    )
    .await?;
    me.post(
        &format!("v3/user/{user}/filter"),
        json!({ "room": { "timeline": { "types": [word("filter")] } } }),
    )
    .await?;
    me.post(
        &format!("v3/user/{user}/filter"),
        json!({ "event_fields": [word("filter")] }),
    )
    .await?;
    let pusher = json!({
        "kind": "http", "app_id": "chat.example", "pushkey": "k", "lang": "en", "app_display_name": word("pusher"),
        "device_display_name": word("pusher"), "profile_tag": word("pusher"),
        "data": { "url": "https://push.example.org/_matrix/push/v1/notify", "format": "event_id_only" },
    });
    me.post("v3/pushers/set", pusher.clone()).await?;
    let mut payload = pusher;
    payload["data"]["default_payload"] = json!({ "cs": word("payload"), "note": word("payload") });
    me.post("v3/pushers/set", payload).await?;
    waiting(watched, gap, &me, room).await?;
    let rule = json!({ "actions": ["notify"], "pattern": word("keyword") });
    me.put(
        &format!("v3/pushrules/global/content/{}", encoded("rule")),
        rule,
    )
    .await?;
    me.put(
        "v3/sendToDevice/m.room.message/t1",
        json!({ "messages": { (user): { "*": { "body": word("todevice") } } } }),
    )
    .await?;
    me.post(
        "v3/search",
        json!({ "search_categories": { "room_events": { "search_term": word("search") } } }),
    )
    .await?;
    me.post(
        "v3/user_directory/search",
        json!({ "search_term": word("search") }),
    )
    .await?;
    me.post(
        "v3/publicRooms",
        json!({ "filter": { "generic_search_term": word("search") } }),
    )
    .await?;
    finding(&me, room, &word).await?;
    let blob = encrypted_bytes(1_000);
    me.ask(
        reqwest::Method::POST,
        &format!("/_matrix/media/v3/upload?filename={}", encoded("filename")),
        Some(blob),
    )
    .await?;
    let event = me.says(room.as_str(), "x").await?;
    me.post(
        &format!("v3/rooms/{room}/receipt/m.read/{event}"),
        json!({ "thread_id": word("thread") }),
    )
    .await?;
    me.put(
        &format!("v3/presence/{user}/status"),
        json!({ "presence": "online", "status_msg": word("mood") }),
    )
    .await?;
    me.post(
        &format!("{THERAPY}/invites"),
        json!({ "kind": "individual", "note": word("invitation") }),
    )
    .await?;
    me.get(&format!("v3/{}", encoded("path"))).await?;
    me.get(&format!(
        "v3/sync?timeout=0&note={}&since={}",
        encoded("query"),
        encoded("since")
    ))
    .await?;
    me.post("v3/logout", json!({})).await?.ok()?;
    Ok(())
}

/// What somebody writes who looks for rooms and people, reports them, or lets a device in.
async fn finding(me: &Raw, room: &RoomId, word: &impl Fn(&str) -> String) -> Result<()> {
    let encoded = |field: &str| in_query(&word(field));
    let alias = |field: &str| format!("%23{}:localhost", encoded(field));
    let body = json!({ "room_id": room });
    me.put(&format!("v3/directory/room/{}", alias("address")), body)
        .await?;
    me.get(&format!("v3/directory/room/{}", alias("lookup")))
        .await?;
    me.delete(&format!("v3/directory/room/{}", alias("lookup")))
        .await?;
    me.post(&format!("v3/join/{}", alias("entrance")), json!({}))
        .await?;
    let canonical = json!({ "alias": format!("#{}:localhost", word("canonical")) });
    me.put(
        &format!("v3/rooms/{room}/state/m.room.canonical_alias"),
        canonical,
    )
    .await?;
    for path in [
        format!("v3/publicRooms?since={}", encoded("page")),
        format!("v3/publicRooms?server={}", encoded("otherserver")),
        format!("v1/mutual_rooms?user_id={}", encoded("mutual")),
        format!(
            "v1/mutual_rooms?user_id=%40x:localhost&from={}",
            encoded("mutual")
        ),
        format!(
            "unstable/io.element.msc4360/thread_updates?dir=b&from={}",
            encoded("threads")
        ),
        format!(
            "unstable/io.element.msc4360/thread_updates?dir=b&to={}",
            encoded("since")
        ),
        format!("v3/admin/whois/{}", encoded("whois")),
    ] {
        me.get(&path).await?;
    }
    let reason = json!({ "reason": word("report"), "score": word("score") });
    for path in [
        format!("v3/rooms/{room}/report"),
        format!("v3/users/{}/report", me.user),
        format!("v3/users/%40{}:localhost/report", encoded("report")),
        format!("v3/rooms/{room}/report/%24{}", encoded("report")),
    ] {
        me.post(&path, reason.clone()).await?;
    }
    let body = json!({ "visibility": word("visibility") });
    me.put(&format!("v3/directory/list/room/{room}"), body)
        .await?;
    let body = json!({ "note": word("openid") });
    me.post(&format!("v3/user/{}/openid/request_token", me.user), body)
        .await?;
    let auth = json!({ "auth": { "type": word("proof"), "session": word("session") } });
    me.post("v1/login/get_token", auth).await?;
    Ok(())
}

/// What is to be sent later, and a device that waits.
async fn waiting(watched: &Watched, gap: &str, me: &Raw, room: &RoomId) -> Result<()> {
    let word = |field: &str| watched.word(gap, field);
    let later = |kind: &str, delay: &str| {
        let delay = format!("org.matrix.msc4140.delay={delay}");
        format!("v3/rooms/{room}/{kind}?{delay}")
    };
    let plain = json!({ "msgtype": "m.text", "body": word("delayed") });
    me.put(&later("send/m.room.message/d1", "60000"), plain)
        .await?;
    let name = json!({ "name": word("delayed") });
    me.put(&later("state/m.room.name/", "60000"), name).await?;
    let mut beside = megolm(room.as_str(), "x")?;
    let delay = in_query(&word("delay"));
    me.put(&later("send/m.room.encrypted/d2", &delay), beside.clone())
        .await?;
    me.put(&later("send/m.room.encrypted/d3", "60000"), beside.clone())
        .await?
        .ok()?;
    beside["note"] = json!(word("delayed"));
    me.put(&later("send/m.room.encrypted/d4", "60000"), beside)
        .await?;
    let device = json!({
        "device_id": "SPARE", "initial_device_display_name": word("dehydrated"), "device_keys": {},
        "device_data": { "algorithm": "org.matrix.msc3814.v2", "device_pickle": word("dehydrated"), "nonce": "x" },
    });
    me.put("unstable/org.matrix.msc3814.v1/dehydrated_device", device)
        .await?;
    Ok(())
}

/// What is said about those who come and go.
pub(super) async fn out_of_a_room(watched: &Watched, gap: &str, therapist: &Person) -> Result<()> {
    let word = |field: &str| watched.word(gap, field);
    let me = Raw::log_in(watched.wire.url(), "therapist", &therapist.password).await?;
    let name = format!("stranger{}", gap.len());
    let stranger = Raw::register(
        watched.wire.url(),
        &name,
        &therapist.invites_a_client().await?,
    )
    .await?;
    let room = json!({
        "name": word("name"), "topic": word("topic"), "invite": [stranger.user], "preset": "private_chat",
        "creation_content": { "note": word("creation") },
    });
    let room = me.makes_a_room(room).await?;
    for refused in [
        json!({ "room_alias_name": word("alias") }),
        json!({ "initial_state": [{ "type": "org.example", "content": { "t": word("state") } }] }),
    ] {
        me.post("v3/createRoom", refused).await?;
    }
    let whom = |field: &str| json!({ "user_id": stranger.user, "reason": word(field) });
    let reason = |field: &str| json!({ "reason": word(field) });
    stranger
        .post(&format!("v3/rooms/{room}/join"), reason("join"))
        .await?
        .ok()?;
    me.post(&format!("v3/rooms/{room}/kick"), whom("kick"))
        .await?
        .ok()?;
    me.post(&format!("v3/rooms/{room}/invite"), whom("invite"))
        .await?
        .ok()?;
    stranger
        .post(&format!("v3/rooms/{room}/leave"), reason("leave"))
        .await?
        .ok()?;
    me.post(&format!("v3/rooms/{room}/ban"), whom("ban"))
        .await?
        .ok()?;
    me.post(&format!("v3/rooms/{room}/unban"), whom("unban"))
        .await?
        .ok()?;
    stranger
        .post(&format!("v3/knock/{room}"), reason("knock"))
        .await?;
    about_rooms(watched, gap, &me, &room).await?;
    me.post("v3/logout", json!({})).await?.ok()?;
    Ok(())
}

/// What is asked of a room's threads, relations, children and end.
async fn about_rooms(watched: &Watched, gap: &str, me: &Raw, room: &str) -> Result<()> {
    let word = |field: &str| watched.word(gap, field);
    let encoded = |field: &str| in_query(&word(field));
    for path in [
        format!("v1/rooms/{room}/threads?from={}", encoded("threads")),
        format!("v1/rooms/{room}/threads?include={}", encoded("threads")),
        format!("v1/rooms/{room}/hierarchy?from={}", encoded("hierarchy")),
        format!("v1/room_summary/{}", encoded("summary")),
        format!(
            "v1/room_summary/{}",
            in_query(&format!("#{}:localhost", word("summary")))
        ),
        format!("v1/rooms/{room}/relations/$x/{}", encoded("relation")),
        format!(
            "v1/rooms/{room}/timestamp_to_event?dir=f&ts={}",
            encoded("time")
        ),
    ] {
        me.get(&path).await?;
    }
    let filter = json!({ "related_by_rel_types": [word("filter")] });
    let filter = in_query(&filter.to_string());
    me.get(&format!("v3/rooms/{room}/messages?dir=b&filter={filter}"))
        .await?;
    let upgrade = format!("v3/rooms/{room}/upgrade");
    me.post(&upgrade, json!({ "new_version": word("version") }))
        .await?;
    let creator = format!("@{}:localhost", word("creator"));
    let creators = json!({ "new_version": "12", "additional_creators": [creator] });
    me.post(&upgrade, creators).await?;
    let body = json!({ "new_version": "12", "body": word("tombstone") });
    me.post(&upgrade, body).await?.ok()?;
    Ok(())
}

/// What somebody types who has not logged in.
pub(super) async fn at_the_door(watched: &Watched, gap: &str) -> Result<()> {
    let word = |field: &str| watched.word(gap, field);
    let nobody = Raw::nobody(watched.wire.url())?;
    for (user, password) in [
        (word("login"), "wrong"),
        ("nurse".to_owned(), &*word("password")),
    ] {
        let identifier = json!({ "type": "m.id.user", "user": user });
        let login = json!({ "type": "m.login.password", "identifier": identifier, "password": password, "device_id": "TABLET" });
        nobody.post("v3/login", login).await?;
    }
    nobody
        .post(
            "v3/login",
            json!({ "type": word("logintype"), "token": word("token") }),
        )
        .await?;
    nobody
        .post(
            "v3/login",
            json!({ "type": "m.login.token", "token": format!("rsl_1_{}", word("logintoken")) }),
        )
        .await?;
    let auth = json!({ "type": "m.login.registration_token", "token": word("code"), "session": word("session") });
    nobody
        .post(
            "v3/register",
            json!({ "username": "somebody", "password": word("password"), "auth": auth }),
        )
        .await?;
    nobody
        .get(&format!(
            "v1/register/m.login.registration_token/validity?token={}",
            in_query(&word("code"))
        ))
        .await?;
    nobody
        .with_token(Some(&word("token")))
        .get("v3/account/whoami")
        .await?;
    nobody
        .ask(
            reqwest::Method::POST,
            "v3/login",
            Some(word("broken").into_bytes()),
        )
        .await?;
    Ok(())
}
