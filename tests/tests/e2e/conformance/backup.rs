//! The key backup.

use anyhow::{Result, ensure};
use reqwest::Method;
use respite_tests::{
    practice::Practice,
    raw::{self, Raw, encrypted_base64, in_query, text_at},
};
use serde_json::{Value, json};

const ALGORITHM: &str = "m.megolm_backup.v1.curve25519-aes-sha2";
const ROOM: &str = "!AbCdEfGhIjKlMnOpQr:localhost";

async fn new_backup(who: &Raw) -> Result<String> {
    let body = json!({ "algorithm": ALGORITHM, "auth_data": { "public_key": encrypted_base64(32), "signatures": {} } });
    text_at(
        &who.post("v3/room_keys/version", body).await?.ok()?,
        "version",
    )
}

fn session(first: u64, forwarded: u64, verified: bool) -> Value {
    json!({
        "first_message_index": first, "forwarded_count": forwarded, "is_verified": verified,
        "session_data": { "ephemeral": encrypted_base64(32), "ciphertext": encrypted_base64(208), "mac": encrypted_base64(8) },
    })
}

#[tokio::test]
async fn keys_are_kept_counted_and_given_back() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    nurse
        .get("v3/room_keys/version")
        .await?
        .refused(404, "M_NOT_FOUND")?;
    let version = new_backup(&nurse).await?;
    let empty = nurse.get("v3/room_keys/version").await?.ok()?;
    ensure!(
        empty["version"] == version.as_str()
            && empty["count"] == 0
            && empty["algorithm"] == ALGORITHM,
        "{empty}"
    );
    let (first, second) = (encrypted_base64(32), encrypted_base64(32));
    let path = |id: &str| {
        format!(
            "v3/room_keys/keys/{ROOM}/{}?version={version}",
            in_query(id)
        )
    };
    let kept = nurse.put(&path(&first), session(0, 0, true)).await?.ok()?;
    ensure!(kept["count"] == 1, "{kept}");
    let body =
        json!({ "rooms": { ROOM: { "sessions": { second.as_str(): session(3, 0, false) } } } });
    let more = nurse
        .put(&format!("v3/room_keys/keys?version={version}"), body)
        .await?
        .ok()?;
    ensure!(more["count"] == 2 && more["etag"] != kept["etag"], "{more}");
    let all = nurse
        .get(&format!("v3/room_keys/keys?version={version}"))
        .await?
        .ok()?;
    ensure!(
        all["rooms"][ROOM]["sessions"]
            .as_object()
            .is_some_and(|sessions| sessions.len() == 2),
        "{all}"
    );
    let one = nurse.get(&path(&second)).await?.ok()?;
    ensure!(one["first_message_index"] == 3, "{one}");
    let gone = nurse.delete(&path(&second)).await?.ok()?;
    ensure!(gone["count"] == 1, "{gone}");
    nurse
        .get(&path(&second))
        .await?
        .refused(404, "M_NOT_FOUND")?;
    let nothing = nurse
        .get(&format!(
            "v3/room_keys/keys/!elsewhere1234567:localhost?version={version}"
        ))
        .await?
        .ok()?;
    ensure!(nothing["sessions"] == json!({}), "{nothing}");
    Ok(())
}

#[tokio::test]
async fn a_better_key_replaces_a_worse_one_and_never_the_other_way() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let version = new_backup(&nurse).await?;
    let path = format!(
        "v3/room_keys/keys/{ROOM}/{}?version={version}",
        in_query(&encrypted_base64(32))
    );
    // Verified before unverified, then an earlier first message, then fewer hands.
    let rising = [
        session(9, 9, false),
        session(8, 9, false),
        session(8, 1, false),
        session(9, 9, true),
        session(2, 9, true),
        session(2, 0, true),
    ];
    for better in &rising {
        nurse.put(&path, better.clone()).await?.ok()?;
        ensure!(
            nurse.get(&path).await?.ok()? == *better,
            "{better} was not taken"
        );
    }
    let best = session(2, 0, true);
    nurse.put(&path, best).await?.ok()?;
    let kept = nurse.get(&path).await?.ok()?;
    for worse in rising.iter().take(rising.len() - 1) {
        nurse.put(&path, worse.clone()).await?.ok()?;
        ensure!(nurse.get(&path).await?.ok()? == kept, "{worse} was taken");
    }
    Ok(())
}

#[tokio::test]
async fn only_the_newest_backup_takes_keys() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let old = new_backup(&nurse).await?;
    let new = new_backup(&nurse).await?;
    ensure!(old != new);
    let answer = nurse
        .put(
            &format!(
                "v3/room_keys/keys/{ROOM}/{}?version={old}",
                in_query(&encrypted_base64(32))
            ),
            session(0, 0, true),
        )
        .await?;
    answer.refused(403, "M_WRONG_ROOM_KEYS_VERSION")?;
    ensure!(answer.body["current_version"] == new.as_str(), "{answer}");
    ensure!(nurse.get("v3/room_keys/version").await?.ok()?["version"] == new.as_str());
    nurse
        .ask(Method::DELETE, &format!("v3/room_keys/version/{new}"), None)
        .await?
        .ok()?;
    nurse
        .get(&format!("v3/room_keys/version/{new}"))
        .await?
        .refused(404, "M_NOT_FOUND")?;
    nurse
        .get(&format!("v3/room_keys/keys?version={new}"))
        .await?
        .refused(404, "M_NOT_FOUND")?;
    Ok(())
}

#[tokio::test]
async fn a_backups_signatures_change_and_its_algorithm_does_not() -> Result<()> {
    let practice = Practice::open().await?;
    let nurse = raw::stranger(&practice, "nurse").await?;
    let version = new_backup(&nurse).await?;
    let path = format!("v3/room_keys/version/{version}");
    let mut now = nurse.get(&path).await?.ok()?;
    now["auth_data"]["signatures"][nurse.user.as_str()][format!("ed25519:{}", nurse.device)] =
        json!(encrypted_base64(64));
    let body = json!({ "algorithm": ALGORITHM, "auth_data": now["auth_data"], "version": version });
    nurse.put(&path, body).await?.ok()?;
    ensure!(nurse.get(&path).await?.ok()?["auth_data"] == now["auth_data"]);
    let other = json!({ "algorithm": "m.other", "auth_data": now["auth_data"] });
    let answer = nurse.put(&path, other).await?;
    ensure!(answer.status == 400, "{answer}");
    Ok(())
}
