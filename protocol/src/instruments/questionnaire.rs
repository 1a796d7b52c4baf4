use serde::{Deserialize, Serialize};

use super::{
    Answers, Date, Decimal, MAX_ANSWER_CHARS, Scale, Score, Urgent, Value,
    fhir::{self, Coding},
};

/// A questionnaire. In JSON it is a FHIR R4 `Questionnaire`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "fhir::Questionnaire", into = "fhir::Questionnaire")]
pub struct Questionnaire {
    /// Its name on the command line: 1 to 64 characters of `A-Z a-z 0-9 - .`
    pub id: String,
    /// Its name in the whole world.
    pub url: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its name for people.
    pub title: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whose it is, and under which terms.
    pub copyright: Option<String>,
    /// What it is called in code systems.
    pub codes: Vec<Coding>,
    /// What it asks.
    pub items: Vec<Item>,
    /// What the answers add up to.
    pub scores: Vec<Score>,
}

/// A question, a text between questions, or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name in the questionnaire.
    pub link_id: String,
    /// What it says.
    pub text: String,
    /// What it is called in code systems.
    pub codes: Vec<Coding>,
    /// What it is.
    pub kind: Kind,
    /// Whether the questionnaire is complete only with it.
    pub required: bool,
    /// When it is asked, if not always.
    pub when: Option<When>,
    /// Answers that the person should not be left alone with.
    pub urgent: Option<Urgent>,
    /// What is inside it: asked when it is, and has an answer if it is a question.
    pub items: Vec<Item>,
}

/// What an item is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A group of items.
    Group,
    /// A text.
    Display,
    /// One of several answers.
    Choice(Vec<Choice>),
    /// A whole number.
    Integer {
        /// The smallest.
        min: Option<i64>,
        /// The largest.
        max: Option<i64>,
    },
    /// A number.
    Decimal {
        /// The smallest.
        min: Option<Decimal>,
        /// The largest.
        max: Option<Decimal>,
    },
    /// A whole number between two ends.
    Scale(Scale),
    /// A line of text.
    Line,
    /// A text.
    Text,
    /// A day.
    Date,
    /// Yes or no.
    Boolean,
}

/// An answer that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The answer: a code, a whole number or a text.
    pub value: Value,
    /// What it counts for.
    pub weight: Option<Decimal>,
}

/// When an item is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// Any of the conditions is enough.
    pub any: bool,
    /// The conditions.
    pub conditions: Vec<Condition>,
}

/// A condition on the answer to an earlier question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The question.
    pub question: String,
    /// How its answer compares.
    pub comparison: Comparison,
}

/// How an answer compares with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// There is one, or there is none.
    Exists(bool),
    /// It is this one.
    Is(Value),
    /// It is not this one; also if there is none.
    IsNot(Value),
    /// It is larger.
    Above(Value),
    /// It is smaller.
    Below(Value),
    /// It is as large, or larger.
    AtLeast(Value),
    /// It is as small, or smaller.
    AtMost(Value),
}

impl Kind {
    /// Whether it is answered.
    pub const fn is_question(&self) -> bool {
        !matches!(self, Self::Group | Self::Display)
    }

    /// Whether `value` is an answer.
    pub fn takes(&self, value: &Value) -> bool {
        let within = |number: i64, min: &Option<i64>, max: &Option<i64>| {
            min.is_none_or(|min| min <= number) && max.is_none_or(|max| number <= max)
        };
        match (self, value) {
            (Self::Choice(choices), value) => choices.iter().any(|c| c.value.is_same(value)),
            (Self::Integer { min, max }, Value::Integer(number)) => within(*number, min, max),
            (Self::Decimal { min, max }, Value::Decimal(number)) => {
                min.is_none_or(|min| min <= *number) && max.is_none_or(|max| *number <= max)
            }
            (Self::Scale(scale), Value::Integer(number)) => scale.contains(*number),
            (Self::Line | Self::Text, Value::Text(text)) => {
                !text.trim().is_empty() && text.chars().count() <= MAX_ANSWER_CHARS
            }
            (Self::Date, Value::Date(_)) | (Self::Boolean, Value::Boolean(_)) => true,
            _ => false,
        }
    }
}

impl Choice {
    /// A choice of LOINC's, with what it counts for.
    pub fn loinc(code: &str, display: &str, weight: Decimal) -> Self {
        Self {
            value: Value::Coding(coding(code, display)),
            weight: Some(weight),
        }
    }

    /// What people read.
    pub fn label(&self) -> String {
        self.value.shown()
    }
}

/// A code of LOINC's.
pub(super) fn coding(code: &str, display: &str) -> Coding {
    Coding {
        system: Some(fhir::LOINC.to_owned()),
        code: Some(code.to_owned()),
        display: Some(display.to_owned()),
    }
}

