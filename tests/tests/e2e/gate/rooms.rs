//! What a room is called, and what is said about who comes and goes.

use anyhow::{Context, Result, ensure};
use respite_tests::practice::Practice;
use serde_json::{Value, json};

use super::{Attempt, End, FORBIDDEN, INVALID, Scene, Who, leaves_nothing};

#[tokio::test]
async fn names_topics_and_settings_of_their_own_are_refused() -> Result<()> {
    leaves_nothing(|scene| Ok(settings(scene))).await
}

#[tokio::test]
async fn encryption_cannot_be_removed_or_weakened() -> Result<()> {
    leaves_nothing(|scene| Ok(weaker(scene))).await
}

#[tokio::test]
async fn what_clients_send_along_with_a_room_or_a_member_is_not_kept() -> Result<()> {
    leaves_nothing(|scene| Ok(along(scene))).await
}

#[tokio::test]
async fn a_room_that_is_made_with_words_begins_without_them() -> Result<()> {
    leaves_nothing(|scene| Ok(creations(scene))).await
}

#[tokio::test]
async fn a_new_rooms_name_is_blank_and_its_encryption_is_on() -> Result<()> {
    let practice = Practice::open().await?;
    let scene = Scene::open(&practice).await?;
    let words = scene.words();
    let room = scene
        .nurse
        .makes_a_room(json!({ "name": words, "topic": words }))
        .await?;
    let state = |kind: &str| format!("v3/rooms/{room}/state/{kind}");
    let encryption = scene.nurse.get(&state("m.room.encryption")).await?.ok()?;
    ensure!(
        encryption["algorithm"] == "m.megolm.v1.aes-sha2",
        "{encryption}"
    );
    for (kind, key) in [("m.room.name", "name"), ("m.room.topic", "topic")] {
        let answer = scene.nurse.get(&state(kind)).await?;
        ensure!(answer.status == 404 || answer.body[key] == "", "{answer}");
    }
    scene
        .nurse
        .send(
            &room,
            "m.room.message",
            json!({ "msgtype": "m.text", "body": "x" }),
        )
        .await?
        .refused(403, "M_FORBIDDEN")?;
    Ok(())
}

#[tokio::test]
async fn a_member_is_called_what_their_profile_says() -> Result<()> {
    let practice = Practice::open().await?;
    let scene = Scene::open(&practice).await?;
    let nurse = &scene.nurse;
    nurse
        .put(
            &format!("v3/profile/{}/displayname", nurse.user),
            json!({ "displayname": "Night owl" }),
        )
        .await?
        .ok()?;
    let path = format!("v3/rooms/{}/state/m.room.member/{}", scene.room, nurse.user);
    let content = json!({ "membership": "join", "displayname": scene.words(), "avatar_url": "mxc://localhost/face", "note": scene.words() });
    nurse.put(&path, content).await?.ok()?;
    let member = nurse.get(&path).await?.ok()?;
    ensure!(
        member == json!({ "membership": "join", "displayname": "Night owl" }),
        "{member}"
    );
    Ok(())
}

/// The therapist, who may do everything in the room, sets something.
fn set(scene: &Scene, what: &'static str, place: &str, content: Value, end: End) -> Attempt {
    Attempt::put(
        what,
        format!("v3/rooms/{}/state/{place}", scene.room),
        content,
        end,
    )
    .by(Who::Therapist)
}

