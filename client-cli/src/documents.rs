//! Documents: encrypted here, stored by the server as a blob bound to the room.

mod disk;

use std::{
    io::{Cursor, Read as _},
    time::Duration,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use matrix_sdk::{Room, config::RequestConfig, futures::SendRequest};
use matrix_sdk_crypto::{AttachmentDecryptor, AttachmentEncryptor};
use respite_protocol::{
    api::{MAX_DOCUMENT_BYTES, upload_document},
    events::{BlockId, Document, DocumentKind, MAX_LINE_CHARS},
};
use ruma::{
    OwnedEventId, OwnedUserId, api::client::authenticated_media::get_content,
    events::room::EncryptedFile,
};

pub use self::disk::{MAX_FILE_NAME_CHARS, read_file, safe_name, save, write};
use crate::{
    checkins::new_id,
    history::{Entry, Said},
    outbox::{self, Delivery},
    progress, time,
};

/// A transfer may take as long as it takes at this many bytes a second.
pub const SLOWEST_TRANSFER: u64 = 8 * 1024;

/// A file to be shared, and what is to be said about it.
#[derive(Clone, Debug)]
pub struct Sharing {
    /// The name that others see.
    pub file_name: String,
    /// Its content.
    pub content: Vec<u8>,
    /// What people call it; the file's name if nothing else.
    pub title: Option<String>,
    /// What it is for.
    pub kind: DocumentKind,
    /// When it should be back.
    pub due: Option<Timestamp>,
    /// The document that it returns, filled in.
    pub returns: Option<BlockId>,
}

/// A document in a room's history.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The document, in its newest version.
    pub document: Document,
    /// The event that carries it.
    pub event_id: OwnedEventId,
    /// Who shared it.
    pub sender: OwnedUserId,
    /// When.
    pub at: Timestamp,
    /// Who has returned it filled in, and when first.
    pub returned: Vec<(OwnedUserId, Timestamp)>,
}
/// Encrypts a file, stores the blob and tells the room about it.
///
/// # Errors
///
/// If a text is out of limits, the server cannot be reached, or it refuses.
pub async fn share(
    room: &Room,
    sharing: Sharing,
    show: bool,
    wait: Duration,
) -> Result<(Document, Delivery)> {
    let size = sharing.content.len() as u64;
    let title = sharing.title.unwrap_or_else(|| sharing.file_name.clone());
    let (ciphertext, info) = encrypt(sharing.content)?;
    let request = upload_document::Request::new(room.room_id().to_owned(), ciphertext);
    let request = with_time_for(size, room.client().send(request));
    let progress = progress::upload(show, || request.subscribe_to_send_progress());
    let uploaded = request.await.context("the document was not stored")?;
    progress.finish();
    let document = Document {
        id: new_id()?,
        version: 1,
        title: title.trim().chars().take(MAX_LINE_CHARS).collect(),
        kind: sharing.kind,
        due_ts: sharing.due.map(time::to_matrix),
        returns: sharing.returns,
        media_type: disk::media_type(&sharing.file_name).to_owned(),
        file_name: sharing.file_name,
        size,
        file: EncryptedFile::new(uploaded.content_uri, info.encryption_info, info.hashes),
    };
    let delivery = outbox::send(room, &document.to_message()?, wait).await?;
    Ok((document, delivery))
}

/// Fetches a document and decrypts it; what does not match its hash is refused.
///
/// # Errors
///
/// If the server cannot be reached or refuses, or the blob was changed.
pub async fn fetch(room: &Room, document: &Document, show: bool) -> Result<Vec<u8>> {
    let uri = &document.file.url;
    let request =
        get_content::v1::Request::from_uri(uri).context("the document's address is damaged")?;
    let spinner = progress::spinner(show, "Fetching");
    let blob = with_time_for(
        document.size.min(MAX_DOCUMENT_BYTES),
        room.client().send(request),
    )
    .await;
    spinner.finish();
    decrypt(
        blob.context("the document cannot be fetched")?.file,
        &document.file,
    )
}

/// The documents in these entries, newest version each, oldest first. A document belongs to who
/// first shared it: nobody else can put a version in its place.
pub fn shelf(entries: &[Entry]) -> Vec<Shared> {
    let mut shelf: Vec<Shared> = Vec::new();
    for entry in entries {
        let Said::Document(document) = &entry.said else {
            continue;
        };
        if let Some(returns) = &document.returns {
            let returned = shelf
                .iter_mut()
                .find(|shared| shared.document.id == *returns);
            if let Some(Shared { returned, .. }) = returned
                && !returned.iter().any(|(who, _)| *who == entry.sender)
            {
                returned.push((entry.sender.clone(), entry.at));
            }
        }
        let known = shelf
            .iter_mut()
            .find(|shared| shared.document.id == document.id && shared.sender == entry.sender);
        match known {
            Some(known) if known.document.version < document.version => {
                known.document = (**document).clone()
            }
            Some(_) => {}
            None => shelf.push(Shared {
                document: (**document).clone(),
                event_id: entry.event_id.clone(),
                sender: entry.sender.clone(),
                at: entry.at,
                returned: Vec::new(),
            }),
        }
    }
    shelf
}

