//! The push rules of each user.

use axum::Router;
use respite_protocol::ciphertext;
use ruma::{
    RoomId, UserId,
    api::client::push::{
        delete_pushrule, get_pushrule, get_pushrule_actions, get_pushrule_enabled,
        get_pushrules_all, get_pushrules_global_scope, set_pushrule, set_pushrule_actions,
        set_pushrule_enabled,
    },
    push::{
        Action, AnyPushRuleRef, InsertPushRuleError, NewConditionalPushRule, NewPatternedPushRule,
        NewPushRule, NewSimplePushRule, PushCondition, RemovePushRuleError, RuleKind, Ruleset,
    },
};
use serde::Deserialize;
use serde_json::json;

use super::PUSH_RULES;
use crate::{
    auth::Device,
    endpoint::endpoint,
    error::{Error, Result},
    gate,
    inbox::{self, Entry},
    state::App,
    store::{Store, StoreError, Tx},
};

/// Most rules that a user has, the specification's among them.
const MAX_RULES: usize = 500;
/// Most conditions of a rule; the specification's own have three at most.
const MAX_CONDITIONS: usize = 10;
/// Most actions of a rule.
const MAX_ACTIONS: usize = 10;
/// Largest set of a user's rules, in bytes of JSON: it is read for everything that they may be notified of.
const MAX_RULES_BYTES: usize = 64 * 1024;
/// Longest id of a rule, in bytes.
const MAX_RULE_ID_BYTES: usize = ciphertext::MAX_ID_BYTES;

pub(super) fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(all))
        .merge(endpoint::<_, _, _, _>(global))
        .merge(endpoint::<_, _, _, _>(one))
        .merge(endpoint::<_, _, _, _>(set))
        .merge(endpoint::<_, _, _, _>(remove))
        .merge(endpoint::<_, _, _, _>(enabled))
        .merge(endpoint::<_, _, _, _>(set_enabled))
        .merge(endpoint::<_, _, _, _>(actions))
        .merge(endpoint::<_, _, _, _>(set_actions))
}

/// A user's push rules, the content of their `m.push_rules` under `global`.
///
/// # Errors
/// The store's.
pub async fn ruleset(store: &Store, user: &UserId) -> Result<Ruleset, StoreError> {
    Ok(match store.get(&PUSH_RULES, user).await? {
        Some(own) => parse(user, &own),
        None => Ruleset::server_default(user),
    })
}

/// Stored rules; should they ever be unreadable, the specification's: ringing too often is better than never.
pub(super) fn parse(user: &UserId, own: &str) -> Ruleset {
    let mut rules = serde_json::from_str(own).unwrap_or_else(|_| Ruleset::server_default(user));
    rules.update_with_server_default(Ruleset::server_default(user));
    rules
}

/// `GET /pushrules/`
async fn all(
    app: App,
    me: Device,
    _: get_pushrules_all::v3::Request,
) -> Result<get_pushrules_all::v3::Response> {
    Ok(get_pushrules_all::v3::Response::new(
        ruleset(&app.store, &me.user).await?,
    ))
}

/// `GET /pushrules/global/`
async fn global(
    app: App,
    me: Device,
    _: get_pushrules_global_scope::v3::Request,
) -> Result<get_pushrules_global_scope::v3::Response> {
    Ok(get_pushrules_global_scope::v3::Response::new(
        ruleset(&app.store, &me.user).await?,
    ))
}

/// `GET /pushrules/global/{kind}/{ruleId}`
async fn one(
    app: App,
    me: Device,
    request: get_pushrule::v3::Request,
) -> Result<get_pushrule::v3::Response> {
    let rules = ruleset(&app.store, &me.user).await?;
    let rule = found(&rules, request.kind, &request.rule_id)?;
    Ok(get_pushrule::v3::Response::new(rule.into()))
}

/// `GET /pushrules/global/{kind}/{ruleId}/enabled`
async fn enabled(
    app: App,
    me: Device,
    request: get_pushrule_enabled::v3::Request,
) -> Result<get_pushrule_enabled::v3::Response> {
    let rules = ruleset(&app.store, &me.user).await?;
    let rule = found(&rules, request.kind, &request.rule_id)?;
    Ok(get_pushrule_enabled::v3::Response::new(rule.enabled()))
}

/// `GET /pushrules/global/{kind}/{ruleId}/actions`
async fn actions(
    app: App,
    me: Device,
    request: get_pushrule_actions::v3::Request,
) -> Result<get_pushrule_actions::v3::Response> {
    let rules = ruleset(&app.store, &me.user).await?;
    let rule = found(&rules, request.kind, &request.rule_id)?;
    Ok(get_pushrule_actions::v3::Response::new(
        rule.actions().to_vec(),
    ))
}

