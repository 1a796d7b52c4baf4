//! Media: encrypted attachments only.

use super::{
    randomness::Randomness,
    refusal::{Refusal, Verdict},
    table::{Class, Outcome, outcome},
};

const EMPTY: Refusal = Refusal::forbidden("The upload is empty. Choose the file again.");
const KNOWN_FORMAT: Refusal = Refusal::forbidden(
    "This server stores encrypted files only, and this one is a readable file. Send it in an \
     encrypted room, so that your client encrypts it first.",
);
const NOT_RANDOM: Refusal = Refusal::forbidden(
    "This server stores encrypted files only, and this one does not look encrypted. Send it in \
     an encrypted room, so that your client encrypts it first.",
);

/// Judges a blob as it streams by, in constant memory and in chunks of any size.
///
/// Refused are: an empty blob; one that begins like a known file format; text; and bytes that are
/// not spread like the output of a cipher. Output of AES-CTR of any length passes, but for a chance
/// below 10⁻⁹. A blob of fewer than 12 bytes is too short to tell, and only its beginning is
/// checked; from 24 bytes on plain text is always found.
#[derive(Clone, Debug)]
pub struct BlobCheck {
    head: Vec<u8>,
    bytes: Randomness,
}

impl BlobCheck {
    const HEAD_BYTES: usize = 16;

    /// Begins a blob.
    pub fn new() -> Self {
        Self {
            head: Vec::with_capacity(Self::HEAD_BYTES),
            bytes: Randomness::new(),
        }
    }

    /// Looks at the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        let wanted = Self::HEAD_BYTES - self.head.len();
        self.head.extend(bytes.iter().take(wanted));
        self.bytes.feed(bytes);
    }

    /// The verdict on the whole blob.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` if it cannot be ciphertext.
    pub fn finish(self) -> Verdict<()> {
        let by_row = |name, refusal| match outcome(Class::Media, name) {
            Some(Outcome::Keep | Outcome::Checked) => Ok(()),
            _ => Err(refusal),
        };
        if self.bytes.total() == 0 {
            by_row("empty blob", EMPTY)
        } else if has_magic(&self.head) {
            by_row("known file format", KNOWN_FORMAT)
        } else if !self.bytes.plausible() {
            by_row("text or unevenly spread bytes", NOT_RANDOM)
        } else {
            by_row("encrypted blob", NOT_RANDOM)
        }
    }
}

impl Default for BlobCheck {
    fn default() -> Self {
        Self::new()
    }
}

/// A beginning that marks a file format: bytes at an offset, and ranges for the bytes around them.
struct Magic {
    at: usize,
    bytes: &'static [u8],
    ranges: &'static [(usize, u8, u8)],
}

const fn magic(bytes: &'static [u8]) -> Magic {
    Magic {
        at: 0,
        bytes,
        ranges: &[],
    }
}

const fn magic_at(at: usize, bytes: &'static [u8], ranges: &'static [(usize, u8, u8)]) -> Magic {
    Magic { at, bytes, ranges }
}

/// Each is at least 34 bits long, so that random bytes begin like one of them with a chance below
/// 2·10⁻¹⁰ in all.
const MAGIC: &[Magic] = &[
    magic(b"%PDF-"),
    magic(b"%!PS-"),
    magic(b"{\\rtf1"),
    magic(b"<?xml"),
    magic(b"<html"),
    magic(b"<!DOCTYPE"),
    magic(b"\x89PNG\r\n\x1a\n"),
    magic(b"GIF87a"),
    magic(b"GIF89a"),
    // JPEG: start of image, then an application or table segment of a usual length.
    magic_at(
        0,
        b"\xff\xd8\xff",
        &[(3, 0xc0, 0xfe), (4, 0, 0), (5, 2, 0xff)],
    ),
    magic_at(6, b"JFIF", &[(0, 0xff, 0xff), (1, 0xd8, 0xd8)]),
    magic_at(6, b"Exif", &[(0, 0xff, 0xff), (1, 0xd8, 0xd8)]),
    // ZIP, and so OOXML, ODF, EPUB, APK: then the version needed, below 6.4.
    magic_at(0, b"PK\x03\x04", &[(4, 0, 63), (5, 0, 0)]),
    magic_at(0, b"PK\x05\x06", &[(4, 0, 0), (5, 0, 0)]),
    magic_at(4, b"ftyp", &[(0, 0, 0), (1, 0, 0)]),
    magic_at(4, b"moov", &[(0, 0, 0)]),
    magic_at(4, b"mdat", &[(0, 0, 0)]),
    magic(b"OggS\x00"),
    magic(b"fLaC\x00"),
    magic_at(0, b"ID3", &[(3, 2, 4), (4, 0, 0), (5, 0, 0)]),
    magic_at(
        0,
        b"RIFF",
        &[(8, b'A', b'Z'), (9, b'A', b'Z'), (10, b'A', b'Z')],
    ),
    magic(b"FORM\x00"),
    magic_at(0, b"\x1aE\xdf\xa3", &[(4, 0x80, 0xbf)]),
    magic_at(0, b"\x1aE\xdf\xa3", &[(4, 0x01, 0x01)]),
    magic_at(0, b"\x1f\x8b\x08", &[(3, 0, 0x1f), (8, 0, 4), (9, 0, 13)]),
    magic_at(
        0,
        b"BZh",
        &[(3, b'1', b'9'), (4, 0x31, 0x31), (5, 0x41, 0x41)],
    ),
    magic(b"\xfd7zXZ\x00"),
    magic(b"7z\xbc\xaf\x27\x1c"),
    magic(b"Rar!\x1a\x07"),
    magic_at(0, b"\x28\xb5\x2f\xfd", &[(4, 0, 0)]),
    magic_at(0, b"\x7fELF", &[(4, 1, 2), (5, 1, 2)]),
    magic(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    magic(b"SQLite format 3"),
    magic(b"II*\x00\x08\x00\x00\x00"),
    magic(b"MM\x00*\x00\x00\x00\x08"),
    magic_at(0, b"BM", &[(6, 0, 0), (7, 0, 0), (8, 0, 0), (9, 0, 0)]),
    magic(b"!<arch>\n"),
];

fn has_magic(head: &[u8]) -> bool {
    MAGIC.iter().any(|magic| {
        let at =
            |index: usize, low, high| head.get(index).is_some_and(|b| (low..=high).contains(b));
        head.get(magic.at..)
            .is_some_and(|rest| rest.starts_with(magic.bytes))
            && magic
                .ranges
                .iter()
                .all(|&(index, low, high)| at(index, low, high))
    })
}

#[cfg(test)]
mod tests;
