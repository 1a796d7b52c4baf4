use proptest::prelude::*;

use super::bundles::answered;
use crate::instruments::{Item, Kind, Questionnaire, Scale, Typed, Value, bundled, typed};

fn understood(id: &str, body: &str) -> Option<Typed> {
    typed(&bundled::named(id).unwrap(), body)
}

#[test]
fn a_whole_questionnaire_is_answered_in_one_line() {
    let phq_9 = bundled::named("phq-9").unwrap();
    let expected = answered(&phq_9, &[2, 1, 0, 0, 1, 2, 0, 1, 0]);
    for body in [
        "2 1 0 0 1 2 0 1 0",
        " 2 1 0  0 1 2 0 1 0 \n",
        "2,1,0,0,1,2,0,1,0",
        "2, 1, 0, 0, 1, 2, 0, 1, 0",
        "2;1;0;0;1;2;0;1;0",
        "2\n1\n0\n0\n1\n2\n0\n1\n0",
        "1. 2\n2. 1\n3. 0\n4. 0\n5. 1\n6. 2\n7. 0\n8. 1\n9. 0",
        "1) 2\n2) 1\n3) 0\n4) 0\n5) 1\n6) 2\n7) 0\n8) 1\n9) 0",
    ] {
        let typed = understood("phq-9", body);
        let typed = typed.unwrap_or_else(|| panic!("{body}"));
        assert_eq!(
            (typed.answers, typed.note),
            (expected.clone(), None),
            "{body}"
        );
    }
    for body in [
        "2 1 0 0 1 2 0 1 0 slept badly",
        "2 1 0 0 1 2 0 1 0\n\nslept badly",
        "2 1 0 0 1 2 0 1 0, slept badly",
    ] {
        let typed = understood("phq-9", body).unwrap();
        assert_eq!(
            (typed.answers, typed.note.as_deref()),
            (expected.clone(), Some("slept badly"))
        );
    }
    let typed = understood("phq-9", "2 1 - 0 1 2 0 1 0").unwrap();
    assert_eq!(
        typed.answers,
        answered(&phq_9, &[2, 1, -1, 0, 1, 2, 0, 1, 0])
    );
}

#[test]
fn what_might_mean_something_else_is_no_answer() {
    for body in [
        "",
        "2",
        "2 1 0",
        "2 1 0 0 1 2 0 1",
        "2 1 0 0 1 2 0 1 4",
        "2 1 0 0 1 2 0 1 0 1",
        "210012010",
        "2 1 0 0 1 2 0 1 0.5",
        "- - - - - - - - -",
        "see you at 2 1 0 0 1 2 0 1 0",
        "02 1 0 0 1 2 0 1 0",
        "+2 1 0 0 1 2 0 1 0",
        "2 1 0 0 1 2 0 1 0, 3 times",
    ] {
        assert_eq!(understood("phq-9", body), None, "{body}");
    }
}

#[test]
fn one_question_is_answered_with_a_number_and_words() {
    let cases = [
        ("3", None),
        ("3 slept badly", Some("slept badly")),
        ("3, slept badly", Some("slept badly")),
        ("3: slept badly", Some("slept badly")),
        ("3 - slept badly", Some("slept badly")),
        ("3. Slept badly", Some("Slept badly")),
        ("3/5", None),
        ("3/5 restless", Some("restless")),
        ("3\nthe lawn mower again", Some("the lawn mower again")),
    ];
    for (body, note) in cases {
        let typed = understood("sleep", body).unwrap_or_else(|| panic!("{body}"));
        assert_eq!(
            typed.answers.get("sleep"),
            Some(&Value::Integer(3)),
            "{body}"
        );
        assert_eq!(typed.note.as_deref(), note, "{body}");
    }
    for body in [
        "3 patients tonight",
        "3 new patients",
        "3 hours",
        "3 long nights",
        "3 am",
        "3:15",
        "3.5",
        "3h",
        "3 h",
        "3%",
        "3 of us",
        "3 times",
        "3x",
        "3 o'clock",
        "3 more shifts",
        "3 or 4",
        "3 4",
        "9",
        "0",
        "03",
        "three",
        "-3",
    ] {
        assert_eq!(understood("sleep", body), None, "{body}");
    }
    assert_eq!(
        understood("line", "3 patients tonight")
            .unwrap()
            .answers
            .get("line"),
        Some(&Value::Text("3 patients tonight".to_owned()))
    );
}

