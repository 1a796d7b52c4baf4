//! `chat.respite.document`: a worksheet, resource, consent form or report, as an ordinary
//! encrypted file with what therapy needs to know about it.

use ruma::{MilliSecondsSinceUnixEpoch, events::room::EncryptedFile};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{BlockId, InvalidBlock, MESSAGE, Outgoing, date::day};
use crate::text::line;

/// The block's key in the message.
pub const BLOCK: &str = "chat.respite.document";

/// A document: a file that any client can open, and its place in therapy.
#[derive(Clone, Debug)]
pub struct Document {
    /// Names the document across its versions.
    pub id: BlockId,
    /// Counts from 1; the highest version of an id is the document.
    pub version: u32,
    /// What people call it.
    pub title: String,
    /// What it is for.
    pub kind: DocumentKind,
    /// When it should be back.
    pub due_ts: Option<MilliSecondsSinceUnixEpoch>,
    /// This is the filled-in form of that document.
    pub returns: Option<BlockId>,
    /// Name of the file.
    pub file_name: String,
    /// Its media type, such as `application/pdf`.
    pub media_type: String,
    /// Its size in bytes, before encryption.
    pub size: u64,
    /// Where the encrypted file is, and its keys.
    pub file: EncryptedFile,
}

/// What a document is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DocumentKind {
    /// To be filled in and returned.
    Worksheet,
    /// To be read.
    Resource,
    /// To be agreed to.
    Consent,
    /// Written about the therapy.
    Report,
}

impl DocumentKind {
    /// The name as written in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worksheet => "worksheet",
            Self::Resource => "resource",
            Self::Consent => "consent",
            Self::Report => "report",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Worksheet => "Worksheet",
            Self::Resource => "Resource",
            Self::Consent => "Consent form",
            Self::Report => "Report",
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Block {
    id: BlockId,
    version: u32,
    title: String,
    kind: DocumentKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_ts: Option<MilliSecondsSinceUnixEpoch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    returns: Option<BlockId>,
}

/// The ordinary part of an `m.file` message.
#[derive(Deserialize)]
struct FileMessage {
    msgtype: String,
    body: String,
    filename: Option<String>,
    #[serde(default)]
    info: FileInfo,
    file: EncryptedFile,
}

#[derive(Default, Deserialize)]
struct FileInfo {
    mimetype: Option<String>,
    size: Option<u64>,
}

impl Document {
    /// The message that carries the document.
    ///
    /// # Errors
    ///
    /// [`InvalidBlock`] if a text is out of limits.
    pub fn to_message(&self) -> Result<Outgoing, InvalidBlock> {
        self.validate()?;
        let block = Block {
            id: self.id.clone(),
            version: self.version,
            title: self.title.clone(),
            kind: self.kind,
            due_ts: self.due_ts,
            returns: self.returns.clone(),
        };
        let content = json!({
            "msgtype": "m.file",
            "body": self.body(),
            "filename": self.file_name,
            "info": { "mimetype": self.media_type, "size": self.size },
            "file": self.file,
            BLOCK: block,
        });
        Ok(Outgoing {
            event_type: MESSAGE,
            content,
        })
    }

    /// The document in an event, if it is one and within limits.
    pub fn from_content(event_type: &str, content: &Value) -> Option<Self> {
        if event_type != MESSAGE {
            return None;
        }
        let block = Block::deserialize(content.get(BLOCK)?).ok()?;
        let message = FileMessage::deserialize(content).ok()?;
        if message.msgtype != "m.file" {
            return None;
        }
        let document = Self {
            id: block.id,
            version: block.version,
            title: block.title,
            kind: block.kind,
            due_ts: block.due_ts,
            returns: block.returns,
            file_name: message.filename.unwrap_or(message.body),
            media_type: message
                .info
                .mimetype
                .unwrap_or_else(|| "application/octet-stream".to_owned()),
            size: message.info.size.unwrap_or_default(),
            file: message.file,
        };
        document.validate().ok()?;
        Some(document)
    }

    fn validate(&self) -> Result<(), InvalidBlock> {
        for text in [&self.title, &self.file_name, &self.media_type] {
            line(text)?;
        }
        if self.version == 0 {
            return Err(InvalidBlock::Version);
        }
        if is_plain_name(&self.file_name) {
            Ok(())
        } else {
            Err(InvalidBlock::FileName)
        }
    }

    fn body(&self) -> String {
        let what = self.kind.title();
        let returned = if self.returns.is_some() {
            ", filled in"
        } else {
            ""
        };
        let due = self
            .due_ts
            .map(|ts| format!(" (due {})", day(ts)))
            .unwrap_or_default();
        format!("{what}{returned}: {}{due}", self.title)
    }
}

/// Whether a name names a file in the folder that the reader chose, and none elsewhere.
fn is_plain_name(name: &str) -> bool {
    let separates = |c: char| matches!(c, '/' | '\\' | ':') || c.is_control();
    !name.contains(separates) && !name.trim_matches(['.', ' ']).is_empty()
}

#[cfg(test)]
mod tests;
