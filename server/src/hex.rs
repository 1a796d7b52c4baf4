//! Bytes as hexadecimal letters.

use std::fmt::Write;

/// Two small letters for each byte.
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// As many bytes as the letters say; `None` if they are more, fewer or no such letters.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|letter| letter.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_what_is_no_hexadecimal_is_refused() {
        assert_eq!(encode(&[0, 0x0a, 0xff]), "000aff");
        assert_eq!(decode("000aff"), Some([0, 0x0a, 0xff]));
        for text in ["", "000af", "000aff00", "+0+a+f", "000agg", "0000äß"] {
            assert_eq!(decode::<3>(text), None, "{text}");
        }
    }
}
