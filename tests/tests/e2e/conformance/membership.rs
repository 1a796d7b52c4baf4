//! Coming and going: invitations, joining, leaving, being sent away, knocking, forgetting.

use anyhow::{Context, Result, ensure};
use respite_tests::{
    practice::Practice,
    raw::{self, Raw, text_at},
};
use serde_json::{Value, json};

use super::{of_kind, together, two};

async fn act(
    who: &Raw,
    room: &str,
    action: &str,
    other: &Raw,
) -> Result<respite_tests::raw::Answer> {
    who.post(
        &format!("v3/rooms/{room}/{action}"),
        json!({ "user_id": other.user }),
    )
    .await
}

async fn membership(who: &Raw, room: &str, of: &Raw) -> Result<Value> {
    let content = who
        .get(&format!("v3/rooms/{room}/state/m.room.member/{}", of.user))
        .await?
        .ok()?;
    Ok(content["membership"].clone())
}

#[tokio::test]
async fn an_invitation_comes_with_what_one_needs_to_decide() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    let room = nurse
        .makes_a_room(json!({ "invite": [doctor.user], "is_direct": true }))
        .await?;
    for news in [doctor.syncs(None).await?, doctor.syncs(Some(&since)).await?] {
        let state = &news["rooms"]["invite"][&room]["invite_state"]["events"];
        of_kind(state, "m.room.create")?;
        of_kind(state, "m.room.join_rules")?;
        of_kind(state, "m.room.encryption")?;
        let members = state
            .as_array()
            .context("no state")?
            .iter()
            .filter(|event| event["type"] == "m.room.member");
        let invitation = members
            .clone()
            .find(|event| event["state_key"] == doctor.user)
            .context("no invitation")?;
        ensure!(
            invitation["content"]["membership"] == "invite" && invitation["sender"] == nurse.user,
            "{invitation}"
        );
        ensure!(news["rooms"]["join"].get(&room).is_none());
    }
    // Invited is not in.
    doctor
        .send(&room, "m.room.encrypted", raw::megolm(&room, "x")?)
        .await?
        .refused(403, "M_FORBIDDEN")?;
    doctor.joins(&room).await?;
    doctor.joins(&room).await?;
    ensure!(doctor.rooms().await? == std::slice::from_ref(&room));
    let news = doctor.syncs(Some(&since)).await?;
    ensure!(
        news["rooms"]["join"].get(&room).is_some() && news["rooms"]["invite"].get(&room).is_none(),
        "{news}"
    );
    ensure!(
        news["rooms"]["join"][&room]["summary"]["m.joined_member_count"] == 2,
        "{news}"
    );
    Ok(())
}

#[tokio::test]
async fn an_invitation_can_be_declined_and_taken_back() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let room = nurse
        .makes_a_room(json!({ "invite": [doctor.user] }))
        .await?;
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    doctor
        .post(&format!("v3/rooms/{room}/leave"), json!({}))
        .await?
        .ok()?;
    ensure!(membership(&nurse, &room, &doctor).await? == "leave");
    let news = doctor.syncs(Some(&since)).await?;
    ensure!(news["rooms"]["leave"].get(&room).is_some(), "{news}");
    doctor
        .post(&format!("v3/rooms/{room}/join"), json!({}))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    act(&nurse, &room, "invite", &doctor).await?.ok()?;
    act(&nurse, &room, "kick", &doctor).await?.ok()?;
    doctor
        .post(&format!("v3/rooms/{room}/join"), json!({}))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    Ok(())
}

