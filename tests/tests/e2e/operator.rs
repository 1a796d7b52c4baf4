//! The operator's day: starting, codes, accounts, settings, watching, stopping. With the real program.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use respite_server::config::Config;
use respite_tests::{
    binaries,
    person::PATIENCE,
    raw::{self, Raw, text_at},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::timeout,
};

use crate::directory::Place;

#[tokio::test]
async fn the_first_therapists_code_is_printed_once() -> Result<()> {
    let place = Place::new("")?;
    let server = place.serve().await?;
    let code = server.first_code.clone().context("no code was printed")?;
    let therapist = Raw::register(&server.url, "therapist", &code).await?;
    ensure!(
        therapist.user == "@therapist:localhost",
        "{}",
        therapist.user
    );
    ensure!(!place.log()?.contains(&code), "the code is in the log");
    server.stop().await?;
    let server = place.serve().await?;
    ensure!(server.first_code.is_none(), "a code was printed again");
    server.stop().await
}

#[tokio::test]
async fn without_any_configuration_there_is_a_server_on_this_machine() -> Result<()> {
    // The ordinary ports may be taken here, so this one only looks at what would be used.
    let folder = tempfile::tempdir()?;
    let output = Command::new(binaries::program("respite-server")?)
        .arg("config")
        .current_dir(folder.path())
        .output()
        .await?;
    ensure!(output.status.success());
    let config = Config::parse(&String::from_utf8(output.stdout)?, "printed")?;
    ensure!(config == Config::default());
    ensure!(
        config.server.listen.to_string() == "127.0.0.1:8008" && config.server.name == "localhost"
    );
    ensure!(config.server.data == PathBuf::from("respite-data"));
    Ok(())
}

#[tokio::test]
async fn arguments_win_over_the_file() -> Result<()> {
    let place = Place::new("")?;
    let data = place.path("elsewhere");
    let arguments = [
        "serve",
        "--server-name",
        "respite.example.org",
        "--data",
        data.to_str().context("a path")?,
        "--listen",
        "127.0.0.1:0",
    ];
    let server = place.serve_with(place.command(&arguments)?).await?;
    let code = server.first_code.clone().context("no code")?;
    let therapist = Raw::register(&server.url, "therapist", &code).await?;
    ensure!(
        therapist.user == "@therapist:respite.example.org",
        "{}",
        therapist.user
    );
    ensure!(data.join("store.redb").exists() && !place.data().exists());
    server.stop().await
}

#[tokio::test]
async fn codes_and_accounts_are_managed_while_the_server_runs() -> Result<()> {
    let place = Place::new("")?;
    let server = place.serve().await?;
    manage(&place, &server.url).await?;
    server.stop().await
}

#[tokio::test]
async fn codes_and_accounts_are_managed_while_the_server_is_stopped() -> Result<()> {
    let place = Place::new("")?;
    place.serve().await?.stop().await?;
    let code = printed_code(&place, &["invite", "--role", "client"]).await?;
    let password = {
        let server = place.serve().await?;
        let nurse = Raw::register(&server.url, "nurse", &code).await?;
        server.stop().await?;
        nurse.password
    };
    let listed = place.run(&["user", "list"]).await?;
    ensure!(
        listed.code == Some(0) && listed.out.contains("@nurse:localhost  client  1 device"),
        "{listed:?}"
    );
    let reset = place.run(&["user", "reset-password", "nurse"]).await?;
    ensure!(reset.code == Some(0), "{reset:?}");
    let new = reset.out.lines().next().context("no password")?.to_owned();
    let scan = place.run(&["scan"]).await?;
    ensure!(
        scan.code == Some(0) && scan.out.contains("Nothing is stored"),
        "{scan:?}"
    );
    let server = place.serve().await?;
    ensure!(
        Raw::log_in(&server.url, "nurse", &password).await.is_err(),
        "the old password still works"
    );
    Raw::log_in(&server.url, "nurse", &new).await?;
    server.stop().await?;
    let ended = place.run(&["user", "deactivate", "nurse"]).await?;
    ensure!(ended.code == Some(0), "{ended:?}");
    let server = place.serve().await?;
    ensure!(
        Raw::log_in(&server.url, "nurse", &new).await.is_err(),
        "the account still works"
    );
    server.stop().await
}

