//! Canaries: random markers that a person puts into a field, and the search for them in what the server has written.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose};

/// A marker, and every form in which a careless server could have kept it.
pub struct Canary {
    text: String,
}

impl Canary {
    /// A new marker. It is a word, so that no field can refuse it for its form alone.
    pub fn new() -> Self {
        let number: u128 = rand::random();
        let word: String = (0..24)
            .map(|i| char::from(b'a' + ((number >> (i * 5)) as u8 % 26)))
            .collect();
        Self { text: word }
    }

    /// The marker.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the marker stands in these bytes: as text in any case, as UTF-16, hexadecimal or base64 at any alignment,
    /// or as the bytes for which it would stand if it were base64.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        let lower = bytes.to_ascii_lowercase();
        self.forms()
            .iter()
            .any(|(form, fold)| contains(if *fold { &lower } else { bytes }, form))
    }

    /// The files below `directory` that hold the marker.
    pub fn search(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut open = vec![directory.to_owned()];
        while let Some(path) = open.pop() {
            let kind = fs::symlink_metadata(&path)?.file_type();
            if kind.is_dir() {
                for entry in fs::read_dir(&path)? {
                    open.push(entry?.path());
                }
            } else if kind.is_file()
                && (self.is_in(&fs::read(&path)?)
                    || self.is_in(path.as_os_str().as_encoded_bytes()))
            {
                found.push(path);
            }
        }
        Ok(found)
    }

    fn forms(&self) -> Vec<(Vec<u8>, bool)> {
        let text = self.text.as_bytes();
        let mut forms = vec![
            (text.to_vec(), true),
            (text.iter().flat_map(|byte| [*byte, 0]).collect(), true),
            (
                text.iter()
                    .flat_map(|byte| format!("{byte:02x}").into_bytes())
                    .collect(),
                true,
            ),
        ];
        for skipped in 0..3 {
            // The part of a base64 text that does not depend on what stands before and after the marker.
            let aligned = text.get(skipped..).unwrap_or_default();
            let aligned = aligned.get(..aligned.len() / 3 * 3).unwrap_or_default();
            for engine in [
                &general_purpose::STANDARD_NO_PAD,
                &general_purpose::URL_SAFE_NO_PAD,
            ] {
                forms.push((engine.encode(aligned).into_bytes(), false));
            }
        }
        // The store packs base64, and takes any long word for it.
        for skipped in 0..4 {
            let aligned = text.get(skipped..).unwrap_or_default();
            let aligned = aligned.get(..aligned.len() / 4 * 4).unwrap_or_default();
            let packed = general_purpose::STANDARD_NO_PAD.decode(aligned);
            forms.extend(packed.map(|bytes| (bytes, false)));
        }
        forms
    }
}

impl Default for Canary {
    fn default() -> Self {
        Self::new()
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_in_every_form() {
        let canary = Canary::new();
        let text = canary.text().to_owned();
        for before in ["", "a", "ab"] {
            let wrapped = format!("{before}{text} after");
            assert!(canary.is_in(wrapped.as_bytes()));
            assert!(canary.is_in(wrapped.to_uppercase().as_bytes()));
            assert!(
                canary.is_in(general_purpose::STANDARD.encode(&wrapped).as_bytes()),
                "after {before:?}"
            );
            let packed = general_purpose::STANDARD_NO_PAD
                .decode(format!("{before}{text}abcd").get(..24).unwrap())
                .unwrap();
            assert!(canary.is_in(&packed), "packed after {before:?}");
            assert!(
                canary.is_in(
                    &wrapped
                        .encode_utf16()
                        .flat_map(u16::to_le_bytes)
                        .collect::<Vec<_>>()
                )
            );
        }
        assert!(!canary.is_in(Canary::new().text().as_bytes()));
    }
}