/// `PUT /pushrules/global/{kind}/{ruleId}`
async fn set(
    app: App,
    me: Device,
    request: set_pushrule::v3::Request,
) -> Result<set_pushrule::v3::Response> {
    let rule = through_gate(request.rule)?;
    let (after, before) = (request.after.as_deref(), request.before.as_deref());
    change(&app, &me.user, |rules| {
        let count = rules.iter().count();
        if count >= MAX_RULES && rules.get(rule.kind(), rule.rule_id()).is_none() {
            return Err(too_much());
        }
        rules
            .insert(rule.clone(), after, before)
            .map_err(not_inserted)
    })
    .await?;
    Ok(set_pushrule::v3::Response::new())
}

/// `DELETE /pushrules/global/{kind}/{ruleId}`
async fn remove(
    app: App,
    me: Device,
    request: delete_pushrule::v3::Request,
) -> Result<delete_pushrule::v3::Response> {
    change(&app, &me.user, |rules| {
        rules
            .remove(request.kind.clone(), &request.rule_id)
            .map_err(|error| match error {
                RemovePushRuleError::ServerDefault => {
                    Error::invalid_param("This is one of the standard rules. Disable it instead.")
                }
                _ => no_such_rule(),
            })
    })
    .await?;
    Ok(delete_pushrule::v3::Response::new())
}

/// `PUT /pushrules/global/{kind}/{ruleId}/enabled`
async fn set_enabled(
    app: App,
    me: Device,
    request: set_pushrule_enabled::v3::Request,
) -> Result<set_pushrule_enabled::v3::Response> {
    change(&app, &me.user, |rules| {
        rules
            .set_enabled(request.kind.clone(), &request.rule_id, request.enabled)
            .map_err(|_| no_such_rule())
    })
    .await?;
    Ok(set_pushrule_enabled::v3::Response::new())
}

/// `PUT /pushrules/global/{kind}/{ruleId}/actions`
async fn set_actions(
    app: App,
    me: Device,
    request: set_pushrule_actions::v3::Request,
) -> Result<set_pushrule_actions::v3::Response> {
    let actions = ruma::canonical_json::to_canonical_value(&request.actions).map_err(|_| {
        Error::bad_json("The actions must hold no fractions and no numbers beyond 2^53.")
    })?;
    let actions: Vec<Action> = read_back(&ciphertext::push_actions(actions)?)?;
    check_size(&[], &actions)?;
    change(&app, &me.user, |rules| {
        rules
            .set_actions(request.kind.clone(), &request.rule_id, actions.clone())
            .map_err(|_| no_such_rule())
    })
    .await?;
    Ok(set_pushrule_actions::v3::Response::new())
}

fn found<'a>(rules: &'a Ruleset, kind: RuleKind, rule_id: &str) -> Result<AnyPushRuleRef<'a>> {
    rules.get(kind, rule_id).ok_or_else(no_such_rule)
}

fn no_such_rule() -> Error {
    Error::not_found("There is no such push rule.")
}

fn too_much() -> Error {
    Error::too_large("You have too many push rules. Remove one first.")
}

fn check_size(conditions: &[PushCondition], actions: &[Action]) -> Result<()> {
    if conditions.len() > MAX_CONDITIONS || actions.len() > MAX_ACTIONS {
        return Err(Error::too_large(
            "A push rule may have at most 10 conditions and 10 actions.",
        ));
    }
    Ok(())
}

fn not_inserted(error: InsertPushRuleError) -> Error {
    match error {
        InsertPushRuleError::UnknownRuleId => {
            Error::not_found("There is no push rule with the id given as before or after.")
        }
        InsertPushRuleError::ServerDefaultRuleId => {
            Error::invalid_param("Ids of push rules that begin with a dot are reserved.")
        }
        _ => Error::invalid_param("A push rule with this id cannot be put in this place."),
    }
}

/// Changes a user's rules and tells their devices.
async fn change(
    app: &App,
    user: &UserId,
    change: impl Fn(&mut Ruleset) -> Result<()>,
) -> Result<()> {
    let change = &change;
    app.store
        .transact(|mut tx| async move {
            let mut rules = match tx.get(&PUSH_RULES, user).await? {
                Some(own) => parse(user, &own),
                None => Ruleset::server_default(user),
            };
            change(&mut rules)?;
            keep(&mut tx, user, &rules)?;
            Ok::<_, Error>((tx, ()))
        })
        .await?;
    Ok(())
}

fn keep(tx: &mut Tx, user: &UserId, rules: &Ruleset) -> Result<()> {
    let text = gate::text(rules)?;
    if text.len() > MAX_RULES_BYTES {
        return Err(too_much());
    }
    tx.put(&PUSH_RULES, user, &text)?;
    let changed = Entry::AccountData(None, "m.push_rules".to_owned());
    inbox::deliver(tx, user, changed)?;
    Ok(())
}

