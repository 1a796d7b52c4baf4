//! The table that the gate dispatches on.

use ruma::{CanonicalJsonObject, CanonicalJsonValue as Value};

use super::{
    account_data as data, keys, message, profile, push,
    refusal::{Refusal, Verdict},
    state::{self, StateKey},
    to_device,
};

/// What a row of the table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Timeline events, by type.
    Message,
    /// State events, by type.
    State,
    /// To-device events, by type.
    ToDevice,
    /// Global account data, by type.
    GlobalAccountData,
    /// Account data of a room, by type.
    RoomAccountData,
    /// Room tags, by name.
    Tag,
    /// Profile fields, by name.
    Profile,
    /// Keys of end-to-end encryption, by the request that carries them.
    Key,
    /// Push rules by kind, pushers and filters.
    Push,
    /// Blobs, by what they look like.
    Media,
    /// Other fields that take free text.
    FreeText,
}

/// What the gate does with what a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Stored as it is.
    Keep,
    /// Checked field by field; what is free text inside is blanked or refused.
    Checked,
    /// Stored empty, because clients cannot help sending it.
    Blank,
    /// Refused.
    Refuse,
}

/// A row of the gate's table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What the row is about.
    pub class: Class,
    /// The type, name or field; one that ends in `*` stands for all that begin like it.
    pub name: &'static str,
    /// What the gate does.
    pub outcome: Outcome,
    /// Why, for people. Of a refused row it is the sentence that the client gets.
    pub why: &'static str,
    check: Check,
}

/// The code behind a row that is checked.
#[derive(Clone, Copy, Debug)]
enum Check {
    None,
    Content(fn(CanonicalJsonObject) -> Verdict),
    State(
        StateKey,
        fn(CanonicalJsonObject, state::StateContext) -> Verdict,
    ),
    Value(fn(Value) -> Verdict<Value>),
}

const fn row(class: Class, name: &'static str, outcome: Outcome, why: &'static str) -> Row {
    Row {
        class,
        name,
        outcome,
        why,
        check: Check::None,
    }
}

const fn keep(class: Class, name: &'static str, why: &'static str) -> Row {
    row(class, name, Outcome::Keep, why)
}

const fn blank(class: Class, name: &'static str, why: &'static str) -> Row {
    row(class, name, Outcome::Blank, why)
}

const fn refuse(class: Class, name: &'static str, why: &'static str) -> Row {
    row(class, name, Outcome::Refuse, why)
}

const fn checked(class: Class, name: &'static str, check: Check, why: &'static str) -> Row {
    Row {
        class,
        name,
        outcome: Outcome::Checked,
        why,
        check,
    }
}

const fn content(
    class: Class,
    name: &'static str,
    check: fn(CanonicalJsonObject) -> Verdict,
    why: &'static str,
) -> Row {
    checked(class, name, Check::Content(check), why)
}

const fn value(
    class: Class,
    name: &'static str,
    check: fn(Value) -> Verdict<Value>,
    why: &'static str,
) -> Row {
    checked(class, name, Check::Value(check), why)
}

const fn state(
    name: &'static str,
    key: StateKey,
    check: fn(CanonicalJsonObject, state::StateContext) -> Verdict,
    why: &'static str,
) -> Row {
    checked(Class::State, name, Check::State(key, check), why)
}

/// The row for a name: its own, or else the longest one ending in `*` that it begins like.
fn find(class: Class, name: &str) -> Option<&'static Row> {
    let matches = |row: &&Row| {
        row.class == class
            && row
                .name
                .strip_suffix('*')
                .map_or(row.name == name, |prefix| {
                    name.len() > prefix.len() && name.starts_with(prefix)
                })
    };
    TABLE
        .iter()
        .filter(matches)
        .max_by_key(|row| (!row.name.ends_with('*'), row.name.len()))
}

/// What the table says of this name; `None` if it has no row, which means refused.
pub(super) fn outcome(class: Class, name: &str) -> Option<Outcome> {
    find(class, name).map(|row| row.outcome)
}

/// The verdict on an object.
pub(super) fn judge(class: Class, name: &str, object: CanonicalJsonObject) -> Verdict {
    let Some(row) = find(class, name) else {
        return Err(Refusal::forbidden(unknown(class)));
    };
    match (row.outcome, row.check) {
        (Outcome::Keep, _) => Ok(object),
        (Outcome::Checked, Check::Content(check)) => check(object),
        (Outcome::Blank, _) => Ok(CanonicalJsonObject::new()),
        _ => Err(Refusal::forbidden(row.why)),
    }
}

