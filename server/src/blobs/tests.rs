use std::os::unix::fs::PermissionsExt;

use super::*;

const WORKSHEET: &str = "AAbb11-_AAbb11-_AAbb11-_AAbb11-_";
const CONSENT: &str = "zz22zz22zz22zz22zz22zz22zz22zz22";

fn blobs() -> (tempfile::TempDir, Blobs) {
    let directory = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(&directory.path().join("blobs")).unwrap();
    (directory, blobs)
}

async fn put(blobs: &Blobs, id: &str, bytes: &[u8]) -> u64 {
    let mut writer = blobs.writer(id).await.unwrap();
    for chunk in bytes.chunks(7_001) {
        writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    writer.finish().await.unwrap()
}

async fn get(blobs: &Blobs, id: &str, range: Option<Range<u64>>) -> io::Result<Vec<u8>> {
    let chunks: Vec<Bytes> = blobs.read(id, range).await?.stream.try_collect().await?;
    Ok(chunks.concat())
}

async fn refused(blobs: &Blobs, id: &str) -> ErrorKind {
    blobs.writer(id).await.map(|_| ()).unwrap_err().kind()
}

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

#[tokio::test]
async fn a_worksheet_comes_back_as_it_was_stored_whole_and_in_part() {
    let (_directory, blobs) = blobs();
    let worksheet: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(put(&blobs, WORKSHEET, &worksheet).await, 300_000);

    assert_eq!(get(&blobs, WORKSHEET, None).await.unwrap(), worksheet);
    assert_eq!(
        blobs.read(WORKSHEET, Some(5..6)).await.unwrap().size,
        300_000
    );
    for (range, expected) in [
        (0..1, 0..1),
        (130_000..270_001, 130_000..270_001),
        (299_999..900_000, 299_999..300_000),
    ] {
        assert_eq!(
            get(&blobs, WORKSHEET, Some(range)).await.unwrap(),
            worksheet[expected]
        );
    }
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    for range in [300_000..300_001, 5..5, 9..3] {
        assert_eq!(
            get(&blobs, WORKSHEET, Some(range))
                .await
                .unwrap_err()
                .kind(),
            ErrorKind::InvalidInput
        );
    }
}

#[tokio::test]
async fn an_empty_blob_is_a_blob() {
    let (_directory, blobs) = blobs();
    put(&blobs, CONSENT, b"").await;
    assert_eq!(get(&blobs, CONSENT, None).await.unwrap(), b"");
}

#[tokio::test]
async fn twenty_megabytes_pass_through_in_small_pieces() {
    let (_directory, blobs) = blobs();
    let mut writer = blobs.writer(WORKSHEET).await.unwrap();
    for n in 0..320u32 {
        writer.write(vec![n as u8; 65_536].into()).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), 320 * 65_536);

    let mut stream = blobs.read(WORKSHEET, None).await.unwrap().stream;
    let mut at = 0;
    while let Some(chunk) = stream.try_next().await.unwrap() {
        assert!(chunk.len() <= CHUNK_BYTES);
        for byte in chunk {
            assert_eq!(byte, (at / 65_536) as u8);
            at += 1;
        }
    }
    assert_eq!(at, 320 * 65_536);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing_and_may_be_repeated() {
    let (directory, blobs) = blobs();
    let mut writer = blobs.writer(WORKSHEET).await.unwrap();
    writer
        .write(Bytes::from_static(b"half of it"))
        .await
        .unwrap();
    assert_eq!(
        get(&blobs, WORKSHEET, None).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    drop(writer);
    assert_eq!(files_below(directory.path()), Vec::<PathBuf>::new());

    put(&blobs, WORKSHEET, b"all of it").await;
    assert_eq!(get(&blobs, WORKSHEET, None).await.unwrap(), b"all of it");
}

#[tokio::test]
async fn what_a_crash_left_unfinished_is_removed_at_the_next_start_and_what_was_finished_stays() {
    let (directory, blobs) = blobs();
    put(&blobs, CONSENT, b"signed").await;
    let mut writer = blobs.writer(WORKSHEET).await.unwrap();
    writer
        .write(Bytes::from_static(b"half of it"))
        .await
        .unwrap();
    std::mem::forget(writer);
    assert_eq!(files_below(directory.path()).len(), 2);

    let blobs = Blobs::open(&directory.path().join("blobs")).unwrap();
    assert_eq!(files_below(directory.path()).len(), 1);
    assert_eq!(get(&blobs, CONSENT, None).await.unwrap(), b"signed");
}

#[tokio::test]
async fn nobody_can_write_over_a_blob_or_into_one_that_is_being_written() {
    let (_directory, blobs) = blobs();
    put(&blobs, CONSENT, b"signed").await;
    assert_eq!(refused(&blobs, CONSENT).await, ErrorKind::AlreadyExists);

    let mut writer = blobs.writer(WORKSHEET).await.unwrap();
    assert_eq!(refused(&blobs, WORKSHEET).await, ErrorKind::AlreadyExists);
    writer.write(Bytes::from_static(b"mine")).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(get(&blobs, WORKSHEET, None).await.unwrap(), b"mine");
    assert_eq!(get(&blobs, CONSENT, None).await.unwrap(), b"signed");
}

#[tokio::test]
async fn an_id_can_never_lead_out_of_the_directory() {
    let (_directory, blobs) = blobs();
    let long = "a".repeat(MAX_ID_LENGTH + 1);
    for id in [
        "",
        "short",
        "../../../../../../../../../etc/passwd",
        "ü2zz22zz22zz22zz22zz22zz22zz22zz22zz",
        &long,
    ] {
        assert_eq!(refused(&blobs, id).await, ErrorKind::InvalidInput);
        assert_eq!(
            get(&blobs, id, None).await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
    }
}

#[tokio::test]
async fn a_deleted_blob_is_gone_and_deleting_it_again_is_no_error() {
    let (directory, blobs) = blobs();
    put(&blobs, CONSENT, b"signed").await;
    blobs.delete(CONSENT).await.unwrap();
    blobs.delete(CONSENT).await.unwrap();
    assert_eq!(
        get(&blobs, CONSENT, None).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(files_below(directory.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn the_list_has_every_finished_blob_and_no_other() {
    let (_directory, blobs) = blobs();
    put(&blobs, CONSENT, b"signed").await;
    put(&blobs, WORKSHEET, b"filled in").await;
    let unfinished = blobs
        .writer("unfinished-unfinished-unfinished-")
        .await
        .unwrap();

    let mut listed: Vec<Listed> = blobs.list().try_collect().await.unwrap();
    listed.sort_by_key(|blob| blob.size);
    let listed: Vec<_> = listed
        .into_iter()
        .map(|blob| (blob.id, blob.size))
        .collect();
    assert_eq!(listed, [(CONSENT.to_owned(), 6), (WORKSHEET.to_owned(), 9)]);
    drop(unfinished);
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
