//! Receipts, read markers, typing, tags, account data, push rules: set by one device, heard by the others.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use respite_tests::{
    practice::Practice,
    raw::{Raw, in_query, megolm, text_at},
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
async fn each_thread_is_counted_and_read_for_itself() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let root = nurse.says(&room, "x").await?;
    let mut inside = Vec::new();
    for _ in 0..2 {
        let mut content = megolm(&room, "x")?;
        content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": root });
        let sent = nurse.send(&room, "m.room.encrypted", content).await?.ok()?;
        inside.push(text_at(&sent, "event_id")?);
    }
    let filter = in_query(r#"{"room":{"timeline":{"unread_thread_notifications":true}}}"#);
    let counts = async || -> Result<(Value, Value)> {
        let path = format!("v3/sync?timeout=0&filter={filter}");
        let room = doctor.get(&path).await?.ok()?["rooms"]["join"][&room].clone();
        Ok((
            room["unread_notifications"]["notification_count"].clone(),
            room["unread_thread_notifications"][&root]["notification_count"].clone(),
        ))
    };
    ensure!(
        counts().await? == (json!(1), json!(2)),
        "{:?}",
        counts().await?
    );
    let whole = doctor.syncs(None).await?;
    let whole = &whole["rooms"]["join"][&room];
    ensure!(
        whole["unread_notifications"]["notification_count"] == 3,
        "{whole}"
    );
    ensure!(
        whole.get("unread_thread_notifications").is_none(),
        "{whole}"
    );
    let reads = async |event: &str, body: Value| -> Result<()> {
        let path = format!("v3/rooms/{room}/receipt/m.read/{event}");
        doctor.post(&path, body).await?.ok().map(drop)
    };
    reads(&inside[0], json!({ "thread_id": root })).await?;
    ensure!(
        counts().await? == (json!(1), json!(1)),
        "{:?}",
        counts().await?
    );
    reads(&root, json!({ "thread_id": "main" })).await?;
    ensure!(
        counts().await? == (json!(0), json!(1)),
        "{:?}",
        counts().await?
    );
    let listed = doctor.get("v3/notifications").await?.ok()?;
    let listed = listed["notifications"].as_array().context("no list")?;
    ensure!(
        listed.len() == 1 && listed[0]["event"]["event_id"] == inside[1].as_str(),
        "{listed:?}"
    );
    reads(&inside[1], json!({})).await?;
    ensure!(
        counts().await? == (json!(0), Value::Null),
        "{:?}",
        counts().await?
    );
    Ok(())
}

#[tokio::test]
async fn a_receipt_is_of_the_thread_that_its_event_is_in() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let says = async |how: &str, to: &str| -> Result<String> {
        let mut content = megolm(&room, "x")?;
        content["m.relates_to"] = json!({ "rel_type": how, "event_id": to });
        let sent = nurse.send(&room, "m.room.encrypted", content).await?.ok()?;
        text_at(&sent, "event_id")
    };
    let (root, other) = (nurse.says(&room, "x").await?, nurse.says(&room, "x").await?);
    let reply = says("m.thread", &root).await?;
    let vote = says("m.reference", &reply).await?;
    let edit = says("m.replace", &root).await?;
    let reads = async |kind: &str, event: &str, thread: Value| {
        let path = format!("v3/rooms/{room}/receipt/{kind}/{event}");
        doctor.post(&path, json!({ "thread_id": thread })).await
    };
    // The first message of a thread can be read in the thread too, and so can what refers to it.
    for (event, thread) in [
        (&root, "main"),
        (&other, "main"),
        (&edit, "main"),
        (&root, root.as_str()),
        (&reply, root.as_str()),
        (&vote, root.as_str()),
        (&edit, root.as_str()),
    ] {
        reads("m.read", event, json!(thread)).await?.ok()?;
        reads("m.read.private", event, json!(thread)).await?.ok()?;
    }
    for (event, thread) in [
        (&reply, "main"),
        (&vote, "main"),
        (&other, root.as_str()),
        (&reply, other.as_str()),
        (&reply, "$nothing"),
        (&root, "elsewhere"),
        (&root, ""),
    ] {
        let refused = reads("m.read", event, json!(thread)).await?;
        refused.refused(400, "M_INVALID_PARAM")?;
    }
    let marker = reads("m.fully_read", &root, json!("main")).await?;
    marker.refused(400, "M_INVALID_PARAM")?;
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
async fn while_presence_is_off_everybody_is_offline() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, _) = together(&practice, "11").await?;
    let status = format!("v3/presence/{}/status", nurse.user);
    let online = json!({ "presence": "online", "status_msg": "tired" });
    nurse.put(&status, online.clone()).await?.ok()?;
    let seen = doctor.get(&status).await?.ok()?;
    ensure!(seen == json!({ "presence": "offline" }), "{seen}");
    doctor
        .put(&status, online)
        .await?
        .refused(403, "M_FORBIDDEN")?;
    let news = doctor.syncs(None).await?;
    ensure!(news.get("presence").is_none(), "{news}");
    let odd = json!({ "presence": "asleep" });
    nurse
        .put(&status, odd)
        .await?
        .refused(400, "M_INVALID_PARAM")?;
    Ok(())
}

#[tokio::test]
async fn where_the_operator_switches_presence_on_people_in_a_room_come_and_go() -> Result<()> {
    let practice = Practice::open_with(|config| config.presence.enabled = true).await?;
    let (nurse, doctor, _) = together(&practice, "11").await?;
    let stranger = respite_tests::raw::stranger(&practice, "stranger").await?;
    let quiet = "v3/sync?timeout=30000&set_presence=offline";
    let of_nurse = |news: &Value| -> Result<Value> {
        let events = news["presence"]["events"]
            .as_array()
            .context("no presence")?;
        let of_nurse = events
            .iter()
            .find(|event| event["sender"] == nurse.user.as_str());
        Ok(of_nurse.context("nobody has come")?["content"].clone())
    };
    let mut since = text_at(&doctor.get(quiet).await?.ok()?, "next_batch")?;
    let waits = format!("{quiet}&since={since}");
    let (news, came) = tokio::join!(doctor.get(&waits), nurse.get("v3/sync?timeout=0"));
    came?.ok()?;
    let news = news?.ok()?;
    ensure!(of_nurse(&news)?["presence"] == "online", "{news}");
    since = text_at(&news, "next_batch")?;
    let status = format!("v3/presence/{}/status", nurse.user);
    let idle = json!({ "presence": "unavailable", "status_msg": "tired" });
    nurse.put(&status, idle).await?.ok()?;
    let seen = doctor.get(&status).await?.ok()?;
    ensure!(
        seen["presence"] == "unavailable" && seen["currently_active"] == false,
        "{seen}"
    );
    ensure!(seen.get("status_msg").is_none(), "{seen}");
    stranger.get(&status).await?.refused(403, "M_FORBIDDEN")?;
    let news = doctor.get(&format!("{quiet}&since={since}")).await?.ok()?;
    ensure!(of_nurse(&news)?["presence"] == "unavailable", "{news}");
    since = text_at(&news, "next_batch")?;
    practice.wait(std::time::Duration::from_secs(121));
    let news = doctor.get(&format!("{quiet}&since={since}")).await?.ok()?;
    ensure!(of_nurse(&news)?["presence"] == "offline", "{news}");
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