/// What an operator does in a day.
async fn manage(place: &Place, url: &str) -> Result<()> {
    let therapist = Raw::register(
        url,
        "therapist",
        &printed_code(place, &["invite", "--role", "therapist"]).await?,
    )
    .await?;
    let code = printed_code(
        place,
        &[
            "invite",
            "--role",
            "client",
            "--uses",
            "2",
            "--expires",
            "2d",
        ],
    )
    .await?;
    let nurse = Raw::register(url, "nurse", &code).await?;
    Raw::register(url, "paramedic", &code).await?;
    ensure!(
        Raw::register(url, "doctor", &code).await.is_err(),
        "the code was used three times"
    );
    therapist
        .post(
            &format!("{}/invites", raw::THERAPY),
            json!({ "kind": "individual" }),
        )
        .await?
        .ok()?;
    let listed = place.run(&["user", "list", "--json"]).await?;
    let users: Value = serde_json::from_str(&listed.out)?;
    let users: Vec<(&str, &str)> = users["users"]
        .as_array()
        .context("no users")?
        .iter()
        .filter_map(|user| Some((user["user"].as_str()?, user["role"].as_str()?)))
        .collect();
    ensure!(
        users
            == [
                ("@nurse:localhost", "client"),
                ("@paramedic:localhost", "client"),
                ("@therapist:localhost", "therapist")
            ],
        "{users:?}"
    );

    let mut reset = place.command(&["user", "reset-password", "nurse", "--stdin"])?;
    let mut reset = reset.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut password = reset.stdin.take().context("no input")?;
    password.write_all(b"after the late shift\n").await?;
    drop(password);
    let reset = timeout(PATIENCE, reset.wait_with_output()).await??;
    ensure!(reset.status.success() && !String::from_utf8(reset.stdout)?.contains("late shift"));
    nurse
        .get("v3/account/whoami")
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    let nurse = Raw::log_in(url, "nurse", "after the late shift").await?;

    let ended = place
        .run(&["user", "deactivate", "@nurse:localhost"])
        .await?;
    ensure!(
        ended.code == Some(0) && ended.out.contains("@nurse:localhost is deactivated."),
        "{ended:?}"
    );
    nurse
        .get("v3/account/whoami")
        .await?
        .refused(401, "M_UNKNOWN_TOKEN")?;
    let body = json!({ "type": "m.login.password", "password": "after the late shift", "identifier": { "type": "m.id.user", "user": "nurse" } });
    let answer = Raw::nobody(url)?.post("v3/login", body).await?;
    ensure!(answer.status == 403, "{answer}");
    ensure!(
        Raw::register(
            url,
            "nurse",
            &printed_code(place, &["invite", "--role", "client"]).await?
        )
        .await
        .is_err(),
        "the name was given to somebody else"
    );

    let scan = place.run(&["scan", "--json"]).await?;
    ensure!(scan.code == Some(0), "{scan:?}");
    let report: Value = serde_json::from_str(&scan.out)?;
    ensure!(report["violations"] == json!([]), "{report}");
    for wrong in [
        &["user", "deactivate", "nobody"][..],
        &["user", "deactivate", "@nurse:elsewhere.example"],
        &["user", "reset-password", "not a name"],
        &["invite", "--role", "client", "--uses", "0"],
        &["invite", "--role", "client", "--expires", "0s"],
    ] {
        let refused = place.run(wrong).await?;
        ensure!(
            refused.code == Some(1) && refused.err.starts_with("respite-server: "),
            "{wrong:?}: {refused:?}"
        );
        ensure!(
            refused.out.is_empty() && refused.err.lines().count() == 1,
            "{wrong:?}: {refused:?}"
        );
    }
    Ok(())
}

