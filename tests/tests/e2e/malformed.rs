//! Requests that are broken: the right error, never the input in it, and the server goes on.

use anyhow::{Result, ensure};
use reqwest::Method;
use respite_server::config::Scope;
use respite_tests::{
    canary::Canary,
    practice::Practice,
    raw::{self, Answer, Raw, megolm},
};
use serde_json::{Value, json};

/// The endpoints that read JSON.
fn endpoints(nurse: &Raw, room: &str, event: &str) -> Vec<(Method, String)> {
    let user = &nurse.user;
    let put = |path: String| (Method::PUT, path);
    let post = |path: String| (Method::POST, path);
    vec![
        put(format!("v3/rooms/{room}/send/m.room.encrypted/m1")),
        put(format!("v3/rooms/{room}/state/m.room.name")),
        put(format!("v3/rooms/{room}/redact/{event}/m2")),
        put(format!("v3/rooms/{room}/typing/{user}")),
        post(format!("v3/rooms/{room}/receipt/m.read/{event}")),
        post(format!("v3/rooms/{room}/read_markers")),
        post(format!("v3/rooms/{room}/invite")),
        post(format!("v3/rooms/{room}/kick")),
        post(format!("v3/rooms/{room}/ban")),
        post(format!("v3/rooms/{room}/unban")),
        post(format!("v3/rooms/{room}/leave")),
        post(format!("v3/rooms/{room}/join")),
        post(format!("v3/join/{room}")),
        post("v3/createRoom".to_owned()),
        post("v3/login".to_owned()),
        post("v3/refresh".to_owned()),
        post("v3/register".to_owned()),
        post("v3/account/password".to_owned()),
        post("v3/delete_devices".to_owned()),
        put(format!("v3/devices/{}", nurse.device)),
        put(format!("v3/profile/{user}/displayname")),
        put(format!("v3/user/{user}/account_data/m.direct")),
        put(format!(
            "v3/user/{user}/rooms/{room}/account_data/m.marked_unread"
        )),
        put(format!("v3/user/{user}/rooms/{room}/tags/m.favourite")),
        post(format!("v3/user/{user}/filter")),
        put("v3/sendToDevice/m.room.encrypted/m3".to_owned()),
        post("v3/keys/upload".to_owned()),
        post("v3/keys/query".to_owned()),
        post("v3/keys/claim".to_owned()),
        post("v3/keys/device_signing/upload".to_owned()),
        post("v3/keys/signatures/upload".to_owned()),
        post("v3/room_keys/version".to_owned()),
        put("v3/room_keys/keys?version=1".to_owned()),
        put("v3/pushrules/global/override/rule".to_owned()),
        put("v3/pushrules/global/override/.m.rule.master/enabled".to_owned()),
        post("v3/pushers/set".to_owned()),
        put(format!("{}/rooms/{room}/prompts/m4", raw::THERAPY)),
    ]
}

/// Looks whether the answer is an error that a client can read, and not the server's own failure.
fn an_error_of_the_clients(answer: &Answer, canary: &Canary, codes: &[&str]) -> Result<()> {
    ensure!((400..500).contains(&answer.status), "{answer}");
    ensure!(
        codes.contains(&answer.errcode()),
        "{answer} is none of {codes:?}"
    );
    answer.refused(answer.status, answer.errcode())?;
    ensure!(!canary.is_in(&answer.bytes), "the input is in {answer}");
    Ok(())
}

