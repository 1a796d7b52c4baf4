//! A worksheet: a real PDF, empty or filled in.

use pdf_writer::{Content, Finish, Name, Pdf, Rect, Ref, Str};

const FONT: Name<'static> = Name(b"F1");
const LINE_HEIGHT: f32 = 28.0;
const MARGIN: f32 = 72.0;
const TOP: f32 = 760.0;
const A4: Rect = Rect {
    x1: 0.0,
    y1: 0.0,
    x2: 595.0,
    y2: 842.0,
};

/// The questions of the sleep diary.
pub const QUESTIONS: [&str; 4] = [
    "I went to bed at",
    "I fell asleep after (minutes)",
    "I woke up how often",
    "What kept me awake",
];

/// A sleep diary; with answers, it is filled in.
pub fn sleep_diary(answers: &[&str]) -> Vec<u8> {
    let mut lines = vec!["Sleep diary between two night shifts".to_owned()];
    for (place, question) in QUESTIONS.iter().enumerate() {
        let answer = answers
            .get(place)
            .copied()
            .unwrap_or("......................");
        lines.push(format!("{question}: {answer}"));
    }
    page(&lines)
}

fn page(lines: &[String]) -> Vec<u8> {
    let [catalog, pages, page, font, text] = [1, 2, 3, 4, 5].map(Ref::new);
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(pages);
    pdf.pages(pages).kids([page]).count(1);
    let mut only = pdf.page(page);
    only.media_box(A4).parent(pages).contents(text);
    only.resources().fonts().pair(FONT, font);
    only.finish();
    pdf.type1_font(font).base_font(Name(b"Helvetica"));
    let mut content = Content::new();
    content.begin_text();
    content.set_font(FONT, 14.0);
    content.next_line(MARGIN, TOP);
    for line in lines {
        content.show(Str(line.as_bytes()));
        content.next_line(0.0, -LINE_HEIGHT);
    }
    content.end_text();
    pdf.stream(text, &content.finish());
    pdf.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_and_a_filled_in_worksheet_are_pdfs_and_differ() {
        let (empty, filled) = (sleep_diary(&[]), sleep_diary(&["08:40"]));
        assert!(empty.starts_with(b"%PDF-") && filled.starts_with(b"%PDF-"));
        assert!(String::from_utf8_lossy(&filled).contains("I went to bed at: 08:40"));
        assert_ne!(empty, filled);
    }
}
