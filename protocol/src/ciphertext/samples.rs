//! Valid contents of every kind, with real keys and ciphertext, and the doors that they pass.

use ruma::{CanonicalJsonObject, CanonicalJsonValue};
use serde_json::{Value, json};
use vodozemac::{
    Curve25519PublicKey, Ed25519Keypair, base64_encode,
    megolm::{GroupSession, SessionConfig as MegolmConfig},
    olm::{Account, OlmMessage, SessionConfig},
};

use super::*;

pub(super) const USER: &str = "@nurse:respite.example";
pub(super) const ROOM: &str = "!AbCdEfGhIjKlMnOpQr:respite.example";
pub(super) const ROOM_12: &str = "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM";
pub(super) const EVENT: &str = "$31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM";
pub(super) const DEVICE: &str = "NIGHTSHIFT";

/// One public function of the gate, with what it needs beside the content.
#[derive(Clone, Copy, Debug)]
pub(super) enum Door {
    Message(&'static str),
    State(&'static str, &'static str),
    ToDevice(&'static str),
    Global(&'static str),
    Room(&'static str),
    DeviceKeys,
    OneTimeKey,
    CrossSigningKey,
    Signatures,
    AuthData,
    BackupSession,
    DehydratedDevice,
    PushRule(&'static str, &'static str),
    Pusher,
    Filter,
}

impl Door {
    pub(super) fn pass(self, content: CanonicalJsonObject) -> Verdict {
        match self {
            Self::Message(name) => message_event(name, content),
            Self::State(name, key) => {
                let ctx = StateContext {
                    at_creation: true,
                    encrypted: false,
                };
                state_event(name, key, content, ctx)
            }
            Self::ToDevice(name) => to_device_event(name, content),
            Self::Global(name) => global_account_data(name, content),
            Self::Room(name) => room_account_data(name, content),
            Self::DeviceKeys => device_keys(content),
            Self::OneTimeKey => {
                match one_time_key(
                    "signed_curve25519:AAAAAQ",
                    CanonicalJsonValue::Object(content),
                )? {
                    CanonicalJsonValue::Object(content) => Ok(content),
                    _ => unreachable!("an object stays one"),
                }
            }
            Self::CrossSigningKey => cross_signing_key(content),
            Self::Signatures => signatures(content),
            Self::AuthData => backup_auth_data("m.megolm_backup.v1.curve25519-aes-sha2", content),
            Self::BackupSession => backup_session(content),
            Self::DehydratedDevice => dehydrated_device(content),
            Self::PushRule(kind, id) => push_rule(kind, id, content),
            Self::Pusher => pusher(content),
            Self::Filter => filter(content),
        }
    }
}

pub(super) fn object(value: Value) -> CanonicalJsonObject {
    match CanonicalJsonValue::try_from(value).unwrap() {
        CanonicalJsonValue::Object(object) => object,
        _ => panic!("not an object"),
    }
}

/// What a client encrypts: an event's type, content and room.
pub(super) fn payload(body: &str) -> String {
    let content = json!({ "msgtype": "m.text", "body": body });
    json!({ "type": "m.room.message", "content": content, "room_id": ROOM }).to_string()
}

/// `m.room.encrypted` for a room, made by vodozemac.
pub(super) fn megolm(body: &str) -> Value {
    let mut session = GroupSession::new(MegolmConfig::version_1());
    json!({
        "algorithm": "m.megolm.v1.aes-sha2",
        "ciphertext": session.encrypt(payload(body)).to_base64(),
        "session_id": session.session_id(),
        "sender_key": Account::new().curve25519_key().to_base64(),
        "device_id": DEVICE,
    })
}

/// `m.room.encrypted` for a device, made by vodozemac: the first message of a session, and a later
/// one.
pub(super) fn olm(body: &str) -> (Value, Value) {
    let (alice, mut bob) = (Account::new(), Account::new());
    bob.generate_one_time_keys(1);
    let one_time: Curve25519PublicKey = *bob.one_time_keys().values().next().unwrap();
    let config = SessionConfig::version_1();
    let mut session = alice
        .create_outbound_session(config, bob.curve25519_key(), one_time)
        .unwrap();
    let first = session.encrypt(payload(body)).unwrap();
    let OlmMessage::PreKey(prekey) = &first else {
        panic!("a session begins with a pre-key")
    };
    let mut theirs = bob
        .create_inbound_session(config, alice.curve25519_key(), prekey)
        .unwrap()
        .session;
    let later = theirs.encrypt(payload(body)).unwrap();
    let wrap = |message: OlmMessage, to: Curve25519PublicKey, from: Curve25519PublicKey| {
        let (kind, body) = message.to_parts();
        json!({
            "algorithm": "m.olm.v1.curve25519-aes-sha2",
            "sender_key": from.to_base64(),
            "ciphertext": { (to.to_base64()): { "type": kind, "body": base64_encode(body) } },
            "org.matrix.msgid": "b5a1c1f00d",
        })
    };
    let (a, b) = (alice.curve25519_key(), bob.curve25519_key());
    (wrap(first, b, a), wrap(later, a, b))
}

/// Bytes that a cipher could have made, from the keys that vodozemac makes.
pub(super) fn random_bytes(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 32);
    while bytes.len() < len {
        // The highest bits of a key are not uniform; those of a signature's first half are.
        bytes.extend(&Ed25519Keypair::new().sign(b"").to_bytes()[..16]);
    }
    bytes.truncate(len);
    bytes
}

pub(super) fn b64(len: usize) -> String {
    base64_encode(random_bytes(len))
}

fn signatures_of(key_id: &str) -> Value {
    let signature = Ed25519Keypair::new().sign(b"signed").to_base64();
    json!({ USER: { key_id: signature } })
}

fn device_keys_of() -> Value {
    json!({
        "user_id": USER,
        "device_id": DEVICE,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": { "curve25519:NIGHTSHIFT": b64(32), "ed25519:NIGHTSHIFT": b64(32) },
        "signatures": signatures_of("ed25519:NIGHTSHIFT"),
    })
}

fn cross_signing_of() -> Value {
    let key = b64(32);
    json!({
        "user_id": USER,
        "usage": ["master"],
        "keys": { (format!("ed25519:{key}")): key },
        "signatures": signatures_of("ed25519:NIGHTSHIFT"),
    })
}

/// Every kind of content that clients send and the gate lets pass unchanged.
pub(super) fn samples() -> Vec<(Door, Value)> {
    let mut all = in_rooms();
    all.extend(between_devices());
    all.extend(account());
    all.extend(keys_and_push());
    all
}

fn verification(tie: Value) -> Vec<(&'static str, Value)> {
    let with = |mut step: Value| {
        step.as_object_mut()
            .unwrap()
            .extend(tie.as_object().unwrap().clone());
        step
    };
    vec![
        (
            "m.key.verification.ready",
            with(
                json!({ "from_device": DEVICE, "methods": ["m.sas.v1", "m.qr_code.show.v1", "m.reciprocate.v1"] }),
            ),
        ),
        (
            "m.key.verification.start",
            with(json!({
                "from_device": DEVICE, "method": "m.sas.v1",
                "key_agreement_protocols": ["curve25519-hkdf-sha256"], "hashes": ["sha256"],
                "message_authentication_codes": ["hkdf-hmac-sha256.v2", "hkdf-hmac-sha256"],
                "short_authentication_string": ["decimal", "emoji"],
            })),
        ),
        (
            "m.key.verification.accept",
            with(json!({
                "method": "m.sas.v1", "key_agreement_protocol": "curve25519-hkdf-sha256", "hash": "sha256",
                "message_authentication_code": "hkdf-hmac-sha256.v2",
                "short_authentication_string": ["decimal"], "commitment": b64(32),
            })),
        ),
        ("m.key.verification.key", with(json!({ "key": b64(32) }))),
        (
            "m.key.verification.mac",
            with(json!({ "mac": { "ed25519:NIGHTSHIFT": b64(32) }, "keys": b64(32) })),
        ),
        ("m.key.verification.done", with(json!({}))),
        (
            "m.key.verification.cancel",
            with(json!({ "code": "m.user", "reason": "The person cancelled the verification." })),
        ),
    ]
}

fn in_rooms() -> Vec<(Door, Value)> {
    let related = |relation: Value| {
        let mut content = megolm("I slept badly.");
        content["m.relates_to"] = relation;
        (Door::Message("m.room.encrypted"), content)
    };
    let state = |name, key, content| (Door::State(name, key), content);
    let mut all = vec![
        (Door::Message("m.room.encrypted"), megolm("")),
        related(
            json!({ "rel_type": "m.thread", "event_id": EVENT, "is_falling_back": true, "m.in_reply_to": { "event_id": EVENT } }),
        ),
        related(json!({ "rel_type": "m.replace", "event_id": EVENT })),
        related(json!({ "m.in_reply_to": { "event_id": EVENT } })),
        (
            Door::Message("m.room.redaction"),
            json!({ "redacts": EVENT }),
        ),
        (
            Door::Message("m.room.message"),
            json!({
                "msgtype": "m.key.verification.request", "from_device": DEVICE, "to": USER,
                "methods": ["m.sas.v1"], "body": "This person would like to verify your identity.",
            }),
        ),
        state(
            "m.room.create",
            "",
            json!({ "room_version": "11", "creator": USER, "m.federate": false, "type": "chat.respite.therapy", "chat.respite.kind": "individual", "predecessor": { "room_id": ROOM, "event_id": EVENT }, "additional_creators": [USER] }),
        ),
        state(
            "m.room.member",
            USER,
            json!({ "membership": "join", "displayname": "Night owl", "is_direct": true }),
        ),
        state(
            "m.room.power_levels",
            "",
            json!({ "ban": 50, "events": { "m.room.encryption": 100 }, "users": { USER: 100 }, "users_default": 50, "notifications": { "room": 50 } }),
        ),
        state(
            "m.room.join_rules",
            "",
            json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": ROOM_12 }] }),
        ),
        state(
            "m.room.history_visibility",
            "",
            json!({ "history_visibility": "invited" }),
        ),
        state(
            "m.room.guest_access",
            "",
            json!({ "guest_access": "forbidden" }),
        ),
        state(
            "m.room.encryption",
            "",
            json!({ "algorithm": "m.megolm.v1.aes-sha2", "rotation_period_ms": 86_400_000, "rotation_period_msgs": 50 }),
        ),
        state("m.room.canonical_alias", "", json!({})),
        state(
            "m.room.canonical_alias",
            "",
            json!({ "alias": "#room-12:practice.example", "alt_aliases": ["#7:practice.example"] }),
        ),
        state("m.room.name", "", json!({ "name": "" })),
        state("m.room.topic", "", json!({ "topic": "" })),
        state("m.room.avatar", "", json!({})),
        state(
            "m.room.tombstone",
            "",
            json!({ "body": "", "replacement_room": ROOM }),
        ),
        state(
            "m.room.server_acl",
            "",
            json!({ "allow": ["*"], "deny": ["evil.example"], "allow_ip_literals": false }),
        ),
        state("m.room.pinned_events", "", json!({ "pinned": [EVENT] })),
        state(
            "m.space.child",
            ROOM,
            json!({ "via": ["respite.example"], "suggested": true }),
        ),
        state(
            "m.space.parent",
            ROOM_12,
            json!({ "via": ["respite.example:8448"], "canonical": true }),
        ),
    ];
    let reference = json!({ "m.relates_to": { "rel_type": "m.reference", "event_id": EVENT } });
    all.extend(
        verification(reference)
            .into_iter()
            .map(|(name, step)| (Door::Message(name), step)),
    );
    all
}

fn between_devices() -> Vec<(Door, Value)> {
    let (first, later) = olm("a room key");
    let mut all = vec![
        (Door::ToDevice("m.room.encrypted"), first),
        (Door::ToDevice("m.room.encrypted"), later),
        (
            Door::ToDevice("m.key.verification.request"),
            json!({ "transaction_id": "t1", "from_device": DEVICE, "methods": ["m.sas.v1"], "timestamp": 1_700_000_000_000_u64 }),
        ),
        (
            Door::ToDevice("m.room_key_request"),
            json!({ "action": "request", "requesting_device_id": DEVICE, "request_id": "r1", "body": { "algorithm": "m.megolm.v1.aes-sha2", "room_id": ROOM, "session_id": b64(32), "sender_key": b64(32) } }),
        ),
        (
            Door::ToDevice("m.room_key.withheld"),
            json!({ "code": "m.unverified", "algorithm": "m.megolm.v1.aes-sha2", "sender_key": b64(32), "room_id": ROOM, "session_id": b64(32), "from_device": DEVICE, "reason": "The sender shares keys with verified devices only." }),
        ),
        (
            Door::ToDevice("m.secret.request"),
            json!({ "action": "request", "requesting_device_id": DEVICE, "request_id": "r1", "name": "m.megolm_backup.v1" }),
        ),
        (Door::ToDevice("m.dummy"), json!({})),
    ];
    let tie = json!({ "transaction_id": "mYtr4ns4ct10n" });
    all.extend(
        verification(tie)
            .into_iter()
            .map(|(name, step)| (Door::ToDevice(name), step)),
    );
    all
}

fn account() -> Vec<(Door, Value)> {
    let secret = json!({ "encrypted": { "kEy1d": { "iv": b64(16), "ciphertext": b64(43), "mac": b64(32) } } });
    vec![
        (Door::Global("m.direct"), json!({ USER: [ROOM] })),
        (
            Door::Global("m.ignored_user_list"),
            json!({ "ignored_users": { USER: {} } }),
        ),
        (
            Door::Global("m.secret_storage.default_key"),
            json!({ "key": "kEy1d" }),
        ),
        (
            Door::Global("m.secret_storage.key.kEy1d"),
            json!({ "algorithm": "m.secret_storage.v1.aes-hmac-sha2", "iv": b64(16), "mac": b64(32), "passphrase": { "algorithm": "m.pbkdf2", "salt": "rAnd0m", "iterations": 500_000, "bits": 256 } }),
        ),
        (Door::Global("m.cross_signing.master"), secret.clone()),
        (Door::Global("m.megolm_backup.v1"), secret),
        (Door::Global("m.cross_signing.user_signing"), json!({})),
        (
            Door::Global("m.org.matrix.custom.backup_disabled"),
            json!({ "disabled": false }),
        ),
        (Door::Global("m.key_backup"), json!({ "enabled": true })),
        (
            Door::Global("m.identity_server"),
            json!({ "base_url": null }),
        ),
        (
            Door::Global("org.matrix.msc3890.local_notification_settings.NIGHTSHIFT"),
            json!({ "is_silenced": true }),
        ),
        (
            Door::Global("im.vector.setting.breadcrumbs"),
            json!({ "recent_rooms": [ROOM] }),
        ),
        (
            Door::Global("io.element.msc4278.media_preview_config"),
            json!({ "media_previews": "private", "invite_avatars": "off" }),
        ),
        (Door::Global("im.vector.web.settings"), json!({})),
        (Door::Room("m.fully_read"), json!({ "event_id": EVENT })),
        (Door::Room("m.marked_unread"), json!({ "unread": true })),
    ]
}

fn keys_and_push() -> Vec<(Door, Value)> {
    let signed_key = json!({ "key": b64(32), "signatures": signatures_of("ed25519:NIGHTSHIFT"), "fallback": true });
    let session = json!({ "first_message_index": 0, "forwarded_count": 0, "is_verified": false, "session_data": { "ephemeral": b64(32), "ciphertext": b64(208), "mac": b64(8) } });
    let both = json!({ USER: { DEVICE: device_keys_of(), (b64(32)): cross_signing_of() } });
    let rule = json!({ "actions": ["notify", { "set_tweak": "sound", "value": "default" }, { "set_tweak": "highlight" }], "conditions": [
        { "kind": "event_match", "key": "room_id", "pattern": ROOM },
        { "kind": "event_match", "key": "type", "pattern": "m.room.*" },
        { "kind": "room_member_count", "is": "==2" },
        { "kind": "sender_notification_permission", "key": "room" },
    ] });
    let event_filter = json!({ "types": ["m.room.*"], "not_senders": [USER], "rooms": [ROOM], "limit": 20, "lazy_load_members": true });
    vec![
        (Door::DeviceKeys, device_keys_of()),
        (Door::OneTimeKey, signed_key),
        (Door::CrossSigningKey, cross_signing_of()),
        (Door::Signatures, both),
        (
            Door::AuthData,
            json!({ "public_key": b64(32), "signatures": signatures_of("ed25519:NIGHTSHIFT") }),
        ),
        (Door::BackupSession, session),
        (
            Door::DehydratedDevice,
            json!({ "algorithm": "org.matrix.msc3814.v2", "device_pickle": b64(600), "nonce": b64(24) }),
        ),
        (Door::PushRule("override", ROOM), rule),
        (Door::PushRule("room", ROOM), json!({ "actions": [] })),
        (
            Door::PushRule("sender", USER),
            json!({ "actions": ["dont_notify"] }),
        ),
        (
            Door::Pusher,
            json!({ "pushkey": "t0k3n", "kind": "http", "app_id": "io.element.elementx", "app_display_name": "", "device_display_name": "", "lang": "en", "append": true, "data": { "url": "https://push.example/_matrix/push/v1/notify", "format": "event_id_only", "default_payload": { "aps": { "mutable-content": 1, "alert": { "loc-key": "Notification", "loc-args": [] } } } } }),
        ),
        (
            Door::Filter,
            json!({ "event_fields": ["type", "content.membership"], "event_format": "client", "presence": { "types": [] }, "room": { "rooms": [ROOM], "include_leave": false, "timeline": event_filter } }),
        ),
    ]
}
