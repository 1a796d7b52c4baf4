//! Receipts, read markers, typing, tags, account data, push rules: set by one device, heard by the others.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use respite_tests::{
    practice::Practice,
    raw::{Raw, text_at},
};
use serde_json::{Value, json};

use super::{of_kind, together};

#[tokio::test]
async fn a_receipt_reaches_the_others_and_a_private_one_does_not() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let tablet = Raw::log_in(practice.url(), "doctor", &doctor.password).await?;
    let event = nurse.says(&room, "x").await?;
    let (hers, his) = (
        text_at(&nurse.syncs(None).await?, "next_batch")?,
        text_at(&tablet.syncs(None).await?, "next_batch")?,
    );
    doctor
        .post(
            &format!("v3/rooms/{room}/receipt/m.read.private/{event}"),
            json!({}),
        )
        .await?
        .ok()?;
    let receipts = |news: &Value| {
        of_kind(
            &news["rooms"]["join"][&room]["ephemeral"]["events"],
            "m.receipt",
        )
        .map(|receipt| receipt["content"][&event].clone())
        .unwrap_or_default()
    };
    let news = nurse.syncs(Some(&hers)).await?;
    ensure!(receipts(&news) == Value::Null, "{news}");
    let own = tablet.syncs(Some(&his)).await?;
    ensure!(
        receipts(&own)["m.read.private"][&doctor.user]["ts"].is_u64(),
        "{own}"
    );
    doctor
        .post(
            &format!("v3/rooms/{room}/receipt/m.read/{event}"),
            json!({ "thread_id": "main" }),
        )
        .await?
        .ok()?;
    let news = nurse.syncs(Some(&hers)).await?;
    ensure!(
        receipts(&news)["m.read"][&doctor.user]["thread_id"] == "main",
        "{news}"
    );
    ensure!(receipts(&nurse.syncs(None).await?)["m.read"][&doctor.user].is_object());
    Ok(())
}

#[tokio::test]
async fn a_receipt_ends_the_notifications_that_it_covers() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let first = nurse.says(&room, "x").await?;
    nurse.says(&room, "x").await?;
    let unread = async || -> Result<Value> {
        Ok(doctor.syncs(None).await?["rooms"]["join"][&room]["unread_notifications"]["notification_count"].clone())
    };
    ensure!(unread().await? == 2, "{}", unread().await?);
    doctor
        .post(
            &format!("v3/rooms/{room}/receipt/m.read/{first}"),
            json!({}),
        )
        .await?
        .ok()?;
    ensure!(unread().await? == 1, "{}", unread().await?);
    doctor.says(&room, "x").await?;
    ensure!(unread().await? == 0, "{}", unread().await?);
    Ok(())
}

#[tokio::test]
async fn read_markers_are_account_data_of_the_room() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let tablet = Raw::log_in(practice.url(), "doctor", &doctor.password).await?;
    let event = nurse.says(&room, "x").await?;
    let since = text_at(&tablet.syncs(None).await?, "next_batch")?;
    doctor
        .post(
            &format!("v3/rooms/{room}/read_markers"),
            json!({ "m.fully_read": event, "m.read": event }),
        )
        .await?
        .ok()?;
    let news = tablet.syncs(Some(&since)).await?;
    let marker = of_kind(
        &news["rooms"]["join"][&room]["account_data"]["events"],
        "m.fully_read",
    )?;
    ensure!(marker["content"]["event_id"] == event.as_str(), "{marker}");
    let news = nurse.syncs(None).await?;
    ensure!(
        of_kind(
            &news["rooms"]["join"][&room]["account_data"]["events"],
            "m.fully_read"
        )
        .is_err(),
        "{news}"
    );
    Ok(())
}

#[tokio::test]
async fn typing_is_heard_and_ends() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let path = format!("v3/rooms/{room}/typing/{}", nurse.user);
    let typing = |news: &Value| -> Result<Value> {
        Ok(of_kind(
            &news["rooms"]["join"][&room]["ephemeral"]["events"],
            "m.typing",
        )?["content"]["user_ids"]
            .clone())
    };
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    let news = format!("v3/sync?timeout=30000&since={since}");
    let waits = doctor.get(&news);
    let begins = nurse.put(&path, json!({ "typing": true, "timeout": 30_000 }));
    let (news, begun) = tokio::join!(waits, begins);
    begun?.ok()?;
    let news = news?.ok()?;
    ensure!(typing(&news)? == json!([nurse.user]), "{news}");
    let next = text_at(&news, "next_batch")?;
    nurse.put(&path, json!({ "typing": false })).await?.ok()?;
    let news = doctor.syncs(Some(&next)).await?;
    ensure!(typing(&news)? == json!([]), "{news}");
    nurse
        .put(&path, json!({ "typing": true, "timeout": 200 }))
        .await?
        .ok()?;
    // It ends by itself, and whoever waits hears of it.
    let mut since = text_at(&news, "next_batch")?;
    let mut seen = Vec::new();
    while seen.last() != Some(&json!([])) {
        let news = doctor
            .get(&format!("v3/sync?timeout=30000&since={since}"))
            .await?
            .ok()?;
        seen.extend(typing(&news));
        since = text_at(&news, "next_batch")?;
        ensure!(seen.len() < 10, "{seen:?}");
    }
    doctor
        .put(&path, json!({ "typing": true, "timeout": 1000 }))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    Ok(())
}

