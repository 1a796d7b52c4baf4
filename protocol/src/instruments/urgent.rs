use super::{Answers, Decimal, Item, Kind, Questionnaire, Value};

/// Answers that the person should not be left alone with: they see their safety plan at once, and
/// the therapist's inbox has it on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Urgent {
    /// What the answer counts for is at least this.
    pub at_least: Option<Decimal>,
    /// What the answer counts for is at most this.
    pub at_most: Option<Decimal>,
}

impl Urgent {
    /// Answers that count for at least `number`.
    pub const fn from(number: Decimal) -> Self {
        Self {
            at_least: Some(number),
            at_most: None,
        }
    }

    /// Whether this answer is one of them.
    pub fn holds(&self, item: &Item, value: &Value) -> bool {
        item.weight(value).is_some_and(|weight| {
            self.at_least.is_some_and(|least| weight >= least)
                || self.at_most.is_some_and(|most| weight <= most)
        })
    }

    /// Whether questions of this kind can have such a rule.
    pub(super) fn fits(&self, kind: &Kind) -> bool {
        let counts = match kind {
            Kind::Choice(choices) => choices.iter().any(|choice| choice.weight.is_some()),
            Kind::Integer { .. } | Kind::Decimal { .. } | Kind::Scale(_) | Kind::Boolean => true,
            _ => false,
        };
        counts && (self.at_least.is_some() || self.at_most.is_some())
    }
}

impl Questionnaire {
    /// Whether one of these answers is urgent.
    pub fn is_urgent(&self, answers: &Answers) -> bool {
        self.questions().any(|item| {
            let answer = answers.get(&item.link_id);
            match (&item.urgent, answer) {
                (Some(urgent), Some(answer)) => urgent.holds(item, answer),
                _ => false,
            }
        })
    }
}
