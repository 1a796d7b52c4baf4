//! Other people's text, made safe to print.
//!
//! A message can hold escape sequences that move the cursor, recolour or retitle a terminal, and
//! marks that turn text around so that it reads as something else. None of them reaches the
//! screen: each is shown as `�`.

/// Stands for a character that was taken out.
const REMOVED: char = '\u{FFFD}';

/// The text on one line: line breaks and tabs become spaces.
///
/// For names, titles and file names, which could otherwise forge a whole line of output.
pub fn line(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c => shown(c),
        })
        .collect::<String>()
        .trim()
        .to_owned()
}

/// The text with its line breaks, every line after the first moved in by `indent` spaces, so that
/// no line of a message can pass for a line of the program.
pub fn paragraph(text: &str, indent: usize) -> String {
    let text = text.replace("\r\n", "\n");
    let mut out = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' => {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent));
            }
            '\t' => out.push(' '),
            c => out.push(shown(c)),
        }
    }
    out
}

fn shown(c: char) -> char {
    if c.is_control() || turns_text_around(c) {
        REMOVED
    } else {
        c
    }
}

/// Bidirectional controls, and separators that some terminals take for a line break.
fn turns_text_around(c: char) -> bool {
    matches!(
        c,
        '\u{061C}'
            | '\u{200E}'
            | '\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2066}'..='\u{2069}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E007F}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_sequence_does_not_reach_the_terminal() {
        let hostile = "hello\x1b]0;owned\x07\x1b[2J\u{9b}31m";
        for text in [line(hostile), paragraph(hostile, 2)] {
            assert!(text.starts_with("hello"));
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn a_name_cannot_forge_a_second_line() {
        assert_eq!(
            line("therapist\r\n10:00 nurse: yes"),
            "therapist  10:00 nurse: yes"
        );
    }

    #[test]
    fn a_message_cannot_pass_for_the_programs_own_lines() {
        assert_eq!(
            paragraph("one\ntwo\r\nthree\n\n", 4),
            "one\n    two\n    three"
        );
    }

    #[test]
    fn text_is_not_turned_around() {
        assert_eq!(line("invoice\u{202e}fdp.exe"), "invoice\u{fffd}fdp.exe");
    }

    #[test]
    fn letters_of_every_script_and_emoji_stay() {
        let text = "Grüße, שלום, 夜勤 👩\u{200d}⚕\u{fe0f}";
        assert_eq!(line(text), text);
        assert_eq!(paragraph(text, 2), text);
    }
}