#[test]
fn branches_are_asked_for_only_when_they_apply() {
    let badly = understood(
        "between-shifts",
        "4\n2\n3,5\nthe street\n7\n8\nall in all fine",
    )
    .unwrap();
    let words = |typed: &Typed, id: &str| typed.answers.get(id).map(Value::shown);
    assert_eq!(words(&badly, "awake").as_deref(), Some("the street"));
    assert_eq!(words(&badly, "hours").as_deref(), Some("3.5"));
    assert_eq!(words(&badly, "line").as_deref(), Some("all in all fine"));
    let well = understood("between-shifts", "7 4 8 3 2").unwrap();
    assert_eq!(
        (words(&well, "awake"), words(&well, "load").as_deref()),
        (None, Some("3"))
    );
    assert_eq!(words(&well, "line"), None, "nobody has to say something");
    assert_eq!(
        understood("between-shifts", "7 4 8 3"),
        None,
        "the last number is missing"
    );
}

#[test]
fn choices_without_numbers_of_their_own_are_counted_and_can_be_named() {
    let choice = |text: &str| crate::instruments::Choice {
        value: Value::Text(text.to_owned()),
        weight: None,
    };
    let kind = Kind::Choice(vec![
        choice("Home"),
        choice("On the ward"),
        choice("On the way"),
    ]);
    assert_eq!(kind.hint(), "1 = Home, 2 = On the ward, 3 = On the way");
    assert_eq!(kind.read("2"), Some(Value::Text("On the ward".to_owned())));
    assert_eq!(
        kind.read("on the WAY"),
        Some(Value::Text("On the way".to_owned()))
    );
    assert_eq!(kind.read("0"), None);
    assert_eq!(
        kind.taps(20).unwrap()[0],
        ("1".to_owned(), "1 (Home)".to_owned())
    );
}

#[test]
fn any_client_shows_what_is_asked_and_how_to_answer() {
    let text = bundled::named("phq-9").unwrap().as_text();
    assert!(
        text.starts_with("PHQ-9: depression\nOver the last 2 weeks"),
        "{text}"
    );
    assert!(
        text.contains("\n9. Thoughts that you would be better off dead"),
        "{text}"
    );
    assert!(text.contains("For each: 0 = Not at all"), "{text}");
    assert!(
        text.contains("9 numbers in this order, like “1 1 1 1 1 1 1 1 1”"),
        "{text}"
    );
    let text = bundled::named("mood").unwrap().as_text();
    let asked = "How is your mood right now?\nAnswer with 0 (very low) to 10 (very good), and a few words if you like.";
    assert_eq!(text, asked);
    let text = bundled::named("between-shifts").unwrap().as_text();
    assert!(
        text.contains("4. What kept you awake? (a few words) (only if it applies)"),
        "{text}"
    );
}

#[test]
fn answers_read_like_answers() {
    let phq_2 = bundled::named("phq-2").unwrap();
    let text = phq_2.answers_as_text(&answered(&phq_2, &[1, 3]));
    assert_eq!(
        text,
        "Little interest or pleasure in doing things: 1, Several days\n\
         Feeling down, depressed, or hopeless: 3, Nearly every day"
    );
}

fn numbers_only(scales: &[(i64, i64)]) -> Questionnaire {
    let items = scales.iter().enumerate().map(|(place, (low, steps))| {
        let kind = Kind::Scale(Scale::new(*low, low + steps));
        Item::new(format!("q{place}"), "?", kind)
    });
    Questionnaire {
        items: items.collect(),
        scores: Vec::new(),
        ..bundled::named("mood").unwrap()
    }
}

proptest! {
    #[test]
    fn what_fits_is_understood_as_it_was_meant(
        scales in proptest::collection::vec((-5_i64..5, 1_i64..9), 2..12),
        separator in prop_oneof![Just(" "), Just(","), Just(", "), Just("\n"), Just(" ; ")],
        seed in 0_i64..1_000,
    ) {
        let questionnaire = numbers_only(&scales);
        let numbers: Vec<_> = scales.iter().map(|(low, steps)| low + seed % (steps + 1)).collect();
        let body: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        let typed = typed(&questionnaire, &body.join(separator)).unwrap();
        for (place, number) in numbers.iter().enumerate() {
            prop_assert_eq!(typed.answers.get(&format!("q{place}")), Some(&Value::Integer(*number)));
        }
        prop_assert_eq!(typed.note, None);
    }

    #[test]
    fn whatever_is_typed_does_no_harm_and_only_valid_answers_come_of_it(body in "\\PC{0,60}|[-0-9 ,;.\n]{0,60}") {
        for questionnaire in bundled::all() {
            if let Some(typed) = typed(&questionnaire, &body) {
                prop_assert!(questionnaire.check(&typed.answers).is_ok(), "{:?}", typed);
            }
        }
    }
}
