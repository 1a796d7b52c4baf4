//! Understanding answers as people type them.

use super::{Answers, Item, Kind, Questionnaire, Value};

/// What somebody typed, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// The answers.
    pub answers: Answers,
    /// The words after them.
    pub note: Option<String>,
}

/// Words after a number that make it a count, a time or a part of one, rather than an answer.
const COUNTED: [&str; 47] = [
    "%",
    "a.m",
    "am",
    "and",
    "bed",
    "call",
    "colleague",
    "cup",
    "day",
    "death",
    "euro",
    "fewer",
    "h",
    "hour",
    "hr",
    "hrs",
    "kg",
    "km",
    "less",
    "mg",
    "min",
    "minute",
    "ml",
    "month",
    "more",
    "new",
    "night",
    "nurse",
    "o'clock",
    "of",
    "or",
    "other",
    "out",
    "p.m",
    "patient",
    "people",
    "percent",
    "pm",
    "pound",
    "second",
    "shift",
    "step",
    "time",
    "to",
    "week",
    "x",
    "year",
];

/// Understands what somebody typed as the answers to a questionnaire.
///
/// For one question: a number, a choice, yes or no, a day, first and plainly apart, and words after
/// it. For several: an answer to each question that is asked, in order, between spaces, commas or
/// line breaks, `-` for none; then words. What might mean something else is nothing: too few or too
/// many answers, one that its question does not take, `3 patients`.
pub fn typed(questionnaire: &Questionnaire, body: &str) -> Option<Typed> {
    match questionnaire.only_question() {
        Some(question) => typed_alone(question, body),
        None => typed_in_order(questionnaire, body),
    }
}

fn typed_alone(question: &Item, body: &str) -> Option<Typed> {
    let (value, note) = typed_first(&question.kind, body)?;
    Some(Typed {
        answers: Answers::from_iter([(question.link_id.clone(), value)]),
        note,
    })
}

/// The answer that stands first in a text, plainly apart, and the words after it.
pub(crate) fn typed_first(kind: &Kind, body: &str) -> Option<(Value, Option<String>)> {
    if let Some(value) = kind.read(body) {
        return Some((value, None));
    }
    let body = body.trim();
    let end = body.find(|c: char| c.is_whitespace() || ",;:/–—".contains(c));
    let (first, rest) = body.split_at_checked(end.unwrap_or(body.len()))?;
    let bare = first.trim_end_matches('.');
    let value = kind.read(bare)?;
    let after = first.get(bare.len()..).unwrap_or_default().to_owned() + rest;
    let of_high = match kind {
        Kind::Scale(scale) => after.strip_prefix(&format!("/{}", scale.high)),
        _ => None,
    };
    let note = note_after(of_high.unwrap_or(&after))?;
    Some((value, note))
}

/// The words after a number; nothing if the number was part of something else.
fn note_after(rest: &str) -> Option<Option<String>> {
    let separated = rest.trim_start_matches([' ', '\t']);
    if separated.is_empty() || separated.starts_with(['\n', '\r']) {
        return Some(words(separated));
    }
    if let Some(note) = separated.strip_prefix([',', ';', ':', '.', '-', '–', '—', '!']) {
        return (note.is_empty() || note.starts_with(char::is_whitespace)).then(|| words(note));
    }
    let apart = separated.len() < rest.len();
    (apart && !makes_a_count(separated)).then(|| words(separated))
}

/// Whether these words after a number make it a count or a time: `patients tonight`, `long nights`.
fn makes_a_count(rest: &str) -> bool {
    let plain = |word: &str| {
        word.trim_matches(|c: char| ",.;:!?()".contains(c))
            .to_lowercase()
    };
    let is_counted = |word: &str| {
        let singular = word.strip_suffix('s').filter(|singular| singular.len() > 1);
        COUNTED.contains(&word) || singular.is_some_and(|singular| COUNTED.contains(&singular))
    };
    let mut following = rest.split_whitespace().map(plain);
    let first = following.next().unwrap_or_default();
    let second = following.next().unwrap_or_default();
    !first.starts_with(char::is_alphabetic)
        || is_counted(&first)
        || (second.ends_with('s') && is_counted(&second))
}

fn typed_in_order(questionnaire: &Questionnaire, body: &str) -> Option<Typed> {
    let body = without_numbers(body);
    let mut rest = body.trim();
    let mut answers = Answers::default();
    let mut passed: Vec<String> = Vec::new();
    while let Some(question) = next_question(questionnaire, &answers, &passed) {
        passed.push(question.link_id.clone());
        if rest.is_empty() {
            // Words that nobody had to say may be left out at the end.
            if question.kind.is_words() && !question.required {
                continue;
            }
            return None;
        }
        let last = next_question(questionnaire, &answers, &passed).is_none();
        let (field, after) = field(&question.kind, rest, last)?;
        rest = after;
        if matches!(field, "-" | "–" | "—" | "?") {
            continue;
        }
        answers.set(question.link_id.clone(), question.kind.read(field)?);
    }
    let extra = rest.trim_start_matches([',', ';', ':', '.', '-', '–', '—', ' ', '\t', '\n']);
    let unclear = extra.starts_with(|c: char| c.is_ascii_digit());
    (!answers.is_empty() && !unclear).then(|| Typed {
        answers,
        note: words(extra),
    })
}

fn next_question<'a>(
    questionnaire: &'a Questionnaire,
    answers: &Answers,
    passed: &[String],
) -> Option<&'a Item> {
    let mut asked = questionnaire.asked(answers).into_iter();
    asked.find(|item| item.kind.is_question() && !passed.contains(&item.link_id))
}

/// The next answer, and what comes after it.
fn field<'a>(kind: &Kind, rest: &'a str, last: bool) -> Option<(&'a str, &'a str)> {
    let ends = |c: char| match kind {
        Kind::Text if last => false,
        Kind::Line if last => c == '\n',
        Kind::Line | Kind::Text => matches!(c, '\n' | ';'),
        // A comma may be a decimal point.
        Kind::Decimal { .. } => c.is_whitespace() || c == ';',
        _ => c.is_whitespace() || matches!(c, ',' | ';'),
    };
    let end = rest.find(ends).unwrap_or(rest.len());
    let (field, after) = rest.split_at_checked(end)?;
    let after = after.trim_start_matches([' ', '\t', '\r']);
    let after = after.strip_prefix([',', ';', '\n']).unwrap_or(after);
    Some((field.trim().trim_end_matches(','), after.trim_start()))
}

/// The body without the numbers of the questions, if it is a list that counts from 1.
fn without_numbers(body: &str) -> String {
    let lines: Vec<_> = body
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let listed: Option<Vec<_>> = lines
        .iter()
        .enumerate()
        .map(|(place, line)| {
            let rest = line.strip_prefix(&(place + 1).to_string())?;
            rest.strip_prefix(['.', ')', ':'])
                .filter(|rest| rest.starts_with(' '))
        })
        .collect();
    match listed {
        Some(listed) if listed.len() > 1 => listed.join("\n"),
        _ => body.to_owned(),
    }
}

fn words(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
