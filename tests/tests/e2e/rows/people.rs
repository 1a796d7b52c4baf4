//! The rows about people: accounts, devices, keys, what one keeps for oneself.

use anyhow::Result;
use reqwest::Method;
use respite_tests::{
    keys::Keys,
    raw::{encrypted_base64, in_query, olm},
};
use serde_json::json;

use super::{
    row::Row,
    world::{World, cross_signing, kept_key, new_backup},
};

/// What one keeps, and what one is.
pub(super) fn own(world: &World) -> Vec<Row> {
    let World {
        nurse,
        doctor,
        room,
        filter,
        ..
    } = world;
    let me = &nurse.user;
    let data = format!("v3/user/{me}/account_data/m.direct");
    let room_data = format!("v3/user/{me}/rooms/{room}/account_data/m.marked_unread");
    let name = format!("v3/profile/{me}/displayname");
    let rule = format!("v3/pushrules/global/room/{room}");
    let tags = format!("v3/user/{me}/rooms/{room}/tags");
    let status = format!("v3/presence/{me}/status");
    let pusher = json!({
        "kind": "http", "app_id": "chat.example.android", "pushkey": "nurses-phone", "lang": "en",
        "app_display_name": "Chat", "device_display_name": "Phone",
        "data": { "url": "https://93.184.215.14/_matrix/push/v1/notify", "format": "event_id_only" },
    });
    vec![
        Row::put(nurse, &data, json!({})),
        Row::get(nurse, &data),
        Row::put(nurse, &room_data, json!({ "unread": true })),
        Row::get(nurse, &room_data),
        Row::put(nurse, format!("{tags}/m.favourite"), json!({})),
        Row::get(nurse, &tags),
        Row::delete(nurse, format!("{tags}/m.favourite")),
        Row::post(nurse, format!("v3/user/{me}/filter"), json!({})),
        Row::get(nurse, format!("v3/user/{me}/filter/{filter}")),
        Row::put(nurse, &name, json!({ "displayname": "Night owl" })),
        Row::get(doctor, &name),
        Row::get(doctor, format!("v3/profile/{me}")),
        Row::delete(nurse, &name),
        Row::put(nurse, &status, json!({ "presence": "online" })),
        Row::get(doctor, &status),
        Row::post(nurse, "v3/pushers/set", pusher),
        Row::get(nurse, "v3/pushers"),
        Row::get(nurse, "v3/pushrules/"),
        Row::get(nurse, "v3/pushrules/global/"),
        Row::put(nurse, &rule, json!({ "actions": [] })),
        Row::get(nurse, &rule),
        Row::get(nurse, format!("{rule}/actions")),
        Row::put(
            nurse,
            format!("{rule}/actions"),
            json!({ "actions": ["notify"] }),
        ),
        Row::get(nurse, format!("{rule}/enabled")),
        Row::put(
            nurse,
            format!("{rule}/enabled"),
            json!({ "enabled": false }),
        ),
        Row::delete(nurse, &rule),
        Row::get(nurse, "v3/notifications"),
        Row::get(
            nurse,
            format!("v1/mutual_rooms?user_id={}", in_query(&doctor.user)),
        ),
        Row::post(
            nurse,
            "v3/user_directory/search",
            json!({ "search_term": "doctor" }),
        ),
        Row::post(
            nurse,
            format!("v3/users/{}/report", doctor.user),
            json!({ "reason": "x" }),
        ),
        Row::post(
            nurse,
            format!("v3/user/{me}/openid/request_token"),
            json!({}),
        ),
        Row::get(nurse, "v3/account/3pid"),
        Row::get(nurse, "v3/account/whoami"),
    ]
}

/// Keys of devices and people, and what is sent between devices.
pub(super) fn keys(world: &World) -> Result<Vec<Row>> {
    let World {
        nurse,
        doctor,
        room,
        backup,
        since,
        ..
    } = world;
    let me = &nurse.user;
    let session = in_query(&encrypted_base64(32));
    let of_session = format!("v3/room_keys/keys/{room}/{session}?version={backup}");
    let of_room = format!("v3/room_keys/keys/{room}?version={backup}");
    let of_all = format!("v3/room_keys/keys?version={backup}");
    let version = format!("v3/room_keys/version/{backup}");
    let mut same = new_backup();
    same["version"] = json!(backup);
    let changes = format!("from={0}&to={0}", in_query(since));
    let message =
        json!({ "messages": { (doctor.user.as_str()): { (doctor.device.as_str()): olm("x")? } } });
    Ok(vec![
        Row::post(
            nurse,
            "v3/keys/upload",
            json!({ "device_keys": Keys::of(nurse)?.device }),
        ),
        Row::post(nurse, "v3/keys/query", json!({ "device_keys": { me: [] } })),
        Row::post(
            nurse,
            "v3/keys/claim",
            json!({ "one_time_keys": { me: { (nurse.device.as_str()): "signed_curve25519" } } }),
        ),
        Row::get(nurse, format!("v3/keys/changes?{changes}")),
        Row::post(nurse, "v3/keys/device_signing/upload", cross_signing(me)?),
        Row::post(nurse, "v3/keys/signatures/upload", json!({})),
        Row::put(nurse, "v3/sendToDevice/m.room.encrypted/d1", message),
        Row::get(nurse, "v3/room_keys/version"),
        Row::get(nurse, &version),
        Row::put(nurse, &version, same),
        Row::put(nurse, &of_session, kept_key()),
        Row::get(nurse, &of_session),
        Row::delete(nurse, &of_session),
        Row::put(nurse, &of_room, json!({ "sessions": {} })),
        Row::get(nurse, &of_room),
        Row::delete(nurse, &of_room),
        Row::put(nurse, &of_all, json!({ "rooms": {} })),
        Row::get(nurse, &of_all),
        Row::delete(nurse, &of_all),
        Row::delete(nurse, &version),
        Row::post(nurse, "v3/room_keys/version", new_backup()),
    ])
}