#[tokio::test]
async fn tags_are_set_listed_heard_and_removed() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let tags = format!("v3/user/{}/rooms/{room}/tags", nurse.user);
    let since = text_at(&nurse.syncs(None).await?, "next_batch")?;
    nurse
        .put(&format!("{tags}/m.favourite"), json!({ "order": 0.25 }))
        .await?
        .ok()?;
    nurse
        .put(&format!("{tags}/m.lowpriority"), json!({}))
        .await?
        .ok()?;
    let listed = nurse.get(&tags).await?.ok()?;
    ensure!(
        listed["tags"]["m.favourite"]["order"] == 0.25
            && listed["tags"]["m.lowpriority"].is_object(),
        "{listed}"
    );
    let news = nurse.syncs(Some(&since)).await?;
    let heard = of_kind(
        &news["rooms"]["join"][&room]["account_data"]["events"],
        "m.tag",
    )?;
    ensure!(heard["content"] == listed, "{heard}");
    nurse.delete(&format!("{tags}/m.favourite")).await?.ok()?;
    nurse.delete(&format!("{tags}/m.favourite")).await?.ok()?;
    ensure!(
        nurse.get(&tags).await?.ok()?["tags"]
            .get("m.favourite")
            .is_none()
    );
    doctor.get(&tags).await?.refused(403, "M_FORBIDDEN")?;
    Ok(())
}

#[tokio::test]
async fn account_data_is_heard_on_every_device_of_ones_own_and_on_no_other() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let tablet = Raw::log_in(practice.url(), "nurse", &nurse.password).await?;
    let (hers, his) = (
        text_at(&tablet.syncs(None).await?, "next_batch")?,
        text_at(&doctor.syncs(None).await?, "next_batch")?,
    );
    let direct = json!({ doctor.user.as_str(): [room] });
    let path = format!("v3/user/{}/account_data/m.direct", nurse.user);
    nurse.get(&path).await?.refused(404, "M_NOT_FOUND")?;
    nurse.put(&path, direct.clone()).await?.ok()?;
    nurse
        .put(
            &format!(
                "v3/user/{}/rooms/{room}/account_data/m.marked_unread",
                nurse.user
            ),
            json!({ "unread": true }),
        )
        .await?
        .ok()?;
    ensure!(nurse.get(&path).await?.ok()? == direct);
    for news in [tablet.syncs(Some(&hers)).await?, tablet.syncs(None).await?] {
        ensure!(
            of_kind(&news["account_data"]["events"], "m.direct")?["content"] == direct,
            "{news}"
        );
        let own = of_kind(
            &news["rooms"]["join"][&room]["account_data"]["events"],
            "m.marked_unread",
        )?;
        ensure!(own["content"]["unread"] == true, "{own}");
    }
    let news = doctor.syncs(Some(&his)).await?;
    ensure!(
        !news.to_string().contains("m.direct") && !news.to_string().contains("m.marked_unread"),
        "{news}"
    );
    Ok(())
}

#[tokio::test]
async fn push_rules_are_there_from_the_beginning_and_change() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let since = text_at(&doctor.syncs(None).await?, "next_batch")?;
    let rules = doctor.get("v3/pushrules/").await?.ok()?;
    let overrides = rules["global"]["override"].as_array().context("no rules")?;
    ensure!(
        overrides
            .iter()
            .any(|rule| rule["rule_id"] == ".m.rule.master" && rule["enabled"] == false),
        "{rules}"
    );
    let path = format!("v3/pushrules/global/room/{room}");
    doctor.put(&path, json!({ "actions": [] })).await?.ok()?;
    ensure!(doctor.get(&path).await?.ok()?["actions"] == json!([]));
    ensure!(doctor.get(&format!("{path}/enabled")).await?.ok()?["enabled"] == true);
    let news = doctor.syncs(Some(&since)).await?;
    let heard = of_kind(&news["account_data"]["events"], "m.push_rules")?;
    ensure!(
        heard["content"]["global"]["room"][0]["rule_id"] == room.as_str(),
        "{heard}"
    );
    let unread = async || -> Result<Value> {
        Ok(doctor.syncs(None).await?["rooms"]["join"][&room]["unread_notifications"]["notification_count"].clone())
    };
    nurse.says(&room, "x").await?;
    ensure!(unread().await? == 0, "a room that was silenced rings");
    doctor
        .put(&format!("{path}/enabled"), json!({ "enabled": false }))
        .await?
        .ok()?;
    nurse.says(&room, "x").await?;
    ensure!(unread().await? == 1);
    doctor.ask(Method::DELETE, &path, None).await?.ok()?;
    doctor.get(&path).await?.refused(404, "M_NOT_FOUND")?;
    doctor
        .put(
            "v3/pushrules/global/override/.m.rule.mine",
            json!({ "conditions": [], "actions": [] }),
        )
        .await?;
    let answer = doctor
        .ask(
            Method::DELETE,
            "v3/pushrules/global/override/.m.rule.master",
            None,
        )
        .await?;
    ensure!(
        answer.status >= 400,
        "a rule of the specification was deleted: {answer}"
    );
    Ok(())
}