#[tokio::test]
async fn what_is_not_json_is_called_so_everywhere() -> Result<()> {
    let mut practice = Practice::open().await?;
    let (_, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let event = nurse.says(&room, "x").await?;
    let canary = Canary::new();
    let words = canary.text();
    let broken: [Vec<u8>; 7] = [
        words.as_bytes().to_vec(),
        format!("{{\"body\": \"{words}").into_bytes(),
        format!("{{\"{words}\": 1}} {words}").into_bytes(),
        format!("{{'{words}': 1}}").into_bytes(),
        [b"{\"a\": \"\xff\xfe", words.as_bytes(), b"\"}"].concat(),
        format!("{{\"a\": NaN, \"{words}\": Infinity}}").into_bytes(),
        [b"\xef\xbb\xbf{\"", words.as_bytes(), b"\": 1}"].concat(),
    ];
    for (method, path) in endpoints(&nurse, &room, &event) {
        for body in &broken {
            let answer = nurse.ask(method.clone(), &path, Some(body.clone())).await?;
            an_error_of_the_clients(&answer, &canary, &["M_NOT_JSON", "M_BAD_JSON"])?;
        }
    }
    practice.stop().await?;
    ensure!(canary.search(practice.data())?.is_empty());
    Ok(())
}

#[tokio::test]
async fn json_of_another_form_is_refused_everywhere() -> Result<()> {
    let mut practice = Practice::open().await?;
    let (_, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let event = nurse.says(&room, "x").await?;
    let canary = Canary::new();
    for (method, path) in endpoints(&nurse, &room, &event) {
        for body in [json!([canary.text()]), json!(canary.text()), json!(17)] {
            let answer = nurse
                .ask(method.clone(), &path, Some(body.to_string().into_bytes()))
                .await?;
            an_error_of_the_clients(&answer, &canary, &["M_BAD_JSON"])?;
        }
    }
    practice.stop().await?;
    ensure!(canary.search(practice.data())?.is_empty());
    Ok(())
}

#[tokio::test]
async fn json_that_is_nested_without_end_is_refused_everywhere() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let event = nurse.says(&room, "x").await?;
    let canary = Canary::new();
    for depth in [100, 100_000] {
        let lists = format!("{{\"a\": {}1{}}}", "[".repeat(depth), "]".repeat(depth));
        let objects = format!(
            "{}\"{}\"{}",
            "{\"a\":".repeat(depth),
            canary.text(),
            "}".repeat(depth)
        );
        let unclosed = "[".repeat(depth);
        for body in [lists, objects, unclosed] {
            for (method, path) in endpoints(&nurse, &room, &event) {
                let answer = nurse
                    .ask(method, &path, Some(body.clone().into_bytes()))
                    .await?;
                an_error_of_the_clients(&answer, &canary, &["M_BAD_JSON"])?;
            }
        }
    }
    nurse.says(&room, "still there").await?;
    Ok(())
}

#[tokio::test]
async fn missing_and_wrong_fields_are_named_by_their_place_not_by_their_words() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let canary = Canary::new();
    let words = canary.text();
    let invite = format!("v3/rooms/{room}/invite");
    let missing: &[(&str, Value, &[&str])] = &[
        (&invite, json!({}), &["M_BAD_JSON", "M_MISSING_PARAM"]),
        (&invite, json!({ "user_id": 7 }), &["M_BAD_JSON"]),
        (
            &invite,
            json!({ "user_id": words }),
            &["M_BAD_JSON", "M_INVALID_PARAM"],
        ),
        (
            &invite,
            json!({ "user_id": format!("@{words}:elsewhere.example") }),
            &["M_FORBIDDEN", "M_NOT_FOUND", "M_INVALID_PARAM"],
        ),
        ("v3/login", json!({}), &["M_BAD_JSON", "M_MISSING_PARAM"]),
        (
            "v3/login",
            json!({ "type": words }),
            &["M_UNKNOWN", "M_BAD_JSON"],
        ),
        (
            "v3/login",
            json!({ "type": "m.login.password" }),
            &["M_BAD_JSON", "M_MISSING_PARAM"],
        ),
        (
            "v3/login",
            json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": words } }),
            &["M_BAD_JSON", "M_MISSING_PARAM"],
        ),
        (
            "v3/login",
            json!({ "type": "m.login.password", "identifier": { "type": words }, "password": words }),
            &[
                "M_UNKNOWN",
                "M_BAD_JSON",
                "M_INVALID_PARAM",
                "M_MISSING_PARAM",
            ],
        ),
        (
            "v3/login",
            json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": words }, "password": words }),
            &["M_FORBIDDEN"],
        ),
        (
            "v3/refresh",
            json!({ "refresh_token": words }),
            &["M_UNKNOWN_TOKEN"],
        ),
        (
            "v3/createRoom",
            json!({ "preset": words }),
            &["M_BAD_JSON", "M_INVALID_PARAM", "M_UNKNOWN"],
        ),
        (
            "v3/createRoom",
            json!({ "room_version": words }),
            &["M_UNSUPPORTED_ROOM_VERSION"],
        ),
        (
            "v3/createRoom",
            json!({ "room_version": "9" }),
            &["M_UNSUPPORTED_ROOM_VERSION"],
        ),
        (
            "v3/createRoom",
            json!({ "room_version": 11 }),
            &["M_BAD_JSON"],
        ),
        (
            "v3/createRoom",
            json!({ "invite": [words] }),
            &["M_BAD_JSON", "M_INVALID_PARAM"],
        ),
        (
            "v3/createRoom",
            json!({ "initial_state": [{ "content": {} }] }),
            &["M_BAD_JSON"],
        ),
        (
            "v3/keys/query",
            json!({ "device_keys": { words: [] } }),
            &["M_BAD_JSON", "M_INVALID_PARAM"],
        ),
        (
            "v3/keys/query",
            json!({ "device_keys": [words] }),
            &["M_BAD_JSON"],
        ),
        (
            "v3/keys/claim",
            json!({ "one_time_keys": { words: {} } }),
            &["M_BAD_JSON", "M_INVALID_PARAM"],
        ),
        ("v3/keys/claim", json!({}), &["M_BAD_JSON"]),
        ("v3/room_keys/version", json!({}), &["M_BAD_JSON"]),
        (
            "v3/delete_devices",
            json!({ "devices": words }),
            &["M_BAD_JSON"],
        ),
    ];
    for (path, body, codes) in missing {
        let answer = nurse.post(path, body.clone()).await?;
        an_error_of_the_clients(&answer, &canary, codes)?;
    }
    Ok(())
}

