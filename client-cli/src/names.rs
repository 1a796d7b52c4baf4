//! Naming a room, a person or a thing without typing its id.

/// What can be named: an id, how it is shown in a list, and the other names it goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<T> {
    /// What the name stands for.
    pub thing: T,
    /// Its exact id.
    pub id: String,
    /// How it is shown when several fit.
    pub label: String,
    /// Names that it also goes by.
    pub aliases: Vec<String>,
}

/// A name that does not lead to exactly one thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing goes by that name.
    #[error("there is no {what} “{name}”{}", choice(.known))]
    Unknown {
        /// What was looked for, such as “room”.
        what: &'static str,
        /// The name as given.
        name: String,
        /// What there is instead.
        known: Vec<String>,
    },
    /// Several go by that name.
    #[error("“{name}” fits more than one {what}: {}; name it more exactly", .fitting.join(", "))]
    Ambiguous {
        /// What was looked for, such as “room”.
        what: &'static str,
        /// The name as given.
        name: String,
        /// All that fit.
        fitting: Vec<String>,
    },
}

/// Most names that an error lists.
const MAX_LISTED: usize = 10;

/// Finds the one thing that `name` stands for: its id, else one of its other names, else a unique
/// prefix of any of them. Capital and small letters are the same except in ids.
///
/// # Errors
///
/// [`NameError`] if nothing or more than one thing fits, with what does.
pub fn resolve<'a, T>(
    what: &'static str,
    name: &str,
    all: &'a [Named<T>],
) -> Result<&'a Named<T>, NameError> {
    let name = name.trim();
    if let Some(exact) = all.iter().find(|named| named.id == name) {
        return Ok(exact);
    }
    let folded = name.to_lowercase();
    let called: Vec<_> = all
        .iter()
        .filter(|n| n.names().any(|alias| alias == folded))
        .collect();
    let fitting = if called.is_empty() && !folded.is_empty() {
        all.iter()
            .filter(|n| n.names().any(|alias| alias.starts_with(&folded)))
            .collect()
    } else {
        called
    };
    match fitting.as_slice() {
        [one] => Ok(one),
        [] => Err(NameError::Unknown {
            what,
            name: name.to_owned(),
            known: labels(all.iter()),
        }),
        many => {
            let fitting = labels(many.iter().copied());
            Err(NameError::Ambiguous {
                what,
                name: name.to_owned(),
                fitting,
            })
        }
    }
}

impl<T> Named<T> {
    fn names(&self) -> impl Iterator<Item = String> {
        self.aliases
            .iter()
            .chain([&self.id])
            .map(|name| name.to_lowercase())
    }
}

fn labels<'a, T: 'a>(all: impl Iterator<Item = &'a Named<T>>) -> Vec<String> {
    let mut labels: Vec<_> = all.map(|named| named.label.clone()).collect();
    let more = labels.len().saturating_sub(MAX_LISTED);
    labels.truncate(MAX_LISTED);
    if more > 0 {
        labels.push(format!("and {more} more"));
    }
    labels
}

fn choice(known: &[String]) -> String {
    if known.is_empty() {
        String::new()
    } else {
        format!("; there is: {}", known.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(id: &str, aliases: &[&str]) -> Named<u8> {
        let label = format!("{} ({id})", aliases.first().unwrap_or(&"?"));
        let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        Named {
            thing: 0,
            id: id.to_owned(),
            label,
            aliases,
        }
    }

    fn practice() -> Vec<Named<u8>> {
        vec![
            room("!aaa", &["Night Heron", "heron", "@heron:clinic"]),
            room("!aab", &["Night Owl", "owl", "@owl:clinic"]),
            room("!bbb", &["Owlet", "owlet", "@owlet:clinic"]),
        ]
    }

    fn found(name: &str) -> Result<String, NameError> {
        resolve("room", name, &practice()).map(|named| named.id.clone())
    }

    #[test]
    fn a_client_is_named_by_pseudonym_account_or_room() {
        for name in [
            "Night Heron",
            "night heron",
            "HERON",
            "@heron:clinic",
            "!aaa",
            " her ",
        ] {
            assert_eq!(found(name).as_deref(), Ok("!aaa"), "{name}");
        }
    }

    #[test]
    fn a_whole_name_wins_over_a_longer_one_that_starts_with_it() {
        assert_eq!(found("owl").as_deref(), Ok("!aab"));
        assert_eq!(found("owle").as_deref(), Ok("!bbb"));
    }

    #[test]
    fn an_ambiguous_name_lists_who_is_meant() {
        let error = found("night").unwrap_err().to_string();
        assert!(
            error.contains("Night Heron (!aaa)") && error.contains("Night Owl (!aab)"),
            "{error}"
        );
        assert!(!error.contains("Owlet"), "{error}");
    }

    #[test]
    fn an_unknown_or_empty_name_says_what_there_is() {
        assert!(found("ghost").unwrap_err().to_string().contains("Owlet"));
        assert!(found("").is_err());
        let none: &[Named<u8>] = &[];
        let error = resolve("room", "ghost", none).unwrap_err();
        assert_eq!(error.to_string(), "there is no room “ghost”");
    }

    #[test]
    fn room_ids_that_differ_in_case_are_different_rooms() {
        let rooms = [room("!Ab", &[]), room("!aB", &[])];
        assert_eq!(resolve("room", "!aB", &rooms).unwrap().id, "!aB");
        assert!(resolve("room", "!AB", &rooms).is_err());
    }
}
