//! Files in S3-compatible storage: the same to people, whatever becomes of the S3 server.

use std::fs;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use respite_server::scan;
use respite_tests::{
    bucket::{ACCESS_KEY, BUCKET, Bucket},
    practice::Practice,
    raw::{Answer, Raw, THERAPY, encrypted_bytes, text_at},
    story,
};
use serde_json::json;

use crate::{
    backups::program,
    directory::{Place, Program, everything},
};

/// More than one part of an upload.
const LARGE: usize = 12 << 20;

fn settings(bucket: &Bucket) -> Result<String> {
    Ok(format!(
        "blobs = \"s3://{BUCKET}/respite\"\n[s3]\nendpoint = \"{}\"\nallow_http = true\ncredentials = \"{}\"\n",
        bucket.endpoint(),
        bucket.credentials()?.display()
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worksheet_goes_out_and_comes_back_through_a_bucket_that_holds_ciphertext() -> Result<()>
{
    let bucket = Bucket::start().await?;
    let (home, endpoint, credentials) = (
        format!("s3://{BUCKET}/respite").parse()?,
        bucket.endpoint(),
        bucket.credentials()?,
    );
    let practice = Practice::open_with(|config| {
        config.blobs = home;
        config.s3.endpoint = Some(endpoint);
        config.s3.credentials = Some(credentials);
        config.s3.allow_http = true;
    })
    .await?;
    let ending = story::play(&practice, &mut |_| ()).await?;
    ensure!(ending.returned != ending.worksheet && ending.returned.starts_with(b"%PDF-"));

    ensure!(!practice.data().join("blobs").exists());
    let objects = bucket.objects()?;
    ensure!(objects.len() == 2, "{objects:?}");
    ensure!(objects.iter().all(|(key, _)| key.starts_with("respite/")));
    let report = scan::scan(practice.app()?).await?;
    ensure!(
        report.is_clean() && report.blobs == 2,
        "{:?}",
        report.violations
    );
    Ok(())
}

async fn uploads(who: &Raw, room: &str, size: usize) -> Result<Answer> {
    let path = format!("{THERAPY}/rooms/{room}/documents");
    who.ask(Method::POST, &path, Some(encrypted_bytes(size)))
        .await
}

async fn at_work(server: &Program) -> Result<(Raw, String)> {
    let code = server.first_code.clone().context("no code")?;
    let therapist = Raw::register(&server.url, "therapist", &code).await?;
    let invites = format!("{THERAPY}/invites");
    let invited = therapist.post(&invites, json!({ "kind": "individual" }));
    let code = text_at(&invited.await?.ok()?, "code")?;
    let nurse = Raw::register(&server.url, "nurse", &code).await?;
    let room = nurse.rooms().await?.pop().context("no room")?;
    Ok((therapist, room))
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_s3_server_is_down_messages_go_on_and_no_file_is_half_kept() -> Result<()> {
    let mut bucket = Bucket::start().await?;
    let place = Place::new(&settings(&bucket)?)?;
    let server = place.serve().await?;
    let (therapist, room) = at_work(&server).await?;
    let kept = uploads(&therapist, &room, LARGE).await?.ok()?;
    let file = text_at(&kept, "content_uri")?.replace("mxc://", "");
    let path = format!("v1/media/download/{file}");

    bucket.stop().await;
    for size in [10_000, LARGE] {
        let answer = uploads(&therapist, &room, size).await?;
        let sentence = answer.refused(503, "M_UNKNOWN")?;
        ensure!(sentence.contains("try again later"), "{sentence}");
    }
    let answer = therapist.get(&path).await?;
    answer.refused(503, "M_UNKNOWN")?;
    for inside in [BUCKET, &bucket.endpoint(), &file] {
        ensure!(!answer.body.to_string().contains(inside), "{answer}");
        ensure!(!place.log()?.contains(inside), "{}", place.log()?);
    }
    therapist.says(&room, "x").await?;

    bucket.start_again().await?;
    therapist.get(&path).await?.ok()?;
    let list = format!("{THERAPY}/rooms/{room}/documents");
    let listed = therapist.get(&list).await?.ok()?;
    ensure!(listed["documents"].as_array().map(Vec::len) == Some(1));
    uploads(&therapist, &room, LARGE).await?.ok()?;
    ensure!(bucket.objects()?.len() == 2, "{:?}", bucket.objects()?);

    server.kill().await?;
    let again = place.serve().await?;
    again.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_move_into_a_bucket_and_out_of_it_and_a_backup_comes_back_into_one() -> Result<()> {
    let mut bucket = Bucket::start().await?;
    let in_bucket = settings(&bucket)?;
    let place = Place::new(in_bucket.split_once('\n').context("no settings")?.1)?;
    let server = place.serve().await?;
    let (therapist, room) = at_work(&server).await?;
    let mut files = Vec::new();
    for size in [10_000, LARGE] {
        let kept = uploads(&therapist, &room, size).await?.ok()?;
        let file = text_at(&kept, "content_uri")?.replace("mxc://", "");
        let path = format!("v1/media/download/{file}");
        files.push((therapist.get(&path).await?.bytes, path));
    }
    server.stop().await?;

    let moved = format!("s3://{BUCKET}/moved");
    let back = place.path("back").display().to_string();
    let back_there = format!("directory:{back}");
    for (from, to, there) in [
        ("directory", &*moved, 0),
        ("directory", &*moved, 2),
        (&*moved, &*back_there, 0),
    ] {
        let told = ["migrate", "--blobs-from", from, "--blobs-to", to];
        let told = place.run(&told).await?.well()?;
        let expected = format!("the same as in the source; {there} of them were there before");
        ensure!(
            told.starts_with("2 blobs") && told.contains(&expected),
            "{told}"
        );
    }
    let kept = |directory: &str| -> Result<Vec<Vec<u8>>> {
        let all = everything(&place.path(directory))?;
        Ok(all.into_iter().map(|(_, bytes)| bytes).collect())
    };
    ensure!(kept("data/blobs")?.len() == 2 && kept("data/blobs")? == kept("back")?);
    let objects = bucket.objects()?;
    ensure!(objects.len() == 2 && objects.iter().all(|(key, _)| key.starts_with("moved/")));

    // From files in a directory; brought back into the bucket; from there; and brought back once more.
    let key = place.path("key.txt").display().to_string();
    let pair = program(&["backup", "keygen"]).await?.well()?;
    fs::write(&key, &pair)?;
    let public = pair
        .lines()
        .find_map(|line| line.strip_prefix("# public key: "));
    let public = public.context("no public key")?;
    let (second, third) = (Place::new(&in_bucket)?, Place::new("")?);
    for (n, (from, to)) in [(&place, &second), (&second, &third)]
        .into_iter()
        .enumerate()
    {
        let shelf = place.path(&format!("backups-{n}")).display().to_string();
        let made = from.run(&["backup", &shelf, "--recipient", public]).await?;
        ensure!(made.well()?.contains("2  blobs"));
        let restored = to.run(&["restore", &shelf, "--identity", &key]).await?;
        ensure!(restored.well()?.contains("2 blobs"));
        let scanned = to.run(&["scan"]).await?.well()?;
        ensure!(scanned.contains("2  blobs\nNothing is stored"), "{scanned}");
        let server = to.serve().await?;
        let therapist = therapist.at(&server.url);
        for (bytes, path) in &files {
            ensure!(therapist.get(path).await?.bytes == *bytes, "{path}");
        }
        server.stop().await?;
    }
    ensure!(bucket.objects()?.len() == 4 && !second.data().join("blobs").exists());

    // What needs no blobs is done also without the bucket.
    bucket.stop().await;
    second
        .run(&["invite", "--role", "therapist"])
        .await?
        .well()?;
    let reset = ["user", "reset-password", "nurse"];
    second.run(&reset).await?.well()?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_access_key_is_told_at_the_start_and_a_right_one_is_never_printed() -> Result<()> {
    let bucket = Bucket::start().await?;
    let place = Place::new(&settings(&bucket)?)?;
    let printed = place.run(&["config"]).await?.well()?;
    ensure!(printed.contains(&format!("blobs = \"s3://{BUCKET}/respite\"")));
    ensure!(!printed.contains(ACCESS_KEY.1));

    let file = bucket.credentials()?;
    let guessed = fs::read_to_string(&file)?.replace(ACCESS_KEY.1, "guessed");
    fs::write(&file, guessed)?;
    let refused = place.run(&["serve"]).await?;
    ensure!(refused.code == Some(1), "{refused:?}");
    ensure!(
        refused.err.contains("refuses the access key") && !refused.err.contains("guessed"),
        "{refused:?}"
    );
    Ok(())
}
