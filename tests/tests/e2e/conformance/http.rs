//! What holds for every request: unknown endpoints, methods, browsers, versions, capabilities.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use respite_tests::{
    practice::Practice,
    raw::{self, Raw},
};
use serde_json::json;

#[tokio::test]
async fn what_is_not_there_is_unrecognized() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    for path in [
        "v3/nothing",
        "v99/sync",
        "",
        "unstable/org.example/nothing",
        "/",
        "/_matrix/federation/v1/version",
        "/_matrix/key/v2/server",
    ] {
        nurse
            .get(path)
            .await?
            .refused(404, "M_UNRECOGNIZED")
            .map_err(|error| error.context(path.to_owned()))?;
    }
    for (method, path) in [
        (Method::DELETE, "v3/sync"),
        (Method::POST, "v3/account/whoami"),
        (Method::PUT, "v3/createRoom"),
        (Method::GET, "v3/createRoom"),
        (Method::PATCH, "versions"),
    ] {
        nurse
            .ask(method, path, Some(b"{}".to_vec()))
            .await?
            .refused(405, "M_UNRECOGNIZED")?;
    }
    Ok(())
}

/// What the specification has and this server does not: what would have to be read, or to be asked of other servers.
const REFUSED: [(&str, &str); 23] = [
    ("POST", "v3/account/3pid/add"),
    ("POST", "v3/account/3pid/bind"),
    ("POST", "v3/account/3pid/delete"),
    ("POST", "v3/account/3pid/unbind"),
    ("POST", "v3/account/3pid/email/requestToken"),
    ("POST", "v3/account/3pid/msisdn/requestToken"),
    ("POST", "v1/appservice/x/ping"),
    ("PUT", "v3/directory/list/appservice/x/!x:localhost"),
    ("GET", "v1/media/preview_url?url=x"),
    ("GET", "/_matrix/media/v3/preview_url?url=x"),
    ("GET", "v3/events"),
    ("GET", "v3/events/$x"),
    ("GET", "v3/initialSync"),
    ("GET", "v3/rooms/!x:localhost/initialSync"),
    ("POST", "v3/account/password/email/requestToken"),
    ("POST", "v3/account/password/msisdn/requestToken"),
    ("POST", "v3/register/email/requestToken"),
    ("POST", "v3/register/msisdn/requestToken"),
    ("POST", "v3/search"),
    ("GET", "v3/thirdparty/protocol/x"),
    ("GET", "v3/thirdparty/location?alias=x"),
    ("GET", "v3/thirdparty/user?userid=x"),
    ("GET", "v1/auth_metadata"),
];

#[tokio::test]
async fn what_would_have_to_be_read_is_unrecognized() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    for (method, path) in REFUSED {
        let body = (method != "GET").then(|| b"{}".to_vec());
        nurse
            .ask(method.parse()?, path, body)
            .await?
            .refused(404, "M_UNRECOGNIZED")
            .map_err(|error| error.context(path))?;
    }
    // Files are there for those only who are logged in; without a token there is none.
    for path in [
        "download/localhost/x",
        "download/localhost/x/x",
        "thumbnail/localhost/x",
    ] {
        nurse
            .get(&format!("/_matrix/media/v3/{path}"))
            .await?
            .refused(404, "M_NOT_FOUND")?;
    }
    nurse
        .post("v3/account/3pid", json!({}))
        .await?
        .refused(405, "M_UNRECOGNIZED")?;
    Ok(())
}

#[tokio::test]
async fn browsers_may_ask_from_anywhere_even_for_what_is_not_there() -> Result<()> {
    let practice = Practice::open().await?;
    let nobody = Raw::nobody(practice.url())?;
    for path in [
        "v3/sync",
        "v3/login",
        "v3/nothing",
        "/_matrix/media/v3/upload",
        "/.well-known/matrix/client",
    ] {
        let before = nobody.ask(Method::OPTIONS, path, None).await?;
        ensure!(before.status == 200 || before.status == 204, "{before}");
        for answer in [before, nobody.ask(Method::GET, path, None).await?] {
            let header = |name: &str| {
                answer
                    .headers
                    .get(name)
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or_default()
                    .to_owned()
            };
            ensure!(header("access-control-allow-origin") == "*", "{answer}");
            for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
                ensure!(
                    header("access-control-allow-methods").contains(method),
                    "{path}: {method}"
                );
            }
            for allowed in ["X-Requested-With", "Content-Type", "Authorization"] {
                ensure!(
                    header("access-control-allow-headers").contains(allowed),
                    "{path}: {allowed}"
                );
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_server_says_what_it_is_and_can() -> Result<()> {
    let practice = Practice::open_with(|config| {
        config.server.public_url = Some("https://respite.example.org".to_owned())
    })
    .await?;
    let nobody = Raw::nobody(practice.url())?;
    let versions = nobody.get("versions").await?.ok()?;
    let claimed: Vec<String> = (1..=18).map(|minor| format!("v1.{minor}")).collect();
    ensure!(versions["versions"] == json!(claimed), "{versions}");
    ensure!(
        versions["unstable_features"]["chat.respite.therapy"] == true,
        "{versions}"
    );
    let known = nobody
        .ask(Method::GET, "/.well-known/matrix/client", None)
        .await?
        .ok()?;
    ensure!(
        known["m.homeserver"]["base_url"] == "https://respite.example.org",
        "{known}"
    );
    let nurse = raw::stranger(&practice, "nurse").await?;
    let can = nurse.get("v3/capabilities").await?.ok()?;
    let can = &can["capabilities"];
    let versions = can["m.room_versions"]["available"]
        .as_object()
        .context("no room versions")?;
    ensure!(
        versions.keys().collect::<Vec<_>>() == ["10", "11", "12"]
            && can["m.room_versions"]["default"] == "11",
        "{can}"
    );
    ensure!(can["m.change_password"]["enabled"] != false, "{can}");
    ensure!(can.get("chat.respite.therapy").is_some(), "{can}");
    let limits = nurse.get("v1/media/config").await?.ok()?;
    ensure!(limits["m.upload.size"] == 100 * 1024 * 1024, "{limits}");
    Ok(())
}

#[tokio::test]
async fn answers_are_json_and_not_kept_by_anybody_on_the_way() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    for path in [
        "versions",
        "v3/account/whoami",
        "v3/sync?timeout=0",
        "v3/nothing",
    ] {
        let answer = nurse.get(path).await?;
        let header = |name: &str| {
            answer
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        ensure!(
            header("content-type").starts_with("application/json"),
            "{answer}"
        );
        ensure!(header("x-content-type-options") == "nosniff", "{answer}");
        ensure!(
            path == "versions" || header("cache-control").contains("no-store"),
            "{answer}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_head_request_gets_the_head_of_the_answer() -> Result<()> {
    let practice = Practice::open().await?;
    let answer = Raw::nobody(practice.url())?
        .ask(Method::HEAD, "versions", None)
        .await?;
    ensure!(answer.status == 200 && answer.bytes.is_empty(), "{answer}");
    Ok(())
}
