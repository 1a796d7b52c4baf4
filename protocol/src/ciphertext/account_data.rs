//! Account data: what clients keep on the server for themselves.

use ruma::{CanonicalJsonObject, CanonicalJsonValue as Value};

use super::{
    MAX_ID_BYTES,
    fields::{Fields, boolean, count, list, map, object, one_of, text},
    grammar::{
        is_base64_16, is_base64_32, is_check_iv, is_device_id, is_event_id, is_opaque_id,
        is_room_id, is_user_id, within,
    },
    keys::signature_map,
    olm,
    refusal::{Refusal, Verdict},
    table::{Class, Outcome, judge, outcome},
};

const SECRET_STORAGE: &str = "m.secret_storage.v1.aes-hmac-sha2";

/// Checks global account data. Fields that the type does not need are lost.
///
/// # Errors
///
/// `M_FORBIDDEN` for types without a row; `M_INVALID_PARAM` or `M_BAD_JSON` for a field of the
/// wrong form.
pub fn global_account_data(event_type: &str, content: CanonicalJsonObject) -> Verdict {
    account_data(Class::GlobalAccountData, event_type, content)
}

/// Checks account data of a room. Fields that the type does not need are lost.
///
/// # Errors
///
/// As [`global_account_data`].
pub fn room_account_data(event_type: &str, content: CanonicalJsonObject) -> Verdict {
    account_data(Class::RoomAccountData, event_type, content)
}

/// Checks the name of a room tag.
///
/// # Errors
///
/// `M_FORBIDDEN` for names of a person's own making, which would be readable.
pub fn tag(name: &str) -> Verdict<()> {
    const OWN_TAG: Refusal = Refusal::forbidden(
        "Tags of your own are readable by the server, so this server knows those for favourites \
         and low priority only.",
    );
    match outcome(Class::Tag, name) {
        Some(Outcome::Keep) => Ok(()),
        _ => Err(OWN_TAG),
    }
}

fn account_data(class: Class, event_type: &str, content: CanonicalJsonObject) -> Verdict {
    const BAD_TYPE: Refusal = Refusal::invalid("The account data type is not an identifier.");
    // Some types end in an id of the client's choice.
    if !within(event_type, MAX_ID_BYTES) || !event_type.split('.').all(is_device_id) {
        return Err(BAD_TYPE);
    }
    // Clients delete account data by emptying it.
    let deleted = content.is_empty() && outcome(class, event_type) == Some(Outcome::Checked);
    if deleted {
        Ok(content)
    } else {
        judge(class, event_type, content)
    }
}

pub(super) fn direct(content: CanonicalJsonObject) -> Verdict {
    let map_of_rooms = map(is_user_id, list(text(is_room_id)));
    whole(content, map_of_rooms)
}

pub(super) fn ignored_users(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    let no_details = object(|_| Ok(CanonicalJsonObject::new()));
    fields.need("ignored_users", map(is_user_id, no_details))?;
    fields.rest_dropped()
}

pub(super) fn default_key(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.need("key", text(is_opaque_id))?;
    fields.rest_dropped()
}

pub(super) fn secret_storage_key(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.need("algorithm", one_of(&[SECRET_STORAGE]))?;
    fields.may("passphrase", object(passphrase))?;
    fields.may("iv", text(is_check_iv))?;
    fields.may("mac", text(is_base64_32))?;
    fields.may("signatures", signature_map)?;
    fields.rest_dropped()
}

fn passphrase(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.need("algorithm", one_of(&["m.pbkdf2"]))?;
    fields.need("salt", text(is_opaque_id))?;
    fields.need("iterations", count)?;
    fields.may("bits", count)?;
    fields.rest_dropped()
}

pub(super) fn secret(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.need("encrypted", map(is_opaque_id, object(encrypted_secret)))?;
    fields.rest_dropped()
}

fn encrypted_secret(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    // Deleting a secret leaves an empty entry.
    if ["iv", "ciphertext", "mac"]
        .iter()
        .any(|key| fields.has(key))
    {
        fields.need("iv", text(is_base64_16))?;
        fields.need("ciphertext", text(olm::is_ctr_base64))?;
        fields.need("mac", text(is_base64_32))?;
    }
    fields.rest_dropped()
}

/// Types that hold one flag, under any of the names in use.
pub(super) fn switch(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    let flags = ["enabled", "disabled", "disable", "unread", "is_silenced"];
    fields.may_each(&flags, boolean)?;
    fields.rest_dropped()
}

pub(super) fn identity_server(content: CanonicalJsonObject) -> Verdict {
    const NONE_HERE: Refusal = Refusal::forbidden(
        "This server does not work with identity servers. Disconnect it in your client.",
    );
    match content.get("base_url") {
        None | Some(Value::Null) => Ok(CanonicalJsonObject::from([(
            "base_url".to_owned(),
            Value::Null,
        )])),
        Some(_) => Err(NONE_HERE),
    }
}

/// Types that hold lists of rooms, under any of the names in use.
pub(super) fn room_list(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.may_each(
        &["recent_rooms", "rooms", "shortcut"],
        list(text(is_room_id)),
    )?;
    fields.rest_dropped()
}

/// Types that hold choices from short lists.
pub(super) fn choices(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.may_each(
        &["media_previews", "invite_avatars"],
        one_of(&["on", "off", "private"]),
    )?;
    fields.may("default_action", one_of(&["allow", "block"]))?;
    fields.rest_dropped()
}

/// Which kinds of events somebody does not want to see.
pub(super) fn hidden_events(content: CanonicalJsonObject) -> Verdict {
    const KINDS: &[&str] = &[
        "m.reaction",
        "m.room.aliases",
        "m.room.avatar",
        "m.room.canonical_alias",
        "m.room.create",
        "m.room.encryption",
        "m.room.guest_access",
        "m.room.history_visibility",
        "m.room.join_rules",
        "m.room.member",
        "m.room.name",
        "m.room.pinned_events",
        "m.room.power_levels",
        "m.room.redaction",
        "m.room.server_acl",
        "m.room.tombstone",
        "m.room.topic",
        "m.sticker",
    ];
    let mut fields = Fields::of(content);
    fields.may("hidden_event_types", list(one_of(KINDS)))?;
    fields.rest_dropped()
}

/// When somebody's client removes what they wrote.
pub(super) fn event_expiry(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    let numbers = ["expire_after_ms", "keep_only_latest", "protect_latest"];
    fields.may_each(&numbers, count)?;
    fields.may("exclude_state_events", boolean)?;
    fields.rest_dropped()
}

pub(super) fn fully_read(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.need("event_id", text(is_event_id))?;
    fields.rest_dropped()
}

/// Checks an object that is itself a map.
fn whole(content: CanonicalJsonObject, check: impl Fn(Value) -> Verdict<Value>) -> Verdict {
    match check(Value::Object(content))? {
        Value::Object(content) => Ok(content),
        _ => Ok(CanonicalJsonObject::new()),
    }
}

#[cfg(test)]
mod tests;
