use ruma::{
    UInt,
    events::room::{
        EncryptedFileHashes, MediaSource, V2EncryptedFileInfo,
        message::{MessageType, RoomMessageEventContent},
    },
};

use super::*;

fn worksheet() -> Document {
    Document {
        id: "diary".parse().unwrap(),
        version: 1,
        title: "Sleep diary".to_owned(),
        kind: DocumentKind::Worksheet,
        due_ts: Some(MilliSecondsSinceUnixEpoch(
            UInt::new(1_700_000_000_000).unwrap(),
        )),
        returns: None,
        file_name: "sleep-diary.pdf".to_owned(),
        media_type: "application/pdf".to_owned(),
        size: 12_345,
        file: EncryptedFile::new(
            "mxc://respite.example/AbCd".into(),
            V2EncryptedFileInfo::encode([7; 32], [9; 16]).into(),
            EncryptedFileHashes::with_sha256([1; 32]),
        ),
    }
}

#[test]
fn an_existing_client_opens_the_file() {
    let sent = worksheet().to_message().unwrap();
    let message: RoomMessageEventContent = serde_json::from_value(sent.content).unwrap();
    let MessageType::File(file) = message.msgtype else {
        panic!("not a file")
    };
    assert_eq!(file.filename(), "sleep-diary.pdf");
    assert_eq!(
        file.caption(),
        Some("Worksheet: Sleep diary (due 2023-11-14)")
    );
    assert!(matches!(file.source, MediaSource::Encrypted(_)));
    let info = file.info.unwrap();
    assert_eq!(info.mimetype.as_deref(), Some("application/pdf"));
    assert_eq!(info.size, UInt::new(12_345));
}

#[test]
fn a_returned_worksheet_names_the_one_it_answers() {
    let mut returned = worksheet();
    returned.id = "diary-filled".parse().unwrap();
    returned.returns = Some("diary".parse().unwrap());
    returned.due_ts = None;
    let sent = returned.to_message().unwrap();
    assert_eq!(sent.content["body"], "Worksheet, filled in: Sleep diary");
    let read = Document::from_content(sent.event_type, &sent.content).unwrap();
    assert_eq!(read.returns.unwrap().as_str(), "diary");
    assert_eq!(
        (read.version, read.size, read.kind),
        (1, 12_345, DocumentKind::Worksheet)
    );
    assert_eq!(json!(read.file), json!(returned.file));
    assert!(Document::from_content("m.sticker", &sent.content).is_none());
}

#[test]
fn a_file_name_leads_nowhere_else() {
    for name in ["../../.ssh/id", "C:\\x", "..", ". .", "a\nb", "", "a/b"] {
        let mut document = worksheet();
        let mut sent = document.to_message().unwrap();
        sent.content["filename"] = json!(name);
        assert!(
            Document::from_content(sent.event_type, &sent.content).is_none(),
            "{name}"
        );
        document.file_name = name.to_owned();
        assert!(document.to_message().is_err(), "{name}");
    }
}

#[test]
fn a_file_in_the_clear_is_no_document() {
    let mut sent = worksheet().to_message().unwrap();
    let content = sent.content.as_object_mut().unwrap();
    content.remove("file");
    content.insert("url".to_owned(), json!("mxc://respite.example/AbCd"));
    assert!(Document::from_content(sent.event_type, &sent.content).is_none());
}
