//! What a room is: its state, field by field.

use ruma::{CanonicalJsonObject, CanonicalJsonValue as Value};

use super::{
    fields::{Fields, boolean, count, integer, list, map, object, one_of, text},
    grammar::{
        is_event_id, is_event_type, is_room_id, is_server_name, is_server_pattern, is_user_id,
    },
    message::MEGOLM,
    profile::pseudonym,
    refusal::{Refusal, Verdict},
    table::judge_state,
};
use crate::{
    TherapyKind,
    therapy::{KIND_KEY, ROOM_TYPE},
};

const NO_NAME: Refusal = Refusal::forbidden(
    "Room names, topics and avatars are readable by the server, so this server does not store \
     them. Give the room a name in your own client, or write it in a message.",
);
const WEAKER: Refusal = Refusal::forbidden(
    "Encryption cannot be switched off or weakened. Leave the room's encryption as it is.",
);

/// What the room is like when a state event reaches the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateContext {
    /// The event is part of the room's creation.
    pub at_creation: bool,
    /// The room has `m.room.encryption` already.
    pub encrypted: bool,
}

/// Checks a state event. Fields that the event does not need are lost; free text is blanked.
///
/// For `m.room.encryption` in a room that has it already, ask [`encryption_change`] too.
///
/// # Errors
///
/// `M_FORBIDDEN` for types without a row, for names, topics and avatars after creation, and for a
/// change of encryption without rotation periods; `M_INVALID_PARAM` or `M_BAD_JSON` for a state
/// key or a field of the wrong form.
pub fn state_event(
    event_type: &str,
    state_key: &str,
    content: CanonicalJsonObject,
    ctx: StateContext,
) -> Verdict {
    judge_state(event_type, state_key, content, ctx)
}

/// Whether a room's encryption may change from `old` to `new`, both as the gate let them pass: the
/// algorithm stays, and a session may not live longer or carry more messages than before.
///
/// # Errors
///
/// `M_FORBIDDEN` if the change weakens it.
pub fn encryption_change(old: &CanonicalJsonObject, new: &CanonicalJsonObject) -> Verdict<()> {
    let period = |content: &CanonicalJsonObject, key| {
        content.get(key).and_then(Value::as_integer).map(i64::from)
    };
    let longer = |key| match (period(old, key), period(new, key)) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(old), Some(new)) => new > old,
    };
    let same_algorithm = old.get("algorithm") == new.get("algorithm");
    if same_algorithm && !longer("rotation_period_ms") && !longer("rotation_period_msgs") {
        Ok(())
    } else {
        Err(WEAKER)
    }
}

/// What a state key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateKey {
    Empty,
    User,
    Room,
}

impl StateKey {
    pub(super) fn check(self, state_key: &str) -> Verdict<()> {
        const BAD: Refusal =
            Refusal::invalid("The state key is not what this kind of event takes.");
        let fits = match self {
            Self::Empty => state_key.is_empty(),
            Self::User => is_user_id(state_key),
            Self::Room => is_room_id(state_key),
        };
        if fits { Ok(()) } else { Err(BAD) }
    }
}

pub(super) fn create(content: CanonicalJsonObject, _: StateContext) -> Verdict {
    let mut fields = Fields::of(content);
    fields.may("room_version", one_of(&["10", "11", "12"]))?;
    fields.may("creator", text(is_user_id))?;
    fields.may("additional_creators", list(text(is_user_id)))?;
    fields.may("m.federate", boolean)?;
    fields.may("type", one_of(&["m.space", ROOM_TYPE]))?;
    fields.may(KIND_KEY, text(|kind| kind.parse::<TherapyKind>().is_ok()))?;
    fields.may("predecessor", object(predecessor))?;
    fields.rest_dropped()
}

fn predecessor(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.need("room_id", text(is_room_id))?;
    fields.may("event_id", text(is_event_id))?;
    fields.rest_dropped()
}

pub(super) fn member(content: CanonicalJsonObject, _: StateContext) -> Verdict {
    const BY_ADDRESS: Refusal = Refusal::forbidden(
        "This server does not invite by e-mail or telephone number, because the address would be \
         readable. Invite by user id or with a code.",
    );
    if content.contains_key("third_party_invite") {
        return Err(BY_ADDRESS);
    }
    let mut fields = Fields::of(content);
    fields.need(
        "membership",
        one_of(&["invite", "join", "knock", "leave", "ban"]),
    )?;
    fields.may("displayname", pseudonym)?;
    fields.may("is_direct", boolean)?;
    fields.may("join_authorised_via_users_server", text(is_user_id))?;
    fields.rest_dropped()
}