/// The verdict on a state event.
pub(super) fn judge_state(
    name: &str,
    state_key: &str,
    object: CanonicalJsonObject,
    ctx: state::StateContext,
) -> Verdict {
    let Some(row) = find(Class::State, name) else {
        return Err(Refusal::forbidden(unknown(Class::State)));
    };
    match (row.outcome, row.check) {
        (Outcome::Checked, Check::State(key, check)) => {
            key.check(state_key)?;
            check(object, ctx)
        }
        _ => Err(Refusal::forbidden(row.why)),
    }
}

/// The verdict on a single value.
pub(super) fn judge_value(class: Class, name: &str, value: Value) -> Verdict<Value> {
    let Some(row) = find(class, name) else {
        return Err(Refusal::forbidden(unknown(class)));
    };
    match (row.outcome, row.check) {
        (Outcome::Keep, _) => Ok(value),
        (Outcome::Checked, Check::Value(check)) => check(value),
        (Outcome::Blank, _) => Ok(Value::Null),
        _ => Err(Refusal::forbidden(row.why)),
    }
}

/// What a person is told about a name that has no row.
const fn unknown(class: Class) -> &'static str {
    match class {
        Class::Message => {
            "This room takes encrypted messages only. Use a client that supports end-to-end \
             encryption, and check that it is switched on."
        }
        Class::State => {
            "This server does not store this kind of room setting, because it cannot tell \
             whether it is private."
        }
        Class::ToDevice => {
            "This server passes on encrypted messages between devices only. Update your client."
        }
        Class::GlobalAccountData | Class::RoomAccountData => {
            "This server does not store this kind of account data, because it is readable and \
             could be private."
        }
        Class::Tag => "This server knows the tags for favourites and low priority only.",
        Class::Profile => {
            "This server stores no profile fields other than a pseudonym and a time zone."
        }
        Class::Key => "This server does not know this kind of key. Update your client.",
        Class::Push => "This server does not know this kind of push setting.",
        Class::Media | Class::FreeText => "This server stores encrypted content only.",
    }
}

/// The table as Markdown, for `docs/threat-model.md`.
pub fn table_markdown() -> String {
    let mut out = String::from("| where | what | the gate | why |\n|---|---|---|---|\n");
    for Row {
        class,
        name,
        outcome,
        why,
        ..
    } in TABLE
    {
        let (place, verb) = (class.title(), outcome.verb());
        out.push_str(&format!("| {place} | `{name}` | {verb} | {why} |\n"));
    }
    out.push_str("| everywhere | anything else | refuse | What has no row is refused. |\n");
    out
}

impl Class {
    const fn title(self) -> &'static str {
        match self {
            Self::Message => "timeline",
            Self::State => "room state",
            Self::ToDevice => "to-device",
            Self::GlobalAccountData => "account data",
            Self::RoomAccountData => "room account data",
            Self::Tag => "tag",
            Self::Profile => "profile",
            Self::Key => "keys",
            Self::Push => "push and filters",
            Self::Media => "media",
            Self::FreeText => "free text",
        }
    }
}

impl Outcome {
    const fn verb(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Checked => "check",
            Self::Blank => "blank",
            Self::Refuse => "refuse",
        }
    }
}

use Class::{
    FreeText, GlobalAccountData as Global, Key, Media, Message, Profile, Push,
    RoomAccountData as Room, Tag, ToDevice,
};

