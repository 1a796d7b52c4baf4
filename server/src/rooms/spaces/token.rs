//! How far a client is in a space's tree: `h`, whether it wants suggested rooms only, how deep, and how many rooms it has.

use crate::error::{Error, Result};

/// A place in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) suggested_only: bool,
    pub(super) max_depth: Option<u64>,
    /// How many rooms the client has been told of.
    pub(super) told: usize,
}

impl Token {
    /// # Errors
    /// 400 `M_INVALID_PARAM` if it is none.
    pub(super) fn read(token: &str) -> Result<Self> {
        Self::parse(token)
            .ok_or_else(|| Error::invalid_param("That is not a token of this space's rooms."))
    }

    fn parse(token: &str) -> Option<Self> {
        let mut parts = token.strip_prefix('h')?.splitn(3, '_');
        let suggested_only = match parts.next()? {
            "a" => false,
            "s" => true,
            _ => return None,
        };
        let max_depth = match parts.next()? {
            "" => None,
            depth => Some(depth.parse().ok()?),
        };
        let told = parts.next()?.parse().ok()?;
        Some(Self {
            suggested_only,
            max_depth,
            told,
        })
    }

    pub(super) fn write(self) -> String {
        let kind = if self.suggested_only { 's' } else { 'a' };
        let depth = self.max_depth.map(|depth| depth.to_string());
        format!("h{kind}_{}_{}", depth.unwrap_or_default(), self.told)
    }

    /// This token, if it is for what is asked now.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM` if something else is asked than at the first page.
    pub(super) fn of_same_tree(self, asked: &Self) -> Result<Self> {
        if self.suggested_only == asked.suggested_only && self.max_depth == asked.max_depth {
            Ok(self)
        } else {
            Err(Error::invalid_param(
                "Ask for the same suggested_only and max_depth at every page.",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_nothing_else_is_one() {
        for max_depth in [None, Some(0), Some(7)] {
            for suggested_only in [false, true] {
                let token = Token {
                    suggested_only,
                    max_depth,
                    told: 12,
                };
                assert_eq!(Token::parse(&token.write()), Some(token));
            }
        }
        for token in ["", "h", "t12", "ha_", "hx__1", "ha_-1_1", "ha__", "ha__x"] {
            assert_eq!(Token::parse(token), None, "{token}");
        }
    }
}
