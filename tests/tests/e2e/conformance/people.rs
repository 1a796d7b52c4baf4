//! Finding people, the rooms that one shares with them, and reporting what is wrong.

use anyhow::{Result, ensure};
use respite_server::config::People;
use respite_tests::{
    practice::Practice,
    raw::{self, Raw, in_query, text_at},
};
use serde_json::{Value, json};

use super::{together, two};

async fn found(who: &Raw, term: &str) -> Result<Vec<Value>> {
    let answer = who
        .post("v3/user_directory/search", json!({ "search_term": term }))
        .await?
        .ok()?;
    ensure!(answer["limited"] == false, "{answer}");
    Ok(answer["results"].as_array().cloned().unwrap_or_default())
}

async fn is_called(who: &Raw, name: &str) -> Result<()> {
    let path = format!("v3/profile/{}/displayname", who.user);
    who.put(&path, json!({ "displayname": name })).await?.ok()?;
    Ok(())
}

#[tokio::test]
async fn one_finds_those_whom_one_shares_a_room_with_by_name_or_pseudonym() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, _) = together(&practice, "11").await?;
    let stranger = raw::stranger(&practice, "doctor.strange").await?;
    is_called(&doctor, "Night Owl").await?;
    let owl = json!({ "user_id": doctor.user, "display_name": "Night Owl" });
    for term in [
        "doctor",
        "DOCT",
        "@doctor:localhost",
        "night owl",
        "OWL",
        " owl ",
    ] {
        ensure!(found(&nurse, term).await? == [owl.clone()], "{term}");
    }
    for term in [
        "",
        "  ",
        "localhost",
        "nurse",
        "nobody",
        &"n".repeat(10_000),
    ] {
        ensure!(found(&nurse, term).await?.is_empty(), "{term}");
    }
    ensure!(found(&stranger, "doctor").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn so_many_are_found_and_the_answer_says_if_there_are_more() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let room = nurse
        .makes_a_room(json!({ "preset": "public_chat" }))
        .await?;
    for number in 1..=3 {
        let doctor = raw::stranger(&practice, &format!("doctor{number}")).await?;
        doctor.joins(&room).await?;
    }
    for (limit, expected, limited) in [(2, 2, true), (3, 3, false), (0, 0, true), (10, 3, false)] {
        let body = json!({ "search_term": "doctor", "limit": limit });
        let answer = nurse.post("v3/user_directory/search", body).await?.ok()?;
        let results = answer["results"].as_array().map(Vec::len);
        ensure!(
            results == Some(expected) && answer["limited"] == limited,
            "{limit}: {answer}"
        );
    }
    nurse
        .post("v3/user_directory/search", json!({ "limit": 3 }))
        .await?
        .refused(400, "M_BAD_JSON")?;
    nurse
        .post("v3/user_directory/search", json!({ "search_term": 7 }))
        .await?
        .refused(400, "M_BAD_JSON")?;
    Raw::nobody(practice.url())?
        .post(
            "v3/user_directory/search",
            json!({ "search_term": "doctor" }),
        )
        .await?
        .refused(401, "M_MISSING_TOKEN")?;
    Ok(())
}

