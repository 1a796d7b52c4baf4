use http::Method;
use serde_json::json;

use super::world::{World, forbidden};
use crate::rooms::membership::{self, announce_profile, neighbours};

#[tokio::test]
async fn people_come_and_go() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room(json!({})).await;
    let who = json!({ "user_id": nurse.user, "reason": "canary" });
    assert_eq!(
        nurse.refused_act(&room, "join", json!({})).await,
        forbidden()
    );
    therapist.act(&room, "invite", who.clone()).await;
    therapist.act(&room, "invite", who.clone()).await;
    nurse
        .act(&room, "join", json!({ "reason": "canary" }))
        .await;
    let joined = world.timeline(&room).await.len();
    nurse.act(&room, "join", json!({})).await;
    assert_eq!(
        world.timeline(&room).await.len(),
        joined,
        "joining twice is joining once"
    );
    let rooms = nurse.get("/v3/joined_rooms").await;
    assert_eq!(rooms["joined_rooms"], json!([room]));
    assert_eq!(
        therapist.refused_act(&room, "invite", who.clone()).await,
        forbidden()
    );
    let members = nurse.get(&format!("/v3/rooms/{room}/joined_members")).await;
    assert_eq!(
        members["joined"][nurse.user.as_str()],
        json!({ "display_name": "NURSE", "avatar_url": null })
    );

    nurse
        .act(&room, "leave", json!({ "reason": "canary" }))
        .await;
    nurse.act(&room, "leave", json!({})).await;
    assert_eq!(
        nurse.refused_act(&room, "join", json!({})).await,
        forbidden()
    );
    for (_, event) in world.timeline(&room).await {
        assert!(!event.content.contains("canary"));
    }
}

#[tokio::test]
async fn an_invitation_can_be_declined_and_forgotten() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room(json!({ "invite": [nurse.user] })).await;
    let unknown = (400, "M_UNKNOWN".to_owned());
    assert_eq!(nurse.refused_act(&room, "forget", json!({})).await, unknown);
    assert_eq!(
        nurse.refused_read(&room, "messages?dir=b").await,
        forbidden()
    );
    nurse.act(&room, "leave", json!({})).await;
    assert_eq!(
        nurse.refused_read(&room, "messages?dir=b").await,
        forbidden()
    );
    nurse.act(&room, "forget", json!({})).await;
    nurse.act(&room, "forget", json!({})).await;
    let rooms = membership::rooms_of(&world.app.store, &nurse.user)
        .await
        .unwrap();
    assert!(rooms.iter().all(|(_, membership)| membership.forgotten));
    therapist
        .act(&room, "invite", json!({ "user_id": nurse.user }))
        .await;
    nurse.act(&room, "join", json!({})).await;
    nurse.say(&room, "back again").await;
}

#[tokio::test]
async fn a_banned_person_is_out_until_the_ban_is_lifted() {
    let world = World::plain().await;
    let (therapist, partner) = (
        world.person("therapist").await,
        world.person("partner").await,
    );
    let room = therapist.room_with(&[&partner], "11").await;
    let who = json!({ "user_id": partner.user });
    assert_eq!(
        partner
            .refused_act(&room, "ban", json!({ "user_id": therapist.user }))
            .await,
        forbidden()
    );
    therapist.act(&room, "ban", who.clone()).await;
    therapist.act(&room, "ban", who.clone()).await;
    therapist.say(&room, "after the ban").await;
    assert!(partner.reads(&room).await.is_empty());
    for action in ["join", "leave"] {
        assert_eq!(
            partner.refused_act(&room, action, json!({})).await,
            forbidden()
        );
    }
    assert_eq!(
        partner
            .refused(Method::POST, &format!("/v3/knock/{room}"), json!({}))
            .await,
        forbidden()
    );
    assert_eq!(
        therapist.refused_act(&room, "invite", who.clone()).await,
        forbidden()
    );
    assert_eq!(
        therapist.refused_act(&room, "kick", who.clone()).await,
        forbidden()
    );
    therapist.act(&room, "unban", who.clone()).await;
    assert_eq!(
        therapist.refused_act(&room, "unban", who.clone()).await,
        forbidden()
    );
    assert_eq!(
        partner.refused_act(&room, "join", json!({})).await,
        forbidden()
    );
    therapist.act(&room, "invite", who).await;
    partner.act(&room, "join", json!({})).await;
}

