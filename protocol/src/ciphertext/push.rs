//! Push rules, pushers and sync filters: ids, types and flags, never words.

use ruma::{CanonicalJsonObject, CanonicalJsonValue as Value};

use super::{
    fields::{Fields, boolean, count, integer, list, object, one_of, text},
    grammar::{is_event_type_pattern, is_room_id, is_server_name, is_user_id, within},
    refusal::{Refusal, Verdict},
    table::{Class, judge, judge_value},
};

/// The path of every push gateway.
const PUSH_PATH: &str = "/_matrix/push/v1/notify";

const KEYWORD: Refusal = Refusal::forbidden(
    "This push rule would tell the server which words or values matter to you, so this server \
     does not store it. Your client can look for them itself.",
);

/// Checks a push rule: its kind and id from the path, and the body.
///
/// # Errors
///
/// `M_FORBIDDEN` for keyword rules and conditions on content; `M_INVALID_PARAM` for an id or a
/// condition of an unknown form.
pub fn push_rule(kind: &str, rule_id: &str, rule: CanonicalJsonObject) -> Verdict {
    const KINDS: &[&str] = &["override", "content", "room", "sender", "underride"];
    const BAD_KIND: Refusal = Refusal::invalid("There is no such kind of push rule.");
    const BAD_ID: Refusal = Refusal::invalid("The push rule's id is not of a known form.");
    if !KINDS.contains(&kind) {
        return Err(BAD_KIND);
    }
    let rule = judge(Class::Push, kind, rule)?;
    let fits = match kind {
        "room" => is_room_id(rule_id),
        "sender" => is_user_id(rule_id),
        _ => is_room_id(rule_id) || is_user_id(rule_id) || is_rule_name(rule_id),
    };
    if fits { Ok(rule) } else { Err(BAD_ID) }
}

/// Checks the `actions` of a push rule, default rules included.
///
/// # Errors
///
/// `M_INVALID_PARAM` for unknown actions.
pub fn push_actions(actions: Value) -> Verdict<Value> {
    judge_value(Class::Push, "actions", actions)
}

/// Checks the body of `/pushers/set`: names are blanked, and the format is always
/// `event_id_only`, so that a push service never gets content.
///
/// # Errors
///
/// `M_INVALID_PARAM` for an address or an id of the wrong form.
pub fn pusher(body: CanonicalJsonObject) -> Verdict {
    judge(Class::Push, "pusher", body)
}

/// Checks a sync filter. Fields that it does not need are lost.
///
/// # Errors
///
/// `M_INVALID_PARAM` for anything but ids, event types, numbers and flags.
pub fn filter(filter: CanonicalJsonObject) -> Verdict {
    judge(Class::Push, "filter", filter)
}

pub(super) fn conditional(rule: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(rule);
    fields.need("actions", actions)?;
    fields.may("conditions", list(object(condition)))?;
    fields.rest_refused()
}

pub(super) fn unconditional(rule: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(rule);
    fields.need("actions", actions)?;
    fields.rest_refused()
}

pub(super) fn actions(value: Value) -> Verdict<Value> {
    list(|action| match action {
        Value::Object(tweak) => set_tweak(tweak).map(Value::Object),
        word => one_of(&["notify", "dont_notify", "coalesce"])(word),
    })(value)
}

fn set_tweak(tweak: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(tweak);
    fields.need("set_tweak", one_of(&["sound", "highlight"]))?;
    fields.may("value", |value| match value {
        Value::Bool(_) => Ok(value),
        sound => one_of(&["default", "ring", "message"])(sound),
    })?;
    fields.rest_refused()
}

fn condition(condition: CanonicalJsonObject) -> Verdict {
    let kind = condition
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let is_match = kind == "event_match";
    if kind.starts_with("event_property") {
        return Err(KEYWORD);
    }
    if is_match && !matches_routing(&condition) {
        return Err(KEYWORD);
    }
    let kinds = &[
        "event_match",
        "room_member_count",
        "contains_display_name",
        "sender_notification_permission",
    ];
    let mut fields = Fields::of(condition);
    fields.need("kind", one_of(kinds))?;
    if is_match {
        fields.need("key", Ok)?;
        fields.need("pattern", Ok)?;
    } else {
        fields.may("key", one_of(&["room"]))?;
        fields.may("is", text(is_member_count))?;
    }
    fields.rest_refused()
}

/// Whether an `event_match` looks at routing data only, for a pattern of the form that it has.
fn matches_routing(condition: &CanonicalJsonObject) -> bool {
    let get = |key| condition.get(key).and_then(Value::as_str);
    let (Some(key), Some(pattern)) = (get("key"), get("pattern")) else {
        return false;
    };
    match key {
        "type" => is_event_type_pattern(pattern),
        "room_id" => is_room_id(pattern),
        "sender" => is_user_id(pattern),
        "state_key" => pattern.is_empty() || is_user_id(pattern) || is_room_id(pattern),
        "content.membership" => matches!(pattern, "invite" | "join" | "knock" | "leave" | "ban"),
        _ => false,
    }
}

/// `2`, `==2`, `<10`, `>=3` …
fn is_member_count(text: &str) -> bool {
    let digits = text.trim_start_matches(['=', '<', '>']);
    text.len() - digits.len() <= 2
        && within(digits, 6)
        && digits.bytes().all(|b| b.is_ascii_digit())
}