#[tokio::test]
async fn who_is_sent_away_may_be_invited_again_and_who_is_banned_may_not() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    act(&doctor, &room, "kick", &nurse)
        .await?
        .refused(403, "M_FORBIDDEN")?;
    act(&doctor, &room, "ban", &nurse)
        .await?
        .refused(403, "M_FORBIDDEN")?;
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    act(&nurse, &room, "kick", &doctor).await?.ok()?;
    let news = doctor.syncs(Some(&since)).await?;
    let last = &news["rooms"]["leave"][&room]["timeline"]["events"];
    ensure!(
        of_kind(last, "m.room.member")?["sender"] == nurse.user,
        "{news}"
    );
    act(&nurse, &room, "invite", &doctor).await?.ok()?;
    doctor.joins(&room).await?;
    act(&nurse, &room, "ban", &doctor).await?.ok()?;
    ensure!(membership(&nurse, &room, &doctor).await? == "ban");
    act(&nurse, &room, "invite", &doctor)
        .await?
        .refused(403, "M_FORBIDDEN")?;
    doctor
        .post(&format!("v3/rooms/{room}/join"), json!({}))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    doctor
        .post(&format!("v3/rooms/{room}/leave"), json!({}))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    act(&nurse, &room, "kick", &doctor).await?;
    ensure!(
        membership(&nurse, &room, &doctor).await? == "ban",
        "kicking a banned person let them in again"
    );
    act(&nurse, &room, "unban", &doctor).await?.ok()?;
    ensure!(membership(&nurse, &room, &doctor).await? == "leave");
    act(&nurse, &room, "invite", &doctor).await?.ok()?;
    doctor.joins(&room).await?;
    act(&nurse, &room, "unban", &doctor).await?;
    ensure!(
        membership(&nurse, &room, &doctor).await? == "join",
        "unbanning a member sent them away"
    );
    Ok(())
}

#[tokio::test]
async fn one_knocks_where_knocking_is_allowed() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let closed = nurse.makes_a_room(json!({})).await?;
    doctor
        .post(&format!("v3/knock/{closed}"), json!({}))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    let rules = json!({ "initial_state": [{ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } }] });
    let room = nurse.makes_a_room(rules).await?;
    let since = text_at(&nurse.syncs(None).await?, "next_batch")?;
    ensure!(
        doctor
            .post(&format!("v3/knock/{room}"), json!({}))
            .await?
            .ok()?["room_id"]
            == room.as_str()
    );
    ensure!(membership(&nurse, &room, &doctor).await? == "knock");
    let news = doctor.syncs(None).await?;
    of_kind(
        &news["rooms"]["knock"][&room]["knock_state"]["events"],
        "m.room.member",
    )
    .with_context(|| news["rooms"].to_string())?;
    let heard = nurse.syncs(Some(&since)).await?;
    of_kind(
        &heard["rooms"]["join"][&room]["timeline"]["events"],
        "m.room.member",
    )?;
    act(&nurse, &room, "invite", &doctor).await?.ok()?;
    doctor.joins(&room).await?;
    Ok(())
}

#[tokio::test]
async fn a_public_room_is_open_to_whoever_knows_it() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let room = nurse
        .makes_a_room(json!({ "preset": "public_chat" }))
        .await?;
    ensure!(
        doctor
            .post(&format!("v3/join/{room}"), json!({}))
            .await?
            .ok()?["room_id"]
            == room.as_str()
    );
    doctor.says(&room, "x").await?;
    Ok(())
}

#[tokio::test]
async fn a_forgotten_room_is_gone_until_one_is_invited_again() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    doctor
        .post(&format!("v3/rooms/{room}/forget"), json!({}))
        .await?
        .refused(400, "M_UNKNOWN")?;
    doctor
        .post(&format!("v3/rooms/{room}/leave"), json!({}))
        .await?
        .ok()?;
    let filter = raw::in_query(&json!({ "room": { "include_leave": true } }).to_string());
    let left = doctor
        .get(&format!("v3/sync?timeout=0&filter={filter}"))
        .await?
        .ok()?;
    ensure!(left["rooms"]["leave"].get(&room).is_some(), "{left}");
    doctor
        .post(&format!("v3/rooms/{room}/forget"), json!({}))
        .await?
        .ok()?;
    let left = doctor
        .get(&format!("v3/sync?timeout=0&filter={filter}"))
        .await?
        .ok()?;
    ensure!(left["rooms"]["leave"].get(&room).is_none(), "{left}");
    doctor
        .get(&format!("v3/rooms/{room}/messages?dir=b"))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    act(&nurse, &room, "invite", &doctor).await?.ok()?;
    doctor.joins(&room).await?;
    doctor
        .get(&format!("v3/rooms/{room}/messages?dir=b"))
        .await?
        .ok()?;
    Ok(())
}

#[tokio::test]
async fn leaving_twice_is_as_good_as_once() -> Result<()> {
    let practice = Practice::open().await?;
    let (_, doctor, room) = together(&practice, "11").await?;
    doctor
        .post(&format!("v3/rooms/{room}/leave"), json!({}))
        .await?
        .ok()?;
    doctor
        .post(&format!("v3/rooms/{room}/leave"), json!({}))
        .await?
        .ok()?;
    ensure!(doctor.rooms().await?.is_empty());
    Ok(())
}