async fn printed_code(place: &Place, arguments: &[&str]) -> Result<String> {
    let printed = place.run(arguments).await?;
    ensure!(printed.code == Some(0), "{printed:?}");
    Ok(printed.out.lines().next().context("no code")?.to_owned())
}

#[tokio::test]
async fn commands_that_are_none_are_a_matter_of_usage() -> Result<()> {
    let place = Place::new("")?;
    for wrong in [
        &["invite"][..],
        &["invite", "--role", "surgeon"],
        &["invite", "--role", "client", "--expires", "soon"],
        &["invite", "--role", "client", "--uses", "many"],
        &["user"],
        &["user", "adopt", "nurse"],
        &["serve", "--listen", "here"],
        &["serve", "--server-name", "not a name"],
        &["dance"],
    ] {
        let refused = place.run(wrong).await?;
        ensure!(
            refused.code == Some(2) && !refused.err.is_empty(),
            "{wrong:?}: {refused:?}"
        );
    }
    ensure!(!place.data().exists());
    for absent in [
        &["user", "list"][..],
        &["scan"],
        &["invite", "--role", "client"],
    ] {
        let refused = place.run(absent).await?;
        ensure!(
            refused.code == Some(1) && refused.err.contains("There is no server in"),
            "{absent:?}: {refused:?}"
        );
    }
    ensure!(!place.data().exists(), "a command made a data directory");
    Ok(())
}

#[tokio::test]
async fn the_printed_configuration_reads_back_as_the_same() -> Result<()> {
    let place = Place::new(
        "[gate]\nscope = \"therapy-rooms\"\n[connections]\nbody_wait = \"90s\"\n[tokens]\naccess_lifetime_seconds = 60\n",
    )?;
    let printed = place.run(&["config"]).await?;
    ensure!(printed.code == Some(0), "{printed:?}");
    let config = Config::parse(&printed.out, "printed")?;
    ensure!(
        config.connections.body_wait == Duration::from_secs(90)
            && config.server.data == place.data(),
        "{config:?}"
    );
    ensure!(config.tokens.access_lifetime_seconds == 60);
    let comments = printed
        .out
        .lines()
        .filter(|line| line.starts_with('#'))
        .count();
    ensure!(comments > 20, "there are {comments} comments only");
    let again = place.path("again.toml");
    fs::write(&again, &printed.out)?;
    let twice = Command::new(binaries::program("respite-server")?)
        .arg("config")
        .arg("--config")
        .arg(&again)
        .output()
        .await?;
    ensure!(String::from_utf8(twice.stdout)? == printed.out);
    Ok(())
}