pub(super) fn power_levels(content: CanonicalJsonObject, _: StateContext) -> Verdict {
    let mut fields = Fields::of(content);
    let levels = [
        "ban",
        "events_default",
        "invite",
        "kick",
        "redact",
        "state_default",
        "users_default",
    ];
    fields.may_each(&levels, integer)?;
    fields.may("events", map(is_event_type, integer))?;
    fields.may("users", map(is_user_id, integer))?;
    fields.may("notifications", map(|name| name == "room", integer))?;
    fields.rest_dropped()
}

pub(super) fn join_rules(content: CanonicalJsonObject, _: StateContext) -> Verdict {
    let rules = &[
        "public",
        "invite",
        "knock",
        "private",
        "restricted",
        "knock_restricted",
    ];
    let mut fields = Fields::of(content);
    fields.need("join_rule", one_of(rules))?;
    fields.may("allow", list(object(allow_rule)))?;
    fields.rest_dropped()
}

fn allow_rule(content: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(content);
    fields.need("type", one_of(&["m.room_membership"]))?;
    fields.need("room_id", text(is_room_id))?;
    fields.rest_dropped()
}

pub(super) fn history_visibility(content: CanonicalJsonObject, _: StateContext) -> Verdict {
    let mut fields = Fields::of(content);
    let known = &["invited", "joined", "shared", "world_readable"];
    fields.need("history_visibility", one_of(known))?;
    fields.rest_dropped()
}

pub(super) fn guest_access(content: CanonicalJsonObject, _: StateContext) -> Verdict {
    let mut fields = Fields::of(content);
    fields.need("guest_access", one_of(&["can_join", "forbidden"]))?;
    fields.rest_dropped()
}

pub(super) fn encryption(content: CanonicalJsonObject, ctx: StateContext) -> Verdict {
    if ctx.encrypted && content.get("algorithm").and_then(Value::as_str) != Some(MEGOLM) {
        return Err(WEAKER);
    }
    let mut fields = Fields::of(content);
    fields.need("algorithm", one_of(&[MEGOLM]))?;
    fields.may_each(&["rotation_period_ms", "rotation_period_msgs"], count)?;
    fields.rest_dropped()
}

pub(super) fn name(content: CanonicalJsonObject, ctx: StateContext) -> Verdict {
    blanked(content, ctx, Some("name"))
}

pub(super) fn topic(content: CanonicalJsonObject, ctx: StateContext) -> Verdict {
    blanked(content, ctx, Some("topic"))
}

pub(super) fn avatar(content: CanonicalJsonObject, ctx: StateContext) -> Verdict {
    blanked(content, ctx, None)
}

/// Empty content, with an empty text under the key that readers expect. A client that sets a name
/// while it makes a room cannot help it; later a person would wonder where their words went.
fn blanked(content: CanonicalJsonObject, ctx: StateContext, key: Option<&str>) -> Verdict {
    let none = |value: &Value| matches!(value, Value::Null) || value.as_str() == Some("");
    if !ctx.at_creation && !content.values().all(none) {
        return Err(NO_NAME);
    }
    Ok(key
        .map(|key| (key.to_owned(), Value::String(String::new())))
        .into_iter()
        .collect())
}

pub(super) fn tombstone(content: CanonicalJsonObject, _: StateContext) -> Verdict {
    let mut fields = Fields::of(content);
    fields.need("replacement_room", text(is_room_id))?;
    fields.replace("body", "");
    fields.rest_dropped()
}

pub(super) fn server_acl(content: CanonicalJsonObject, _: StateContext) -> Verdict {
    let mut fields = Fields::of(content);
    fields.may("allow_ip_literals", boolean)?;
    fields.may_each(&["allow", "deny"], list(text(is_server_pattern)))?;
    fields.rest_dropped()
}

pub(super) fn pinned_events(content: CanonicalJsonObject, _: StateContext) -> Verdict {
    let mut fields = Fields::of(content);
    fields.may("pinned", list(text(is_event_id)))?;
    fields.rest_dropped()
}

pub(super) fn space_child(content: CanonicalJsonObject, _: StateContext) -> Verdict {
    let mut fields = Fields::of(content);
    fields.may("via", list(text(is_server_name)))?;
    fields.may("suggested", boolean)?;
    fields.rest_dropped()
}

pub(super) fn space_parent(content: CanonicalJsonObject, _: StateContext) -> Verdict {
    let mut fields = Fields::of(content);
    fields.may("via", list(text(is_server_name)))?;
    fields.may("canonical", boolean)?;
    fields.rest_dropped()
}

#[cfg(test)]
mod tests;
