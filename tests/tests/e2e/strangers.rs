//! Who is not in a room learns nothing of it, not even that it exists.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use respite_tests::{
    practice::Practice,
    raw::{
        self, Answer, NOT_IN_ROOM, Raw, THERAPY, encrypted_base64, encrypted_bytes, in_query,
        megolm, text_at,
    },
};
use serde_json::{Value, json};

/// A room that does not exist, of the form of versions up to 11 and of version 12.
const NOWHERE: [&str; 2] = [
    "!AbCdEfGhIjKlMnOpQr:localhost",
    "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM",
];
/// An event that does not exist.
const NO_EVENT: &str = "$31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM";

/// Everything that one can ask of a room, and whether members of it only get an answer other than an error.
fn questions(who: &Raw, room: &str, event: &str) -> Result<Vec<(Method, String, Value)>> {
    let me = &who.user;
    let other = json!({ "user_id": "@somebody:localhost" });
    let get = |path: String| (Method::GET, path, Value::Null);
    let put = |path: String, body: Value| (Method::PUT, path, body);
    let post = |path: String, body: Value| (Method::POST, path, body);
    let prompt = json!({ "addressee": me, "release_ts": 4_000_000_000_000_u64, "content": megolm(room, "x")? });
    Ok(vec![
        get(format!("v3/rooms/{room}/state")),
        get(format!("v3/rooms/{room}/state/m.room.create")),
        get(format!("v3/rooms/{room}/state/m.room.encryption/")),
        get(format!("v3/rooms/{room}/state/m.room.member/{me}")),
        get(format!(
            "v3/rooms/{room}/state/m.room.member/{me}?format=event"
        )),
        get(format!("v3/rooms/{room}/members")),
        get(format!("v3/rooms/{room}/members?membership=join")),
        get(format!("v3/rooms/{room}/members?at=t1")),
        get(format!("v3/rooms/{room}/joined_members")),
        get(format!("v3/rooms/{room}/messages?dir=b")),
        get(format!("v3/rooms/{room}/messages?dir=f&from=t1")),
        get(format!("v3/rooms/{room}/event/{event}")),
        get(format!("v3/rooms/{room}/context/{event}")),
        get(format!("v1/rooms/{room}/relations/{event}")),
        get(format!("v1/rooms/{room}/relations/{event}/m.thread")),
        get(format!(
            "v1/rooms/{room}/relations/{event}/m.thread/m.room.encrypted"
        )),
        get(format!("v1/rooms/{room}/threads")),
        get(format!("v1/rooms/{room}/hierarchy")),
        get(format!("v1/rooms/{room}/timestamp_to_event?ts=1&dir=f")),
        get(format!("v3/rooms/{room}/aliases")),
        get(format!("v3/rooms/{room}/initialSync")),
        get(format!("{THERAPY}/rooms/{room}/prompts")),
        get(format!("{THERAPY}/rooms/{room}/documents")),
        put(
            format!("v3/rooms/{room}/send/m.room.encrypted/s1"),
            megolm(room, "x")?,
        ),
        put(
            format!("v3/rooms/{room}/send/m.room.message/s2"),
            json!({ "msgtype": "m.text", "body": "x" }),
        ),
        put(
            format!("v3/rooms/{room}/send/m.room.redaction/s3"),
            json!({ "redacts": event }),
        ),
        put(format!("v3/rooms/{room}/redact/{event}/s4"), json!({})),
        put(
            format!("v3/rooms/{room}/state/m.room.name"),
            json!({ "name": "" }),
        ),
        put(
            format!("v3/rooms/{room}/state/m.room.name"),
            json!({ "name": "x" }),
        ),
        put(
            format!("v3/rooms/{room}/state/m.room.encryption"),
            json!({ "algorithm": "m.megolm.v1.aes-sha2" }),
        ),
        put(
            format!("v3/rooms/{room}/state/m.room.encryption"),
            json!({}),
        ),
        put(
            format!("v3/rooms/{room}/state/m.room.member/{me}"),
            json!({ "membership": "join" }),
        ),
        put(
            format!("v3/rooms/{room}/state/m.room.member/{me}"),
            json!({ "membership": "leave" }),
        ),
        put(
            format!("v3/rooms/{room}/state/chat.example"),
            json!({ "x": 1 }),
        ),
        put(
            format!("v3/rooms/{room}/typing/{me}"),
            json!({ "typing": true, "timeout": 1000 }),
        ),
        post(format!("v3/rooms/{room}/receipt/m.read/{event}"), json!({})),
        post(
            format!("v3/rooms/{room}/receipt/m.read.private/{event}"),
            json!({}),
        ),
        post(
            format!("v3/rooms/{room}/receipt/m.fully_read/{event}"),
            json!({}),
        ),
        post(
            format!("v3/rooms/{room}/read_markers"),
            json!({ "m.read": event, "m.fully_read": event }),
        ),
        post(format!("v3/rooms/{room}/invite"), other.clone()),
        post(format!("v3/rooms/{room}/invite"), json!({ "user_id": me })),
        post(format!("v3/rooms/{room}/kick"), other.clone()),
        post(format!("v3/rooms/{room}/ban"), other.clone()),
        post(format!("v3/rooms/{room}/unban"), other),
        post(format!("v3/rooms/{room}/join"), json!({})),
        post(format!("v3/join/{room}"), json!({})),
        post(format!("v3/knock/{room}"), json!({})),
        post(format!("v3/rooms/{room}/leave"), json!({})),
        post(format!("v3/rooms/{room}/forget"), json!({})),
        post(
            format!("v3/rooms/{room}/upgrade"),
            json!({ "new_version": "12" }),
        ),
        post(format!("v3/rooms/{room}/report"), json!({ "reason": "x" })),
        post(
            format!("v3/rooms/{room}/report/{event}"),
            json!({ "reason": "x" }),
        ),
        put(
            format!("v3/user/{me}/rooms/{room}/account_data/m.marked_unread"),
            json!({ "unread": true }),
        ),
        get(format!(
            "v3/user/{me}/rooms/{room}/account_data/m.marked_unread"
        )),
        get(format!("v3/user/{me}/rooms/{room}/tags")),
        put(format!("{THERAPY}/rooms/{room}/prompts/s5"), prompt),
        (
            Method::DELETE,
            format!("{THERAPY}/rooms/{room}/documents/abc"),
            Value::Null,
        ),
    ])
}

