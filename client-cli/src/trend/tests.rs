use jiff::civil::DateTime;
use respite_protocol::{
    events::{AnswerKind, Checkin},
    instruments::bundled,
};
use ruma::user_id;

use super::*;
use crate::{
    checkins::agenda,
    history::{Entry, Said},
    time,
};

const DAY: i64 = 24 * 60 * 60;

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + day * DAY).unwrap()
}

fn now() -> jiff::Zoned {
    "2026-02-01T12:00:00"
        .parse::<DateTime>()
        .unwrap()
        .in_tz("UTC")
        .unwrap()
}

fn asks(day: i64, answer: AnswerKind, text: &str) -> Entry {
    let checkin = Checkin {
        id: format!("c{day}").parse().unwrap(),
        text: text.to_owned(),
        answer,
        asked_ts: time::to_matrix(at(day)),
        expires_ts: Some(time::to_matrix(at(day + 1))),
        reminds: None,
    };
    entry(
        format!("$c{day}"),
        "@therapist:x",
        at(day),
        Said::Checkin(checkin),
    )
}

fn entry(id: String, sender: &str, at: Timestamp, said: Said) -> Entry {
    Entry {
        event_id: id.try_into().unwrap(),
        sender: sender.try_into().unwrap(),
        at,
        about: None,
        said,
    }
}

fn writes(day: i64, hours: i64, body: &str) -> Entry {
    let at = at(day)
        .checked_add(jiff::SignedDuration::from_hours(hours))
        .unwrap();
    let said = Said::Text {
        body: body.to_owned(),
        edited: false,
    };
    entry(format!("$a{day}"), "@nurse:x", at, said)
}

fn phq_9() -> AnswerKind {
    crate::instruments::asked(bundled::named("phq-9").unwrap())
}

/// Four weeks: answered, answered with one left out, missed, late and urgent.
fn four_weeks() -> Vec<Trend> {
    let entries = [
        asks(0, phq_9(), "PHQ-9: depression"),
        writes(0, 2, "2 2 2 2 2 2 2 2 0"),
        asks(7, phq_9(), "PHQ-9: depression"),
        writes(7, 2, "1 1 1 1 1 1 1 - 0"),
        asks(14, phq_9(), "PHQ-9: depression"),
        asks(21, phq_9(), "PHQ-9: depression"),
        writes(21, 30, "1 1 1 1 1 1 1 1 1"),
    ];
    trends(&agenda(&entries), user_id!("@nurse:x"), at(28))
}

#[test]
fn a_trend_has_the_scores_their_change_and_what_was_missed() {
    let trends = four_weeks();
    let [trend] = &trends[..] else {
        panic!("{trends:?}")
    };
    let counts = trend.counts;
    assert_eq!(
        (
            counts.asked,
            counts.answered,
            counts.late,
            counts.missed,
            counts.open
        ),
        (4, 2, 1, 1, 0)
    );
    assert_eq!(
        counts.shown(),
        "4 asked: 2 answered (50 %), 1 late (25 %), 1 missed (25 %)"
    );
    let series = &trend.series[0];
    let values: Vec<_> = series
        .points
        .iter()
        .map(|point| point.value.to_string())
        .collect();
    assert_eq!(values, ["16", "8", "9"]);
    assert_eq!(series.points[1].estimated, 1);
    assert!(series.points[2].urgent && series.points[2].late);
    assert_eq!(
        series.since_last.unwrap().shown(),
        "+1 (within the error of measurement)"
    );
    assert_eq!(series.since_first.unwrap().shown(), "-7 (reliable)");
}

#[test]
fn plain_scales_have_a_trend_too_and_words_have_none_to_draw() {
    let scale = AnswerKind::Scale(respite_protocol::events::Scale::new(1, 5));
    let entries = [
        asks(0, scale.clone(), "How did you sleep?"),
        writes(0, 2, "2 badly"),
        asks(1, scale, "How did you sleep?"),
        writes(1, 2, "4"),
        asks(2, AnswerKind::Text, "What else?"),
        writes(2, 2, "nothing"),
    ];
    let trends = trends(&agenda(&entries), user_id!("@nurse:x"), at(9));
    assert_eq!(trends.len(), 2);
    let points = &trends[0].series[0].points;
    assert_eq!(
        (points.len(), points[1].value),
        (2, Decimal::whole(4).unwrap())
    );
    assert_eq!(trends[0].series[0].since_last.unwrap().shown(), "+2");
    assert!(trends[1].series.is_empty());
    assert_eq!(trends[1].counts.answered, 1);
}

