use std::{future::Future, time::Duration};

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::time::{Instant, sleep};

use crate::blobs::{
    Blobs, CannotOpen, Home, PART_BYTES, S3Access,
    suite::{CONSENT, WORKSHEET, get, put, suite},
};

#[path = "../../../../tests/src/bucket.rs"]
mod bucket;

use bucket::{ACCESS_KEY, Bucket};

/// How long to wait for what happens in the background.
const PATIENCE: Duration = Duration::from_secs(30);

fn access(bucket: &Bucket) -> S3Access {
    S3Access {
        endpoint: Some(bucket.endpoint()),
        credentials: Some(bucket.credentials().unwrap()),
        allow_http: true,
        ..S3Access::default()
    }
}

async fn open(bucket: &Bucket, home: &str) -> Result<Blobs, CannotOpen> {
    let home: Home = home.parse().unwrap();
    home.open("unused".as_ref(), &access(bucket)).await
}

async fn blobs() -> (Bucket, Blobs) {
    let bucket = Bucket::start().await.unwrap();
    let blobs = open(&bucket, "s3://practice/respite/blobs").await.unwrap();
    (bucket, blobs)
}

suite!(blobs());

async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let last = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < last, "it does not happen");
        sleep(Duration::from_millis(20)).await;
    }
}

fn megabytes(count: usize) -> Bytes {
    vec![7; count << 20].into()
}