pub(super) fn settings(scene: &Scene) -> Vec<Attempt> {
    let words = scene.words();
    let spoken = format!("{words} and more").replace(' ', "%20");
    let event = |name: &'static str, place: &str, content: Value, end: End| {
        set(scene, name, place, content, end)
    };
    vec![
        event("a name", "m.room.name", json!({ "name": words }), FORBIDDEN),
        event(
            "a name under another key",
            "m.room.name",
            json!({ "name": "", "note": words }),
            FORBIDDEN,
        ),
        event(
            "a topic",
            "m.room.topic",
            json!({ "topic": words }),
            FORBIDDEN,
        ),
        event(
            "a topic of the newer form",
            "m.room.topic",
            json!({ "m.topic": { "m.text": [{ "body": words }] } }),
            FORBIDDEN,
        ),
        event(
            "an avatar",
            "m.room.avatar",
            json!({ "url": "mxc://localhost/face", "info": { "note": words } }),
            FORBIDDEN,
        ),
        event(
            "an alias",
            "m.room.canonical_alias",
            json!({ "alias": format!("#{words}:localhost") }),
            FORBIDDEN,
        ),
        event(
            "words beside a number",
            "m.room.canonical_alias",
            json!({ "alias": format!("#room-1-{words}:localhost") }),
            FORBIDDEN,
        ),
        event(
            "an address of a server that is a word",
            "m.room.canonical_alias",
            json!({ "alias": format!("#room-1:{words}.example") }),
            End::Refused(400, "M_BAD_ALIAS"),
        ),
        event(
            "another alias",
            "m.room.canonical_alias",
            json!({ "alt_aliases": [words] }),
            FORBIDDEN,
        ),
        event(
            "an e-mail invitation",
            &format!("m.room.third_party_invite/{words}"),
            json!({ "display_name": words }),
            FORBIDDEN,
        ),
        event(
            "a widget",
            &format!("im.vector.modular.widgets/{words}"),
            json!({ "url": words, "name": words }),
            FORBIDDEN,
        ),
        event(
            "a moderation list",
            &format!("m.policy.rule.user/{words}"),
            json!({ "entity": "@x:y", "reason": words, "recommendation": "m.ban" }),
            FORBIDDEN,
        ),
        event(
            "an unknown setting",
            "chat.example.note",
            json!({ "body": words }),
            FORBIDDEN,
        ),
        event("a setting that is a word", words, json!({}), FORBIDDEN),
        event(
            "a name under a key",
            &format!("m.room.name/{words}"),
            json!({ "name": "" }),
            INVALID,
        ),
        event(
            "a join rule",
            "m.room.join_rules",
            json!({ "join_rule": words }),
            INVALID,
        ),
        event(
            "a history visibility",
            "m.room.history_visibility",
            json!({ "history_visibility": words }),
            INVALID,
        ),
        event(
            "powers for events by their names",
            "m.room.power_levels",
            json!({ "events": { words: 50 } }),
            INVALID,
        ),
        event(
            "powers for people by their names",
            "m.room.power_levels",
            json!({ "users": { words: 50 } }),
            INVALID,
        ),
        event(
            "pins",
            "m.room.pinned_events",
            json!({ "pinned": [words] }),
            INVALID,
        ),
        event(
            "a space's child",
            &format!("m.space.child/{spoken}"),
            json!({ "via": ["localhost"], "order": words }),
            INVALID,
        ),
        event(
            "server names",
            "m.room.server_acl",
            json!({ "allow": ["*"], "deny": [format!("{words} and more")] }),
            INVALID,
        ),
        event(
            "the creation",
            "m.room.create",
            json!({ "note": words }),
            INVALID,
        ),
    ]
}

fn weaker(scene: &Scene) -> Vec<Attempt> {
    let words = scene.words();
    let encryption = |what, content| set(scene, what, "m.room.encryption", content, FORBIDDEN);
    vec![
        encryption("no encryption", json!({})),
        encryption("no algorithm", json!({ "algorithm": null })),
        encryption("an algorithm of nobody's", json!({ "algorithm": words })),
        encryption(
            "a key that never changes",
            json!({ "algorithm": "m.megolm.v1.aes-sha2" }),
        ),
        encryption(
            "a key that changes seldom",
            json!({ "algorithm": "m.megolm.v1.aes-sha2", "rotation_period_ms": 1_u64 << 50, "rotation_period_msgs": 1_000_000 }),
        ),
    ]
}

