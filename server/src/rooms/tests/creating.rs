use http::Method;
use respite_protocol::TherapyKind;
use ruma::{
    CanonicalJsonObject,
    events::room::member::MembershipState,
    serde::Base64,
    signatures::{PublicKeyMap, Verified, verify_event},
    state_res::check_pdu_format,
};
use serde_json::json;

use super::world::{World, forbidden, not_found};
use crate::{
    error::Error,
    rooms::{
        create::{NewRoom, create_in},
        state,
    },
    store::Tx,
};

/// Every event of the room verifies as other servers would verify it.
async fn assert_signed(world: &World, room: &ruma::RoomId, version: &str) {
    let rules = World::rules(version);
    let key = &world.app.signing_key;
    let keys = [(
        format!("ed25519:{}", key.version()),
        Base64::new(key.public_key().to_vec()),
    )];
    let keys = PublicKeyMap::from([(world.app.server_name().to_string(), keys.into())]);
    for (_, event) in world.timeline(room).await {
        let pdu = event.pdu(&rules).unwrap();
        let expected = match event.redacted_because {
            Some(_) => Verified::Signatures,
            None => Verified::All,
        };
        assert_eq!(
            verify_event(&keys, &pdu, &rules).unwrap(),
            expected,
            "{}",
            event.kind
        );
        check_pdu_format(&pdu, &rules.event_format).unwrap();
        let id = ruma::signatures::reference_hash(&pdu, &rules).unwrap();
        assert_eq!(event.event_id.as_str(), format!("${id}"));
    }
}

#[tokio::test]
async fn a_room_of_every_version_holds_events_that_other_servers_would_accept() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    for version in ["10", "11", "12"] {
        let room = therapist.room_with(&[&nurse], version).await;
        let said = nurse.say(&room, "good morning").await;
        therapist.say(&room, "good night").await;
        let body = json!({ "reason": "a mistake" });
        nurse
            .put(&format!("/v3/rooms/{room}/redact/{said}/1"), body)
            .await;
        assert_signed(&world, &room, version).await;
        let state = state::current(&world.app, &room).await.unwrap().unwrap();
        assert_eq!(state.version().as_str(), version);
        assert_eq!(state.joined().len(), 2);
        assert_eq!(room.server_name().is_none(), version == "12");
    }
}

#[tokio::test]
async fn two_rooms_founded_in_the_same_moment_are_two_rooms() {
    let world = World::plain().await;
    let therapist = world.person("therapist").await;
    let first = therapist.room(json!({ "room_version": "12" })).await;
    let second = therapist.room(json!({ "room_version": "12" })).await;
    assert_ne!(first, second);
}

#[tokio::test]
async fn presets_decide_who_may_enter_and_what_they_may_do() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let public = therapist
        .room(json!({ "preset": "public_chat", "name": "Night shift" }))
        .await;
    nurse.post(&format!("/v3/join/{public}"), json!({})).await;
    let name = nurse
        .get(&format!("/v3/rooms/{public}/state/m.room.name"))
        .await;
    assert_eq!(name, json!({ "name": "Night shift" }));

    let trusted =
        json!({ "preset": "trusted_private_chat", "invite": [nurse.user], "is_direct": true });
    let room = therapist.room(trusted.clone()).await;
    let path = format!("/v3/rooms/{room}/state/m.room.power_levels/");
    let powers = therapist.get(&path).await;
    assert_eq!(powers["users"][nurse.user.as_str()], 100);
    let member = format!("/v3/rooms/{room}/state/m.room.member/{}", nurse.user);
    let member = therapist.get(&member).await;
    assert_eq!(
        member,
        json!({ "membership": "invite", "displayname": "NURSE", "is_direct": true })
    );

    let mut twelve = trusted;
    twelve["room_version"] = json!("12");
    let room = therapist.room(twelve).await;
    let create = therapist
        .get(&format!("/v3/rooms/{room}/state/m.room.create"))
        .await;
    assert_eq!(create["additional_creators"], json!([nurse.user]));
    nurse.act(&room, "join", json!({})).await;
    nurse
        .set(&room, "m.room.name", json!({ "name": "Ours" }))
        .await;
}

#[tokio::test]
async fn a_guarded_room_is_encrypted_and_nameless_whatever_the_client_asks_for() {
    let world = World::guarded().await;
    let therapist = world.person("therapist").await;
    let room = therapist
        .room(json!({
            "name": "canary one", "topic": "canary two",
            "initial_state": [
                { "type": "m.room.name", "state_key": "", "content": { "name": "canary three" } },
                { "type": "m.room.avatar", "state_key": "", "content": { "url": "mxc://localhost/canary" } },
            ],
            "creation_content": { "canary": "four", "m.federate": true },
        }))
        .await;
    let state = state::current(&world.app, &room).await.unwrap().unwrap();
    assert!(state.is_encrypted());
    assert!(state.get("m.room.name", "").is_none());
    for (_, event) in world.timeline(&room).await {
        assert!(!event.content.contains("canary"), "{}", event.content);
    }
    let create = therapist
        .get(&format!("/v3/rooms/{room}/state/m.room.create/"))
        .await;
    assert_eq!(create["m.federate"], false);

    let refused = [
        json!({ "room_alias_name": "night-shift" }),
        json!({ "creation_content": { "type": "chat.respite.therapy" } }),
        json!({ "initial_state": [{ "type": "org.example", "state_key": "", "content": { "a": "b" } }] }),
    ];
    for body in refused {
        let answer = therapist
            .refused(Method::POST, "/v3/createRoom", body)
            .await;
        assert_eq!(answer, forbidden());
    }
}

