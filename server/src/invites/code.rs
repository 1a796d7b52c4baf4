//! Codes as people write them down: four groups of four letters, 80 random bits.

use crate::{
    auth::{Secret, TokenHash, hash_token},
    clock::Random,
};

const GROUPS: usize = 4;
const GROUP_LETTERS: usize = 4;
/// Longer input is no code.
const MAX_INPUT_BYTES: usize = 128;

/// A new code.
pub(super) fn random(random: &Random) -> Secret {
    let groups: Vec<String> = (0..GROUPS).map(|_| random.text(GROUP_LETTERS)).collect();
    Secret::from(groups.join("-"))
}

/// How a code is looked up, however it was typed: capitals, spaces and dashes make no difference, and the digits that
/// codes do not have are read as the letters that they look like. `None` if no code looks like this.
pub fn hash(typed: &str) -> Option<TokenHash> {
    if typed.len() > MAX_INPUT_BYTES {
        return None;
    }
    let letters: String = typed.chars().filter_map(letter).collect();
    (letters.len() == GROUPS * GROUP_LETTERS).then(|| hash_token(Secret::from(letters).expose()))
}

fn letter(typed: char) -> Option<char> {
    match typed.to_ascii_lowercase() {
        '0' => Some('o'),
        '1' | 'l' => Some('i'),
        other if other.is_ascii_alphanumeric() => Some(other),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{hash, random};
    use crate::clock::Random;

    /// A code as somebody in a hurry might type it.
    fn typed(code: &str, habits: &[u8]) -> String {
        let mut typed = String::new();
        for (letter, habit) in code.chars().zip(habits.iter().cycle()) {
            match habit % 4 {
                0 => typed.push(letter.to_ascii_uppercase()),
                1 => typed.extend([' ', letter]),
                2 => typed.extend([letter, '-']),
                _ if letter == '-' => typed.push(' '),
                _ if letter == 'o' => typed.push('0'),
                _ if letter == 'i' => typed.push('1'),
                _ => typed.push(letter),
            }
        }
        typed
    }

    proptest! {
        #[test]
        fn a_code_is_known_however_it_is_typed(
            seed in prop::array::uniform16(any::<u8>()),
            habits in prop::collection::vec(any::<u8>(), 1..32),
        ) {
            let next = std::sync::atomic::AtomicUsize::new(0);
            let source = Random::from_fn(move |bytes| {
                for byte in bytes {
                    let place = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    *byte = seed[place % seed.len()];
                }
            });
            let code = random(&source);
            let known = hash(code.expose());
            prop_assert!(known.is_some());
            prop_assert_eq!(hash(&typed(code.expose(), &habits)), known);
        }

        #[test]
        fn whatever_is_typed_does_no_harm(typed in ".*") {
            let _ = hash(&typed);
        }
    }

    #[test]
    fn another_code_is_another_code() {
        let random_source = Random::system();
        let (one, other) = (random(&random_source), random(&random_source));
        assert_ne!(hash(one.expose()), hash(other.expose()));
        assert_eq!(hash("abcd-efgh"), None, "half a code is none");
    }
}
