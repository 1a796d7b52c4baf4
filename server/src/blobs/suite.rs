//! What every home of blobs does: the macro [`suite`](super::suite) makes a test of each.

use super::*;

pub(super) const WORKSHEET: &str = "AAbb11-_AAbb11-_AAbb11-_AAbb11-_";
pub(super) const CONSENT: &str = "zz22zz22zz22zz22zz22zz22zz22zz22";

/// The tests, in a home that `$fresh` makes: a pair of what must outlive the blobs, and the blobs.
macro_rules! suite {
    ($fresh:expr) => {
        crate::blobs::suite::suite!(
            $fresh,
            a_worksheet_comes_back_as_it_was_stored_whole_and_in_part,
            an_empty_blob_is_a_blob,
            twenty_megabytes_pass_through_in_small_pieces,
            an_upload_that_breaks_off_is_never_seen_and_may_be_repeated,
            nobody_can_write_over_a_blob,
            of_two_at_a_time_one_is_kept_whole,
            an_id_can_never_lead_out_of_the_home,
            a_deleted_blob_is_gone_and_deleting_it_again_is_no_error,
            the_list_has_every_finished_blob_in_order_and_no_other,
        );
    };
    ($fresh:expr, $($test:ident,)*) => {$(
        #[tokio::test]
        async fn $test() {
            let (_home, blobs) = $fresh.await;
            crate::blobs::suite::$test(blobs).await;
        }
    )*};
}
pub(super) use suite;

pub(super) async fn put(blobs: &Blobs, id: &str, bytes: &[u8]) -> u64 {
    let mut writer = blobs.writer(id).await.unwrap();
    for chunk in bytes.chunks(7_001) {
        writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    writer.finish().await.unwrap()
}

pub(super) async fn get(blobs: &Blobs, id: &str, range: Option<Range<u64>>) -> io::Result<Vec<u8>> {
    let chunks: Vec<Bytes> = blobs.read(id, range).await?.stream.try_collect().await?;
    Ok(chunks.concat())
}

pub(super) async fn refused(blobs: &Blobs, id: &str) -> ErrorKind {
    blobs.writer(id).await.map(|_| ()).unwrap_err().kind()
}

pub(super) async fn a_worksheet_comes_back_as_it_was_stored_whole_and_in_part(blobs: Blobs) {
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

pub(super) async fn an_empty_blob_is_a_blob(blobs: Blobs) {
    put(&blobs, CONSENT, b"").await;
    assert_eq!(get(&blobs, CONSENT, None).await.unwrap(), b"");
}

/// More than three parts of an upload to S3.
pub(super) async fn twenty_megabytes_pass_through_in_small_pieces(blobs: Blobs) {
    let mut writer = blobs.writer(WORKSHEET).await.unwrap();
    for n in 0..320u32 {
        writer.write(vec![n as u8; 65_536].into()).await.unwrap();
    }
    assert_eq!(
        get(&blobs, WORKSHEET, None).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
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
    let between_parts = PART_BYTES as u64 - 2..PART_BYTES as u64 + 2;
    assert_eq!(
        get(&blobs, WORKSHEET, Some(between_parts)).await.unwrap(),
        [79, 79, 80, 80]
    );
}

pub(super) async fn an_upload_that_breaks_off_is_never_seen_and_may_be_repeated(blobs: Blobs) {
    let mut writer = blobs.writer(WORKSHEET).await.unwrap();
    let half = Bytes::from(vec![7; PART_BYTES + 1]);
    writer.write(half).await.unwrap();
    let seen = get(&blobs, WORKSHEET, None).await.unwrap_err();
    assert_eq!(seen.kind(), ErrorKind::NotFound);
    assert_eq!(blobs.page(None, 10).await.unwrap(), []);
    drop(writer);
    let seen = get(&blobs, WORKSHEET, None).await.unwrap_err();
    assert_eq!(seen.kind(), ErrorKind::NotFound);

    put(&blobs, WORKSHEET, b"all of it").await;
    assert_eq!(get(&blobs, WORKSHEET, None).await.unwrap(), b"all of it");
}

pub(super) async fn nobody_can_write_over_a_blob(blobs: Blobs) {
    put(&blobs, CONSENT, b"signed").await;
    assert_eq!(refused(&blobs, CONSENT).await, ErrorKind::AlreadyExists);
    assert_eq!(get(&blobs, CONSENT, None).await.unwrap(), b"signed");
}

pub(super) async fn of_two_at_a_time_one_is_kept_whole(blobs: Blobs) {
    let writers = [blobs.writer(CONSENT).await, blobs.writer(CONSENT).await];
    let mut finished = Vec::new();
    for (writer, words) in writers.into_iter().zip([&b"signed"[..], b"refused"]) {
        let Ok(mut writer) = writer else { continue };
        writer.write(Bytes::from_static(words)).await.unwrap();
        if writer.finish().await.is_ok() {
            finished.push(words);
        }
    }
    let kept = get(&blobs, CONSENT, None).await.unwrap();
    assert!(finished.contains(&kept.as_slice()));
}

pub(super) async fn an_id_can_never_lead_out_of_the_home(blobs: Blobs) {
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

pub(super) async fn a_deleted_blob_is_gone_and_deleting_it_again_is_no_error(blobs: Blobs) {
    put(&blobs, CONSENT, b"signed").await;
    blobs.delete(CONSENT).await.unwrap();
    blobs.delete(CONSENT).await.unwrap();
    assert_eq!(
        get(&blobs, CONSENT, None).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(blobs.page(None, 10).await.unwrap(), []);
}

pub(super) async fn the_list_has_every_finished_blob_in_order_and_no_other(blobs: Blobs) {
    let neighbour = "AAbb11-_AAbb11-_AAbb11-_AAbb11-a";
    for (id, content) in [
        (CONSENT, "signed"),
        (neighbour, "blank"),
        (WORKSHEET, "filled in"),
    ] {
        put(&blobs, id, content.as_bytes()).await;
    }
    let unfinished = blobs
        .writer("unfinished-unfinished-unfinished-")
        .await
        .unwrap();

    let expected = [(WORKSHEET, 9), (neighbour, 5), (CONSENT, 6)];
    let all: Vec<Listed> = blobs.list().try_collect().await.unwrap();
    let listed: Vec<_> = all.iter().map(|blob| (&*blob.id, blob.size)).collect();
    assert_eq!(listed, expected);
    let mut turned = Vec::new();
    while let [next] = &blobs
        .page(turned.last().map(|blob: &Listed| &*blob.id), 1)
        .await
        .unwrap()[..]
    {
        turned.push(next.clone());
    }
    assert_eq!(turned, all);
    drop(unfinished);
}
