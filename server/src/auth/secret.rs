//! Text that must not be seen: passwords, tokens, codes.

use std::fmt;

use zeroize::Zeroizing;

/// Text that is wiped from memory when it is dropped and never printed by accident.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The text as an answer's field.
    pub fn into_answer(self) -> String {
        self.0.as_str().to_owned()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::from("correct horse".to_owned());
        assert!(!format!("{secret:?}").contains("horse"));
        assert_eq!(secret.expose(), "correct horse");
    }
}