#[tokio::test]
async fn blobs_lie_below_the_prefix_and_leave_other_objects_alone() {
    let (bucket, blobs) = blobs().await;
    let others = open(&bucket, "s3://practice").await.unwrap();
    put(&blobs, CONSENT, b"signed").await;
    put(&others, WORKSHEET, b"somebody else's").await;
    assert_eq!(
        bucket.objects().unwrap(),
        [
            (format!("AA/{WORKSHEET}"), 15),
            (format!("respite/blobs/zz/{CONSENT}"), 6)
        ]
    );
    let listed: Vec<_> = blobs.list().try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn a_large_upload_that_breaks_off_leaves_no_part() {
    let (bucket, blobs) = blobs().await;
    let mut writer = blobs.writer(WORKSHEET).await.unwrap();
    writer.write(megabytes(11)).await.unwrap();
    assert!(bucket.unfinished().unwrap() > 0);
    drop(writer);
    until(async || bucket.unfinished().unwrap() == 0).await;
    assert_eq!(bucket.objects().unwrap(), []);
}

#[tokio::test]
async fn a_large_upload_that_the_server_refuses_midway_leaves_no_part() {
    let (bucket, blobs) = blobs().await;
    bucket.refuse_from_part(2);
    let mut writer = blobs.writer(WORKSHEET).await.unwrap();
    assert!(writer.write(megabytes(16)).await.is_err());
    drop(writer);
    until(async || bucket.unfinished().unwrap() == 0).await;
    assert_eq!(bucket.objects().unwrap(), []);

    bucket.refuse_from_part(i32::MAX);
    put(&blobs, WORKSHEET, b"all of it").await;
    assert_eq!(get(&blobs, WORKSHEET, None).await.unwrap(), b"all of it");
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_is_an_error_and_what_it_kept_is_aborted_when_it_is_old() {
    let (mut bucket, blobs) = blobs().await;
    put(&blobs, CONSENT, b"signed").await;
    let mut writer = blobs.writer(WORKSHEET).await.unwrap();
    writer.write(megabytes(6)).await.unwrap();
    bucket.stop().await;
    writer.write(megabytes(3)).await.unwrap();
    assert!(writer.finish().await.is_err());
    assert!(get(&blobs, CONSENT, None).await.is_err());

    bucket.start_again().await.unwrap();
    assert_eq!(get(&blobs, CONSENT, None).await.unwrap(), b"signed");
    until(async || {
        let seen = get(&blobs, WORKSHEET, None).await;
        seen.unwrap_err().kind() == std::io::ErrorKind::NotFound
    })
    .await;
    put(&blobs, WORKSHEET, b"all of it").await;
    let finished = blobs.page(None, 1).await.unwrap().remove(0).finished;
    let young = finished - Duration::from_secs(3600);
    let (old, left) = (finished + Duration::from_secs(60), bucket.unfinished());
    blobs.remove_unfinished(young).await.unwrap();
    assert_eq!(bucket.unfinished().unwrap(), left.unwrap());
    blobs.remove_unfinished(old).await.unwrap();
    assert_eq!(bucket.unfinished().unwrap(), 0);
    assert_eq!(get(&blobs, WORKSHEET, None).await.unwrap(), b"all of it");
}

#[tokio::test]
async fn what_killed_servers_left_is_aborted_page_by_page_and_only_below_the_prefix() {
    let (bucket, blobs) = blobs().await;
    let others = open(&bucket, "s3://practice/other").await.unwrap();
    for (blobs, id) in [(&blobs, CONSENT), (&blobs, WORKSHEET), (&others, CONSENT)] {
        let mut writer = blobs.writer(id).await.unwrap();
        writer.write(megabytes(6)).await.unwrap();
        std::mem::forget(writer);
    }
    put(&blobs, "now-now-now-now-now-now-now-now-now-", b"now").await;
    let now = blobs.page(None, 1).await.unwrap().remove(0).finished;
    let later = now + Duration::from_secs(60);
    assert_eq!(blobs.remove_unfinished(later).await.unwrap(), 2);
    assert_eq!(others.remove_unfinished(later).await.unwrap(), 1);
    assert_eq!(bucket.unfinished().unwrap(), 0);
}

#[tokio::test]
async fn a_part_is_sent_when_it_is_full_and_no_more_than_one_is_kept() {
    let (bucket, blobs) = blobs().await;
    let mut writer = blobs.writer(WORKSHEET).await.unwrap();
    let exactly = Bytes::from(vec![7; 2 * PART_BYTES]);
    writer.write(exactly.clone()).await.unwrap();
    // One is there, the other is still here.
    assert_eq!(bucket.unfinished().unwrap(), 2);
    writer.finish().await.unwrap();
    assert_eq!(get(&blobs, WORKSHEET, None).await.unwrap(), exactly);
    assert_eq!(bucket.unfinished().unwrap(), 0);
}

/// What the operator is told at the start.
async fn complaint(home: &str, access: &S3Access) -> String {
    let home: Home = home.parse().unwrap();
    let opened = home.open("unused".as_ref(), access).await;
    opened.err().unwrap().to_string()
}

#[tokio::test]
async fn what_is_wrong_is_told_at_the_start_in_words_that_help_and_without_secrets() {
    let mut bucket = Bucket::start().await.unwrap();
    let right = access(&bucket);
    let said = complaint("s3://nobodys", &right).await;
    assert!(said.contains("has no bucket nobodys"), "{said}");

    let file = tempfile::NamedTempFile::new().unwrap();
    let wrong = S3Access {
        credentials: Some(file.path().to_owned()),
        ..right.clone()
    };
    let said = complaint("s3://practice", &wrong).await;
    assert!(said.contains("has no aws_access_key_id"), "{said}");

    let key = "aws_access_key_id = respite\naws_secret_access_key = guessed\n";
    std::fs::write(file.path(), key).unwrap();
    let said = complaint("s3://practice", &wrong).await;
    assert!(said.contains("refuses the access key"), "{said}");
    assert!(!said.contains("guessed") && !said.contains(ACCESS_KEY.1));

    let missing = S3Access {
        credentials: Some("/nowhere/credentials".into()),
        ..right.clone()
    };
    let said = complaint("s3://practice", &missing).await;
    assert!(
        said.contains("/nowhere/credentials cannot be read"),
        "{said}"
    );

    bucket.stop().await;
    let said = complaint("s3://practice", &right).await;
    assert!(said.contains("cannot be reached at http://127"), "{said}");
}

#[tokio::test]
async fn an_error_names_neither_the_bucket_nor_the_blob() {
    let (mut bucket, blobs) = blobs().await;
    bucket.stop().await;
    let error = get(&blobs, CONSENT, None).await.unwrap_err();
    let said = format!("{error} {error:?}");
    for secret in [CONSENT, "practice", "127.0.0.1"] {
        assert!(!said.contains(secret), "{said}");
    }
}
