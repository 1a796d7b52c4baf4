use std::{cmp::Ordering, collections::BTreeMap};

use super::{
    Date, Decimal, Item, Kind, MAX_ANSWER_CHARS, Questionnaire, Response,
    fhir::{Coding, ResponseAnswer},
};
use crate::text::line;

/// An answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A choice that has a code.
    Coding(Coding),
    /// A whole number.
    Integer(i64),
    /// A number.
    Decimal(Decimal),
    /// A text.
    Text(String),
    /// A day.
    Date(Date),
    /// Yes or no.
    Boolean(bool),
}

/// Answers by the link id of their question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers(BTreeMap<String, Value>);

/// An answer that its question does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnswer {
    /// There is no such question.
    #[error("there is no question “{0}”")]
    NoQuestion(String),
    /// The question is not asked after the answers before.
    #[error("“{0}” is not asked after these answers")]
    NotAsked(String),
    /// The question takes other answers.
    #[error("that is no answer to “{0}”: {1}")]
    NotTaken(String, String),
    /// The question must be answered.
    #[error("“{0}” must be answered")]
    Missing(String),
    /// Nothing is answered.
    #[error("nothing is answered")]
    Nothing,
}

impl Value {
    /// What people read.
    pub fn shown(&self) -> String {
        match self {
            Self::Coding(Coding {
                display: Some(display),
                ..
            }) => display.clone(),
            Self::Coding(Coding { code, .. }) => code.clone().unwrap_or_default(),
            Self::Integer(number) => number.to_string(),
            Self::Decimal(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::Date(date) => date.to_string(),
            Self::Boolean(true) => "yes".to_owned(),
            Self::Boolean(false) => "no".to_owned(),
        }
    }

    /// Whether it is the same answer. Codes are the same if the code is, and the system where both
    /// name one.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Coding(one), Self::Coding(other)) => match (&one.code, &other.code) {
                (Some(code), Some(also)) => {
                    let systems = (one.system.as_ref(), other.system.as_ref());
                    code == also
                        && match systems {
                            (Some(system), Some(also)) => system == also,
                            _ => true,
                        }
                }
                _ => one.display.is_some() && one.display == other.display,
            },
            (Self::Integer(_) | Self::Decimal(_), Self::Integer(_) | Self::Decimal(_)) => {
                self.compared(other) == Some(Ordering::Equal)
            }
            _ => self == other,
        }
    }

    /// Which is larger, of two numbers or two days.
    pub fn compared(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Date(one), Self::Date(other)) => Some(one.cmp(other)),
            _ => Some(self.number()?.cmp(&other.number()?)),
        }
    }

    /// Whether questions of this kind have such answers.
    pub(super) fn is_of(&self, kind: &Kind) -> bool {
        match (self, kind) {
            (value, Kind::Choice(_)) => kind.takes(value),
            (Self::Integer(_), Kind::Integer { .. } | Kind::Scale(_) | Kind::Decimal { .. })
            | (Self::Decimal(_), Kind::Decimal { .. })
            | (Self::Text(_), Kind::Line | Kind::Text)
            | (Self::Date(_), Kind::Date)
            | (Self::Boolean(_), Kind::Boolean) => true,
            _ => false,
        }
    }

    fn number(&self) -> Option<Decimal> {
        match self {
            Self::Integer(number) => Decimal::whole(*number),
            Self::Decimal(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether it is in the limits of any answer.
    pub(super) fn is_in_limits(&self) -> bool {
        match self {
            Self::Coding(Coding {
                system,
                code,
                display,
            }) => {
                let parts = [system, code, display];
                (code.is_some() || display.is_some())
                    && parts.into_iter().flatten().all(|part| line(part).is_ok())
            }
            Self::Integer(number) => Decimal::whole(*number).is_some(),
            Self::Text(text) => !text.trim().is_empty() && text.chars().count() <= MAX_ANSWER_CHARS,
            _ => true,
        }
    }
}

impl From<Value> for ResponseAnswer {
    fn from(value: Value) -> Self {
        let mut answer = Self::default();
        match value {
            Value::Coding(coding) => answer.value_coding = Some(coding),
            Value::Integer(number) => answer.value_integer = Some(number),
            Value::Decimal(number) => answer.value_decimal = Some(number),
            Value::Text(text) => answer.value_string = Some(text),
            Value::Date(date) => answer.value_date = Some(date),
            Value::Boolean(yes) => answer.value_boolean = Some(yes),
        }
        answer
    }
}

impl ResponseAnswer {
    /// The answer in it, if there is one that we know.
    pub(super) fn value(&self) -> Option<Value> {
        let value = self.value_coding.clone().map(Value::Coding);
        let value = value.or_else(|| self.value_integer.map(Value::Integer));
        let value = value.or_else(|| self.value_decimal.map(Value::Decimal));
        let value = value.or_else(|| self.value_string.clone().map(Value::Text));
        let value = value.or_else(|| self.value_date.map(Value::Date));
        value.or_else(|| self.value_boolean.map(Value::Boolean))
    }
}

impl Answers {
    /// The answer to a question.
    pub fn get(&self, link_id: &str) -> Option<&Value> {
        self.0.get(link_id)
    }

    /// Answers a question, perhaps anew.
    pub fn set(&mut self, link_id: impl Into<String>, value: Value) {
        self.0.insert(link_id.into(), value);
    }

    /// Takes an answer back.
    pub fn remove(&mut self, link_id: &str) {
        self.0.remove(link_id);
    }

    /// Whether nothing is answered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The answers, by link id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0
            .iter()
            .map(|(link_id, value)| (link_id.as_str(), value))
    }
}

impl FromIterator<(String, Value)> for Answers {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(answers: I) -> Self {
        Self(answers.into_iter().collect())
    }
}

impl Questionnaire {
    /// Checks answers: each belongs to a question that is asked and takes it, and nothing that is
    /// required is missing.
    ///
    /// # Errors
    ///
    /// [`InvalidAnswer`] names the question.
    pub fn check(&self, answers: &Answers) -> Result<(), InvalidAnswer> {
        if answers.is_empty() {
            return Err(InvalidAnswer::Nothing);
        }
        let asked = self.asked(answers);
        for (link_id, value) in answers.iter() {
            let Some(question) = self.question(link_id) else {
                return Err(InvalidAnswer::NoQuestion(link_id.to_owned()));
            };
            if !asked.iter().any(|item| item.link_id == link_id) {
                return Err(InvalidAnswer::NotAsked(question.text.clone()));
            }
            if !question.kind.takes(value) {
                return Err(InvalidAnswer::NotTaken(
                    question.text.clone(),
                    question.kind.hint(),
                ));
            }
        }
        let missing = |item: &&&Item| {
            item.required && item.kind.is_question() && answers.get(&item.link_id).is_none()
        };
        match asked.iter().find(missing) {
            Some(item) => Err(InvalidAnswer::Missing(item.text.clone())),
            None => Ok(()),
        }
    }

    /// Those of the answers in a response that belong to a question which is asked and takes them.
    pub fn sift(&self, response: &Response) -> Answers {
        let mut answers: Answers = response
            .answered()
            .filter(|(link_id, value)| {
                self.question(link_id)
                    .is_some_and(|question| question.kind.takes(value))
            })
            .map(|(link_id, value)| (link_id.to_owned(), value.clone()))
            .collect();
        loop {
            let asked = self.asked(&answers);
            let before = answers.0.len();
            let kept: BTreeMap<_, _> = answers
                .iter()
                .filter(|(link_id, _)| asked.iter().any(|item| item.link_id == *link_id))
                .map(|(link_id, value)| (link_id.to_owned(), value.clone()))
                .collect();
            answers.0 = kept;
            // What was taken out may have been a condition of others.
            if answers.0.len() == before {
                return answers;
            }
        }
    }
}