pub(super) fn along(scene: &Scene) -> Vec<Attempt> {
    let words = scene.words();
    let (room, nurse) = (&scene.room, &scene.nurse.user);
    let other = "!31hneApxJ1o63DmFrp:localhost";
    let act = |what, action: &str, body: Value| {
        Attempt::post(
            what,
            format!("v3/rooms/{room}/{action}"),
            body,
            End::Blanked,
        )
    };
    let reason = |user: &str| json!({ "user_id": user, "reason": words });
    let blanked = |what, place: &str, content| set(scene, what, place, content, End::Blanked);
    vec![
        blanked(
            "why a room is replaced",
            "m.room.tombstone",
            json!({ "body": words, "replacement_room": other }),
        ),
        blanked(
            "where a room stands in a space",
            &format!("m.space.child/{other}"),
            json!({ "via": ["localhost"], "order": words }),
        ),
        blanked(
            "a note beside powers",
            "m.room.guest_access",
            json!({ "guest_access": "forbidden", "note": words }),
        ),
        Attempt::put(
            "a note beside a member",
            format!("v3/rooms/{room}/state/m.room.member/{nurse}"),
            json!({ "membership": "join", "reason": words, "displayname": words, "avatar_url": words }),
            End::Blanked,
        ),
        act("why one leaves", "leave", json!({ "reason": words })),
        act("why one is invited", "invite", reason(nurse)).by(Who::Therapist),
        act(
            "why one joins",
            "join",
            json!({ "reason": words, "third_party_signed": null }),
        ),
        act("why one is sent away", "kick", reason(nurse)).by(Who::Therapist),
        act("why one is banned", "ban", reason(nurse)).by(Who::Therapist),
        act("why one is let in again", "unban", reason(nurse)).by(Who::Therapist),
    ]
}

pub(super) fn creations(scene: &Scene) -> Vec<Attempt> {
    let words = scene.words();
    let begins =
        |what, body: Value, end| Attempt::post(what, "v3/createRoom".to_owned(), body, end);
    let state = |kind: &str, content: Value| json!({ "initial_state": [{ "type": kind, "state_key": "", "content": content }] });
    vec![
        begins(
            "a name and a topic",
            json!({ "name": words, "topic": words }),
            End::Blanked,
        ),
        begins(
            "a name in the state",
            state("m.room.name", json!({ "name": words })),
            End::Blanked,
        ),
        begins(
            "a topic in the state",
            state("m.room.topic", json!({ "topic": words, "m.topic": words })),
            End::Blanked,
        ),
        begins(
            "an avatar in the state",
            state("m.room.avatar", json!({ "url": words })),
            End::Blanked,
        ),
        begins(
            "a note in the creation",
            json!({ "creation_content": { "note": words, "m.federate": true } }),
            End::Blanked,
        ),
        begins("an alias", json!({ "room_alias_name": words }), FORBIDDEN),
        begins(
            "an alias in the state",
            state("m.room.canonical_alias", json!({ "alias": words })),
            FORBIDDEN,
        ),
        begins(
            "an unknown setting in the state",
            state("chat.example.note", json!({ "body": words })),
            FORBIDDEN,
        ),
        begins(
            "a setting that is a word",
            state(words, json!({})),
            FORBIDDEN,
        ),
        begins(
            "an algorithm of nobody's",
            state("m.room.encryption", json!({ "algorithm": words })),
            FORBIDDEN,
        ),
        begins(
            "a type of room of their own",
            json!({ "creation_content": { "type": words } }),
            INVALID,
        ),
        begins(
            "powers for people by their names",
            json!({ "power_level_content_override": { "users": { words: 50 } } }),
            INVALID,
        ),
        begins(
            "a room for everybody",
            json!({ "visibility": "public", "name": words }),
            End::Blanked,
        ),
        begins(
            "an invitation by e-mail",
            json!({ "invite_3pid": [{ "medium": "email", "address": words, "id_server": "localhost", "id_access_token": words }] }),
            End::Refused(403, "M_THREEPID_DENIED"),
        ),
    ]
}

#[tokio::test]
async fn nobody_is_invited_by_email() -> Result<()> {
    let practice = Practice::open().await?;
    let scene = Scene::open(&practice).await?;
    let path = format!("v3/rooms/{}/invite", scene.room);
    let body = json!({ "medium": "email", "address": scene.words(), "id_server": "localhost", "id_access_token": "x" });
    let answer = scene.therapist.post(&path, body).await?;
    ensure!(answer.status == 403, "{answer}");
    ensure!(!scene.canary.is_in(&answer.bytes), "{answer}");
    let state = scene
        .therapist
        .get(&format!("v3/rooms/{}/state", scene.room))
        .await?
        .ok()?;
    let kinds: Vec<&Value> = state
        .as_array()
        .context("no state")?
        .iter()
        .map(|event| &event["type"])
        .collect();
    ensure!(
        !kinds.contains(&&json!("m.room.third_party_invite")),
        "{kinds:?}"
    );
    Ok(())
}