/// Gives a room the rule that its user has for another one, whose place it has taken.
///
/// # Errors
/// The store's.
pub async fn room_follows_in(tx: &mut Tx, user: &UserId, old: &RoomId, new: &RoomId) -> Result<()> {
    let Some(own) = tx.get(&PUSH_RULES, user).await? else {
        return Ok(());
    };
    let mut rules = parse(user, &own);
    let Some(rule) = rules.room.iter().find(|rule| rule.rule_id == old) else {
        return Ok(());
    };
    let full = rules.iter().count() >= MAX_RULES;
    if full || rules.room.iter().any(|rule| rule.rule_id == new) {
        return Ok(());
    }
    let enabled = rule.enabled;
    let same = NewSimplePushRule::new(new.to_owned(), rule.actions.clone());
    rules
        .insert(NewPushRule::Room(same), None, None)
        .map_err(not_inserted)?;
    rules
        .set_enabled(RuleKind::Room, new.as_str(), enabled)
        .map_err(|_| no_such_rule())?;
    keep(tx, user, &rules)
}

/// A new rule as the gate lets it through.
fn through_gate(rule: NewPushRule) -> Result<NewPushRule> {
    #[derive(Deserialize)]
    struct Body {
        actions: Vec<Action>,
        #[serde(default)]
        conditions: Vec<PushCondition>,
        #[serde(default)]
        pattern: String,
    }
    if rule.rule_id().len() > MAX_RULE_ID_BYTES {
        return Err(Error::invalid_param(
            "The id of a push rule may have at most 255 bytes.",
        ));
    }
    let body = match &rule {
        NewPushRule::Override(rule) | NewPushRule::Underride(rule) => {
            json!({ "actions": rule.actions, "conditions": rule.conditions })
        }
        NewPushRule::Content(rule) => json!({ "actions": rule.actions, "pattern": rule.pattern }),
        NewPushRule::Room(rule) => json!({ "actions": rule.actions }),
        NewPushRule::Sender(rule) => json!({ "actions": rule.actions }),
        _ => return Err(Error::invalid_param("There is no such kind of push rule.")),
    };
    let body = gate::canonical(&body.to_string())?;
    let Body {
        actions,
        conditions,
        pattern,
    } = read_back(&ciphertext::push_rule(
        rule.kind().as_str(),
        rule.rule_id(),
        body,
    )?)?;
    check_size(&conditions, &actions)?;
    Ok(match rule {
        NewPushRule::Override(rule) => NewPushRule::Override(NewConditionalPushRule::new(
            rule.rule_id,
            conditions,
            actions,
        )),
        NewPushRule::Underride(rule) => NewPushRule::Underride(NewConditionalPushRule::new(
            rule.rule_id,
            conditions,
            actions,
        )),
        NewPushRule::Content(rule) => {
            NewPushRule::Content(NewPatternedPushRule::new(rule.rule_id, pattern, actions))
        }
        NewPushRule::Room(rule) => NewPushRule::Room(NewSimplePushRule::new(rule.rule_id, actions)),
        NewPushRule::Sender(rule) => {
            NewPushRule::Sender(NewSimplePushRule::new(rule.rule_id, actions))
        }
        other => other,
    })
}

/// What the gate let through, in its type.
fn read_back<T: serde::de::DeserializeOwned>(content: &impl serde::Serialize) -> Result<T> {
    serde_json::from_str(&gate::text(content)?)
        .map_err(|_| Error::bad_json("The push rule has the wrong form."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Server, device};

    fn rule(id: &str, conditions: usize) -> set_pushrule::v3::Request {
        let condition = json!({ "kind": "sender_notification_permission", "key": "room" });
        let condition: PushCondition = serde_json::from_value(condition).unwrap();
        let rule = NewConditionalPushRule::new(id.to_owned(), vec![condition; conditions], vec![]);
        set_pushrule::v3::Request::new(NewPushRule::Override(rule))
    }

    #[tokio::test]
    async fn neither_one_rule_nor_all_together_grow_without_end() {
        let server = Server::new().await;
        let me = || device("nurse", "PHONE");
        set(server.app.clone(), me(), rule("large", 11))
            .await
            .unwrap_err();
        let mut accepted = 0;
        while accepted < MAX_RULES {
            let next = rule(&format!("rule{accepted}"), 10);
            if set(server.app.clone(), me(), next).await.is_err() {
                break;
            }
            accepted += 1;
        }
        let kept = server.app.store.get(&PUSH_RULES, &me().user).await.unwrap();
        assert!(kept.unwrap().len() <= MAX_RULES_BYTES);
        assert!((10..MAX_RULES).contains(&accepted), "{accepted}");
    }
}