#[tokio::test]
async fn fractions_and_numbers_that_json_clients_round_are_refused_in_events() -> Result<()> {
    let practice = Practice::open_with(|config| config.gate.scope = Scope::TherapyRooms).await?;
    let (therapist, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let plain = nurse.makes_a_room(json!({})).await?;
    let canary = Canary::new();
    let numbers = [
        "1.5",
        "1.0",
        "-0.0",
        "1e3",
        "1e400",
        "9007199254740992",
        "-9007199254740992",
        "18446744073709551616",
        "123456789012345678901234567890",
    ];
    for number in numbers {
        let message = format!(
            "{{\"msgtype\": \"m.text\", \"body\": \"{}\", \"n\": {number}}}",
            canary.text()
        );
        let levels = format!(
            "{{\"users\": {{\"{}\": 100}}, \"ban\": {number}}}",
            nurse.user
        );
        for (who, path, body) in [
            (
                &nurse,
                format!("v3/rooms/{plain}/send/m.room.message/n{number}"),
                message.clone(),
            ),
            (
                &nurse,
                format!("v3/rooms/{plain}/state/m.room.power_levels"),
                levels.clone(),
            ),
            (
                &therapist,
                format!("v3/rooms/{room}/state/m.room.power_levels"),
                levels.clone(),
            ),
            (
                &nurse,
                format!("v3/user/{}/account_data/chat.example", nurse.user),
                message.clone(),
            ),
            (
                &nurse,
                "v3/createRoom".to_owned(),
                format!("{{\"power_level_content_override\": {levels}}}"),
            ),
            (
                &nurse,
                "v3/createRoom".to_owned(),
                format!("{{\"creation_content\": {message}}}"),
            ),
            (
                &nurse,
                "v3/createRoom".to_owned(),
                format!(
                    "{{\"initial_state\": [{{\"type\": \"chat.example\", \"state_key\": \"\", \"content\": {message}}}]}}"
                ),
            ),
        ] {
            let method = if path == "v3/createRoom" {
                Method::POST
            } else {
                Method::PUT
            };
            let answer = who.ask(method, &path, Some(body.into_bytes())).await?;
            an_error_of_the_clients(&answer, &canary, &["M_BAD_JSON"])?;
        }
    }
    let limits = format!(
        "{{\"msgtype\": \"m.text\", \"body\": \"x\", \"n\": [{}, {}]}}",
        (1_i64 << 53) - 1,
        1 - (1_i64 << 53)
    );
    nurse
        .ask(
            Method::PUT,
            &format!("v3/rooms/{plain}/send/m.room.message/limit"),
            Some(limits.into_bytes()),
        )
        .await?
        .ok()?;
    Ok(())
}

#[tokio::test]
async fn an_event_of_65537_bytes_is_too_large() -> Result<()> {
    let practice = Practice::open_with(|config| config.gate.scope = Scope::TherapyRooms).await?;
    let (therapist, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let plain = nurse.makes_a_room(json!({})).await?;
    // The longest text that fits differs from this by the length of the event's other fields only.
    let text = |length: usize| json!({ "msgtype": "m.text", "body": "x".repeat(length) });
    let (mut fits, mut too_long) = (60_000, 65_537);
    nurse
        .send(&plain, "m.room.message", text(fits))
        .await?
        .ok()?;
    nurse
        .send(&plain, "m.room.message", text(too_long))
        .await?
        .refused(413, "M_TOO_LARGE")?;
    while too_long - fits > 1 {
        let middle = (fits + too_long) / 2;
        let answer = nurse.send(&plain, "m.room.message", text(middle)).await?;
        match answer.status {
            200 => fits = middle,
            _ => {
                answer.refused(413, "M_TOO_LARGE")?;
                too_long = middle;
            }
        }
    }
    // Without the server's own fields, which hold a hash, a signature and a few ids, nothing is lost.
    ensure!((64_000..65_400).contains(&fits), "{fits} bytes of text fit");

    nurse
        .send(
            &room,
            "m.room.encrypted",
            megolm(&room, &"x".repeat(40_000))?,
        )
        .await?
        .ok()?;
    nurse
        .send(
            &room,
            "m.room.encrypted",
            megolm(&room, &"x".repeat(50_000))?,
        )
        .await?
        .refused(413, "M_TOO_LARGE")?;
    let events: Vec<(String, Value)> = (0..900)
        .map(|n| (format!("org.example.{}{n}", "n".repeat(100)), json!(50)))
        .collect();
    let levels = json!({ "events": Value::Object(events.into_iter().collect()) });
    therapist
        .put(
            &format!("v3/rooms/{room}/state/m.room.power_levels"),
            levels,
        )
        .await?
        .refused(413, "M_TOO_LARGE")?;
    Ok(())
}

#[tokio::test]
async fn names_of_events_have_a_limit_too() -> Result<()> {
    let practice = Practice::open_with(|config| config.gate.scope = Scope::TherapyRooms).await?;
    let (_, nurse, _) = raw::therapist_and_nurse(&practice).await?;
    let plain = nurse.makes_a_room(json!({})).await?;
    let long = "x".repeat(256);
    for path in [
        format!("v3/rooms/{plain}/send/{long}/t1"),
        format!("v3/rooms/{plain}/state/{long}/"),
        format!("v3/rooms/{plain}/state/chat.example/{long}"),
    ] {
        nurse
            .put(&path, json!({}))
            .await?
            .refused(413, "M_TOO_LARGE")?;
    }
    let just = "x".repeat(255);
    nurse
        .put(&format!("v3/rooms/{plain}/send/{just}/t2"), json!({}))
        .await?
        .ok()?;
    nurse
        .put(
            &format!("v3/rooms/{plain}/state/chat.example/{just}"),
            json!({}),
        )
        .await?
        .ok()?;
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_and_the_next_one_answered() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let large = vec![b' '; respite_server::endpoint::MAX_JSON_BODY + 1];
    // A server may close the connection before it has read all of what it does not want.
    if let Ok(answer) = nurse.ask(Method::POST, "v3/keys/query", Some(large)).await {
        answer.refused(413, "M_TOO_LARGE")?;
    }
    nurse.says(&room, "still there").await?;
    Ok(())
}

#[tokio::test]
async fn ids_that_are_none_are_refused_wherever_they_stand() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let canary = Canary::new();
    let words = canary.text();
    let long = format!("!{}:localhost", "x".repeat(300));
    let ids = [
        words,
        "!",
        "%00",
        "%0A%0D",
        "%F0%28%8C%28",
        "..%2F..%2Fetc",
        "!a:b:c:d",
        &long,
        "%",
        "%zz",
        "a%20b",
        "%E2%80%AE",
    ];
    for id in ids {
        for path in [
            format!("v3/rooms/{id}/state"),
            format!("v3/rooms/{id}/messages?dir=b"),
            format!("v3/rooms/{room}/event/{id}"),
            format!("v3/rooms/{room}/context/{id}"),
            format!("v3/profile/{id}"),
            format!("v3/user/{id}/account_data/m.direct"),
            format!("v1/media/download/localhost/{id}"),
            format!("v1/media/download/{id}/abc"),
            format!("v3/devices/{id}"),
        ] {
            let answer = nurse.get(&path).await?;
            let codes = [
                "M_INVALID_PARAM",
                "M_NOT_FOUND",
                "M_FORBIDDEN",
                "M_BAD_JSON",
                "M_UNRECOGNIZED",
            ];
            an_error_of_the_clients(&answer, &canary, &codes)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn questions_that_are_none_are_refused() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, nurse, room) = raw::therapist_and_nurse(&practice).await?;
    let canary = Canary::new();
    let words = canary.text();
    for path in [
        format!("v3/rooms/{room}/messages"),
        format!("v3/rooms/{room}/messages?dir={words}"),
        format!("v3/rooms/{room}/messages?dir=b&limit={words}"),
        format!("v3/rooms/{room}/messages?dir=b&limit=-1"),
        format!("v3/rooms/{room}/messages?dir=b&limit=1.5"),
        format!("v3/rooms/{room}/messages?dir=b&filter={words}"),
        format!("v3/sync?timeout={words}"),
        "v3/sync?timeout=-1".to_owned(),
        format!("v3/sync?timeout=0&full_state={words}"),
        format!("v3/sync?timeout=0&filter={words}"),
        "v3/sync?timeout=0&filter=%7B".to_owned(),
        format!("v3/keys/changes?from={words}&to={words}"),
    ] {
        let answer = nurse.get(&path).await?;
        an_error_of_the_clients(
            &answer,
            &canary,
            &[
                "M_INVALID_PARAM",
                "M_MISSING_PARAM",
                "M_BAD_JSON",
                "M_NOT_FOUND",
                "M_NOT_JSON",
            ],
        )?;
    }
    Ok(())
}
