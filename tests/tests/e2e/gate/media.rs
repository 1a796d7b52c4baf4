//! Files: attachments, documents of a room, and check-ins that wait.

use anyhow::{Context, Result, ensure};
use reqwest::{
    Method,
    header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use respite_tests::{
    practice::Practice,
    raw::{THERAPY, encrypted_bytes, megolm, text_at},
};
use serde_json::{Value, json};

use super::{Attempt, BAD_JSON, End, FORBIDDEN, Scene, leaves_nothing};

#[tokio::test]
async fn readable_files_are_refused() -> Result<()> {
    leaves_nothing(|scene| Ok(files(scene))).await
}

#[tokio::test]
async fn check_ins_that_wait_are_ciphertext() -> Result<()> {
    leaves_nothing(prompts).await
}

#[tokio::test]
async fn an_encrypted_file_comes_back_without_its_name_and_kind() -> Result<()> {
    let mut practice = Practice::open().await?;
    let scene = Scene::open(&practice).await?;
    let file = encrypted_bytes(100_000);
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_str(&format!("application/{}", scene.words()))?,
    );
    headers.insert(
        CONTENT_DISPOSITION,
        HeaderValue::from_str(&format!("attachment; filename={}.pdf", scene.words()))?,
    );
    for upload in [
        format!("/_matrix/media/v3/upload?filename={}.pdf", scene.words()),
        format!(
            "{THERAPY}/rooms/{}/documents?filename={}.pdf",
            scene.room,
            scene.words()
        ),
    ] {
        let kept = scene
            .nurse
            .ask_with(Method::POST, &upload, Some(file.clone()), headers.clone())
            .await?
            .ok()?;
        let address = text_at(&kept, "content_uri")?;
        let path = address
            .strip_prefix("mxc://")
            .context("no address of a file")?;
        let seen = scene
            .therapist
            .get(&format!("v1/media/download/{path}/{}.pdf", scene.words()))
            .await?;
        ensure!(seen.status == 200 && seen.bytes == file, "{seen}");
        let told = format!("{:?}", seen.headers);
        ensure!(
            seen.headers
                .get(CONTENT_TYPE)
                .is_some_and(|kind| kind == "application/octet-stream"),
            "{told}"
        );
        ensure!(!scene.canary.is_in(told.as_bytes()), "{told}");
    }
    practice.stop().await?;
    ensure!(
        scene.canary.search(practice.data())?.is_empty(),
        "the words were kept"
    );
    Ok(())
}

#[tokio::test]
async fn short_ciphertext_is_a_file_too() -> Result<()> {
    let practice = Practice::open().await?;
    let scene = Scene::open(&practice).await?;
    for length in [12, 16, 47, 300, 5_000] {
        let answer = scene
            .nurse
            .ask(
                Method::POST,
                "/_matrix/media/v3/upload",
                Some(encrypted_bytes(length)),
            )
            .await?;
        ensure!(answer.status == 200, "{length} bytes: {answer}");
    }
    Ok(())
}

pub(super) fn files(scene: &Scene) -> Vec<Attempt> {
    let words = scene.words();
    let long = format!("{words}. I slept badly, and then the next shift began. ").repeat(40);
    let after = |magic: &[u8]| [magic, &encrypted_bytes(2_000), words.as_bytes()].concat();
    let hidden = [
        encrypted_bytes(20_000),
        long.clone().into_bytes(),
        vec![0; 20_000],
    ]
    .concat();
    let files = [
        ("nothing", Vec::new()),
        ("a note", words.as_bytes().to_vec()),
        ("a diary", long.clone().into_bytes()),
        (
            "a diary in another script",
            format!("{words}: 今夜もまた眠れない、明日も仕事だ。").into_bytes(),
        ),
        (
            "a diary in UTF-16",
            long.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        (
            "a web page",
            format!("<!DOCTYPE html><p>{words}").into_bytes(),
        ),
        ("JSON", json!({ "body": words }).to_string().into_bytes()),
        ("base64", vodozemac::base64_encode(&long).into_bytes()),
        ("a PDF", after(b"%PDF-1.7\n")),
        ("a PNG", after(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR")),
        ("a JPEG", after(b"\xff\xd8\xff\xe0\0\x10JFIF\0")),
        ("a zip", after(b"PK\x03\x04\x14\0\0\0\x08\0")),
        ("a gzip", after(b"\x1f\x8b\x08\0\0\0\0\0\0\x03")),
        ("a recording", after(b"OggS\0\x02\0\0\0\0\0\0\0\0")),
        ("a video", after(b"\0\0\0\x18ftypmp42")),
        ("words among random bytes", hidden),
        (
            "zeros",
            [vec![0; 5_000], words.as_bytes().to_vec()].concat(),
        ),
    ];
    let mut attempts = Vec::new();
    for (what, body) in files {
        for path in [
            "/_matrix/media/v3/upload".to_owned(),
            format!("{THERAPY}/rooms/{}/documents", scene.room),
        ] {
            let attempt = Attempt::post(what, path, Value::Null, FORBIDDEN);
            attempts.push(Attempt {
                body: body.clone(),
                ..attempt
            });
        }
    }
    attempts
}

pub(super) fn prompts(scene: &Scene) -> Result<Vec<Attempt>> {
    let words = scene.words();
    let ask = |what, txn: &str, body: Value, end: End| {
        Attempt::put(
            what,
            format!("{THERAPY}/rooms/{}/prompts/{txn}", scene.room),
            body,
            end,
        )
    };
    let prompt = |content: Value| json!({ "addressee": scene.therapist.user, "release_ts": 4_000_000_u64, "content": content });
    let mut noted = megolm(&scene.room, "x")?;
    noted["body"] = json!(words);
    let mut pretended = megolm(&scene.room, "x")?;
    pretended["ciphertext"] = json!(vodozemac::base64_encode(words.repeat(4)));
    let mut reminds = prompt(megolm(&scene.room, "x")?);
    reminds["reminds"] = json!(format!("{words} and more"));
    let mut somebody = prompt(megolm(&scene.room, "x")?);
    somebody["addressee"] = json!(words);
    let create = |body| {
        Attempt::post(
            "a therapy room of their own kind",
            format!("{THERAPY}/rooms"),
            body,
            BAD_JSON,
        )
        .by(super::Who::Therapist)
    };
    Ok(vec![
        ask(
            "a check-in in the clear",
            "t1",
            prompt(json!({ "msgtype": "m.text", "body": words })),
            FORBIDDEN,
        ),
        ask("pretended ciphertext", "t2", prompt(pretended), FORBIDDEN),
        ask("words beside ciphertext", "t3", prompt(noted), FORBIDDEN),
        ask(
            "a check-in that is a text",
            "t4",
            prompt(json!(words)),
            BAD_JSON,
        ),
        ask("an addressee by their name", "t5", somebody, BAD_JSON),
        ask(
            "a reminder of words",
            "t6",
            reminds,
            End::Refused(404, "M_NOT_FOUND"),
        ),
        ask(
            "a transaction that is a sentence",
            &format!("{words}%20and%20more"),
            prompt(megolm(&scene.room, "x")?),
            End::Blanked,
        ),
        create(json!({ "kind": words })),
    ])
}
