//! A questionnaire on the terminal: one question after the other.

use std::io::{BufRead, Write};

use anyhow::{Context as _, Result, bail};
use respite_protocol::instruments::{Answers, Item, Kind, Questionnaire, Value};

use crate::terminal;

/// Longest line that is read, in bytes.
const MAX_LINE_BYTES: u64 = 16_000;

/// What came of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// The answers.
    pub answers: Answers,
    /// A few words beside them.
    pub note: Option<String>,
}

/// Asks every question that applies, and whether to send the answers. Nothing, if not.
///
/// An empty line leaves a question out, `<` goes back to the one before.
///
/// # Errors
///
/// If the input ends before the form does.
pub fn fill_in(
    questionnaire: &Questionnaire,
    help: &str,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> Result<Option<Filled>> {
    writeln!(output, "{}", terminal::line(&questionnaire.title))?;
    writeln!(
        output,
        "Enter leaves a question out; < goes back to the one before."
    )?;
    let mut answers = Answers::default();
    let mut passed: Vec<String> = Vec::new();
    let mut shown: Vec<String> = Vec::new();
    let mut helped = false;
    while let Some((question, texts)) = next(questionnaire, &answers, &passed) {
        for text in texts {
            if !shown.contains(&text.link_id) {
                shown.push(text.link_id.clone());
                writeln!(output, "\n{}", terminal::paragraph(&text.text, 0))?;
            }
        }
        match ask(question, input, output)? {
            Said::Back => {
                if let Some(before) = passed.pop() {
                    answers.remove(&before);
                }
                continue;
            }
            Said::Nothing => {}
            Said::Answer(value) => answers.set(question.link_id.clone(), value),
        }
        // At once, whether they go on and send it or not.
        if !helped && questionnaire.is_urgent(&answers) {
            writeln!(output, "\n{help}")?;
            helped = true;
        }
        passed.push(question.link_id.clone());
    }
    if answers.is_empty() {
        bail!("nothing is answered; nothing is sent");
    }
    writeln!(
        output,
        "\n{}",
        terminal::paragraph(&questionnaire.answers_as_text(&answers), 0)
    )?;
    write!(output, "A few words beside? (Enter for none) ")?;
    let note = line(input, output)?;
    write!(output, "Send this? (yes or no) ")?;
    let sends = Kind::Boolean.read(&line(input, output)?) == Some(Value::Boolean(true));
    Ok(sends.then_some(Filled {
        answers,
        note: (!note.is_empty()).then_some(note),
    }))
}

enum Said {
    Answer(Value),
    Nothing,
    Back,
}

/// The next question that applies and was not passed, and the texts before it.
fn next<'a>(
    questionnaire: &'a Questionnaire,
    answers: &Answers,
    passed: &[String],
) -> Option<(&'a Item, Vec<&'a Item>)> {
    let mut texts = Vec::new();
    for item in questionnaire.asked(answers) {
        if !item.kind.is_question() {
            texts.push(item);
        } else if !passed.contains(&item.link_id) {
            return Some((item, texts));
        }
    }
    None
}

fn ask(question: &Item, input: &mut impl BufRead, output: &mut impl Write) -> Result<Said> {
    writeln!(output, "\n{}", terminal::paragraph(&question.text, 0))?;
    match question.kind.taps(usize::MAX) {
        Some(taps) if matches!(question.kind, Kind::Choice(_)) => {
            for (_, text) in taps {
                writeln!(output, "  {}", terminal::line(&text))?;
            }
        }
        _ => writeln!(output, "  {}", terminal::line(&question.kind.hint()))?,
    }
    loop {
        write!(output, "> ")?;
        let said = line(input, output)?;
        match said.as_str() {
            "<" => return Ok(Said::Back),
            "" if question.required => writeln!(output, "This one is needed.")?,
            "" => return Ok(Said::Nothing),
            said => match question.kind.read(said) {
                Some(value) => return Ok(Said::Answer(value)),
                None => writeln!(
                    output,
                    "Please answer with {}.",
                    terminal::line(&question.kind.hint())
                )?,
            },
        }
    }
}

fn line(input: &mut impl BufRead, output: &mut impl Write) -> Result<String> {
    output.flush()?;
    let mut line = String::new();
    let read = std::io::Read::take(input, MAX_LINE_BYTES)
        .read_line(&mut line)
        .context("the answers cannot be read")?;
    if read == 0 {
        bail!("the form was left before its end; nothing is sent");
    }
    Ok(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use respite_protocol::instruments::bundled;

    use super::*;

    fn filled(id: &str, typed: &str) -> (Result<Option<Filled>>, String) {
        let mut screen = Vec::new();
        let questionnaire = bundled::named(id).unwrap();
        let filled = fill_in(
            &questionnaire,
            "call somebody",
            &mut typed.as_bytes(),
            &mut screen,
        );
        (filled, String::from_utf8(screen).unwrap())
    }

    #[test]
    fn a_form_asks_every_question_and_sends_when_it_may() {
        let (sent, screen) = filled("phq-2", "1\nnearly every day\nlay awake\nyes\n");
        let sent = sent.unwrap().unwrap();
        assert_eq!(sent.note.as_deref(), Some("lay awake"));
        assert_eq!(sent.answers.iter().count(), 2);
        assert!(
            screen.contains("Over the last 2 weeks") && screen.contains("  3 (Nearly every day)")
        );
        assert!(
            screen.contains("Feeling down, depressed, or hopeless: 3, Nearly every day"),
            "{screen}"
        );
        let (kept, _) = filled("phq-2", "1\n2\n\nno\n");
        assert_eq!(kept.unwrap(), None);
    }

    #[test]
    fn a_slip_is_asked_again_and_one_can_go_back() {
        let (sent, screen) = filled("phq-2", "7\n1\n<\n0\n3\n\ny\n");
        let sent = sent.unwrap().unwrap();
        let weights: Vec<_> = sent
            .answers
            .iter()
            .map(|(_, value)| value.shown())
            .collect();
        assert_eq!(weights, ["Not at all", "Nearly every day"]);
        assert!(
            screen.contains("Please answer with 0 = Not at all"),
            "{screen}"
        );
    }

    #[test]
    fn only_what_applies_is_asked() {
        let (_, badly) = filled("between-shifts", "5\n1\n");
        assert!(!badly.contains("kept you awake"));
        let (_, badly) = filled("between-shifts", "5\n1\n4\n");
        assert!(badly.contains("What kept you awake?"));
        let (sent, well) = filled("between-shifts", "5\n5\n8\n3\n2\n\n\ny\n");
        assert!(!well.contains("kept you awake"));
        assert_eq!(sent.unwrap().unwrap().answers.iter().count(), 5);
    }

    #[test]
    fn whoever_may_need_help_is_told_whom_to_call_before_anything_is_sent() {
        let fine = "0\n0\n0\n0\n0\n0\n0\n0\n0\n";
        assert!(!filled("phq-9", fine).1.contains("call somebody"));
        let (left, screen) = filled("phq-9", "0\n0\n0\n0\n0\n0\n0\n0\n1\n");
        assert!(left.is_err());
        assert_eq!(screen.matches("call somebody").count(), 1, "{screen}");
    }

    #[test]
    fn who_leaves_the_form_or_answers_nothing_sends_nothing() {
        let (left, _) = filled("phq-9", "1\n2\n");
        assert!(left.unwrap_err().to_string().contains("nothing is sent"));
        let (nothing, _) = filled("phq-2", "\n\n\ny\n");
        assert!(
            nothing
                .unwrap_err()
                .to_string()
                .contains("nothing is answered")
        );
    }
}