#[tokio::test]
async fn a_room_version_that_nobody_knows_is_refused() {
    let world = World::plain().await;
    let therapist = world.person("therapist").await;
    for version in ["9", "99", "org.example"] {
        let body = json!({ "room_version": version });
        let answer = therapist
            .refused(Method::POST, "/v3/createRoom", body)
            .await;
        assert_eq!(answer, (400, "M_UNSUPPORTED_ROOM_VERSION".to_owned()));
    }
}

#[tokio::test]
async fn people_invite_each_other_by_accounts_that_exist() {
    let world = World::plain().await;
    let therapist = world.person("therapist").await;
    let body = json!({ "invite": ["@i-am-a-message:localhost"] });
    let answer = therapist
        .refused(Method::POST, "/v3/createRoom", body)
        .await;
    assert_eq!(answer.0, 404);
}

#[tokio::test]
async fn a_therapy_room_invites_people_and_no_words() {
    let world = World::guarded().await;
    let therapist = world.person("therapist").await;
    let words = ruma::UserId::parse("@i_feel_sad_today:localhost").unwrap();
    let members = vec![(words, MembershipState::Invite)];
    let (room, app) = (
        &NewRoom::therapy(TherapyKind::Individual, members),
        &world.app,
    );
    let creator = &therapist.user;
    let made = app.store.transact(|mut tx: Tx| async move {
        let id = create_in(&mut tx, app, creator, room.clone()).await?;
        Ok::<_, Error>((tx, id))
    });
    let Err(Error::Matrix { status, .. }) = made.await else {
        panic!("words were invited")
    };
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_therapy_room_has_both_in_it_from_the_beginning_and_keeps_its_rules() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    for version in ["11", "12"] {
        let members = vec![(nurse.user.clone(), MembershipState::Join)];
        let mut room = NewRoom::therapy(TherapyKind::Individual, members);
        room.version = Some(version.try_into().unwrap());
        let (room, app, creator) = (&room, &world.app, &therapist.user);
        let made = app.store.transact(|mut tx: Tx| async move {
            let id = create_in(&mut tx, app, creator, room.clone()).await?;
            Ok::<_, Error>((tx, id))
        });
        let room = made.await.unwrap().value;
        let state = state::current(app, &room).await.unwrap().unwrap();
        assert!(state.is_therapy() && state.is_encrypted());
        assert!(state.is_joined(&nurse.user) && state.is_joined(&therapist.user));
        assert!(state.power_level(&therapist.user) > state.power_level(&nurse.user));
        let encryption: CanonicalJsonObject = state.content("m.room.encryption").unwrap();
        assert_eq!(
            encryption["rotation_period_msgs"].as_integer(),
            Some(ruma::int!(50))
        );

        let weaker = [
            (
                "m.room.encryption",
                json!({ "algorithm": "m.megolm.v1.aes-sha2" }),
            ),
            (
                "m.room.history_visibility",
                json!({ "history_visibility": "world_readable" }),
            ),
            ("m.room.join_rules", json!({ "join_rule": "public" })),
            ("m.room.guest_access", json!({ "guest_access": "can_join" })),
        ];
        for (kind, content) in weaker {
            let path = format!("/v3/rooms/{room}/state/{kind}/");
            let answer = therapist.refused(Method::PUT, &path, content).await;
            assert_eq!(answer, forbidden(), "{kind}");
        }
        let path = format!("/v3/rooms/{room}/state/m.room.create/");
        let again = json!({ "room_version": version });
        let (status, _) = therapist.refused(Method::PUT, &path, again).await;
        assert_eq!(status, 400, "a room is created once");
        let path = format!("/v3/rooms/{room}/send/m.room.message/1");
        let plain = json!({ "msgtype": "m.text", "body": "plain" });
        assert_eq!(nurse.refused(Method::PUT, &path, plain).await, forbidden());
        assert_signed(&world, &room, version).await;
    }
}

#[tokio::test]
async fn words_that_look_like_user_ids_do_not_get_into_a_room() {
    let world = World::guarded().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let words = "@i.could.not.sleep:localhost";
    let powers = json!({ "users": { therapist.user.as_str(): 100, words: 50 } });
    let initial = json!([{ "type": "m.room.power_levels", "content": powers }]);
    for body in [
        json!({ "power_level_content_override": powers }),
        json!({ "initial_state": initial }),
        json!({ "room_version": "12", "creation_content": { "additional_creators": [words] } }),
    ] {
        let refused = therapist.refused(Method::POST, "/v3/createRoom", body);
        assert_eq!(refused.await, not_found());
    }
    let room = therapist.room_with(&[&nurse], "11").await;
    let path = format!("/v3/rooms/{room}/state/m.room.power_levels");
    let mut levels = therapist.get(&path).await;
    levels["users"][words] = json!(0);
    assert_eq!(
        therapist.refused(Method::PUT, &path, levels.clone()).await,
        not_found()
    );
    levels["users"] = json!({ therapist.user.as_str(): 100, nurse.user.as_str(): 50 });
    therapist.put(&path, levels.clone()).await;
    // Who was named may stay named, also when their account is ended.
    let gone = &nurse.user;
    world
        .app
        .store
        .transact(|mut tx: Tx| async move {
            tx.delete(&crate::auth::PASSWORDS, gone);
            Ok::<_, Error>((tx, ()))
        })
        .await
        .unwrap();
    levels["invite"] = json!(50);
    therapist.put(&path, levels).await;
}
