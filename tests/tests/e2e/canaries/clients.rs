//! What real clients send, in ciphertext and in the clear.

use anyhow::{Context, Result};
use matrix_sdk::{
    attachment::AttachmentConfig,
    ruma::{
        events::{
            reaction::ReactionEventContent,
            relation::Annotation,
            room::message::{LocationMessageEventContent, MessageType, RoomMessageEventContent},
            tag::{TagInfo, TagName},
        },
        mxc_uri,
        serde::Raw as RawJson,
    },
};
use respite_tests::person::Person;
use ruma::{RoomAliasId, RoomId};
use serde_json::json;

use super::Watched;

/// What real clients encrypt.
pub(super) async fn encrypted(
    watched: &Watched,
    gap: &str,
    nurse: &Person,
    room: &RoomId,
) -> Result<()> {
    let word = |field: &str| watched.word(gap, field);
    let room = nurse.room(room)?;
    let sent = room
        .send(RoomMessageEventContent::text_html(
            word("text"),
            format!("<b>{}</b>", word("html")),
        ))
        .await?;
    room.send(RoomMessageEventContent::emote_plain(word("emote")))
        .await?;
    let location = LocationMessageEventContent::new(word("place"), "geo:51.5,0.1".to_owned());
    room.send(RoomMessageEventContent::new(MessageType::Location(
        location,
    )))
    .await?;
    room.send_raw("org.example.mood", json!({ "mood": word("custom") }))
        .await?;
    room.send_raw(&word("kind"), json!({ "mood": word("custom") }))
        .await?;
    let data = word("attachment").repeat(100).into_bytes();
    room.send_attachment(
        word("attached"),
        &"text/plain".parse()?,
        data,
        AttachmentConfig::new(),
    )
    .await?;
    // Whoever takes a message back takes back ciphertext; the reason is in the clear.
    let _ = room
        .redact(&sent.response.event_id, Some(&word("redaction")), None)
        .await;
    room.send(RoomMessageEventContent::text_plain(word("text")))
        .await?;
    let recovery = nurse.client.encryption().recovery();
    // The second time there is one already.
    let _ = recovery
        .enable()
        .with_passphrase(&word("passphrase"))
        .wait_for_backups_to_upload()
        .await;
    nurse
        .client
        .encryption()
        .backups()
        .wait_for_steady_state()
        .await?;
    Ok(())
}

/// What real clients send in the clear: the server may refuse it, or not keep it.
pub(super) async fn in_the_clear(
    watched: &Watched,
    gap: &str,
    nurse: &Person,
    therapist: &Person,
    room: &RoomId,
) -> Result<()> {
    let word = |field: &str| watched.word(gap, field);
    let (client, account) = (&nurse.client, nurse.client.account());
    let of_therapist = therapist.room(room)?;
    let room = nurse.room(room)?;
    let sent = room
        .send(RoomMessageEventContent::text_plain("x"))
        .await?
        .response
        .event_id;
    let _ = room
        .send(ReactionEventContent::new(Annotation::new(
            sent.clone(),
            word("reaction"),
        )))
        .await;
    let _ = of_therapist.set_name(word("roomname")).await;
    let _ = of_therapist.set_room_topic(&word("roomtopic")).await;
    let _ = of_therapist
        .send_state_event_raw(
            "org.example.state",
            &word("statekey"),
            json!({ "text": word("state") }),
        )
        .await;
    let _ = of_therapist
        .send_state_event_raw(&word("statekind"), "", json!({}))
        .await;
    let _ = room.report_content(sent, Some(word("report"))).await;
    let _ = room.report_room(word("report")).await;
    if let Ok(name) = format!("u.{}", word("tag")).parse() {
        let _ = room.set_tag(TagName::User(name), TagInfo::new()).await;
    }
    let _ = client
        .notification_settings()
        .await
        .add_keyword(word("keyword"))
        .await;
    let _ = client
        .media()
        .upload(
            &"text/plain".parse()?,
            word("upload").repeat(100).into_bytes(),
            None,
        )
        .await;
    let notes = RawJson::from_json(serde_json::value::to_raw_value(
        &json!({ "text": word("accountdata") }),
    )?);
    let _ = account
        .set_account_data_raw("org.example.notes".into(), notes.clone())
        .await;
    let _ = account
        .set_account_data_raw(word("accountkind").into(), notes)
        .await;
    let _ = account
        .set_avatar_url(Some(mxc_uri!("mxc://localhost/avatar")))
        .await;
    let device = client.device_id().context("no device")?;
    let _ = client.rename_device(device, &word("device")).await;
    let _ = client
        .matrix_auth()
        .login_username(nurse.id(), &word("password"))
        .initial_device_display_name(&word("device"))
        .send()
        .await;
    let alias = RoomAliasId::parse(format!("#{}:localhost", word("alias")))?;
    let _ = client.create_room_alias(&alias, room.room_id()).await;
    Ok(())
}