/// The gate's table. What has no row is refused.
pub const TABLE: &[Row] = &[
    content(
        Message,
        "m.room.encrypted",
        message::megolm,
        "Megolm ciphertext, ids of the session and of related events; nothing else.",
    ),
    content(
        Message,
        "m.room.redaction",
        message::redaction,
        "The id of the redacted event; the reason is dropped.",
    ),
    content(
        Message,
        "m.room.message",
        message::verification_request,
        "Refused, but for a request to verify a person, which clients send in the clear: ids and methods; its text is replaced by the server's own.",
    ),
    content(
        Message,
        "m.key.verification.ready",
        message::verification,
        "Ids and methods.",
    ),
    content(
        Message,
        "m.key.verification.start",
        message::verification,
        "Ids and lists of known algorithms.",
    ),
    content(
        Message,
        "m.key.verification.accept",
        message::verification,
        "Ids, known algorithms and a digest.",
    ),
    content(
        Message,
        "m.key.verification.key",
        message::verification,
        "Ids and a public key.",
    ),
    content(
        Message,
        "m.key.verification.mac",
        message::verification,
        "Ids and authentication codes.",
    ),
    content(
        Message,
        "m.key.verification.done",
        message::verification,
        "Ids.",
    ),
    content(
        Message,
        "m.key.verification.cancel",
        message::verification,
        "Ids and a known code; the reason is replaced by the code's own.",
    ),
    refuse(
        Message,
        "m.reaction",
        "Reactions are readable by the server, so this server does not take them. Answer with a message instead.",
    ),
    state(
        "m.room.create",
        StateKey::Empty,
        state::create,
        "Version, creators, predecessor, known room type and therapy kind.",
    ),
    state(
        "m.room.member",
        StateKey::User,
        state::member,
        "Membership and pseudonym; avatar and reason are dropped.",
    ),
    state(
        "m.room.power_levels",
        StateKey::Empty,
        state::power_levels,
        "Numbers by user id and event type.",
    ),
    state(
        "m.room.join_rules",
        StateKey::Empty,
        state::join_rules,
        "A known rule and room ids.",
    ),
    state(
        "m.room.history_visibility",
        StateKey::Empty,
        state::history_visibility,
        "A known word.",
    ),
    state(
        "m.room.guest_access",
        StateKey::Empty,
        state::guest_access,
        "A known word.",
    ),
    state(
        "m.room.encryption",
        StateKey::Empty,
        state::encryption,
        "Megolm and rotation periods; never removed or weakened.",
    ),
    state(
        "m.room.canonical_alias",
        StateKey::Empty,
        state::canonical_alias,
        "Only to say that there is none: aliases are names in the clear.",
    ),
    state(
        "m.room.name",
        StateKey::Empty,
        state::name,
        "Blanked when the room is made, refused later.",
    ),
    state(
        "m.room.topic",
        StateKey::Empty,
        state::topic,
        "Blanked when the room is made, refused later.",
    ),
    state(
        "m.room.avatar",
        StateKey::Empty,
        state::avatar,
        "Blanked when the room is made, refused later.",
    ),
    state(
        "m.room.tombstone",
        StateKey::Empty,
        state::tombstone,
        "The id of the room that follows; the text is blanked.",
    ),
    state(
        "m.room.server_acl",
        StateKey::Empty,
        state::server_acl,
        "Patterns of server names.",
    ),
    state(
        "m.room.pinned_events",
        StateKey::Empty,
        state::pinned_events,
        "Event ids.",
    ),
    state(
        "m.space.child",
        StateKey::Room,
        state::space_child,
        "Server names and a flag; the order is dropped.",
    ),
    state(
        "m.space.parent",
        StateKey::Room,
        state::space_parent,
        "Server names and a flag.",
    ),
    refuse(
        Class::State,
        "m.room.third_party_invite",
        "This server does not invite by e-mail or telephone number, because the address would be readable. Invite by user id or with a code.",
    ),
    refuse(
        Class::State,
        "m.policy.rule.*",
        "This server stores no moderation lists, because their reasons are readable.",
    ),
    refuse(
        Class::State,
        "org.matrix.msc3401.call.member",
        "This server does not carry calls yet.",
    ),
    refuse(
        Class::State,
        "im.vector.modular.widgets",
        "This server stores no widgets, because their addresses are readable.",
    ),
    content(
        ToDevice,
        "m.room.encrypted",
        to_device::olm,
        "Olm ciphertext and public keys; nothing else.",
    ),
    content(
        ToDevice,
        "m.key.verification.request",
        to_device::verification_request,
        "Ids, methods and a time.",
    ),
    content(
        ToDevice,
        "m.key.verification.ready",
        to_device::verification,
        "Ids and methods.",
    ),
    content(
        ToDevice,
        "m.key.verification.start",
        to_device::verification,
        "Ids and lists of known algorithms.",
    ),
    content(
        ToDevice,
        "m.key.verification.accept",
        to_device::verification,
        "Ids, known algorithms and a digest.",
    ),
    content(
        ToDevice,
        "m.key.verification.key",
        to_device::verification,
        "Ids and a public key.",
    ),
    content(
        ToDevice,
        "m.key.verification.mac",
        to_device::verification,
        "Ids and authentication codes.",
    ),
    content(
        ToDevice,
        "m.key.verification.done",
        to_device::verification,
        "Ids.",
    ),
    content(
        ToDevice,
        "m.key.verification.cancel",
        to_device::verification,
        "Ids and a known code; the reason is replaced by the code's own.",
    ),
    content(
        ToDevice,
        "m.room_key_request",
        to_device::room_key_request,
        "Ids of a session, a room and a device.",
    ),
    content(
        ToDevice,
        "m.room_key.withheld",
        to_device::withheld,
        "Ids and a known code; the reason is replaced by the code's own.",
    ),
    content(
        ToDevice,
        "org.matrix.room_key.withheld",
        to_device::withheld,
        "As `m.room_key.withheld`.",
    ),
    content(
        ToDevice,
        "m.secret.request",
        to_device::secret_request,
        "The name of a known secret, and ids.",
    ),
    content(ToDevice, "m.dummy", to_device::dummy, "Nothing."),
    refuse(
        ToDevice,
        "m.room_key",
        "A room key must be encrypted with Olm before it is sent. Update your client.",
    ),
    refuse(
        ToDevice,
        "m.forwarded_room_key",
        "A room key must be encrypted with Olm before it is sent. Update your client.",
    ),
    refuse(
        ToDevice,
        "m.secret.send",
        "A secret must be encrypted with Olm before it is sent. Update your client.",
    ),
    content(Global, "m.direct", data::direct, "User ids and room ids."),
    content(
        Global,
        "m.ignored_user_list",
        data::ignored_users,
        "User ids.",
    ),
    content(
        Global,
        "m.secret_storage.default_key",
        data::default_key,
        "A key id.",
    ),
    content(
        Global,
        "m.secret_storage.key.*",
        data::secret_storage_key,
        "Derivation parameters and a check value; the key's name is dropped.",
    ),
    content(
        Global,
        "m.cross_signing.master",
        data::secret,
        "A secret encrypted for secret storage.",
    ),
    content(
        Global,
        "m.cross_signing.self_signing",
        data::secret,
        "A secret encrypted for secret storage.",
    ),
    content(
        Global,
        "m.cross_signing.user_signing",
        data::secret,
        "A secret encrypted for secret storage.",
    ),
    content(
        Global,
        "m.megolm_backup.v1",
        data::secret,
        "A secret encrypted for secret storage.",
    ),
    content(
        Global,
        "org.matrix.msc3814",
        data::secret,
        "A secret encrypted for secret storage.",
    ),
    content(
        Global,
        "m.org.matrix.custom.backup_disabled",
        data::switch,
        "A flag.",
    ),
    content(Global, "m.key_backup", data::switch, "A flag."),
    content(
        Global,
        "m.identity_server",
        data::identity_server,
        "Only to say that there is none.",
    ),
    content(
        Global,
        "m.local_notification_settings.*",
        data::switch,
        "A flag for a device.",
    ),
    content(
        Global,
        "org.matrix.msc3890.local_notification_settings.*",
        data::switch,
        "A flag for a device.",
    ),
    content(
        Global,
        "im.vector.setting.breadcrumbs",
        data::room_list,
        "Room ids.",
    ),
    content(Global, "in.cinny.spaces", data::room_list, "Room ids."),
    content(
        Global,
        "m.media_preview_config",
        data::choices,
        "Known words.",
    ),
    content(
        Global,
        "io.element.msc4278.media_preview_config",
        data::choices,
        "Known words.",
    ),
    content(
        Global,
        "m.invite_permission_config",
        data::choices,
        "Known words.",
    ),
    content(
        Global,
        "org.matrix.msc4380.invite_permission_config",
        data::choices,
        "Known words.",
    ),
    content(Global, "org.matrix.preview_urls", data::switch, "A flag."),
    content(
        Global,
        "im.vector.setting.integration_provisioning",
        data::switch,
        "A flag.",
    ),
    blank(
        Global,
        "im.vector.web.settings",
        "Element's own settings, of any form.",
    ),
    blank(Global, "im.vector.analytics", "Nothing is analysed here."),
    blank(Global, "m.accepted_terms", "Addresses of documents."),
    blank(Global, "m.recent_emoji", "What somebody feels."),
    blank(Global, "io.element.recent_emoji", "What somebody feels."),
    refuse(
        Global,
        "m.push_rules",
        "Push rules have endpoints of their own; use those.",
    ),
    content(Room, "m.fully_read", data::fully_read, "An event id."),
    content(Room, "m.marked_unread", data::switch, "A flag."),
    content(Room, "com.famedly.marked_unread", data::switch, "A flag."),
    content(
        Room,
        "org.matrix.room.preview_urls",
        data::switch,
        "A flag.",
    ),
    content(
        Room,
        "m.media_preview_config",
        data::choices,
        "Known words.",
    ),
    content(
        Room,
        "io.element.msc4278.media_preview_config",
        data::choices,
        "Known words.",
    ),
    blank(
        Room,
        "im.vector.web.settings",
        "Element's own settings, of any form.",
    ),
    blank(Room, "m.space_order", "Free text by its grammar."),
    blank(
        Room,
        "org.matrix.msc3230.space_order",
        "Free text by its grammar.",
    ),
    refuse(
        Room,
        "m.tag",
        "Tags have endpoints of their own; use those.",
    ),
    keep(Tag, "m.favourite", "A known word."),
    keep(Tag, "m.lowpriority", "A known word."),
    keep(Tag, "m.server_notice", "A known word."),
    value(
        Profile,
        "displayname",
        profile::pseudonym,
        "A pseudonym that the person chooses; the one text that stays readable.",
    ),
    value(
        Profile,
        "avatar_url",
        profile::no_avatar,
        "Only to say that there is none: faces are not for servers.",
    ),
    value(Profile, "m.tz", profile::time_zone, "A time zone's name."),
    content(
        Key,
        "device keys",
        keys::device,
        "Ids, known algorithms, public keys, signatures; the device's name is dropped.",
    ),
    content(
        Key,
        "signed_curve25519",
        keys::signed_one_time,
        "A public key and its signatures.",
    ),
    content(
        Key,
        "cross-signing key",
        keys::cross_signing,
        "Ids, usage, public keys, signatures.",
    ),
    content(
        Key,
        "signatures",
        keys::signed_by_user,
        "Signed device keys and cross-signing keys.",
    ),
    content(
        Key,
        "m.megolm_backup.v1.curve25519-aes-sha2",
        keys::auth_data,
        "The backup's public key and its signatures.",
    ),
    content(
        Key,
        "backup session",
        keys::session,
        "Ciphertext, numbers and a flag.",
    ),
    content(
        Push,
        "override",
        push::conditional,
        "Known conditions on ids and types; known actions.",
    ),
    content(
        Push,
        "underride",
        push::conditional,
        "Known conditions on ids and types; known actions.",
    ),
    content(Push, "room", push::unconditional, "Known actions."),
    content(Push, "sender", push::unconditional, "Known actions."),
    refuse(
        Push,
        "content",
        "Keyword rules would tell the server which words matter to you, so this server does not store them. Your client can look for words itself.",
    ),
    value(Push, "actions", push::actions, "Known actions."),
    content(
        Push,
        "pusher",
        push::pusher_fields,
        "Addresses of the push service; names are blanked and the format is always `event_id_only`.",
    ),
    content(
        Push,
        "filter",
        push::filter_fields,
        "Ids, event types, numbers and flags.",
    ),
    keep(
        Media,
        "encrypted blob",
        "Bytes that look like the output of a cipher.",
    ),
    refuse(Media, "empty blob", "Nothing to keep."),
    refuse(
        Media,
        "known file format",
        "It begins like a readable file.",
    ),
    refuse(
        Media,
        "text or unevenly spread bytes",
        "A cipher's output is not spread like this.",
    ),
    blank(
        FreeText,
        "device name",
        "Often a person's name and their telephone's.",
    ),
    blank(FreeText, "presence status", "A sentence in the clear."),
    blank(
        FreeText,
        "reason",
        "Of an invitation, a removal, a redaction or a report: a sentence in the clear.",
    ),
    blank(
        FreeText,
        "file name",
        "Of an upload: it says what the file is.",
    ),
    blank(
        FreeText,
        "media type",
        "Of an upload: it says what the file is.",
    ),
];

/// What is stored of a free text: nothing, unless its row says so.
pub(super) fn free_text(name: &str, text: &str) -> Option<String> {
    (outcome(FreeText, name) == Some(Outcome::Keep)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_has_a_reason_and_is_there_once() {
        let mut seen = HashSet::new();
        for row in TABLE {
            assert!(seen.insert((row.class, row.name)), "{} twice", row.name);
            assert!(
                !row.why.is_empty() && row.why.ends_with('.'),
                "{}",
                row.name
            );
            let has_code = !matches!(row.check, Check::None);
            assert_eq!(has_code, row.outcome == Outcome::Checked, "{}", row.name);
        }
    }

    #[test]
    fn a_star_stands_for_the_rest_of_a_name_but_not_for_none() {
        assert!(find(Global, "m.secret_storage.key.abc").is_some());
        assert!(find(Global, "m.secret_storage.key.").is_none());
        assert!(find(Global, "m.secret_storage").is_none());
    }

    #[test]
    fn people_can_read_the_table() {
        let markdown = table_markdown();
        assert_eq!(markdown.lines().count(), TABLE.len() + 3);
        assert!(markdown.contains("| timeline | `m.room.encrypted` | check |"));
    }
}
