use proptest::prelude::*;

use super::{super::samples::random_bytes, *};

fn verdict(bytes: &[u8]) -> Verdict<()> {
    let mut check = BlobCheck::new();
    bytes.chunks(7).for_each(|chunk| check.feed(chunk));
    check.finish()
}

#[test]
fn an_encrypted_worksheet_is_stored() {
    for len in [1, 2, 15, 16, 17, 100, 255, 256, 1_000, 50_000] {
        assert_eq!(verdict(&random_bytes(len)), Ok(()), "{len} bytes");
    }
}

#[test]
fn a_readable_one_is_refused_with_a_sentence() {
    let refusal = verdict(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj").unwrap_err();
    assert!(refusal.sentence().contains("encrypt"));
    assert!(verdict(b"").is_err());
}

#[test]
fn known_formats_are_refused_even_when_the_rest_is_random() {
    let beginnings: [&[u8]; 16] = [
        b"%PDF-1.4",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"\xff\xd8\xff\xe0\0\x10JFIF\0",
        b"\xff\xd8\xff\xdb\0\x43",
        b"GIF89a",
        b"PK\x03\x04\x14\0\x06\0",
        b"\0\0\0\x20ftypisom",
        b"OggS\0\x02",
        b"ID3\x04\0\0",
        b"RIFF\x24\x10\0\0WEBPVP8 ",
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
        b"\x7fELF\x02\x01\x01",
        b"\x1aE\xdf\xa3\x9fB\x86\x81",
        b"7z\xbc\xaf\x27\x1c\0\x04",
        b"SQLite format 3\0",
        b"BZh91AY&SY",
    ];
    for beginning in beginnings {
        let file = [beginning, &random_bytes(2_000)].concat();
        assert_eq!(verdict(&file), Err(KNOWN_FORMAT), "{beginning:?}");
    }
}

#[test]
fn text_in_disguise_is_refused() {
    let diary = "I could not sleep again. The shift starts at five. ".repeat(40);
    let hex: String = diary.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = vodozemac::base64_encode(&diary);
    let xor_one: Vec<u8> = diary.bytes().map(|byte| byte ^ 0x5a).collect();
    let key = random_bytes(8);
    let xor_short: Vec<u8> = diary
        .bytes()
        .zip(key.iter().cycle())
        .map(|(a, b)| a ^ b)
        .collect();
    let padded = [diary.as_bytes(), &random_bytes(400)].concat();
    for bytes in [
        diary.as_bytes(),
        hex.as_bytes(),
        base64.as_bytes(),
        &xor_one,
        &xor_short,
        &padded,
    ] {
        assert_eq!(verdict(bytes), Err(NOT_RANDOM));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn chunking_never_changes_the_verdict(
        bytes in prop::collection::vec(any::<u8>(), 0..3_000),
        cut in any::<prop::sample::Index>(),
    ) {
        let (left, right) = bytes.split_at(cut.index(bytes.len() + 1));
        let mut check = BlobCheck::new();
        check.feed(left);
        check.feed(right);
        prop_assert_eq!(check.finish(), verdict(&bytes));
    }

    /// From where on each kind of text is always told from noise: see `randomness`.
    #[test]
    fn any_sentence_is_refused(words in prop::collection::vec("[a-zA-Zäöüß,.]{1,12}", 8..200)) {
        let sentence = words.join(" ");
        let promised = if sentence.is_ascii() { 24 } else { 48 };
        prop_assume!(sentence.len() >= promised);
        prop_assert!(verdict(sentence.as_bytes()).is_err());
    }
}