#[tokio::test]
async fn whoever_knocks_may_be_let_in() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room(json!({})).await;
    let knock = format!("/v3/knock/{room}");
    assert_eq!(
        nurse.refused(Method::POST, &knock, json!({})).await,
        forbidden()
    );
    therapist
        .set(&room, "m.room.join_rules", json!({ "join_rule": "knock" }))
        .await;
    nurse.post(&knock, json!({ "reason": "canary" })).await;
    nurse.post(&knock, json!({})).await;
    assert_eq!(
        world.inbox(&nurse, &room).await.len(),
        1,
        "who knocks hears of it"
    );
    therapist
        .act(&room, "invite", json!({ "user_id": nurse.user }))
        .await;
    nurse.act(&room, "join", json!({})).await;
}

#[tokio::test]
async fn members_of_one_room_may_enter_another_that_is_open_to_them() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let stranger = world.person("stranger").await;
    let team = therapist.room_with(&[&nurse], "11").await;
    let room = therapist.room(json!({})).await;
    let allow = json!([{ "type": "m.room_membership", "room_id": team }]);
    let rules = json!({ "join_rule": "restricted", "allow": allow });
    therapist.set(&room, "m.room.join_rules", rules).await;
    nurse.act(&room, "join", json!({})).await;
    assert_eq!(
        stranger.refused_act(&room, "join", json!({})).await,
        forbidden()
    );
    let path = |who: &str| format!("/v3/rooms/{room}/state/m.room.member/{who}");
    let vouched = json!({
        "membership": "join",
        "join_authorised_via_users_server": therapist.user,
    });
    let own = path(stranger.user.as_str());
    assert_eq!(
        stranger.refused(Method::PUT, &own, vouched.clone()).await,
        forbidden(),
        "nobody vouches for themselves in somebody else's name"
    );
    nurse.act(&room, "leave", json!({})).await;
    let own = path(nurse.user.as_str());
    nurse.put(&own, json!({ "membership": "join" })).await;
    let member = therapist.get(&own).await;
    assert_eq!(
        member["join_authorised_via_users_server"],
        json!(therapist.user)
    );
}

#[tokio::test]
async fn an_invitation_does_not_say_what_a_stranger_is_called() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let who = json!({ "user_id": nurse.user });
    let first = therapist.room(json!({ "invite": [nurse.user] })).await;
    let second = therapist.room(json!({})).await;
    let path = |room| format!("/v3/rooms/{room}/state/m.room.member/{}", nurse.user);
    therapist.act(&second, "invite", who.clone()).await;
    for room in [&first, &second] {
        let member = therapist.get(&path(room)).await;
        assert_eq!(member, json!({ "membership": "invite" }));
    }
    nurse.act(&first, "join", json!({})).await;
    assert_eq!(therapist.get(&path(&first)).await["displayname"], "NURSE");
    let third = therapist.room(json!({})).await;
    therapist.act(&third, "invite", who).await;
    assert_eq!(therapist.get(&path(&third)).await["displayname"], "NURSE");
}

#[tokio::test]
async fn a_new_pseudonym_is_told_to_the_rooms_that_one_is_in() {
    let world = World::plain().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room_with(&[&nurse], "11").await;
    let before = world.timeline(&room).await.len();
    announce_profile(&world.app, &nurse.user).await.unwrap();
    assert_eq!(
        world.timeline(&room).await.len(),
        before,
        "nothing has changed"
    );
    nurse
        .put(
            &format!("/v3/profile/{}/displayname", nurse.user),
            json!({ "displayname": "Owl" }),
        )
        .await;
    let path = format!("/v3/rooms/{room}/state/m.room.member/{}", nurse.user);
    assert_eq!(therapist.get(&path).await["displayname"], "Owl");
    assert_eq!(world.timeline(&room).await.len(), before + 1);
    let seen = neighbours(&world.app, &nurse.user).await.unwrap();
    assert!(seen.contains(&therapist.user) && seen.contains(&nurse.user) && seen.len() == 2);
}

#[tokio::test]
async fn nobody_speaks_under_a_name_of_their_choice_in_a_guarded_room() {
    let world = World::guarded().await;
    let (therapist, nurse) = (world.person("therapist").await, world.person("nurse").await);
    let room = therapist.room_with(&[&nurse], "11").await;
    let path = format!("/v3/rooms/{room}/state/m.room.member/{}", nurse.user);
    let content = json!({ "membership": "join", "displayname": "canary", "reason": "canary" });
    nurse.put(&path, content).await;
    let member = therapist.get(&path).await;
    assert_eq!(
        member,
        json!({ "membership": "join", "displayname": "NURSE" })
    );
}
