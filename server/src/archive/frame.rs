//! What stands in the encrypted file of a backup: a first line, then frames, each with its length before it.

use std::io::{self, ErrorKind, Read};

use serde::{Deserialize, Serialize};

use crate::store::{
    engine::Pair,
    sums::{Hash, Sums},
};

/// The first line; the number is the version of what follows.
pub(super) const MAGIC: &[u8] = b"respite backup 1\n";
/// The largest frame: a page of entries.
const MAX_FRAME: usize = 256 << 20;

/// A piece of a backup. They come in this order: one head, entries in the order of their keys, blobs in the order of their
/// ids, one end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Frame {
    /// What this is.
    Head(Head),
    /// Entries of the store.
    Entries(Vec<Pair>),
    /// A blob that the store speaks of.
    Blob(BlobLine),
    /// What must have come by.
    End(Manifest),
}

/// What a backup is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// When it was begun, in milliseconds since 1970.
    pub(super) created: u64,
    /// The version of the program that made it.
    pub(super) program: String,
}

/// A blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BlobLine {
    pub(super) id: String,
    pub(super) found: Found,
}

/// What became of a blob when its turn came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Found {
    /// It is in this file of the backup's directory.
    Kept {
        /// Bytes of the blob.
        size: u64,
        /// The file, from the backup's directory on.
        file: String,
        /// The hash of that file as it is there.
        sealed: Hash,
    },
    /// It was deleted after the snapshot was taken.
    Gone,
    /// The server should have had it, and had it not, or not whole.
    Missing,
}

/// What must have come by at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) sums: Sums,
    pub(super) blobs: Tally,
}

/// Blobs, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) kept: u64,
    pub(super) bytes: u64,
    pub(super) gone: u64,
    pub(super) missing: u64,
}

impl Tally {
    pub(super) fn add(&mut self, found: &Found) {
        match found {
            Found::Kept { size, .. } => {
                self.kept += 1;
                self.bytes += size;
            }
            Found::Gone => self.gone += 1,
            Found::Missing => self.missing += 1,
        }
    }
}

impl Frame {
    /// The frame with its length before it.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let encoded = postcard::to_extend(self, vec![0; 4]).map_err(io::Error::other)?;
        let length = u32::try_from(encoded.len() - 4).map_err(io::Error::other)?;
        let mut encoded = encoded;
        if let Some(place) = encoded.first_chunk_mut() {
            *place = length.to_be_bytes();
        }
        Ok(encoded)
    }

    /// The next frame. Blocks.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
        if length > MAX_FRAME {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut bytes = Vec::new();
        let read = from.take(length as u64).read_to_end(&mut bytes)?;
        if read != length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        postcard::from_bytes(&bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back_and_a_cut_one_is_refused() {
        let frame = Frame::Entries(vec![(vec![0, 1], vec![7; 300]), (vec![0, 2], Vec::new())]);
        let bytes = frame.encode().unwrap();
        assert_eq!(Frame::read(&mut bytes.as_slice()).unwrap(), frame);
        for length in 0..bytes.len() {
            assert!(Frame::read(&mut &bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_length_beyond_all_measure_is_refused() {
        let mut huge: &[u8] = &[0xff; 64];
        let error = Frame::read(&mut huge).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