/// What an operator does with accounts.
pub(super) fn administration(world: &World) -> Vec<Row> {
    let (operator, paramedic) = (&world.operator, &world.paramedic.user);
    let suspended = format!("v1/admin/suspend/{paramedic}");
    let locked = format!("v1/admin/lock/{paramedic}");
    vec![
        Row::get(operator, format!("v3/admin/whois/{paramedic}")),
        Row::put(operator, &suspended, json!({ "suspended": false })),
        Row::get(operator, &suspended),
        Row::put(operator, &locked, json!({ "locked": false })),
        Row::get(operator, &locked),
    ]
}

/// Coming in and going away. The nurse's account is gone after this.
pub(super) fn sessions(world: &World) -> Vec<Row> {
    let World {
        nurse,
        tablet,
        laptop,
        paramedic,
        porter,
        refresh,
        code,
        ..
    } = world;
    let login = json!({
        "type": "m.login.password", "password": nurse.password,
        "identifier": { "type": "m.id.user", "user": "nurse" },
    });
    let newcomer = json!({
        "username": "newcomer", "password": "sleeps by day",
        "auth": { "type": "m.login.registration_token", "token": code },
    });
    let device = format!("v3/devices/{}", tablet.device);
    let password = json!({ "new_password": "another one by day", "logout_devices": false });
    let validity = format!("v1/register/m.login.registration_token/validity?token={code}");
    vec![
        Row::get(nurse, "v3/login").by_anybody(),
        Row::post(nurse, "v3/login", login).by_anybody(),
        Row::post(nurse, "v3/refresh", json!({ "refresh_token": refresh })).by_anybody(),
        Row::get(nurse, validity).by_anybody(),
        Row::get(nurse, "v3/register/available?username=newcomer").by_anybody(),
        Row::post(nurse, "v3/register", newcomer).by_anybody(),
        Row::post(nurse, "v1/login/get_token", json!({})).proved(),
        Row::get(nurse, "v3/devices"),
        Row::get(nurse, &device),
        Row::put(nurse, &device, json!({})),
        Row::delete(nurse, &device).proved(),
        Row::post(
            nurse,
            "v3/delete_devices",
            json!({ "devices": [laptop.device] }),
        )
        .proved(),
        Row::post(nurse, "v3/account/password", password).proved(),
        Row::post(paramedic, "v3/logout", json!({})),
        Row::post(porter, "v3/logout/all", json!({})),
        Row::post(&world.doctor, "v3/account/deactivate", json!({})).proved(),
    ]
}

/// What the server says of itself.
pub(super) fn server(world: &World) -> Vec<Row> {
    let nurse = &world.nurse;
    vec![
        Row::get(nurse, "versions").by_anybody(),
        Row::get(nurse, "/.well-known/matrix/client").by_anybody(),
        Row::get(nurse, "/.well-known/matrix/support")
            .by_anybody()
            .but_there_is_none(),
        Row::get(nurse, "v3/capabilities"),
        Row::get(nurse, "v3/voip/turnServer"),
        Row::get(nurse, "v3/thirdparty/protocols"),
        Row::get(nurse, "v3/sync?timeout=0"),
        Row::get(nurse, "v3/joined_rooms"),
        Row::get(nurse, "v1/media/config"),
        Row::get(nurse, "/_matrix/media/v3/config"),
        Row::get(nurse, format!("v1/media/download/{}", world.file)),
        Row::get(nurse, format!("v1/media/download/{}/plan.pdf", world.file)),
        Row::get(
            nurse,
            format!("v1/media/thumbnail/{}?width=32&height=32", world.file),
        )
        .but_there_is_none(),
        Row::post(nurse, "/_matrix/media/v1/create", json!({})),
        Row::file(nurse, Method::POST, "/_matrix/media/v3/upload"),
        Row::file(
            nurse,
            Method::PUT,
            format!("/_matrix/media/v3/upload/{}", world.place),
        ),
    ]
}