#[tokio::test]
async fn a_setting_that_is_wrong_is_named_with_its_line() -> Result<()> {
    for (config, says) in [
        ("[gate]\nscope = \"nowhere\"\n", "respite.toml:7"),
        ("[gate]\nscoop = \"everywhere\"\n", "respite.toml:7"),
        ("[gates]\n", "respite.toml:6"),
        ("[media]\nmax_upload = -1\n", "respite.toml:7"),
        ("[media]\nmax_upload = 0\n", "respite.toml:7"),
        ("[rooms]\ndefault_version = \"6\"\n", "respite.toml:7"),
        ("[tls]\ncertificate = \"c.pem\"\n", "respite.toml:7"),
        ("[connections]\nheader_wait = 3\n", "respite.toml:7"),
        ("[log]\nlevel = \n", "respite.toml:7"),
    ] {
        let place = Place::new(config)?;
        for command in [&["serve"][..], &["config"], &["user", "list"]] {
            let refused = place.run(command).await?;
            ensure!(
                refused.code == Some(2) && refused.err.contains(says),
                "{config:?}: {refused:?}"
            );
            ensure!(
                !refused.err.contains("panic") && refused.out.is_empty(),
                "{config:?}: {refused:?}"
            );
        }
        ensure!(!place.data().exists(), "{config:?} made a data directory");
    }
    let missing = Command::new(binaries::program("respite-server")?)
        .args(["serve", "--config", "/nonexistent/respite.toml"])
        .output()
        .await?;
    ensure!(missing.status.code() == Some(2), "{missing:?}");
    ensure!(String::from_utf8(missing.stderr)?.contains("/nonexistent/respite.toml"));
    Ok(())
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() -> Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let place = Place::new("")?;
    let refused = place.run(&["serve", "--listen", &address]).await?;
    ensure!(
        refused.code == Some(1) && refused.err.contains(&address),
        "{refused:?}"
    );
    let place = Place::new(&format!(
        "[operations]\nenabled = true\nlisten = \"{address}\"\n"
    ))?;
    let refused = place.run(&["serve"]).await?;
    ensure!(
        refused.code == Some(1) && refused.err.contains("operations.listen"),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn at_sigterm_long_polls_are_answered_and_requests_finish() -> Result<()> {
    let place = Place::new("")?;
    let mut server = place.serve().await?;
    let code = server.first_code.clone().context("no code")?;
    let therapist = Raw::register(&server.url, "therapist", &code).await?;
    let room = therapist.makes_a_room(json!({})).await?;
    let mut since = text_at(&therapist.syncs(None).await?, "next_batch")?;
    // What a first sync cannot know yet may still come at once.
    since = text_at(&therapist.syncs(Some(&since)).await?, "next_batch")?;
    let waits = {
        let therapist = therapist.clone();
        let path = format!("v3/sync?timeout=600000&since={since}");
        tokio::spawn(async move { therapist.get(&path).await })
    };
    // A request of which half has arrived.
    let content = raw::megolm(&room, "the last words of the day")?.to_string();
    let (first, second) = content.split_at(content.len() / 2);
    let mut slow = TcpStream::connect(server.url.trim_start_matches("http://")).await?;
    let head = format!(
        "PUT /_matrix/client/v3/rooms/{room}/send/m.room.encrypted/slow HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        therapist.token.as_deref().unwrap_or_default(),
        content.len(),
    );
    slow.write_all(head.as_bytes()).await?;
    slow.write_all(first.as_bytes()).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    ensure!(!waits.is_finished(), "the long poll did not wait");

    server.terminate().await?;
    let answer = timeout(PATIENCE, waits).await???.ok()?;
    let next = text_at(&answer, "next_batch")?;
    slow.write_all(second.as_bytes()).await?;
    let mut answer = String::new();
    timeout(PATIENCE, slow.read_to_string(&mut answer)).await??;
    ensure!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("event_id"),
        "{answer}"
    );
    ensure!(server.ended().await? == Some(0));
    ensure!(
        TcpStream::connect(server.url.trim_start_matches("http://"))
            .await
            .is_err()
    );

    let server = place.serve().await?;
    let therapist = Raw::nobody(&server.url)?.with_token(therapist.token.as_deref());
    let news = therapist.syncs(Some(&next)).await?;
    let timeline = &news["rooms"]["join"][&room]["timeline"]["events"];
    ensure!(
        timeline.as_array().is_some_and(|events| events.len() == 1),
        "{news}"
    );
    server.stop().await
}

#[tokio::test]
async fn a_second_signal_ends_the_server_at_once() -> Result<()> {
    let place = Place::new("")?;
    let mut server = place.serve().await?;
    let mut half = TcpStream::connect(server.url.trim_start_matches("http://")).await?;
    half.write_all(b"POST /_matrix/client/v3/login HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{").await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.terminate().await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.terminate().await?;
    ensure!(server.ended().await? == Some(1));
    place.serve().await?.stop().await
}

#[tokio::test]
async fn health_and_numbers_are_told_on_this_machine_and_name_nobody() -> Result<()> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    let place = Place::new(&format!(
        "[operations]\nenabled = true\nlisten = \"127.0.0.1:{port}\"\n"
    ))?;
    let server = place.serve().await?;
    let code = server.first_code.clone().context("no code")?;
    let therapist = Raw::register(&server.url, "therapist", &code).await?;
    let room = therapist.makes_a_room(json!({})).await?;
    therapist.says(&room, "x").await?;
    therapist
        .send(&room, "m.room.message", json!({ "body": "x" }))
        .await?
        .refused(403, "M_FORBIDDEN")?;
    let operations = Raw::nobody(&format!("http://127.0.0.1:{port}"))?;
    let health = operations
        .ask(reqwest::Method::GET, "/health", None)
        .await?;
    ensure!(
        health.status == 200 && health.body["status"] == "ok",
        "{health}"
    );
    let metrics = operations
        .ask(reqwest::Method::GET, "/metrics", None)
        .await?;
    let text = String::from_utf8(metrics.bytes.clone())?;
    for name in [
        "respite_requests_total",
        "respite_request_seconds",
        "respite_connections",
        "respite_gate_refusals_total",
    ] {
        ensure!(text.contains(name), "{name} is missing in {text}");
    }
    for private in [
        therapist.user.as_str(),
        &therapist.device,
        &room,
        "therapist",
    ] {
        ensure!(!text.contains(private), "{private} is in the numbers");
    }
    // Neither is told to clients, and no client is served here.
    for path in ["/health", "/metrics"] {
        let answer = therapist.ask(reqwest::Method::GET, path, None).await?;
        answer.refused(404, "M_UNRECOGNIZED")?;
    }
    ensure!(operations.get("versions").await?.status == 404);
    server.stop().await
}

