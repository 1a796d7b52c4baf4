//! Several servers on one store, behind a load balancer that sends every request to the next.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use matrix_sdk::ruma::{OwnedDeviceId, api::client::uiaa};
use respite::accounts;
use respite_outside::part::POSTGRESQL;
use respite_protocol::Role;
use respite_tests::{
    history::{self, Plan},
    person::pair,
    practice::Practice,
    raw::{Raw, text_at, therapist_and_nurse},
    story,
};
use serde_json::{Value, json};

const SERVERS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn the_main_job_is_done_whichever_server_a_request_comes_to() -> Result<()> {
    let practice = Practice::open_several(SERVERS).await?;
    let mut scenes = Vec::new();
    story::play(&practice, &mut |scene| scenes.push(scene)).await?;
    ensure!(scenes.len() == 10, "the story has {} scenes", scenes.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proves_who_they_are_may_do_so_at_another_server() -> Result<()> {
    let practice = Practice::open_several(SERVERS).await?;
    let (_, nurse, _) = pair(&practice).await?;
    accounts::bootstrap_cross_signing(&nurse.client, || Ok(nurse.password.clone().into())).await?;
    let lost = Raw::log_in(practice.url(), nurse.id().localpart(), &nurse.password).await?;
    let lost: Vec<OwnedDeviceId> = vec![lost.device.as_str().into()];
    let Err(asked) = nurse.client.delete_devices(&lost, None).await else {
        anyhow::bail!("a device was deleted without a password");
    };
    let asked = asked.as_uiaa_response().context("no way to go on")?.clone();
    let user = uiaa::MatrixUserIdentifier::new(nurse.id().to_string());
    let mut proof = uiaa::Password::new(uiaa::UserIdentifier::Matrix(user), nurse.password.clone());
    proof.session.clone_from(&asked.session);
    let proof = uiaa::AuthData::Password(proof);
    nurse.client.delete_devices(&lost, Some(proof)).await?;
    Ok(())
}

#[tokio::test]
async fn a_code_that_was_shown_at_one_server_is_known_to_the_next() -> Result<()> {
    let practice = Practice::open_several(SERVERS).await?;
    let code = practice.code(Role::Client).await?;
    let [first, second, third] = servers(&practice)?;
    let asked = Raw::nobody(&first)?.post("v3/register", json!({})).await?;
    let session = text_at(&asked.body, "session")?;
    let auth = json!({ "type": "m.login.registration_token", "token": code, "session": session });
    let shown = json!({ "auth": auth });
    let shown = Raw::nobody(&second)?.post("v3/register", shown).await?;
    ensure!(shown.errcode() == "M_MISSING_PARAM", "{shown}");
    let body = json!({
        "username": "nurse", "password": "between two shifts", "auth": { "session": session },
    });
    Raw::nobody(&third)?.post("v3/register", body).await?.ok()?;
    Ok(())
}

#[tokio::test]
async fn a_message_typing_and_a_receipt_wake_a_poll_at_another_server() -> Result<()> {
    let practice = Practice::open_several(SERVERS).await?;
    let (therapist, nurse, room) = therapist_and_nurse(&practice).await?;
    therapist.joins(&room).await?;
    let [first, second, third] = servers(&practice)?;
    let (nurse, therapist) = (nurse.at(&first), therapist.at(&second));
    let since = text_at(&therapist.syncs(None).await?, "next_batch")?;

    let (news, said) = tokio::join!(waits(&therapist, &since), nurse.says(&room, "awake?"));
    let (news, event) = (news?, said?);
    let told = &news["rooms"]["join"][&room]["timeline"]["events"][0];
    ensure!(told["event_id"] == event.as_str(), "{news}");

    let mut since = text_at(&news, "next_batch")?;
    let path = format!("v3/rooms/{room}/typing/{}", nurse.user);
    let begin = json!({ "typing": true, "timeout": 400 });
    let (news, begun) = tokio::join!(waits(&therapist, &since), nurse.put(&path, begin));
    begun?.ok()?;
    let news = news?;
    ensure!(typists(&news, &room) == json!([nurse.user]), "{news}");
    // It ends by itself, and a server that nobody told of it says so.
    since = text_at(&news, "next_batch")?;
    let ended = waits(&therapist.at(&third), &since).await?;
    ensure!(typists(&ended, &room) == json!([]), "{ended}");

    since = text_at(&ended, "next_batch")?;
    let nurse_reads = format!("v3/rooms/{room}/receipt/m.read/{event}");
    let (news, read) = tokio::join!(
        waits(&therapist, &since),
        nurse.post(&nurse_reads, json!({}))
    );
    read?.ok()?;
    let news = news?;
    let told = &news["rooms"]["join"][&room]["ephemeral"]["events"][0];
    ensure!(
        told["content"][&event]["m.read"][&nurse.user].is_object(),
        "{news}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_who_race_with_one_code_over_all_servers_make_one_account() -> Result<()> {
    let practice = Practice::open_several(SERVERS).await?;
    let code = practice.code(Role::Client).await?;
    let nobody = Raw::nobody(practice.url())?;
    let racers = (0..100).map(|number| {
        let (nobody, code) = (nobody.clone(), code.clone());
        async move {
            let body = json!({
                "username": format!("racer{number}"), "password": "between two shifts",
                "auth": { "type": "m.login.registration_token", "token": code },
            });
            nobody.post("v3/register", body).await
        }
    });
    let answers: Vec<_> = join_all(racers).await.into_iter().collect::<Result<_>>()?;
    let made = answers.iter().filter(|answer| answer.status == 200).count();
    ensure!(made == 1, "{made} accounts were made");
    let refused = answers.iter().filter(|answer| answer.status == 401).count();
    ensure!(refused == 99, "{refused} were asked for another code");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_claims_over_all_servers_get_no_key_twice() -> Result<()> {
    let practice = Practice::open_several(SERVERS).await?;
    let (therapist, nurse, _) = pair(&practice).await?;
    let claimer = Raw::log_in(practice.url(), nurse.id().localpart(), &nurse.password).await?;
    let (whose, device) = (therapist.id().as_str(), therapist.client.device_id());
    let device = device.context("no device")?.as_str();
    let claim = json!({ "one_time_keys": { (whose): { (device): "signed_curve25519" } } });
    let claims = (0..100).map(|_| claimer.post("v3/keys/claim", claim.clone()));
    let (mut once, mut handed_out) = (BTreeSet::new(), 0);
    for answer in try_join_all(claims).await? {
        let body = answer.ok()?;
        let keys = body["one_time_keys"][whose][device].as_object();
        for key in keys.context("no key")?.values() {
            if key["fallback"] != json!(true) {
                handed_out += 1;
                ensure!(
                    once.insert(text_at(key, "key")?),
                    "a key was handed out twice"
                );
            }
        }
    }
    ensure!(
        handed_out >= 40,
        "{handed_out} one-time keys were handed out"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_one_history_while_servers_and_connections_die() -> Result<()> {
    if !POSTGRESQL.is_there() {
        return Ok(());
    }
    let plan = Plan {
        servers: SERVERS,
        clients: 4,
        lasts: Duration::from_secs(60),
        seed: rand::random(),
    };
    let outcome = history::run(&plan).await?;
    ensure!(
        outcome.violations.is_empty(),
        "with the seed {}:\n{outcome}",
        plan.seed
    );
    let figures = &outcome.figures;
    let busy = figures.messages > 200 && figures.prompts > 20 && figures.keys > 50;
    let struck = figures.killed > 3 && figures.cut_from_database > 1;
    let hurt = struck && figures.cut_from_clients > 1 && figures.resumed > 10;
    ensure!(busy && hurt, "hardly anything happened:\n{outcome}");
    Ok(())
}

fn servers(practice: &Practice) -> Result<[String; SERVERS]> {
    let servers = practice.servers();
    servers.try_into().ok().context("not so many servers")
}

/// What a long poll brings.
async fn waits(person: &Raw, since: &str) -> Result<Value> {
    let path = format!("v3/sync?timeout=30000&since={since}");
    person.get(&path).await?.ok()
}

fn typists(news: &Value, room: &str) -> Value {
    let events = &news["rooms"]["join"][room]["ephemeral"]["events"];
    let events = events.as_array().into_iter().flatten();
    let typing = events.into_iter().find(|event| event["type"] == "m.typing");
    typing.map_or(Value::Null, |event| event["content"]["user_ids"].clone())
}