async fn ask(who: &Raw, method: &Method, path: &str, body: &Value) -> Result<Answer> {
    let body = (*method != Method::GET).then(|| body.to_string().into_bytes());
    who.ask(method.clone(), path, body).await
}

/// Asks everything of a room and of one that does not exist, and looks whether the answers differ.
async fn cannot_tell(who: &Raw, room: &str, event: &str, nowhere: &str) -> Result<()> {
    let here = questions(who, room, event)?;
    let there = questions(who, nowhere, NO_EVENT)?;
    for ((method, path, body), (_, elsewhere, other)) in here.iter().zip(&there) {
        let answer = ask(who, method, path, body).await?;
        let expected = ask(who, method, elsewhere, other).await?;
        let same = (answer.status, &answer.bytes) == (expected.status, &expected.bytes);
        ensure!(
            same,
            "{answer}\nbut of a room that does not exist: {expected}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_stranger_gets_the_same_answers_of_a_room_as_of_none() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let event = nurse.says(&room, "x").await?;
    let client = raw::stranger(&practice, "stranger").await?;
    let colleague = raw::therapist(&practice, "colleague").await?;
    for stranger in [&client, &colleague] {
        for nowhere in NOWHERE {
            cannot_tell(stranger, &room, &event, nowhere).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn that_holds_for_ordinary_rooms_of_every_version() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, _) = raw::therapist_and_nurse(&practice).await?;
    let stranger = raw::stranger(&practice, "stranger").await?;
    for version in ["10", "11", "12"] {
        let room = nurse
            .makes_a_room(json!({ "room_version": version }))
            .await?;
        let event = nurse.says(&room, "x").await?;
        cannot_tell(&stranger, &room, &event, NOWHERE[0]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn that_holds_where_ordinary_rooms_are_plain_matrix_too() -> Result<()> {
    let practice = Practice::open_with(|config| {
        config.gate.scope = respite_server::config::Scope::TherapyRooms
    })
    .await?;
    let (_, nurse, therapy) = raw::therapist_and_nurse(&practice).await?;
    let plain = nurse.makes_a_room(json!({})).await?;
    let stranger = raw::stranger(&practice, "stranger").await?;
    for room in [therapy, plain] {
        let event = nurse.says(&room, "x").await?;
        cannot_tell(&stranger, &room, &event, NOWHERE[0]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_a_stranger_is_told_helps() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let event = nurse.says(&room, "x").await?;
    let stranger = raw::stranger(&practice, "stranger").await?;
    for path in [
        "state",
        "members",
        "joined_members",
        "messages?dir=b",
        &format!("context/{event}"),
    ] {
        let answer = stranger.get(&format!("v3/rooms/{room}/{path}")).await?;
        ensure!(
            answer.refused(403, "M_FORBIDDEN")? == NOT_IN_ROOM,
            "{answer}"
        );
    }
    let answer = stranger
        .send(&room, "m.room.encrypted", megolm(&room, "x")?)
        .await?;
    ensure!(
        answer.refused(403, "M_FORBIDDEN")? == NOT_IN_ROOM,
        "{answer}"
    );
    Ok(())
}

#[tokio::test]
async fn without_an_access_token_nothing_is_answered() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let event = nurse.says(&room, "x").await?;
    let nobody = nurse.with_token(None);
    for (method, path, body) in questions(&nurse, &room, &event)? {
        let answer = ask(&nobody, &method, &path, &body).await?;
        // Endpoints that do not exist yet are unknown to everybody.
        if answer.errcode() != "M_UNRECOGNIZED" {
            answer.refused(401, "M_MISSING_TOKEN")?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn whoever_has_left_reads_what_came_before_and_nothing_after() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let before = therapist.says(&room, "before").await?;
    nurse
        .post(&format!("v3/rooms/{room}/leave"), json!({}))
        .await?
        .ok()?;
    let after = therapist.says(&room, "after").await?;
    nurse
        .get(&format!("v3/rooms/{room}/event/{before}"))
        .await?
        .ok()?;
    let hidden = nurse.get(&format!("v3/rooms/{room}/event/{after}")).await?;
    let unknown = nurse
        .get(&format!("v3/rooms/{room}/event/{NO_EVENT}"))
        .await?;
    ensure!(
        (hidden.status, &hidden.bytes) == (unknown.status, &unknown.bytes),
        "{hidden} and {unknown}"
    );
    hidden.refused(404, "M_NOT_FOUND")?;
    let page = nurse
        .get(&format!("v3/rooms/{room}/messages?dir=b&limit=100"))
        .await?
        .ok()?;
    ensure!(
        !page.to_string().contains(&after) && page.to_string().contains(&before),
        "{page}"
    );
    let around = nurse
        .get(&format!("v3/rooms/{room}/context/{before}"))
        .await?
        .ok()?;
    ensure!(!around.to_string().contains(&after), "{around}");
    nurse
        .says(&room, "x")
        .await
        .err()
        .context("who left can still write")?;
    let news = nurse.syncs(None).await?;
    ensure!(!news.to_string().contains(&after), "{news}");
    Ok(())
}

#[tokio::test]
async fn an_event_of_another_room_is_no_event() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let (_, paramedic) = {
        let therapist = raw::therapist(&practice, "colleague").await?;
        let client = raw::client_of(&practice, &therapist, "paramedic").await?;
        (therapist, client)
    };
    let theirs = paramedic.rooms().await?.first().context("no room")?.clone();
    let foreign = paramedic.says(&theirs, "x").await?;
    // One of their own, but of another room, is no better.
    let second = nurse.makes_a_room(json!({})).await?;
    let own = nurse.says(&second, "x").await?;
    for event in [&foreign, &own] {
        for (method, path, body) in [
            (
                Method::GET,
                format!("v3/rooms/{room}/event/EVENT"),
                Value::Null,
            ),
            (
                Method::GET,
                format!("v3/rooms/{room}/context/EVENT"),
                Value::Null,
            ),
            (
                Method::GET,
                format!("v1/rooms/{room}/relations/EVENT"),
                Value::Null,
            ),
            (
                Method::GET,
                format!("v1/rooms/{room}/relations/EVENT/m.thread"),
                Value::Null,
            ),
            (
                Method::PUT,
                format!("v3/rooms/{room}/redact/EVENT/r"),
                json!({}),
            ),
            (
                Method::POST,
                format!("v3/rooms/{room}/receipt/m.read/EVENT"),
                json!({}),
            ),
            (
                Method::POST,
                format!("v3/rooms/{room}/receipt/m.read.private/EVENT"),
                json!({}),
            ),
            (
                Method::POST,
                format!("v3/rooms/{room}/read_markers"),
                json!({ "m.fully_read": "EVENT" }),
            ),
            (
                Method::POST,
                format!("v3/rooms/{room}/read_markers"),
                json!({ "m.read": "EVENT" }),
            ),
        ] {
            let with = |event: &str| {
                (
                    path.replace("EVENT", event),
                    serde_json::from_str(&body.to_string().replace("EVENT", event)),
                )
            };
            let (path, body) = with(event);
            let answer = ask(&nurse, &method, &path, &body?).await?;
            let (path, body) = with(NO_EVENT);
            let expected = ask(&nurse, &method, &path, &body?).await?;
            let same = (answer.status, &answer.bytes) == (expected.status, &expected.bytes);
            ensure!(same, "{answer}\nbut of no event: {expected}");
            answer.refused(404, "M_NOT_FOUND")?;
        }
    }
    paramedic
        .get(&format!("v3/rooms/{theirs}/event/{foreign}"))
        .await?
        .ok()?;
    Ok(())
}

#[tokio::test]
async fn documents_and_check_ins_of_others_do_not_exist() -> Result<()> {
    let practice = Practice::open().await?;
    let (therapist, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let stranger = raw::stranger(&practice, "stranger").await?;
    let kept = therapist
        .ask(
            Method::POST,
            &format!("{THERAPY}/rooms/{room}/documents"),
            Some(encrypted_bytes(5_000)),
        )
        .await?
        .ok()?;
    let address = text_at(&kept, "content_uri")?.replace("mxc://", "");
    nurse
        .get(&format!("v1/media/download/{address}"))
        .await
        .and_then(|answer| {
            ensure!(answer.status == 200, "{answer}");
            Ok(())
        })?;
    for path in [
        format!("v1/media/download/{address}"),
        format!("v1/media/download/{address}/name.pdf"),
        format!("v1/media/thumbnail/{address}?width=10&height=10"),
    ] {
        let answer = stranger.get(&path).await?;
        let nothing = stranger
            .get(&path.replace(&address, "localhost/AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEf"))
            .await?;
        ensure!(
            (answer.status, &answer.bytes) == (nothing.status, &nothing.bytes),
            "{answer} and {nothing}"
        );
        ensure!(answer.status >= 400, "{answer}");
    }
    let prompt = json!({ "addressee": nurse.user, "release_ts": 4_000_000_000_000_u64, "content": megolm(&room, "x")? });
    // The year 2096 is beyond the horizon; an hour from now is not.
    let mut soon = prompt.clone();
    therapist
        .put(&format!("{THERAPY}/rooms/{room}/prompts/p1"), prompt)
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    soon["release_ts"] = json!(practice.app()?.clock.millis() + 3_600_000);
    let made = therapist
        .put(&format!("{THERAPY}/rooms/{room}/prompts/p2"), soon)
        .await?
        .ok()?;
    let id = text_at(&made, "prompt_id")?;
    for id in [id.as_str(), "AbCdEfGhIjKlMnOpQr"] {
        let postponed = json!({ "release_ts": practice.app()?.clock.millis() + 7_200_000 });
        stranger
            .post(&format!("{THERAPY}/prompts/{id}/postpone"), postponed)
            .await?
            .refused(404, "M_NOT_FOUND")?;
        stranger
            .delete(&format!("{THERAPY}/prompts/{id}"))
            .await?
            .refused(404, "M_NOT_FOUND")?;
        stranger
            .post(&format!("{THERAPY}/prompts/{id}/cancel"), json!({}))
            .await?;
    }
    let listed = nurse
        .get(&format!("{THERAPY}/rooms/{room}/prompts"))
        .await?
        .ok()?;
    ensure!(listed["prompts"][0]["state"] == "waiting", "{listed}");
    Ok(())
}

#[tokio::test]
async fn people_whom_one_does_not_know_do_not_exist() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, _) = raw::therapist_and_nurse(&practice).await?;
    let stranger = raw::stranger(&practice, "stranger").await?;
    nurse
        .put(
            &format!("v3/profile/{}/displayname", nurse.user),
            json!({ "displayname": "Night owl" }),
        )
        .await?
        .ok()?;
    for path in [
        "v3/profile/USER",
        "v3/profile/USER/displayname",
        "v3/presence/USER/status",
    ] {
        let answer = stranger.get(&path.replace("USER", &nurse.user)).await?;
        let nobody = stranger
            .get(&path.replace("USER", "@nobody:localhost"))
            .await?;
        ensure!(
            (answer.status, &answer.bytes) == (nobody.status, &nobody.bytes),
            "{answer} and {nobody}"
        );
        ensure!(answer.status >= 400, "{answer}");
    }
    for (method, path, body) in [
        (
            Method::GET,
            "v3/user/USER/account_data/m.direct",
            Value::Null,
        ),
        (Method::PUT, "v3/user/USER/account_data/m.direct", json!({})),
        (Method::POST, "v3/user/USER/filter", json!({})),
        (Method::GET, "v3/user/USER/filter/1", Value::Null),
        (
            Method::PUT,
            "v3/profile/USER/displayname",
            json!({ "displayname": "x" }),
        ),
        (
            Method::PUT,
            "v3/presence/USER/status",
            json!({ "presence": "online" }),
        ),
    ] {
        let answer = ask(
            &stranger,
            &method,
            &path.replace("USER", &nurse.user),
            &body,
        )
        .await?;
        let nobody = ask(
            &stranger,
            &method,
            &path.replace("USER", "@nobody:localhost"),
            &body,
        )
        .await?;
        ensure!(
            (answer.status, &answer.bytes) == (nobody.status, &nobody.bytes),
            "{answer} and {nobody}"
        );
        ensure!(answer.status == 403 || answer.status == 404, "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn a_filter_a_device_and_a_backup_are_their_owners_alone() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, _) = raw::therapist_and_nurse(&practice).await?;
    let stranger = raw::stranger(&practice, "stranger").await?;
    stranger
        .get(&format!("v3/devices/{}", nurse.device))
        .await?
        .refused(404, "M_NOT_FOUND")?;
    let answer = stranger
        .with_password(
            Method::DELETE,
            &format!("v3/devices/{}", nurse.device),
            json!({}),
        )
        .await?;
    ensure!(answer.status == 200 || answer.status == 404, "{answer}");
    nurse.get("v3/account/whoami").await?.ok()?;
    let body = json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": { "public_key": encrypted_base64(32) } });
    let version = text_at(
        &nurse.post("v3/room_keys/version", body).await?.ok()?,
        "version",
    )?;
    for path in [
        format!("v3/room_keys/version/{version}"),
        "v3/room_keys/version".to_owned(),
        format!("v3/room_keys/keys?version={}", in_query(&version)),
    ] {
        nurse.get(&path).await?.ok()?;
        stranger.get(&path).await?.refused(404, "M_NOT_FOUND")?;
    }
    Ok(())
}
