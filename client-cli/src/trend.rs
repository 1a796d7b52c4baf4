//! Scores over time: reckoned on this device from what was said in a room.

mod chart;
mod files;
mod pixels;
mod plot;
mod svg;

use jiff::Timestamp;
use respite_protocol::{
    events::AnswerKind,
    instruments::{self, Answers, Band, Decimal, Questionnaire, Reliability, Score},
};
use ruma::UserId;
use serde::Serialize;

pub use self::{
    chart::Shade,
    files::{bundle, csv},
    pixels::png,
    plot::plot,
    svg::svg,
};
use crate::checkins::{Asked, Given};

/// What one person has answered to one questionnaire or question over time.
#[derive(Clone, Debug, Serialize)]
pub struct Trend {
    /// What tells the questionnaire from others.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// How many answers came.
    pub counts: Counts,
    /// A series for each score.
    pub series: Vec<Series>,
    /// The questionnaire as it was asked last.
    #[serde(skip)]
    pub questionnaire: Option<Questionnaire>,
    /// The answers, oldest first.
    #[serde(skip)]
    pub answers: Vec<Answered>,
}

/// An answer, with the questionnaire as it was asked then.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The answer.
    pub given: Given,
    /// What was asked.
    pub questionnaire: Option<Questionnaire>,
}

/// How many check-ins were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Asked in all.
    pub asked: usize,
    /// Answered before they expired.
    pub answered: usize,
    /// Answered after it.
    pub late: usize,
    /// Not answered, and expired or followed by a newer one.
    pub missed: usize,
    /// Not answered yet.
    pub open: usize,
}

/// A score over time.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// What it is called.
    pub name: String,
    /// The least and the most that there can be.
    pub range: (Decimal, Decimal),
    /// What ranges of it mean.
    pub bands: Vec<ShownBand>,
    /// The scores, oldest first.
    pub points: Vec<Point>,
    /// The change since the one before.
    pub since_last: Option<Change>,
    /// The change since the first.
    pub since_first: Option<Change>,
}

/// A range of scores and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownBand {
    /// The lowest.
    pub low: Decimal,
    /// The highest.
    pub high: Decimal,
    /// What it means.
    pub label: String,
}

/// A score at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// When it was answered.
    pub at: Timestamp,
    /// How much.
    pub value: Decimal,
    /// What it means.
    pub band: Option<String>,
    /// How many answers were estimated.
    pub estimated: usize,
    /// The answer came late.
    pub late: bool,
    /// The answer is urgent.
    pub urgent: bool,
}

/// How a score has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// By how much.
    pub by: Decimal,
    /// Whether that is more than the error of measurement; nothing if that is not known.
    pub reliable: Option<bool>,
}

impl Change {
    fn of(score: &Score, from: Decimal, to: Decimal) -> Option<Self> {
        let change = instruments::change(score, from, to)?;
        Some(Self {
            by: change.by,
            reliable: change
                .reliability
                .map(|reliability| reliability != Reliability::WithinError),
        })
    }

    /// For people: `-6 (reliable)`.
    pub fn shown(&self) -> String {
        let sign = if self.by > Decimal::ZERO { "+" } else { "" };
        let reliable = match self.reliable {
            Some(true) => " (reliable)",
            Some(false) => " (within the error of measurement)",
            None => "",
        };
        format!("{sign}{}{reliable}", self.by)
    }
}

impl Counts {
    /// For people: `12 asked: 9 answered (75 %), 1 late (8 %), 2 missed (16 %)`.
    pub fn shown(&self) -> String {
        let share = |count: usize| count.saturating_mul(100) / self.asked.max(1);
        let mut parts = vec![format!(
            "{} answered ({} %)",
            self.answered,
            share(self.answered)
        )];
        for (count, what) in [
            (self.late, "late"),
            (self.missed, "missed"),
            (self.open, "open"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what} ({} %)", share(count)));
            }
        }
        format!("{} asked: {}", self.asked, parts.join(", "))
    }
}

/// What `person` was asked by others and answered, a trend for each questionnaire or question with
/// numbers, in the order in which they were first asked.
pub fn trends(agenda: &[Asked], person: &UserId, now: Timestamp) -> Vec<Trend> {
    let mut trends: Vec<(String, Vec<&Asked>)> = Vec::new();
    for asked in agenda.iter().filter(|asked| asked.sender != person) {
        let key = key(asked);
        match trends.iter_mut().find(|(known, _)| *known == key) {
            Some((_, all)) => all.push(asked),
            None => trends.push((key, vec![asked])),
        }
    }
    trends
        .into_iter()
        .map(|(key, asked)| trend(key, &asked, person, now))
        .collect()
}