/// A default rule's name, or an id that a client made up.
fn is_rule_name(rule_id: &str) -> bool {
    let name = rule_id.strip_prefix(".m.rule.").unwrap_or(rule_id);
    within(name, 64)
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

pub(super) fn pusher_fields(body: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(body);
    fields.need("pushkey", text(is_push_key))?;
    fields.need("app_id", text(is_app_id))?;
    fields.need("kind", |kind| match kind {
        Value::Null => Ok(Value::Null),
        kind => one_of(&["http"])(kind),
    })?;
    fields.may("lang", text(is_language))?;
    fields.may_each(
        &["append", "enabled", "org.matrix.msc3881.enabled"],
        boolean,
    )?;
    fields.may("data", object(pusher_data))?;
    fields.replace("app_display_name", "");
    fields.replace("device_display_name", "");
    fields.rest_dropped()
}

fn pusher_data(data: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(data);
    fields.may("url", text(is_push_url))?;
    fields.may("data_message", one_of(&["android", "ios"]))?;
    fields.may("default_payload", object(default_payload))?;
    fields.replace("format", "event_id_only");
    fields.rest_dropped()
}

/// What Apple's push service needs to wake a client: flags, and the name of a text that the client
/// itself has; and by what a client knows which of its accounts is meant: a random secret (Android)
/// or a hash (iOS).
fn default_payload(payload: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(payload);
    fields.may_each(
        &["cs", "pusher_notification_client_identifier"],
        text(is_client_secret),
    )?;
    fields.may(
        "aps",
        object(|aps| {
            let mut fields = Fields::of(aps);
            fields.may_each(&["mutable-content", "content-available"], integer)?;
            fields.may(
                "alert",
                object(|alert| {
                    let mut fields = Fields::of(alert);
                    fields.may("loc-key", text(is_text_name))?;
                    fields.may("loc-args", |_| Ok(Value::Array(Vec::new())))?;
                    fields.rest_dropped()
                }),
            )?;
            fields.rest_dropped()
        }),
    )?;
    fields.rest_dropped()
}

fn is_text_name(name: &str) -> bool {
    within(name, 32) && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
}

fn is_client_secret(secret: &str) -> bool {
    within(secret, 64)
        && secret
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_=+/".contains(&b))
}

/// A token of a push service, or an address without spaces.
fn is_push_key(key: &str) -> bool {
    within(key, 512) && key.bytes().all(|b| b.is_ascii_graphic())
}

fn is_app_id(id: &str) -> bool {
    within(id, 64)
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn is_language(tag: &str) -> bool {
    within(tag, 16)
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// The address of a push gateway: a host, perhaps a port, and the one path that the specification has; nothing else that
/// words could stand in.
fn is_push_url(url: &str) -> bool {
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .and_then(|rest| rest.strip_suffix(PUSH_PATH));
    within(url, 512) && host.is_some_and(is_server_name)
}

pub(super) fn filter_fields(filter: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(filter);
    fields.may("event_fields", list(text(is_field_path)))?;
    fields.may("event_format", one_of(&["client", "federation"]))?;
    fields.may_each(&["presence", "account_data"], object(event_filter))?;
    fields.may("room", object(room_filter))?;
    fields.rest_dropped()
}

fn room_filter(filter: CanonicalJsonObject) -> Verdict {
    let mut fields = Fields::of(filter);
    fields.may_each(&["rooms", "not_rooms"], list(text(is_room_id)))?;
    fields.may("include_leave", boolean)?;
    fields.may_each(
        &["timeline", "state", "ephemeral", "account_data"],
        object(event_filter),
    )?;
    fields.rest_dropped()
}

fn event_filter(filter: CanonicalJsonObject) -> Verdict {
    let flags = [
        "lazy_load_members",
        "include_redundant_members",
        "contains_url",
        "unread_thread_notifications",
        "org.matrix.msc3773.unread_thread_notifications",
    ];
    let mut fields = Fields::of(filter);
    fields.may("limit", count)?;
    fields.may_each(&["types", "not_types"], list(text(is_event_type_pattern)))?;
    fields.may_each(&["senders", "not_senders"], list(text(is_user_id)))?;
    fields.may_each(&["rooms", "not_rooms"], list(text(is_room_id)))?;
    fields.may_each(&flags, boolean)?;
    fields.rest_dropped()
}

/// The path of a field: `type`, `content.body`. Known names only: nobody needs others, and anybody
/// could write a word there.
fn is_field_path(path: &str) -> bool {
    const OF_EVENTS: &[&str] = &[
        "type",
        "content",
        "sender",
        "state_key",
        "event_id",
        "room_id",
        "origin_server_ts",
        "redacts",
        "unsigned",
    ];
    const INSIDE: &[&str] = &[
        "age",
        "algorithm",
        "avatar_url",
        "body",
        "ciphertext",
        "device_id",
        "displayname",
        "event_id",
        "info",
        "m\\.relates_to",
        "m.relates_to",
        "membership",
        "msgtype",
        "name",
        "prev_content",
        "redacted_because",
        "rel_type",
        "sender_key",
        "session_id",
        "topic",
        "transaction_id",
        "url",
    ];
    match path.split_once('.') {
        Some((field, inside)) => OF_EVENTS.contains(&field) && INSIDE.contains(&inside),
        None => OF_EVENTS.contains(&path),
    }
}

#[cfg(test)]
mod tests;
