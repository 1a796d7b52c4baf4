//! Members of whom a device was told because they wrote something, so that it need not be told again. They are in the token,
//! so that every server knows them, an answer that was lost changes nothing, and nothing is written for them.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

/// How many members a token names. Those before are told of again.
pub const MAX_KNOWN: usize = 128;

/// What stands for the member events that a device has; the one that was needed last is the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known(Vec<u32>);

impl Known {
    /// Whether a member event was told; if so, it is remembered as needed last.
    pub fn meets(&mut self, member: u32) -> bool {
        let known = self.0.contains(&member);
        if known {
            self.add(member);
        }
        known
    }

    /// Notes that a member event is told.
    pub fn add(&mut self, member: u32) {
        self.0.retain(|one| *one != member);
        self.0.push(member);
        let beyond = self.0.len().saturating_sub(MAX_KNOWN);
        self.0.drain(..beyond);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn write(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().flat_map(|one| one.to_be_bytes()).collect();
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (members, rest) = bytes.as_chunks();
        let members = members.iter().map(|one| u32::from_be_bytes(*one));
        rest.is_empty().then(|| Self(members.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_needed_long_ago_is_forgotten_first() {
        let mut known = Known::default();
        for member in 0..200 {
            known.add(member);
            assert!(known.meets(0));
        }
        assert_eq!(known.0.len(), MAX_KNOWN);
        assert!(!known.meets(1) && known.meets(199));
        assert_eq!(Known::read(&known.write()), Some(known));
    }

    #[test]
    fn half_a_member_is_none() {
        assert_eq!(Known::read("AAA"), None);
        assert_eq!(Known::read("?"), None);
    }
}