impl Item {
    /// An item of this kind that is always there.
    pub fn new(link_id: impl Into<String>, text: impl Into<String>, kind: Kind) -> Self {
        Self {
            link_id: link_id.into(),
            text: text.into(),
            codes: Vec::new(),
            kind,
            required: false,
            when: None,
            urgent: None,
            items: Vec::new(),
        }
    }

    /// What an answer counts for: the weight of a choice, a number itself, 1 for yes and 0 for no.
    pub fn weight(&self, value: &Value) -> Option<Decimal> {
        match (&self.kind, value) {
            (Kind::Choice(choices), value) => {
                choices.iter().find(|c| c.value.is_same(value))?.weight
            }
            (_, Value::Integer(number)) => Decimal::whole(*number),
            (_, Value::Decimal(number)) => Some(*number),
            (_, Value::Boolean(yes)) => Decimal::whole(i64::from(*yes)),
            _ => None,
        }
    }
}

impl Questionnaire {
    /// What tells it from others: its url, or else its id.
    pub fn key(&self) -> &str {
        self.url.as_deref().unwrap_or(&self.id)
    }

    /// Its items, each before what is inside it.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        let mut open: Vec<&Item> = self.items.iter().rev().collect();
        std::iter::from_fn(move || {
            let item = open.pop()?;
            open.extend(item.items.iter().rev());
            Some(item)
        })
    }

    /// Its questions, in order, whether they are asked or not.
    pub fn questions(&self) -> impl Iterator<Item = &Item> {
        self.items().filter(|item| item.kind.is_question())
    }

    /// The question with this link id.
    pub fn question(&self, link_id: &str) -> Option<&Item> {
        self.questions().find(|item| item.link_id == link_id)
    }

    /// The one question that it is, if it is one.
    pub fn only_question(&self) -> Option<&Item> {
        let mut questions = self.questions();
        questions.next().filter(|_| questions.next().is_none())
    }

    /// The items that are asked or shown, in order, after these answers.
    pub fn asked(&self, answers: &Answers) -> Vec<&Item> {
        fn walk<'a>(items: &'a [Item], answers: &Answers, into: &mut Vec<&'a Item>) {
            for item in items {
                if !item.when.as_ref().is_none_or(|when| when.holds(answers)) {
                    continue;
                }
                into.push(item);
                if !item.kind.is_question() || answers.get(&item.link_id).is_some() {
                    walk(&item.items, answers, into);
                }
            }
        }
        let mut asked = Vec::new();
        walk(&self.items, answers, &mut asked);
        asked
    }
}

impl When {
    /// Whether the item is asked after these answers.
    pub fn holds(&self, answers: &Answers) -> bool {
        let mut holds = self
            .conditions
            .iter()
            .map(|condition| condition.comparison.holds(answers.get(&condition.question)));
        if self.any {
            holds.any(|holds| holds)
        } else {
            holds.all(|holds| holds)
        }
    }
}

impl Comparison {
    fn holds(&self, answer: Option<&Value>) -> bool {
        let compared = |with: &Value| answer.and_then(|answer| answer.compared(with));
        match self {
            Self::Exists(exists) => answer.is_some() == *exists,
            Self::Is(with) => answer.is_some_and(|answer| answer.is_same(with)),
            Self::IsNot(with) => !answer.is_some_and(|answer| answer.is_same(with)),
            Self::Above(with) => compared(with).is_some_and(|order| order.is_gt()),
            Self::Below(with) => compared(with).is_some_and(|order| order.is_lt()),
            Self::AtLeast(with) => compared(with).is_some_and(|order| order.is_ge()),
            Self::AtMost(with) => compared(with).is_some_and(|order| order.is_le()),
        }
    }
}

impl From<Date> for Value {
    fn from(date: Date) -> Self {
        Self::Date(date)
    }
}

impl Item {
    /// Whether answers count for something.
    pub(super) fn counts(&self) -> bool {
        match &self.kind {
            Kind::Choice(choices) => choices.iter().all(|choice| choice.weight.is_some()),
            Kind::Integer { .. } | Kind::Decimal { .. } | Kind::Scale(_) | Kind::Boolean => true,
            _ => false,
        }
    }

    /// The least and the most that an answer counts for.
    pub(super) fn weights(&self) -> Option<(Decimal, Decimal)> {
        match &self.kind {
            Kind::Choice(choices) => {
                let weights: Vec<_> = choices.iter().filter_map(|choice| choice.weight).collect();
                Some((*weights.iter().min()?, *weights.iter().max()?))
            }
            Kind::Integer { min, max } => {
                Some((Decimal::whole((*min)?)?, Decimal::whole((*max)?)?))
            }
            Kind::Decimal { min, max } => Some(((*min)?, (*max)?)),
            Kind::Scale(scale) => Some((Decimal::whole(scale.low)?, Decimal::whole(scale.high)?)),
            Kind::Boolean => Some((Decimal::ZERO, Decimal::whole(1)?)),
            _ => None,
        }
    }
}
