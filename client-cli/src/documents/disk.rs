//! Documents on this machine's disk: read to be shared, and saved where they can do no harm.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use respite_protocol::{api::MAX_DOCUMENT_BYTES, events::Document};

use crate::terminal;

/// Longest name under which a document is saved, in characters.
pub const MAX_FILE_NAME_CHARS: usize = 150;

/// The content of a file to be shared.
///
/// # Errors
///
/// If it cannot be read, is empty, or is larger than the server takes.
pub fn read_file(path: &Path) -> Result<(String, Vec<u8>)> {
    let unreadable = || format!("the file {} cannot be read", path.display());
    let file = File::open(path).with_context(unreadable)?;
    if !file.metadata().with_context(unreadable)?.is_file() {
        bail!("{} is not a file", path.display());
    }
    let mut content = Vec::new();
    file.take(MAX_DOCUMENT_BYTES + 1)
        .read_to_end(&mut content)
        .with_context(unreadable)?;
    if content.len() as u64 > MAX_DOCUMENT_BYTES {
        bail!(
            "{} is larger than {} MiB, the most that can be shared",
            path.display(),
            MAX_DOCUMENT_BYTES >> 20
        );
    }
    if content.is_empty() {
        bail!("{} is empty", path.display());
    }
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    Ok((
        name.with_context(|| format!("{} has no name", path.display()))?,
        content,
    ))
}

/// Writes a document to `target` (a file, or a directory to put it in under a safe form of its
/// name), readable by its owner alone.
///
/// # Errors
///
/// If the file exists and `force` is not set, or it cannot be written.
pub fn save(
    document: &Document,
    content: &[u8],
    target: Option<&Path>,
    force: bool,
) -> Result<PathBuf> {
    let path = match target {
        Some(dir) if dir.is_dir() => dir.join(safe_name(&document.file_name)),
        Some(file) => file.to_owned(),
        None => PathBuf::from(safe_name(&document.file_name)),
    };
    write(&path, content, force)?;
    Ok(path)
}

/// Writes a file that is readable by its owner alone, whole or not at all.
///
/// # Errors
///
/// If the file exists and `force` is not set, or it cannot be written.
pub fn write(path: &Path, content: &[u8], force: bool) -> Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    };
    let unwritable = || format!("{} cannot be written", path.display());
    // Written under another name first: nobody finds half a document.
    let mut file = tempfile::NamedTempFile::new_in(&dir).with_context(unwritable)?;
    file.write_all(content).with_context(unwritable)?;
    file.as_file().sync_all().with_context(unwritable)?;
    if force {
        file.persist(path).with_context(unwritable)?;
    } else if let Err(error) = file.persist_noclobber(path) {
        if error.error.kind() == std::io::ErrorKind::AlreadyExists {
            bail!(
                "{} exists already; use --force to replace it or -o to choose another name",
                path.display()
            );
        }
        return Err(error).with_context(unwritable);
    }
    Ok(())
}

/// The last part of a name from a message, without anything that could reach another directory,
/// hide the file, or pass for an option.
pub fn safe_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let shown: String = terminal::line(last)
        .chars()
        .map(|c| {
            if matches!(c, ':' | '*' | '?' | '"' | '<' | '>' | '|' | '\u{FFFD}') {
                '_'
            } else {
                c
            }
        })
        .take(MAX_FILE_NAME_CHARS)
        .collect();
    let name = shown
        .trim_start_matches(['.', '-', ' '])
        .trim_end_matches(['.', ' ']);
    if name.is_empty() {
        "document".to_owned()
    } else {
        name.to_owned()
    }
}

/// The media type that a file name suggests.
pub(super) fn media_type(file_name: &str) -> &'static str {
    let ending = file_name
        .rsplit_once('.')
        .map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref() {
        Some("pdf") => "application/pdf",
        Some("txt" | "md") => "text/plain",
        Some("csv") => "text/csv",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("docx") => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        Some("odt") => "application/vnd.oasis.opendocument.text",
        Some("xlsx") => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        Some("ods") => "application/vnd.oasis.opendocument.spreadsheet",
        Some("mp3") => "audio/mpeg",
        Some("m4a") => "audio/mp4",
        Some("mp4") => "video/mp4",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::document, *};

    #[test]
    fn a_file_name_from_a_message_stays_in_its_directory() {
        let cases = [
            ("../../.bashrc", "bashrc"),
            ("C:\\Windows\\evil.exe", "evil.exe"),
            ("/etc/passwd", "passwd"),
            ("..", "document"),
            ("", "document"),
            ("-rf", "rf"),
            ("a\nb\u{1b}[2J.pdf", "a b_[2J.pdf"),
            ("invoice\u{202e}fdp.exe", "invoice_fdp.exe"),
            ("Schlaf Tagebuch.pdf", "Schlaf Tagebuch.pdf"),
        ];
        for (hostile, safe) in cases {
            assert_eq!(safe_name(hostile), safe, "{hostile:?}");
        }
        assert_eq!(safe_name(&"x".repeat(5_000)).len(), MAX_FILE_NAME_CHARS);
    }

    #[test]
    fn saving_is_private_and_replaces_nothing_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let document = document("d1", 1, None);
        let path = save(&document, b"one", Some(dir.path()), false).unwrap();
        assert_eq!(path, dir.path().join("bashrc"));
        let error = save(&document, b"two", Some(dir.path()), false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("--force"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        save(&document, b"two", Some(dir.path()), true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }

    #[test]
    fn a_file_that_cannot_be_shared_says_why() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            read_file(dir.path())
                .unwrap_err()
                .to_string()
                .contains("is not a file")
        );
        let empty = dir.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        assert!(
            read_file(&empty)
                .unwrap_err()
                .to_string()
                .contains("is empty")
        );
        assert!(read_file(&dir.path().join("absent")).is_err());
        let huge = dir.path().join("huge");
        File::create(&huge)
            .unwrap()
            .set_len(MAX_DOCUMENT_BYTES + 1)
            .unwrap();
        assert!(
            read_file(&huge)
                .unwrap_err()
                .to_string()
                .contains("100 MiB")
        );
    }
}