#[tokio::test]
async fn everybody_is_found_where_the_operator_wants_it_so() -> Result<()> {
    let practice =
        Practice::open_with(|config| config.directory.people = People::Everybody).await?;
    let (nurse, doctor) = two(&practice).await?;
    is_called(&doctor, "Night Owl").await?;
    let owl = json!({ "user_id": doctor.user, "display_name": "Night Owl" });
    ensure!(found(&nurse, "owl").await? == [owl]);
    let profile = nurse
        .get(&format!("v3/profile/{}", doctor.user))
        .await?
        .ok()?;
    ensure!(profile["displayname"] == "Night Owl", "{profile}");
    doctor
        .with_password(reqwest::Method::POST, "v3/account/deactivate", json!({}))
        .await?
        .ok()?;
    ensure!(found(&nurse, "doctor").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn one_sees_which_rooms_one_shares_with_somebody() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let apart = nurse
        .makes_a_room(json!({ "invite": [doctor.user] }))
        .await?;
    let with = |user: &str| format!("v1/mutual_rooms?user_id={}", in_query(user));
    let expected = json!({ "joined": [room], "count": 1 });
    ensure!(nurse.get(&with(&doctor.user)).await?.ok()? == expected);
    ensure!(doctor.get(&with(&nurse.user)).await?.ok()? == expected);
    let before = format!(
        "unstable/uk.half-shot.msc2666/user/mutual_rooms?user_id={}",
        in_query(&doctor.user)
    );
    ensure!(nurse.get(&before).await?.ok()?["joined"] == json!([room]));
    // An invitation is not shared yet; after leaving, nothing is.
    doctor.joins(&apart).await?;
    ensure!(nurse.get(&with(&doctor.user)).await?.ok()?["count"] == 2);
    for shared in [&room, &apart] {
        doctor
            .post(&format!("v3/rooms/{shared}/leave"), json!({}))
            .await?
            .ok()?;
    }
    let nothing = json!({ "joined": [], "count": 0 });
    for user in [
        doctor.user.as_str(),
        "@nobody:localhost",
        "@x:elsewhere.example",
    ] {
        ensure!(nurse.get(&with(user)).await?.ok()? == nothing, "{user}");
    }
    for wrong in [
        with(&nurse.user),
        with("nobody"),
        with("@TWO WORDS:localhost"),
        format!("{}&from=x", with(&doctor.user)),
    ] {
        nurse
            .get(&wrong)
            .await?
            .refused(400, "M_INVALID_PARAM")
            .map_err(|error| error.context(wrong))?;
    }
    nurse
        .get("v1/mutual_rooms")
        .await?
        .refused(400, "M_MISSING_PARAM")?;
    Raw::nobody(practice.url())?
        .get(&with(&doctor.user))
        .await?
        .refused(401, "M_MISSING_TOKEN")?;
    Ok(())
}

#[tokio::test]
async fn the_rooms_that_two_share_come_page_by_page() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    for _ in 0..201 {
        let room = nurse
            .makes_a_room(json!({ "preset": "public_chat" }))
            .await?;
        doctor.joins(&room).await?;
    }
    let path = format!("v1/mutual_rooms?user_id={}", in_query(&doctor.user));
    let first = nurse.get(&path).await?.ok()?;
    ensure!(first["joined"].as_array().map(Vec::len) == Some(200) && first["count"] == 201);
    let next = in_query(&text_at(&first, "next_batch")?);
    let second = nurse.get(&format!("{path}&from={next}")).await?.ok()?;
    ensure!(second["joined"].as_array().map(Vec::len) == Some(1) && second["count"] == 201);
    ensure!(second.get("next_batch").is_none(), "{second}");
    Ok(())
}

#[tokio::test]
async fn who_wants_no_invitations_gets_none() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let room = doctor.makes_a_room(json!({})).await?;
    for kind in [
        "m.invite_permission_config",
        "org.matrix.msc4380.invite_permission_config",
    ] {
        let path = format!("v3/user/{}/account_data/{kind}", nurse.user);
        let says = async |action: &str| {
            let body = json!({ "default_action": action });
            nurse.put(&path, body).await?.ok()
        };
        says("block").await?;
        let member = format!("v3/rooms/{room}/state/m.room.member/{}", nurse.user);
        let invite = format!("v3/rooms/{room}/invite");
        for answer in [
            doctor
                .post(&invite, json!({ "user_id": nurse.user }))
                .await?,
            doctor
                .post("v3/createRoom", json!({ "invite": [nurse.user] }))
                .await?,
            doctor
                .put(&member, json!({ "membership": "invite" }))
                .await?,
        ] {
            answer.refused(403, "M_INVITE_BLOCKED")?;
        }
        says("allow").await?;
        doctor
            .post(&invite, json!({ "user_id": nurse.user }))
            .await?
            .ok()?;
        nurse
            .post(&format!("v3/rooms/{room}/leave"), json!({}))
            .await?
            .ok()?;
    }
    Ok(())
}

/// What the operator is told of reports.
async fn told(practice: &Practice) -> Result<Vec<respite_server::reports::Report>> {
    Ok(respite_server::reports::list(&practice.app()?.store).await?)
}

