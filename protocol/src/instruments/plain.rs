//! Questionnaires as text that any client shows, and what an answer looks like.

use super::{Answers, Choice, Decimal, Item, Kind, Questionnaire, Value, fhir::Coding};

impl Kind {
    /// What an answer looks like.
    pub fn hint(&self) -> String {
        let between = |min: Option<String>, max: Option<String>, what: &str| match (min, max) {
            (Some(min), Some(max)) => format!("{what} from {min} to {max}"),
            (Some(min), None) => format!("{what} from {min} on"),
            (None, Some(max)) => format!("{what} up to {max}"),
            (None, None) => what.to_owned(),
        };
        let text = |number: &Option<i64>| number.map(|number| number.to_string());
        let decimal = |number: &Option<Decimal>| number.map(|number| number.to_string());
        match self {
            Self::Choice(choices) => {
                let numbered = numbered(choices).into_iter();
                let shown =
                    numbered.map(|(number, choice)| format!("{number} = {}", choice.label()));
                shown.collect::<Vec<_>>().join(", ")
            }
            Self::Integer { min, max } => between(text(min), text(max), "a whole number"),
            Self::Decimal { min, max } => between(decimal(min), decimal(max), "a number"),
            Self::Scale(scale) => {
                format!(
                    "{} to {}",
                    scale.step_text(scale.low),
                    scale.step_text(scale.high)
                )
            }
            Self::Line => "a few words".to_owned(),
            Self::Text => "words".to_owned(),
            Self::Date => "a day like 2026-11-30".to_owned(),
            Self::Boolean => "yes or no".to_owned(),
            Self::Group | Self::Display => String::new(),
        }
    }

    /// The answer that a text stands for: a number, the number or the words of a choice, a day, yes
    /// or no, words.
    pub fn read(&self, text: &str) -> Option<Value> {
        let text = text.trim();
        let same = |words: &Option<String>| {
            words
                .as_ref()
                .is_some_and(|words| words.trim().eq_ignore_ascii_case(text))
        };
        let value = match self {
            Self::Choice(choices) => {
                let by_number = numbered(choices)
                    .into_iter()
                    .find(|(number, _)| number == text);
                let by_words = || {
                    choices.iter().find(|choice| match &choice.value {
                        Value::Coding(Coding { code, display, .. }) => same(code) || same(display),
                        other => same(&Some(other.shown())),
                    })
                };
                let choice = by_number.map(|(_, choice)| choice).or_else(by_words)?;
                choice.value.clone()
            }
            Self::Integer { .. } | Self::Scale(_) => Value::Integer(whole(text)?),
            Self::Decimal { .. } => Value::Decimal(text.parse().ok()?),
            Self::Line | Self::Text => Value::Text(text.to_owned()),
            Self::Date => Value::Date(text.parse().ok()?),
            Self::Boolean => Value::Boolean(match text.to_lowercase().as_str() {
                "yes" | "y" | "1" | "true" => true,
                "no" | "n" | "0" | "false" => false,
                _ => return None,
            }),
            Self::Group | Self::Display => return None,
        };
        self.takes(&value).then_some(value)
    }

    /// The answers as people tap them: the number that stands for each, and what it says. Nothing
    /// if there are more than `most`, or they are not of a kind that has few.
    pub fn taps(&self, most: usize) -> Option<Vec<(String, String)>> {
        let taps: Vec<_> = match self {
            Self::Choice(choices) => numbered(choices)
                .into_iter()
                .map(|(number, choice)| {
                    let label = choice.label();
                    let text = if label == number {
                        label
                    } else {
                        format!("{number} ({label})")
                    };
                    (number, text)
                })
                .collect(),
            Self::Scale(scale) => (scale.low..=scale.high)
                .map(|step| (step.to_string(), scale.step_text(step)))
                .collect(),
            _ => return None,
        };
        (taps.len() <= most).then_some(taps)
    }

    pub(super) const fn is_words(&self) -> bool {
        matches!(self, Self::Line | Self::Text)
    }
}

/// The number that people type for each choice: what it counts for, if that is a whole number and
/// tells the choices apart; else its place, from 1.
fn numbered(choices: &[Choice]) -> Vec<(String, &Choice)> {
    let weights: Vec<_> = choices
        .iter()
        .filter_map(|choice| choice.weight.and_then(Decimal::as_whole))
        .collect();
    let mut distinct = weights.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let by_weight = distinct.len() == choices.len();
    choices
        .iter()
        .enumerate()
        .map(|(place, choice)| {
            let weight = weights.get(place).filter(|_| by_weight);
            let number = weight.map_or_else(|| (place + 1).to_string(), ToString::to_string);
            (number, choice)
        })
        .collect()
}

/// A whole number as it is written plainly: no `+`, no `007`.
fn whole(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

impl Questionnaire {
    /// The questionnaire as text, with how to answer it in any client.
    pub fn as_text(&self) -> String {
        let questions: Vec<_> = self.questions().collect();
        if let [only] = questions.as_slice() {
            let words = if only.kind.is_words() {
                ""
            } else {
                ", and a few words if you like"
            };
            return format!("{}\nAnswer with {}{words}.", only.text, only.kind.hint());
        }
        let shared = shared_choices(&questions);
        let mut text = self.title.clone();
        let mut number = 0;
        for item in self.items() {
            if !item.kind.is_question() {
                text.push_str(&format!("\n{}", item.text));
                continue;
            }
            number += 1;
            text.push_str(&format!("\n{number}. {}", item.text));
            if shared.is_none() {
                text.push_str(&format!(" ({})", item.kind.hint()));
            }
            if item.when.is_some() {
                text.push_str(" (only if it applies)");
            }
        }
        match shared {
            Some(hint) => text.push_str(&format!(
                "\nFor each: {hint}.\nAnswer with {number} numbers in this order, like “{}”, and a few words \
                 if you like. A - leaves a question out.",
                vec!["1"; number].join(" ")
            )),
            None => text.push_str(
                "\nAnswer in this order, one answer on each line. A - leaves a question out.",
            ),
        }
        text
    }

    /// Answers as text: each question that has one, with its answer.
    pub fn answers_as_text(&self, answers: &Answers) -> String {
        let lines = self.asked(answers).into_iter().filter_map(|item| {
            let answer = answers.get(&item.link_id)?;
            let number = match &item.kind {
                Kind::Choice(choices) => numbered(choices)
                    .into_iter()
                    .find(|(_, choice)| choice.value.is_same(answer))
                    .map(|(number, choice)| (number, choice.label()))
                    .filter(|(number, label)| number != label)
                    .map(|(number, _)| format!("{number}, ")),
                _ => None,
            };
            let number = number.unwrap_or_default();
            Some(format!("{}: {number}{}", item.text, answer.shown()))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// How to answer, if all questions are asked always and have the same choices.
fn shared_choices(questions: &[&Item]) -> Option<String> {
    let first = questions.first()?;
    let same = questions
        .iter()
        .all(|item| item.kind == first.kind && item.when.is_none());
    matches!(first.kind, Kind::Choice(_))
        .then(|| first.kind.hint())
        .filter(|_| same)
}