/// What tells a questionnaire or a question from others.
fn key(asked: &Asked) -> String {
    match asked.checkin.questionnaire() {
        // A single question of one's own has no name; its words are one.
        Some(questionnaire) if questionnaire.url.is_some() => questionnaire.key().to_owned(),
        Some(questionnaire) if questionnaire.id != "question" => questionnaire.key().to_owned(),
        _ => asked.checkin.text.clone(),
    }
}

fn trend(id: String, asked: &[&Asked], person: &UserId, now: Timestamp) -> Trend {
    let last = asked.last();
    let questionnaire = last.and_then(|asked| asked.checkin.questionnaire().cloned());
    let answers: Vec<_> = asked
        .iter()
        .filter_map(|asked| {
            let given = asked.answers.iter().find(|given| given.by == person)?;
            Some(Answered {
                given: given.clone(),
                questionnaire: asked.checkin.questionnaire().cloned(),
            })
        })
        .collect();
    let series = match (&questionnaire, last.map(|asked| &asked.checkin.answer)) {
        (Some(questionnaire), _) => questionnaire
            .scores
            .iter()
            .filter_map(|score| series(questionnaire, score, &answers))
            .collect(),
        (None, Some(AnswerKind::Scale(scale))) => {
            let single = crate::instruments::single(&id, scale.clone());
            plain_series(&single, &answers).into_iter().collect()
        }
        _ => Vec::new(),
    };
    Trend {
        title: last
            .map(|asked| asked.checkin.text.clone())
            .unwrap_or_default(),
        counts: counts(asked, person, now),
        series,
        questionnaire,
        answers,
        id,
    }
}

fn counts(asked: &[&Asked], person: &UserId, now: Timestamp) -> Counts {
    let mut counts = Counts {
        asked: asked.len(),
        ..Counts::default()
    };
    for (place, asked_) in asked.iter().enumerate() {
        let given = asked_.answers.iter().find(|given| given.by == person);
        let is_last = place + 1 == asked.len();
        match given {
            Some(given) if given.late => counts.late += 1,
            Some(_) => counts.answered += 1,
            None if is_last && !asked_.is_expired(now) => counts.open += 1,
            None => counts.missed += 1,
        }
    }
    counts
}

fn series(questionnaire: &Questionnaire, score: &Score, answers: &[Answered]) -> Option<Series> {
    let points: Vec<_> = answers
        .iter()
        .filter_map(|answered| {
            // By the questionnaire as it was asked then.
            let then = answered.questionnaire.as_ref()?;
            let score = then.scores.iter().find(|then| then.name == score.name)?;
            point(then, score, &answered.given.answers, &answered.given)
        })
        .collect();
    finished(questionnaire, score, points)
}

fn plain_series(single: &Questionnaire, answers: &[Answered]) -> Option<Series> {
    let score = single.scores.first()?;
    let points = answers.iter().filter_map(|answered| {
        Some(Point {
            at: answered.given.at,
            value: Decimal::whole(answered.given.value?)?,
            band: None,
            estimated: 0,
            late: answered.given.late,
            urgent: answered.given.urgent,
        })
    });
    finished(single, score, points.collect())
}

fn point(of: &Questionnaire, score: &Score, answers: &Answers, given: &Given) -> Option<Point> {
    let scored = score.of(of, answers)?;
    Some(Point {
        at: given.at,
        value: scored.value,
        band: scored.band().map(|band| band.label.clone()),
        estimated: scored.missing,
        late: given.late,
        urgent: given.urgent,
    })
}

fn finished(of: &Questionnaire, score: &Score, mut points: Vec<Point>) -> Option<Series> {
    points.sort_by_key(|point| point.at);
    let values: Vec<_> = points.iter().map(|point| point.value).collect();
    let range = score
        .range(of)
        .or_else(|| Some((*values.iter().min()?, *values.iter().max()?)))?;
    let change = |from: Option<&Decimal>| Change::of(score, *from?, *values.last()?);
    let before_last = values
        .len()
        .checked_sub(2)
        .and_then(|place| values.get(place));
    let first = values.first().filter(|_| values.len() > 1);
    let shown = |band: &Band| ShownBand {
        low: band.low,
        high: band.high,
        label: band.label.clone(),
    };
    Some(Series {
        name: score.name.clone(),
        range,
        bands: score.bands.iter().map(shown).collect(),
        since_last: change(before_last),
        since_first: change(first),
        points,
    })
}

#[cfg(test)]
mod tests;
