//! Text whose longer pieces of base64 are kept as the bits that they stand for: three quarters of their length. Most of an
//! encrypted event is such text. What was written is read back letter by letter, whatever it is.
//!
//! For `#[serde(with = …)]` on fields of a stored value: [`text`] for the standard alphabet, [`event_id`] and
//! [`event_ids`] for the one that is safe in URLs.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Shorter pieces are kept as they are.
const SHORTEST: usize = 16;

/// How many bits a letter stands for.
const BITS: usize = 6;

/// Base64's letters: those that all alphabets share, and the last two.
#[derive(Clone, Copy)]
struct Alphabet([u8; 2]);

const STANDARD: Alphabet = Alphabet(*b"+/");
const URL_SAFE: Alphabet = Alphabet(*b"-_");

impl Alphabet {
    fn bits(self, letter: u8) -> Option<u8> {
        let Self([next_to_last, last]) = self;
        match letter {
            b'A'..=b'Z' => Some(letter - b'A'),
            b'a'..=b'z' => Some(letter - b'a' + 26),
            b'0'..=b'9' => Some(letter - b'0' + 52),
            _ if letter == next_to_last => Some(62),
            _ if letter == last => Some(63),
            _ => None,
        }
    }

    fn letter(self, bits: u8) -> u8 {
        let Self([next_to_last, last]) = self;
        match bits {
            0..=25 => bits + b'A',
            26..=51 => bits - 26 + b'a',
            52..=61 => bits - 52 + b'0',
            62 => next_to_last,
            _ => last,
        }
    }

    /// How many bytes follow as they are, those; how many letters follow packed, those; and again.
    fn pack(self, text: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut plain = Vec::new();
        let is_base64 = |byte: &u8| self.bits(*byte).is_some();
        for piece in text
            .as_bytes()
            .chunk_by(|one, next| is_base64(one) == is_base64(next))
        {
            if piece.len() < SHORTEST || !piece.iter().all(is_base64) {
                plain.extend_from_slice(piece);
                continue;
            }
            write_count(plain.len(), &mut out);
            out.append(&mut plain);
            write_count(piece.len(), &mut out);
            let bits = piece.iter().filter_map(|letter| self.bits(*letter));
            repack(bits, BITS, 8, &mut |byte| out.push(byte));
        }
        if !plain.is_empty() {
            write_count(plain.len(), &mut out);
            out.append(&mut plain);
        }
        out
    }

    fn unpack(self, mut input: &[u8]) -> Option<String> {
        let mut text = Vec::with_capacity(input.len() * 4 / 3);
        while !input.is_empty() {
            let plain = take_count(&mut input)?;
            text.extend_from_slice(take(&mut input, plain)?);
            if input.is_empty() {
                break;
            }
            let letters = take_count(&mut input)?;
            let bytes = take(&mut input, letters.checked_mul(BITS)?.div_ceil(8))?;
            let end = text.len() + letters;
            repack(bytes.iter().copied(), 8, BITS, &mut |bits| {
                text.push(self.letter(bits));
            });
            // The bits that fill the last byte are no letter.
            text.truncate(end);
        }
        String::from_utf8(text).ok()
    }
}

/// Units of `from` bits become units of `to` bits; the last one is filled up with zeroes.
fn repack(units: impl Iterator<Item = u8>, from: usize, to: usize, give: &mut dyn FnMut(u8)) {
    let (mut held, mut count) = (0_u32, 0);
    let mut give_top = |held: u32, spare: usize| give(((held >> spare) & ((1 << to) - 1)) as u8);
    for unit in units {
        held = (held << from) | u32::from(unit);
        count += from;
        while count >= to {
            count -= to;
            give_top(held, count);
        }
    }
    if count > 0 {
        give_top(held << (to - count), 0);
    }
}

fn write_count(mut count: usize, out: &mut Vec<u8>) {
    while count >= 0x80 {
        out.push((count & 0x7f) as u8 | 0x80);
        count >>= 7;
    }
    out.push(count as u8);
}

fn take_count(input: &mut &[u8]) -> Option<usize> {
    let mut count = 0;
    for shift in (0..28).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        count |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(count);
        }
    }
    None
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(count)?;
    *input = rest;
    Some(taken)
}

fn read<'de, D: Deserializer<'de>>(alphabet: Alphabet, from: D) -> Result<String, D::Error> {
    let packed = Vec::<u8>::deserialize(from)?;
    let text = alphabet.unpack(&packed);
    text.ok_or_else(|| D::Error::custom("packed text that makes no sense"))
}

/// Text with pieces of base64 in the standard alphabet.
pub mod text {
    use super::{Deserializer, STANDARD, Serialize, Serializer, read};

    /// Packs it.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
        STANDARD.pack(text).serialize(to)
    }

    /// Unpacks it.
    ///
    /// # Errors
    /// It is not what was packed.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        read(STANDARD, from)
    }
}

/// The id of an event, most of which is a hash in base64.
pub mod event_id {
    use ruma::{EventId, OwnedEventId};

    use super::{Deserializer, Error, Serialize, Serializer, URL_SAFE, read};

    /// Packs it.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(id: &EventId, to: S) -> Result<S::Ok, S::Error> {
        URL_SAFE.pack(id.as_str()).serialize(to)
    }

    /// Unpacks it.
    ///
    /// # Errors
    /// It is not what was packed.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<OwnedEventId, D::Error> {
        let text = read(URL_SAFE, from)?;
        text.try_into().map_err(D::Error::custom)
    }
}

/// Several ids of events.
pub mod event_ids {
    use ruma::OwnedEventId;

    use super::{Deserialize, Deserializer, Serialize, Serializer, event_id};

    #[derive(Serialize, Deserialize)]
    struct Packed(#[serde(with = "event_id")] OwnedEventId);

    /// Packs them.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(ids: &[OwnedEventId], to: S) -> Result<S::Ok, S::Error> {
        let packed: Vec<Packed> = ids.iter().cloned().map(Packed).collect();
        packed.serialize(to)
    }

    /// Unpacks them.
    ///
    /// # Errors
    /// They are not what was packed.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<OwnedEventId>, D::Error> {
        let packed = Vec::<Packed>::deserialize(from)?;
        Ok(packed.into_iter().map(|Packed(id)| id).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Words, base64 of all lengths, and what is neither.
    fn written() -> impl Strategy<Value = String> {
        let piece = prop_oneof!["[A-Za-z0-9+/]{0,70}", "[A-Za-z0-9_-]{0,70}", ".{0,20}"];
        prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(text in written()) {
            for alphabet in [STANDARD, URL_SAFE] {
                prop_assert_eq!(alphabet.unpack(&alphabet.pack(&text)), Some(text.clone()));
            }
        }

        #[test]
        fn bytes_that_nobody_packed_are_read_or_refused(input in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = STANDARD.unpack(&input);
        }
    }

    #[test]
    fn base64_takes_three_quarters() {
        let text = "QUJDREVGR0hJSktMTU5P".repeat(20);
        assert_eq!(STANDARD.pack(&text).len(), 1 + 2 + 300);
    }

    #[test]
    fn text_that_is_cut_off_is_refused() {
        let packed = STANDARD.pack(&format!("\"{}\"", "QUJD".repeat(9)));
        for length in 3..packed.len() - 2 {
            assert_eq!(STANDARD.unpack(&packed[..length]), None, "{length} bytes");
        }
    }
}