fn encrypt(content: Vec<u8>) -> Result<(Vec<u8>, matrix_sdk_crypto::MediaEncryptionInfo)> {
    let mut ciphertext = Vec::with_capacity(content.len());
    let mut plaintext = Cursor::new(content);
    let mut encryptor = AttachmentEncryptor::new(&mut plaintext);
    encryptor
        .read_to_end(&mut ciphertext)
        .context("the document cannot be encrypted")?;
    Ok((ciphertext, encryptor.finish()))
}

fn decrypt(blob: Vec<u8>, file: &EncryptedFile) -> Result<Vec<u8>> {
    let mut plaintext = Vec::with_capacity(blob.len());
    let mut blob = Cursor::new(blob);
    let mut decryptor = AttachmentDecryptor::new(&mut blob, file.clone().into())
        .context("the document's key is damaged")?;
    // The hash is checked at the end of the blob: an error here, and nothing was handed out.
    decryptor
        .read_to_end(&mut plaintext)
        .context("the document is not what its sender sent: it was changed or is damaged")?;
    Ok(plaintext)
}

fn with_time_for<R>(bytes: u64, request: SendRequest<R>) -> SendRequest<R> {
    let needed = crate::session::REQUEST_TIMEOUT + Duration::from_secs(bytes / SLOWEST_TRANSFER);
    let config = RequestConfig::new()
        .retry_limit(crate::session::MAX_TRIES)
        .timeout(needed);
    request.with_request_config(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn document(id: &str, version: u32, returns: Option<&str>) -> Document {
        let (_, info) = encrypt(b"content".to_vec()).unwrap();
        Document {
            id: id.parse().unwrap(),
            version,
            title: format!("Sleep diary v{version}"),
            kind: DocumentKind::Worksheet,
            due_ts: None,
            returns: returns.map(|id| id.parse().unwrap()),
            file_name: "../../.bashrc".to_owned(),
            media_type: "application/pdf".to_owned(),
            size: 7,
            file: EncryptedFile::new("mxc://x/y".into(), info.encryption_info, info.hashes),
        }
    }

    fn entry(event: &str, sender: &str, document: Document) -> Entry {
        Entry {
            event_id: event.try_into().unwrap(),
            sender: sender.try_into().unwrap(),
            at: Timestamp::UNIX_EPOCH,
            about: None,
            said: Said::Document(Box::new(document)),
        }
    }

    #[test]
    fn a_document_survives_the_way_there_and_back() {
        let (blob, info) = encrypt(b"%PDF-1.7 the worksheet".to_vec()).unwrap();
        assert_ne!(blob, b"%PDF-1.7 the worksheet");
        let file = EncryptedFile::new("mxc://x/y".into(), info.encryption_info, info.hashes);
        assert_eq!(decrypt(blob, &file).unwrap(), b"%PDF-1.7 the worksheet");
    }

    #[test]
    fn a_document_that_was_changed_is_refused() {
        let (mut blob, info) = encrypt(b"I consent".to_vec()).unwrap();
        blob[0] ^= 1;
        let file = EncryptedFile::new("mxc://x/y".into(), info.encryption_info, info.hashes);
        let error = decrypt(blob, &file).unwrap_err().to_string();
        assert!(error.contains("not what its sender sent"), "{error}");
    }

    #[test]
    fn the_newest_version_is_the_document_but_only_from_its_author() {
        let shelf = shelf(&[
            entry("$1", "@therapist:x", document("d1", 1, None)),
            entry("$2", "@therapist:x", document("d1", 2, None)),
            entry("$3", "@mallory:x", document("d1", 9, None)),
        ]);
        assert_eq!(shelf.len(), 2);
        assert_eq!(
            (shelf[0].document.version, shelf[0].sender.as_str()),
            (2, "@therapist:x")
        );
    }

    #[test]
    fn a_worksheet_that_came_back_says_so() {
        let shelf = shelf(&[
            entry("$1", "@therapist:x", document("d1", 1, None)),
            entry("$2", "@nurse:x", document("d2", 1, Some("d1"))),
        ]);
        assert_eq!(shelf[0].returned.len(), 1);
        assert_eq!(shelf[0].returned[0].0, "@nurse:x");
    }
}