#[test]
fn the_terminal_shows_points_bands_and_days_in_80_columns() {
    let trends = four_weeks();
    let drawn = plot(&trends[0].series[0], &now());
    assert_eq!(drawn.matches('●').count(), 1, "{drawn}");
    assert_eq!(drawn.matches('○').count(), 1, "{drawn}");
    assert_eq!(drawn.matches('!').count(), 1, "{drawn}");
    for label in ["minimal", "moderately severe", "severe", "27"] {
        assert!(drawn.contains(label), "{drawn}");
    }
    assert!(
        drawn.lines().all(|line| line.chars().count() <= 80),
        "{drawn}"
    );
    assert!(
        drawn.lines().last().unwrap().contains("2026-01-01"),
        "{drawn}"
    );
}

#[test]
fn a_single_answer_is_drawn_too() {
    let entries = [asks(0, phq_9(), "PHQ-9"), writes(0, 1, "3 3 3 3 3 3 3 3 0")];
    let trends = trends(&agenda(&entries), user_id!("@nurse:x"), at(1));
    let series = &trends[0].series[0];
    assert!(plot(series, &now()).contains('●'));
    assert!(series.since_last.is_none());
    assert!(svg("x", series, &[], &now()).contains("<circle"));
}

#[test]
fn the_picture_is_the_same_as_svg_and_as_png() {
    let trends = four_weeks();
    let series = &trends[0].series[0];
    let shift = Shade {
        from: at(2),
        to: at(3),
    };
    let drawn = svg("Mood <of> \"heron\" & co", series, &[shift], &now());
    assert!(drawn.contains("Mood &lt;of&gt; &quot;heron&quot; &amp; co"));
    assert_eq!(drawn.matches("<circle").count(), 3);
    // The paper, five bands, one shift.
    assert_eq!(drawn.matches("<rect").count(), 7);
    assert!(drawn.contains("since the first: -7 (reliable)"), "{drawn}");
    let file = png("Mood", series, &[shift], &now()).unwrap();
    assert!(file.starts_with(b"\x89PNG\r\n\x1a\n"));
    let mut reader = png::Decoder::new(std::io::Cursor::new(&file))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    let has = |colour: [u8; 3]| pixels.chunks_exact(3).any(|pixel| pixel == colour);
    assert!(
        has([29, 78, 137]) && has([185, 28, 28]) && has([214, 219, 227]),
        "line, urgent, shift"
    );
    assert!(file.len() < 100_000, "{}", file.len());
}

#[test]
fn a_spreadsheet_gets_numbers_and_no_formulas() {
    let mut trends = four_weeks();
    trends[0].title = "=HYPERLINK(\"x\"),1".to_owned();
    let file = csv(&trends, "@heron");
    let lines: Vec<_> = file.split("\r\n").collect();
    assert_eq!(lines.len(), 5);
    assert!(
        lines[1].contains(",\"'=HYPERLINK(\"\"x\"\"),1\",total,16,moderately severe,0,false,false"),
        "{file}"
    );
    assert!(lines[1].contains(",'@heron,phq-9,"), "{file}");
    assert!(lines[3].ends_with("total,9,mild,0,true,true"), "{file}");
}

#[test]
fn another_program_reads_the_bundle_as_fhir() {
    let bundle = bundle(&four_weeks(), "heron");
    let text = bundle.to_string();
    if let Err(error) = fhirkit::from_json_strict::<fhirkit::r4::Bundle>(&text) {
        panic!("{error:?}");
    }
    let entries = bundle["entry"].as_array().unwrap();
    let kinds: Vec<_> = entries
        .iter()
        .map(|entry| entry["resource"]["resourceType"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| **kind == "Questionnaire")
            .count(),
        1
    );
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| **kind == "QuestionnaireResponse")
            .count(),
        3
    );
    let observation = entries
        .iter()
        .rfind(|entry| entry["resource"]["resourceType"] == "Observation")
        .unwrap();
    assert_eq!(
        observation["resource"]["code"]["coding"][0]["code"],
        "44261-6"
    );
    assert_eq!(observation["resource"]["valueQuantity"]["value"], 9);
    assert_eq!(observation["resource"]["interpretation"][0]["text"], "mild");
}
