use std::collections::BTreeSet;

use super::{
    Comparison, Condition, InvalidScale, Item, Kind, MAX_CHOICES, MAX_CODES, MAX_CONDITIONS,
    MAX_DEPTH, MAX_ITEMS, Questionnaire, Score, fhir::Coding,
};
use crate::text::{InvalidText, line, text};

/// What is wrong with a questionnaire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuestionnaire {
    /// It is something else.
    #[error("this is no FHIR Questionnaire: its resourceType is “{0}”")]
    ResourceType(String),
    /// Its id cannot be one.
    #[error("a questionnaire's id has 1 to 64 letters, digits, hyphens or dots")]
    Id,
    /// A text is out of limits.
    #[error("{0}: {1}")]
    Text(String, InvalidText),
    /// It asks nothing.
    #[error("the questionnaire asks nothing")]
    Empty,
    /// There is too much of something.
    #[error("the questionnaire has too many {0}")]
    TooMany(&'static str),
    /// A link id is twice there.
    #[error("the link id “{0}” is there twice")]
    Twice(String),
    /// An item is of a kind that we do not have.
    #[error(
        "“{0}” is of the type “{1}”; understood are choice, integer, decimal, text, string, date, boolean, group and display"
    )]
    Kind(String, String),
    /// An item takes several answers.
    #[error("“{0}” takes several answers; only one is understood")]
    Repeats(String),
    /// A question has no answers to choose from.
    #[error("“{0}” has no answers to choose from, or one is there twice")]
    Choices(String),
    /// A scale or range is not one.
    #[error("“{0}”: {1}")]
    Scale(String, InvalidScale),
    /// A smallest number is larger than the largest.
    #[error("“{0}” has a smallest answer that is larger than the largest")]
    Range(String),
    /// A condition is not understood.
    #[error(
        "the condition (enableWhen) of “{0}” is not understood: it must compare the answer to an earlier question with one of the same type"
    )]
    Condition(String),
    /// A score is not understood.
    #[error("the score “{0}” is not understood: {1}")]
    Score(String, &'static str),
    /// A rule for urgent answers is not understood.
    #[error(
        "the rule for urgent answers of “{0}” is not understood: name a number that is at least or at most reached"
    )]
    Urgent(String),
}

impl Questionnaire {
    /// Checks all limits.
    ///
    /// # Errors
    ///
    /// [`InvalidQuestionnaire`] says what is wrong, and where.
    pub fn validate(&self) -> Result<(), InvalidQuestionnaire> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        if !(1..=64).contains(&self.id.len()) || !self.id.bytes().all(allowed) {
            return Err(InvalidQuestionnaire::Id);
        }
        let named = |what: &str, error| InvalidQuestionnaire::Text(what.to_owned(), error);
        line(&self.title).map_err(|error| named("title", error))?;
        for (what, given) in [("url", &self.url), ("version", &self.version)] {
            given
                .as_deref()
                .map_or(Ok(()), line)
                .map_err(|error| named(what, error))?;
        }
        for (what, given) in [
            ("description", &self.description),
            ("copyright", &self.copyright),
        ] {
            given
                .as_deref()
                .map_or(Ok(()), text)
                .map_err(|error| named(what, error))?;
        }
        codes(&self.codes, "code")?;
        let mut earlier = Vec::new();
        check_items(&self.items, 1, &mut earlier)?;
        if self.questions().next().is_none() {
            return Err(InvalidQuestionnaire::Empty);
        }
        Score::validate_all(self)
    }
}

impl Comparison {
    /// Whether answers of this kind can be compared so.
    fn fits(&self, kind: &Kind) -> bool {
        match (self, kind) {
            (Self::Exists(_), _) => true,
            (Self::Is(with) | Self::IsNot(with), kind) => with.is_of(kind),
            (
                Self::Above(with) | Self::Below(with) | Self::AtLeast(with) | Self::AtMost(with),
                Kind::Integer { .. } | Kind::Decimal { .. } | Kind::Scale(_) | Kind::Date,
            ) => with.is_of(kind),
            _ => false,
        }
    }
}

fn check_items<'a>(
    items: &'a [Item],
    depth: usize,
    earlier: &mut Vec<&'a Item>,
) -> Result<(), InvalidQuestionnaire> {
    if depth > MAX_DEPTH && !items.is_empty() {
        return Err(InvalidQuestionnaire::TooMany("levels"));
    }
    for item in items {
        item.check(earlier)?;
        earlier.push(item);
        if earlier.len() > MAX_ITEMS {
            return Err(InvalidQuestionnaire::TooMany("items"));
        }
        check_items(&item.items, depth + 1, earlier)?;
    }
    Ok(())
}

impl Item {
    fn check(&self, earlier: &[&Self]) -> Result<(), InvalidQuestionnaire> {
        let id = || self.link_id.clone();
        line(&self.link_id)
            .map_err(|error| InvalidQuestionnaire::Text("linkId".to_owned(), error))?;
        text(&self.text).map_err(|error| InvalidQuestionnaire::Text(id(), error))?;
        codes(&self.codes, &self.link_id)?;
        if earlier.iter().any(|other| other.link_id == self.link_id) {
            return Err(InvalidQuestionnaire::Twice(id()));
        }
        self.check_kind()?;
        if let Some(when) = &self.when {
            if when.conditions.is_empty() || when.conditions.len() > MAX_CONDITIONS {
                return Err(InvalidQuestionnaire::TooMany("conditions"));
            }
            for Condition {
                question,
                comparison,
            } in &when.conditions
            {
                let of = earlier.iter().find(|item| item.link_id == *question);
                if !of.is_some_and(|of| of.kind.is_question() && comparison.fits(&of.kind)) {
                    return Err(InvalidQuestionnaire::Condition(id()));
                }
            }
        }
        match &self.urgent {
            Some(urgent) if !urgent.fits(&self.kind) => Err(InvalidQuestionnaire::Urgent(id())),
            _ => Ok(()),
        }
    }

    fn check_kind(&self) -> Result<(), InvalidQuestionnaire> {
        let id = || self.link_id.clone();
        match &self.kind {
            Kind::Choice(choices) => {
                let mut labels = BTreeSet::new();
                for choice in choices {
                    let label = choice.label();
                    line(&label).map_err(|error| InvalidQuestionnaire::Text(id(), error))?;
                    labels.insert(label);
                }
                match choices.len() {
                    0 => Err(InvalidQuestionnaire::Choices(id())),
                    count if count > MAX_CHOICES => Err(InvalidQuestionnaire::TooMany("choices")),
                    count if labels.len() < count => Err(InvalidQuestionnaire::Choices(id())),
                    _ => Ok(()),
                }
            }
            Kind::Scale(scale) => scale
                .validate()
                .map_err(|error| InvalidQuestionnaire::Scale(id(), error)),
            Kind::Integer {
                min: Some(min),
                max: Some(max),
            } if min > max => Err(InvalidQuestionnaire::Range(id())),
            Kind::Decimal {
                min: Some(min),
                max: Some(max),
            } if min > max => Err(InvalidQuestionnaire::Range(id())),
            _ => Ok(()),
        }
    }
}

fn codes(codes: &[Coding], of: &str) -> Result<(), InvalidQuestionnaire> {
    if codes.len() > MAX_CODES {
        return Err(InvalidQuestionnaire::TooMany("codes"));
    }
    for Coding {
        system,
        code,
        display,
    } in codes
    {
        for part in [system, code, display].into_iter().flatten() {
            line(part).map_err(|error| InvalidQuestionnaire::Text(of.to_owned(), error))?;
        }
    }
    Ok(())
}
