use std::fmt;

use super::{
    Answers, Decimal, InvalidQuestionnaire, MAX_BANDS, MAX_SCORES, Questionnaire, fhir::Coding,
};
use crate::text::line;

/// What the answers to some questions add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    /// What it is called: `total`.
    pub name: String,
    /// What it is called in a code system.
    pub code: Option<Coding>,
    /// The link ids of the questions that count.
    pub questions: Vec<String>,
    /// What happens to unanswered ones.
    pub missing: Missing,
    /// What it means.
    pub bands: Vec<Band>,
    /// From which score on the screening is positive.
    pub positive_from: Option<Decimal>,
    /// A change of at least this much is more than the instrument's error of measurement.
    pub reliable_change: Option<Decimal>,
}

/// What happens to unanswered questions. A question that was not asked is unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is no score without them.
    NoScore,
    /// At most so many are taken to be like the mean of the others; the sum is rounded, halves up.
    MeanOfOthers {
        /// How many.
        at_most: usize,
    },
}

/// A range of scores, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// The lowest.
    pub low: Decimal,
    /// The highest.
    pub high: Decimal,
    /// What it means.
    pub label: String,
}

/// A score that answers have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scored<'a> {
    /// Which.
    pub score: &'a Score,
    /// How much.
    pub value: Decimal,
    /// How many questions were taken to be like the mean of the others.
    pub missing: usize,
}

impl<'a> Scored<'a> {
    /// What it means.
    pub fn band(&self) -> Option<&'a Band> {
        self.score.band(self.value)
    }

    /// Whether the screening is positive, if this is one.
    pub fn is_positive(&self) -> Option<bool> {
        self.score.positive_from.map(|from| self.value >= from)
    }
}

impl fmt::Display for Scored<'_> {
    /// `total 9 (mild)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.score.name, self.value)?;
        if let Some(band) = self.band() {
            write!(f, " ({})", band.label)?;
        }
        match self.is_positive() {
            Some(true) => f.write_str(", screens positive")?,
            Some(false) => f.write_str(", screens negative")?,
            None => {}
        }
        match self.missing {
            0 => Ok(()),
            1 => f.write_str(", 1 answer estimated"),
            missing => write!(f, ", {missing} answers estimated"),
        }
    }
}

impl Score {
    /// A sum of whole choices that needs all answers.
    pub fn sum(name: &str, questions: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            code: None,
            questions,
            missing: Missing::NoScore,
            bands: Vec::new(),
            positive_from: None,
            reliable_change: None,
        }
    }

    /// The band in which a score is.
    pub fn band(&self, value: Decimal) -> Option<&Band> {
        self.bands
            .iter()
            .find(|band| band.low <= value && value <= band.high)
    }

    /// The lowest and the highest score that there can be, if every question has such.
    pub fn range(&self, questionnaire: &Questionnaire) -> Option<(Decimal, Decimal)> {
        let mut range = (Decimal::ZERO, Decimal::ZERO);
        for link_id in &self.questions {
            let (low, high) = questionnaire.question(link_id)?.weights()?;
            range = (range.0.plus(low)?, range.1.plus(high)?);
        }
        Some(range)
    }

    /// The score of these answers; nothing where the rule for unanswered questions gives none.
    pub fn of(&self, questionnaire: &Questionnaire, answers: &Answers) -> Option<Scored<'_>> {
        let mut sum = Decimal::ZERO;
        let mut answered: usize = 0;
        for link_id in &self.questions {
            let question = questionnaire.question(link_id)?;
            let Some(answer) = answers.get(link_id) else {
                continue;
            };
            sum = sum.plus(question.weight(answer)?)?;
            answered += 1;
        }
        let missing = self.questions.len().saturating_sub(answered);
        let value = match self.missing {
            _ if missing == 0 => sum,
            Missing::MeanOfOthers { at_most } if missing <= at_most => {
                Decimal::whole(sum.scaled(self.questions.len(), answered)?.rounded())?
            }
            _ => return None,
        };
        Some(Scored {
            score: self,
            value,
            missing,
        })
    }

    pub(super) fn validate_all(of: &Questionnaire) -> Result<(), InvalidQuestionnaire> {
        if of.scores.len() > MAX_SCORES {
            return Err(InvalidQuestionnaire::TooMany("scores"));
        }
        of.scores.iter().try_for_each(|score| {
            score
                .validate(of)
                .map_err(|why| InvalidQuestionnaire::Score(score.name.clone(), why))
        })
    }

    fn validate(&self, of: &Questionnaire) -> Result<(), &'static str> {
        line(&self.name).map_err(|_| "it has no name, or a long one")?;
        if self.questions.is_empty() {
            return Err("it counts no questions");
        }
        for (index, link_id) in self.questions.iter().enumerate() {
            if self
                .questions
                .iter()
                .take(index)
                .any(|other| other == link_id)
            {
                return Err("a question counts twice");
            }
            let counts = of
                .question(link_id)
                .is_some_and(|question| question.counts());
            if !counts {
                return Err("a question that it counts is not there, or has no numbers");
            }
        }
        match self.missing {
            Missing::MeanOfOthers { at_most } if at_most >= self.questions.len() => {
                return Err("somebody must have answered something");
            }
            _ => {}
        }
        if self.bands.len() > MAX_BANDS {
            return Err("it has too many bands");
        }
        let mut above: Option<Decimal> = None;
        for band in &self.bands {
            line(&band.label).map_err(|_| "a band has no label, or a long one")?;
            if band.low > band.high || above.is_some_and(|above| band.low <= above) {
                return Err("its bands overlap or are not in order");
            }
            above = Some(band.high);
        }
        match self.reliable_change {
            Some(change) if change <= Decimal::ZERO => Err("a reliable change is more than 0"),
            _ => Ok(()),
        }
    }
}

impl Questionnaire {
    /// Every score that these answers have.
    pub fn scored(&self, answers: &Answers) -> Vec<Scored<'_>> {
        self.scores
            .iter()
            .filter_map(|score| score.of(self, answers))
            .collect()
    }
}
