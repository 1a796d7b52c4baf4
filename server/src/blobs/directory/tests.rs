use std::{os::unix::fs::PermissionsExt, time::Duration};

use futures_util::TryStreamExt;

use super::*;
use crate::blobs::{
    Blobs,
    suite::{CONSENT, WORKSHEET, get, put, refused, suite},
};

fn blobs() -> (tempfile::TempDir, Blobs) {
    let directory = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(&directory.path().join("blobs")).unwrap();
    (directory, blobs)
}

suite!(async { blobs() });

fn files_below(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// An upload whose process is killed now.
async fn cut_off(blobs: &Blobs, id: &str) {
    let mut writer = blobs.writer(id).await.unwrap();
    let half = Bytes::from_static(b"half of it");
    writer.write(half).await.unwrap();
    std::mem::forget(writer);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_no_file() {
    let (directory, blobs) = blobs();
    let mut writer = blobs.writer(WORKSHEET).await.unwrap();
    let half = Bytes::from_static(b"half of it");
    writer.write(half).await.unwrap();
    drop(writer);
    assert_eq!(files_below(directory.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_second_process_on_the_directory_leaves_uploads_under_way_alone() {
    let (directory, blobs) = blobs();
    let mut writer = blobs.writer(WORKSHEET).await.unwrap();
    writer.write(Bytes::from_static(b"half, ")).await.unwrap();

    let other = Blobs::open(&directory.path().join("blobs")).unwrap();
    let an_hour_ago = written(directory.path(), WORKSHEET) - Duration::from_secs(3600);
    assert_eq!(other.remove_unfinished(an_hour_ago).await.unwrap(), 0);
    writer.write(Bytes::from_static(b"whole")).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(get(&other, WORKSHEET, None).await.unwrap(), b"half, whole");
}

fn written(directory: &Path, id: &str) -> SystemTime {
    let file = directory.join("blobs/incoming").join(id);
    fs::metadata(file).unwrap().modified().unwrap()
}

#[tokio::test]
async fn what_a_crash_left_unfinished_goes_when_it_is_old_and_what_was_finished_stays() {
    let (directory, blobs) = blobs();
    put(&blobs, CONSENT, b"signed").await;
    cut_off(&blobs, WORKSHEET).await;
    assert_eq!(files_below(directory.path()).len(), 2);

    let later = written(directory.path(), WORKSHEET) + Duration::from_secs(1);
    assert_eq!(blobs.remove_unfinished(later).await.unwrap(), 1);
    assert_eq!(files_below(directory.path()).len(), 1);
    assert_eq!(get(&blobs, CONSENT, None).await.unwrap(), b"signed");
}

#[tokio::test]
async fn who_knows_the_id_can_remove_what_a_crash_left_at_once_and_begin_again() {
    let (directory, blobs) = blobs();
    cut_off(&blobs, WORKSHEET).await;
    assert_eq!(refused(&blobs, WORKSHEET).await, ErrorKind::AlreadyExists);
    blobs.delete(WORKSHEET).await.unwrap();
    assert_eq!(files_below(directory.path()), Vec::<PathBuf>::new());
    put(&blobs, WORKSHEET, b"all of it").await;
}

#[tokio::test]
async fn nobody_can_write_over_what_another_process_has_finished_meanwhile() {
    let (directory, blobs) = blobs();
    let mut writer = blobs.writer(CONSENT).await.unwrap();
    writer.write(Bytes::from_static(b"mine")).await.unwrap();
    let kept = directory.path().join("blobs/kept/zz");
    fs::create_dir_all(&kept).unwrap();
    fs::write(kept.join(CONSENT), b"theirs").unwrap();
    let late = writer.finish().await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::AlreadyExists);
    assert_eq!(get(&blobs, CONSENT, None).await.unwrap(), b"theirs");
    assert_eq!(files_below(directory.path()).len(), 1);
}

#[tokio::test]
async fn nobody_else_on_the_machine_can_read_them() {
    let (directory, blobs) = blobs();
    put(&blobs, CONSENT, b"signed").await;
    let file = files_below(directory.path()).remove(0);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    for path in file
        .ancestors()
        .skip(1)
        .take_while(|path| *path != directory.path())
    {
        assert_eq!(mode(path), 0o700);
    }
}

#[tokio::test]
async fn a_blob_that_somebody_cut_short_ends_in_an_error_and_not_early() {
    let (directory, blobs) = blobs();
    put(&blobs, CONSENT, &[7; 200_000]).await;
    let blob = blobs.read(CONSENT, None).await.unwrap();
    let file = files_below(directory.path()).remove(0);
    fs::OpenOptions::new()
        .write(true)
        .open(file)
        .unwrap()
        .set_len(150_000)
        .unwrap();
    assert!(blob.stream.try_collect::<Vec<_>>().await.is_err());
}