#[tokio::test]
async fn the_operator_learns_who_reported_what_and_nothing_of_what_was_written() -> Result<()> {
    use respite_server::reports::Subject;
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let event = doctor.says(&room, "x").await?;
    let why = json!({ "reason": "this hurts", "score": -100 });
    for path in [
        format!("v3/rooms/{room}/report/{event}"),
        format!("v3/rooms/{room}/report"),
        format!("v3/users/{}/report", doctor.user),
    ] {
        ensure!(
            nurse.post(&path, why.clone()).await?.ok()? == json!({}),
            "{path}"
        );
    }
    let told = told(&practice).await?;
    let (room, event) = (room.as_str().try_into()?, event.as_str().try_into()?);
    let doctor: ruma::OwnedUserId = doctor.user.as_str().try_into()?;
    let expected = [
        Subject::User(doctor.clone()),
        Subject::Room(room),
        Subject::Event(told_room(&told)?, event, doctor),
    ];
    ensure!(
        told.iter().map(|report| &report.of).eq(&expected),
        "{told:?}"
    );
    ensure!(
        told.iter().all(|report| report.by == *nurse.user),
        "{told:?}"
    );
    ensure!(!format!("{told:?}").contains("hurts"));
    Ok(())
}

fn told_room(told: &[respite_server::reports::Report]) -> Result<ruma::OwnedRoomId> {
    use anyhow::Context;
    use respite_server::reports::Subject;
    told.iter()
        .find_map(|report| match &report.of {
            Subject::Room(room) => Some(room.clone()),
            _ => None,
        })
        .context("no room was reported")
}

#[tokio::test]
async fn one_reports_what_one_knows_of() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor, room) = together(&practice, "11").await?;
    let stranger = raw::stranger(&practice, "stranger").await?;
    let event = nurse.says(&room, "x").await?;
    let elsewhere = doctor
        .makes_a_room(json!({ "preset": "public_chat" }))
        .await?;
    let why = json!({ "reason": "" });
    for (who, path) in [
        (&stranger, format!("v3/rooms/{room}/report/{event}")),
        (&stranger, format!("v3/rooms/{room}/report")),
        (&nurse, format!("v3/rooms/{elsewhere}/report/{event}")),
        (&nurse, format!("v3/rooms/{room}/report/$nothing")),
        (&nurse, "v3/rooms/!nowhere:localhost/report".to_owned()),
        (&nurse, "v3/users/@nobody:localhost/report".to_owned()),
    ] {
        who.post(&path, why.clone())
            .await?
            .refused(404, "M_NOT_FOUND")
            .map_err(|error| error.context(path))?;
    }
    for malformed in [json!({}), json!({ "reason": 7 })] {
        nurse
            .post(&format!("v3/users/{}/report", doctor.user), malformed)
            .await?
            .refused(400, "M_BAD_JSON")?;
    }
    // Those who have left, and those before whom the door is open, may say so too.
    stranger
        .post(&format!("v3/rooms/{elsewhere}/report"), why.clone())
        .await?
        .ok()?;
    doctor
        .post(&format!("v3/rooms/{room}/leave"), json!({}))
        .await?
        .ok()?;
    doctor
        .post(&format!("v3/rooms/{room}/report"), why.clone())
        .await?
        .ok()?;
    doctor
        .post(&format!("v3/rooms/{room}/report/{event}"), why)
        .await?
        .refused(404, "M_NOT_FOUND")?;
    ensure!(told(&practice).await?.len() == 2);
    Ok(())
}

#[tokio::test]
async fn who_reports_all_the_time_has_to_wait() -> Result<()> {
    let practice = Practice::open().await?;
    let (nurse, doctor) = two(&practice).await?;
    let path = format!("v3/users/{}/report", doctor.user);
    for _ in 0..20 {
        nurse.post(&path, json!({ "reason": "" })).await?.ok()?;
    }
    nurse
        .post(&path, json!({ "reason": "" }))
        .await?
        .refused(429, "M_LIMIT_EXCEEDED")?;
    let path = format!("v3/users/{}/report", nurse.user);
    doctor.post(&path, json!({ "reason": "" })).await?.ok()?;
    ensure!(told(&practice).await?.len() == 21);
    Ok(())
}