#[tokio::test]
async fn with_a_certificate_of_ones_own_both_versions_of_http_are_spoken() -> Result<()> {
    let pem = |name: &str| {
        PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../server/src/serve/tests"
        ))
        .join(name)
    };
    let place = Place::new(&format!(
        "[tls]\ncertificate = {:?}\nkey = {:?}\n",
        pem("certificate.pem"),
        pem("key.pem")
    ))?;
    let server = place.serve().await?;
    ensure!(
        server.url.starts_with("https://127.0.0.1:"),
        "{}",
        server.url
    );
    let url = server.url.replace("127.0.0.1", "localhost");
    let certificate = reqwest::Certificate::from_pem(&fs::read(pem("certificate.pem"))?)?;
    let client = || {
        reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([certificate.clone()])
    };
    let versions = format!("{url}/_matrix/client/versions");
    for (client, version) in [
        (client().build()?, reqwest::Version::HTTP_2),
        (client().http1_only().build()?, reqwest::Version::HTTP_11),
    ] {
        let answer = client.get(&versions).send().await?;
        ensure!(
            answer.status() == 200 && answer.version() == version,
            "{answer:?}"
        );
    }
    let strict = reqwest::Client::builder().no_proxy().build()?;
    ensure!(
        strict.get(&versions).send().await.is_err(),
        "a certificate of nobody's was trusted"
    );
    ensure!(
        reqwest::get(versions.replace("https://", "http://"))
            .await
            .is_err(),
        "it speaks without TLS too"
    );
    server.stop().await
}

#[tokio::test]
async fn without_tls_http_2_is_spoken_to_whoever_begins_so() -> Result<()> {
    let place = Place::new("")?;
    let server = place.serve().await?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .build()?;
    let answer = client
        .get(format!("{}/_matrix/client/versions", server.url))
        .send()
        .await?;
    ensure!(
        answer.status() == 200 && answer.version() == reqwest::Version::HTTP_2,
        "{answer:?}"
    );
    server.stop().await
}

#[tokio::test]
async fn what_a_command_line_cannot_hide_is_not_asked_for_there() -> Result<()> {
    let help = Command::new(binaries::program("respite-server")?)
        .args(["user", "reset-password", "--help"])
        .output()
        .await?;
    let help = String::from_utf8(help.stdout)?;
    ensure!(
        help.contains("--stdin") && !help.contains("--password"),
        "{help}"
    );
    Ok(())
}
