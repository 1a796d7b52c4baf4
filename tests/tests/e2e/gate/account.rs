//! What clients keep for a person: names of devices, profiles, account data, tags, rules, filters.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use respite_tests::{
    practice::Practice,
    raw::{Raw, encrypted_base64, in_query},
};
use serde_json::{Value, json};

use super::{Attempt, BAD_JSON, End, FORBIDDEN, INVALID, Scene, Who, leaves_nothing};

#[tokio::test]
async fn account_data_and_tags_with_words_are_refused() -> Result<()> {
    leaves_nothing(|scene| Ok(data(scene))).await
}

#[tokio::test]
async fn account_data_that_clients_cannot_help_sending_is_emptied() -> Result<()> {
    leaves_nothing(|scene| Ok(emptied(scene))).await
}

#[tokio::test]
async fn profiles_hold_a_pseudonym_and_nothing_else_of_a_person() -> Result<()> {
    leaves_nothing(|scene| Ok(profiles(scene))).await
}

#[tokio::test]
async fn names_of_devices_and_moods_are_not_kept() -> Result<()> {
    leaves_nothing(|scene| Ok(names(scene))).await
}

#[tokio::test]
async fn rules_and_filters_tell_the_server_no_words() -> Result<()> {
    leaves_nothing(|scene| Ok(rules(scene))).await
}

#[tokio::test]
async fn a_device_has_no_name() -> Result<()> {
    let practice = Practice::open().await?;
    let scene = Scene::open(&practice).await?;
    let login = json!({
        "type": "m.login.password", "password": scene.nurse.password, "initial_device_display_name": scene.words(),
        "identifier": { "type": "m.id.user", "user": "nurse" },
    });
    let device = Raw::nobody(practice.url())?
        .post("v3/login", login)
        .await?
        .ok()?["device_id"]
        .clone();
    let path = format!("v3/devices/{}", device.as_str().context("no device")?);
    scene
        .nurse
        .put(&path, json!({ "display_name": scene.words() }))
        .await?
        .ok()?;
    for path in [path.as_str(), "v3/devices"] {
        let answer = scene.nurse.get(path).await?;
        ensure!(
            answer.status == 200 && !scene.canary.is_in(&answer.bytes),
            "{answer}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn settings_of_a_client_come_back_empty_and_the_others_whole() -> Result<()> {
    let practice = Practice::open().await?;
    let scene = Scene::open(&practice).await?;
    let nurse = &scene.nurse;
    let path = |kind: &str| format!("v3/user/{}/account_data/{kind}", nurse.user);
    nurse
        .put(
            &path("im.vector.web.settings"),
            json!({ "theme": scene.words() }),
        )
        .await?
        .ok()?;
    ensure!(nurse.get(&path("im.vector.web.settings")).await?.ok()? == json!({}));
    let direct = json!({ scene.therapist.user.as_str(): [scene.room] });
    nurse.put(&path("m.direct"), direct.clone()).await?.ok()?;
    ensure!(nurse.get(&path("m.direct")).await?.ok()? == direct);
    let secret = json!({ "encrypted": { "kEy1d": { "iv": encrypted_base64(16), "ciphertext": encrypted_base64(43), "mac": encrypted_base64(32) } } });
    nurse
        .put(&path("m.megolm_backup.v1"), secret.clone())
        .await?
        .ok()?;
    ensure!(nurse.get(&path("m.megolm_backup.v1")).await?.ok()? == secret);
    Ok(())
}

fn global(scene: &Scene, kind: &str, content: Value, end: End) -> Attempt {
    let path = format!("v3/user/{}/account_data/{kind}", scene.nurse.user);
    Attempt::put("account data", path, content, end)
}

fn in_room(scene: &Scene, kind: &str, content: Value, end: End) -> Attempt {
    let path = format!(
        "v3/user/{}/rooms/{}/account_data/{kind}",
        scene.nurse.user, scene.room
    );
    Attempt::put("account data of a room", path, content, end)
}

pub(super) fn data(scene: &Scene) -> Vec<Attempt> {
    let words = scene.words();
    let sentence = format!("{words} and more");
    let secret = |ciphertext: &str| json!({ "encrypted": { "kEy1d": { "iv": encrypted_base64(16), "ciphertext": ciphertext, "mac": encrypted_base64(32) } } });
    let tag = |name: &str, body: Value, end| {
        Attempt::put(
            "a tag",
            format!(
                "v3/user/{}/rooms/{}/tags/{name}",
                scene.nurse.user, scene.room
            ),
            body,
            end,
        )
    };
    vec![
        global(
            scene,
            "chat.example.diary",
            json!({ "body": words }),
            FORBIDDEN,
        ),
        global(scene, words, json!({ "body": words }), FORBIDDEN),
        global(scene, "m.direct", json!({ words: [scene.room] }), INVALID),
        global(
            scene,
            "m.direct",
            json!({ scene.therapist.user.as_str(): [words] }),
            INVALID,
        ),
        global(
            scene,
            "m.ignored_user_list",
            json!({ "ignored_users": { words: {} } }),
            INVALID,
        ),
        global(
            scene,
            "m.identity_server",
            json!({ "base_url": words }),
            FORBIDDEN,
        ),
        global(
            scene,
            "m.secret_storage.default_key",
            json!({ "key": sentence }),
            INVALID,
        ),
        global(
            scene,
            "m.secret_storage.key.kEy1d",
            json!({ "algorithm": words }),
            INVALID,
        ),
        global(
            scene,
            "m.megolm_backup.v1",
            json!({ "encrypted": words }),
            BAD_JSON,
        ),
        global(scene, "m.megolm_backup.v1", secret(words), INVALID),
        global(
            scene,
            "m.cross_signing.master",
            secret(&vodozemac::base64_encode(&sentence)),
            INVALID,
        ),
        global(
            scene,
            "m.media_preview_config",
            json!({ "media_previews": words }),
            INVALID,
        ),
        global(
            scene,
            "im.vector.setting.breadcrumbs",
            json!({ "recent_rooms": [words] }),
            INVALID,
        ),
        in_room(
            scene,
            "chat.example.diary",
            json!({ "body": words }),
            FORBIDDEN,
        ),
        in_room(
            scene,
            "m.fully_read",
            json!({ "event_id": words }),
            End::Refused(405, "M_BAD_JSON"),
        ),
        in_room(
            scene,
            "m.marked_unread",
            json!({ "unread": words }),
            BAD_JSON,
        ),
        in_room(scene, "m.tag", json!({ "tags": { words: {} } }), FORBIDDEN),
        tag(&format!("u.{words}"), json!({ "order": 0.5 }), FORBIDDEN),
        tag(words, json!({}), FORBIDDEN),
        tag("m.favourite", json!({ "order": words }), BAD_JSON),
        Attempt::post(
            "a read marker",
            format!("v3/rooms/{}/read_markers", scene.room),
            json!({ "m.fully_read": words }),
            BAD_JSON,
        ),
        Attempt::post(
            "a receipt",
            format!("v3/rooms/{}/receipt/m.read/{words}", scene.room),
            json!({}),
            INVALID,
        ),
        Attempt::post(
            "a receipt of their own kind",
            format!("v3/rooms/{}/receipt/{words}/{}", scene.room, scene.event),
            json!({}),
            INVALID,
        ),
        Attempt::post(
            "a thread by its name",
            format!("v3/rooms/{}/receipt/m.read/{}", scene.room, scene.event),
            json!({ "thread_id": words }),
            INVALID,
        ),
    ]
}

pub(super) fn emptied(scene: &Scene) -> Vec<Attempt> {
    let words = scene.words();
    let key = json!({ "algorithm": "m.secret_storage.v1.aes-hmac-sha2", "name": words, "iv": encrypted_base64(16), "mac": encrypted_base64(32) });
    let tag = format!(
        "v3/user/{}/rooms/{}/tags/m.favourite",
        scene.nurse.user, scene.room
    );
    vec![
        global(
            scene,
            "im.vector.web.settings",
            json!({ "theme": words }),
            End::Blanked,
        ),
        global(
            scene,
            "io.element.recent_emoji",
            json!({ "recent_emoji": [[words, 3]] }),
            End::Blanked,
        ),
        global(
            scene,
            "m.accepted_terms",
            json!({ "accepted": [words] }),
            End::Blanked,
        ),
        global(scene, "m.secret_storage.key.kEy1d", key, End::Blanked),
        global(
            scene,
            "m.key_backup",
            json!({ "enabled": true, "note": words }),
            End::Blanked,
        ),
        in_room(
            scene,
            "im.vector.web.settings",
            json!({ "theme": words }),
            End::Blanked,
        ),
        in_room(
            scene,
            "m.space_order",
            json!({ "order": words }),
            End::Blanked,
        ),
        Attempt::put(
            "a note beside a tag",
            tag,
            json!({ "order": 0.5, "note": words }),
            End::Blanked,
        ),
    ]
}

pub(super) fn profiles(scene: &Scene) -> Vec<Attempt> {
    let words = scene.words();
    let field = |name: &str, value: Value, end| {
        Attempt::put(
            "a profile field",
            format!("v3/profile/{}/{name}", scene.nurse.user),
            json!({ name: value }),
            end,
        )
    };
    vec![
        field(
            "avatar_url",
            json!(format!("mxc://localhost/{words}")),
            FORBIDDEN,
        ),
        field("chat.example.about", json!(words), FORBIDDEN),
        field(words, json!(words), FORBIDDEN),
        field("m.tz", json!(words), INVALID),
        field(
            "displayname",
            json!(format!("{words}\nand a second line")),
            INVALID,
        ),
        field("displayname", json!(words.repeat(4)), INVALID),
        field("displayname", json!({ "note": words }), INVALID),
    ]
}

pub(super) fn names(scene: &Scene) -> Vec<Attempt> {
    let words = scene.words();
    let (device, user) = (&scene.nurse.device, &scene.nurse.user);
    let login = json!({
        "type": "m.login.password", "password": scene.nurse.password, "initial_device_display_name": words,
        "identifier": { "type": "m.id.user", "user": "nurse" },
    });
    let mut spoken = login.clone();
    spoken["device_id"] = json!(format!("{words} and more"));
    vec![
        Attempt::put(
            "a device's name",
            format!("v3/devices/{device}"),
            json!({ "display_name": words }),
            End::Blanked,
        ),
        Attempt::post(
            "a device's name at login",
            "v3/login".to_owned(),
            login,
            End::Blanked,
        )
        .by(Who::Nobody),
        Attempt::post(
            "a device id that is a sentence",
            "v3/login".to_owned(),
            spoken,
            INVALID,
        )
        .by(Who::Nobody),
        Attempt::put(
            "a mood",
            format!("v3/presence/{user}/status"),
            json!({ "presence": "online", "status_msg": words }),
            End::Blanked,
        ),
        Attempt::put(
            "typing",
            format!("v3/rooms/{}/typing/{user}", scene.room),
            json!({ "typing": true, "timeout": 1000, "note": words }),
            End::Blanked,
        ),
    ]
}

pub(super) fn rules(scene: &Scene) -> Vec<Attempt> {
    let words = scene.words();
    let rule = |kind: &str, id: &str, body: Value, end| {
        Attempt::put(
            "a push rule",
            format!("v3/pushrules/global/{kind}/{id}"),
            body,
            end,
        )
    };
    let condition = |condition: Value| json!({ "conditions": [condition], "actions": ["notify"] });
    let filter = |body: Value, end| {
        Attempt::post(
            "a filter",
            format!("v3/user/{}/filter", scene.nurse.user),
            body,
            end,
        )
    };
    let sound = json!({ "conditions": [], "actions": ["notify", { "set_tweak": "sound", "value": words }] });
    let default = "v3/pushrules/global/underride/.m.rule.message/actions".to_owned();
    let pusher = json!({
        "kind": "http", "app_id": "io.element.elementx", "pushkey": "t0k3n", "app_display_name": words, "device_display_name": words,
        "lang": "en", "data": { "url": "https://push.example/_matrix/push/v1/notify", "format": "full", "default_payload": { "note": words } },
    });
    vec![
        rule(
            "content",
            "word",
            json!({ "pattern": words, "actions": ["notify"] }),
            FORBIDDEN,
        ),
        rule(
            "override",
            "word",
            condition(json!({ "kind": "event_match", "key": "content.body", "pattern": words })),
            FORBIDDEN,
        ),
        rule(
            "override",
            "word",
            condition(
                json!({ "kind": "event_property_is", "key": "content.note", "value": words }),
            ),
            FORBIDDEN,
        ),
        rule(
            "override",
            "word",
            condition(json!({ "kind": "event_match", "key": "room_id", "pattern": words })),
            FORBIDDEN,
        ),
        rule(
            "underride",
            "word",
            condition(json!({ "kind": words })),
            INVALID,
        ),
        rule(
            "override",
            &in_query(&format!("{words} and more")),
            json!({ "conditions": [], "actions": [] }),
            INVALID,
        ),
        rule("room", words, json!({ "actions": [] }), INVALID),
        rule("sender", words, json!({ "actions": [] }), INVALID),
        rule("override", "word", sound, INVALID),
        Attempt::put(
            "a sound",
            default,
            json!({ "actions": ["notify", { "set_tweak": words }] }),
            INVALID,
        ),
        filter(json!({ "room": { "rooms": [words] } }), BAD_JSON),
        filter(
            json!({ "room": { "timeline": { "senders": [words] } } }),
            BAD_JSON,
        ),
        filter(json!({ "event_format": words }), INVALID),
        filter(
            json!({ "event_fields": [format!("{words} and more")] }),
            INVALID,
        ),
        filter(
            json!({ "note": words, "room": { "note": words } }),
            End::Blanked,
        ),
        Attempt::new(
            "a filter in the question",
            Method::GET,
            format!(
                "v3/sync?timeout=0&filter={}",
                in_query(&json!({ "room": { "rooms": [words] } }).to_string())
            ),
            json!({}),
            INVALID,
        ),
        Attempt::post(
            "a pusher with names",
            "v3/pushers/set".to_owned(),
            pusher,
            End::Blanked,
        ),
    ]
}
