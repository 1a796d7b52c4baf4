use proptest::prelude::*;

use crate::instruments::{
    Answers, Change, Decimal, Kind, Missing, Questionnaire, Reliability, bundled, change,
    reliable_difference,
};

fn whole(number: i64) -> Decimal {
    Decimal::whole(number).unwrap()
}

/// Answers in order; a negative number is none.
pub(super) fn answered(questionnaire: &Questionnaire, numbers: &[i64]) -> Answers {
    let questions = questionnaire.questions().zip(numbers);
    questions
        .filter(|(_, number)| **number >= 0)
        .map(|(item, number)| {
            (
                item.link_id.clone(),
                item.kind.read(&number.to_string()).unwrap(),
            )
        })
        .collect()
}

/// The scores with their bands, and whether each is positive.
fn scores(id: &str, numbers: &[i64]) -> Vec<(String, i64, Option<String>, Option<bool>)> {
    let questionnaire = bundled::named(id).unwrap();
    let answers = answered(&questionnaire, numbers);
    let scored = questionnaire.scored(&answers).into_iter().map(|scored| {
        let band = scored.band().map(|band| band.label.clone());
        (
            scored.score.name.clone(),
            scored.value.as_whole().unwrap(),
            band,
            scored.is_positive(),
        )
    });
    scored.collect()
}

#[test]
fn every_bundled_questionnaire_is_in_limits_and_has_a_name_of_its_own() {
    let all = bundled::all();
    assert_eq!(all.len(), 11);
    for questionnaire in &all {
        questionnaire.validate().unwrap();
        assert_eq!(
            bundled::named(&questionnaire.id.to_uppercase()).as_ref(),
            Some(questionnaire)
        );
        assert!(questionnaire.copyright.is_some());
    }
    let mut ids: Vec<_> = all.iter().map(|questionnaire| &questionnaire.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all.len());
}

#[test]
fn the_phq_9_adds_up_to_its_bands() {
    let cases: [([i64; 9], i64, &str); 10] = [
        ([0; 9], 0, "minimal"),
        ([1, 1, 1, 1, 0, 0, 0, 0, 0], 4, "minimal"),
        ([1, 1, 1, 1, 1, 0, 0, 0, 0], 5, "mild"),
        ([1; 9], 9, "mild"),
        ([2, 1, 1, 1, 1, 1, 1, 1, 1], 10, "moderate"),
        ([2, 2, 2, 2, 2, 2, 1, 1, 0], 14, "moderate"),
        ([2, 2, 2, 2, 2, 2, 1, 1, 1], 15, "moderately severe"),
        ([3, 2, 2, 2, 2, 2, 2, 2, 2], 19, "moderately severe"),
        ([3, 3, 2, 2, 2, 2, 2, 2, 2], 20, "severe"),
        ([3; 9], 27, "severe"),
    ];
    for (numbers, sum, band) in cases {
        let expected = ("total".to_owned(), sum, Some(band.to_owned()), None);
        assert_eq!(scores("phq-9", &numbers), [expected], "{numbers:?}");
    }
}

#[test]
fn the_gad_7_adds_up_to_its_bands() {
    let cases: [([i64; 7], i64, &str); 8] = [
        ([0; 7], 0, "minimal"),
        ([1, 1, 1, 1, 0, 0, 0], 4, "minimal"),
        ([1, 1, 1, 1, 1, 0, 0], 5, "mild"),
        ([3, 1, 1, 1, 1, 1, 1], 9, "mild"),
        ([2, 2, 2, 1, 1, 1, 1], 10, "moderate"),
        ([2; 7], 14, "moderate"),
        ([3, 2, 2, 2, 2, 2, 2], 15, "severe"),
        ([3; 7], 21, "severe"),
    ];
    for (numbers, sum, band) in cases {
        let expected = ("total".to_owned(), sum, Some(band.to_owned()), None);
        assert_eq!(scores("gad-7", &numbers), [expected], "{numbers:?}");
    }
}

#[test]
fn the_short_ones_screen_positive_from_three_on() {
    let short = |id, numbers: &[i64]| {
        let scored = scores(id, numbers);
        (scored[0].1, scored[0].3)
    };
    for id in ["phq-2", "gad-2"] {
        assert_eq!(short(id, &[1, 1]), (2, Some(false)));
        assert_eq!(short(id, &[1, 2]), (3, Some(true)));
        assert_eq!(short(id, &[3, 3]), (6, Some(true)));
    }
    let cases: [([i64; 4], i64, &str, bool, bool); 7] = [
        ([0, 0, 0, 0], 0, "none", false, false),
        ([1, 1, 0, 0], 2, "none", false, false),
        ([0, 0, 3, 0], 3, "mild", false, true),
        ([3, 0, 1, 1], 5, "mild", true, false),
        ([3, 0, 3, 0], 6, "moderate", true, true),
        ([2, 2, 2, 3], 9, "severe", true, true),
        ([3, 3, 3, 3], 12, "severe", true, true),
    ];
    for (numbers, sum, band, anxious, depressed) in cases {
        let scored = scores("phq-4", &numbers);
        assert_eq!(
            scored[0],
            ("total".to_owned(), sum, Some(band.to_owned()), None)
        );
        assert_eq!(
            (scored[1].0.as_str(), scored[1].3),
            ("anxiety", Some(anxious))
        );
        assert_eq!(
            (scored[2].0.as_str(), scored[2].3),
            ("depression", Some(depressed))
        );
    }
}

#[test]
fn an_incomplete_answer_is_scored_only_where_the_rule_allows_it() {
    let phq_9 = bundled::named("phq-9").unwrap();
    let scored = |numbers: &[i64]| {
        let answers = answered(&phq_9, numbers);
        let scored = phq_9.scored(&answers).into_iter().next()?;
        Some((scored.value, scored.missing))
    };
    assert_eq!(scored(&[1, 1, 1, 1, 1, 1, 1, -1, -1]), Some((whole(9), 2)));
    // Seven answers that add up to 9 are 11.57 of nine.
    assert_eq!(scored(&[2, 2, 1, 1, 1, 1, 1, -1, -1]), Some((whole(12), 2)));
    assert_eq!(scored(&[1, 1, 1, 1, 1, 1, -1, -1, -1]), None);
    assert_eq!(scored(&[]), None);
    for (id, some) in [("phq-2", 1), ("gad-2", 1), ("phq-4", 3)] {
        let short = bundled::named(id).unwrap();
        let answers = answered(&short, &vec![3; some]);
        assert!(
            short
                .scored(&answers)
                .iter()
                .all(|scored| scored.score.name == "anxiety")
        );
    }
}

#[test]
fn only_the_ninth_question_of_the_phq_9_is_urgent_and_from_one_on() {
    let phq_9 = bundled::named("phq-9").unwrap();
    let urgent = |numbers: &[i64]| phq_9.is_urgent(&answered(&phq_9, numbers));
    assert!(!urgent(&[3, 3, 3, 3, 3, 3, 3, 3, 0]));
    assert!(!urgent(&[3, 3, 3, 3, 3, 3, 3, 3, -1]));
    for number in 1..=3 {
        assert!(urgent(&[0, 0, 0, 0, 0, 0, 0, 0, number]));
        assert!(
            urgent(&[-1, -1, -1, -1, -1, -1, -1, -1, number]),
            "alone too"
        );
    }
}

#[test]
fn a_change_is_reliable_from_the_published_thresholds_on() {
    let of = |id: &str, from, to| {
        let questionnaire = bundled::named(id).unwrap();
        change(&questionnaire.scores[0], whole(from), whole(to)).unwrap()
    };
    let cases = [
        ("phq-9", 15, 10, -5, Some(Reliability::WithinError)),
        ("phq-9", 15, 9, -6, Some(Reliability::Fall)),
        ("phq-9", 4, 10, 6, Some(Reliability::Rise)),
        ("gad-7", 10, 7, -3, Some(Reliability::WithinError)),
        ("gad-7", 10, 6, -4, Some(Reliability::Fall)),
        ("phq-2", 0, 6, 6, None),
    ];
    for (id, from, to, by, reliability) in cases {
        let by = whole(by);
        assert_eq!(
            of(id, from, to),
            Change { by, reliability },
            "{id} {from} {to}"
        );
    }
}

#[test]
fn the_reliable_difference_is_that_of_jacobson_and_truax() {
    // Their example: a standard deviation of 7.5 and a reliability of 0.80 give 4.74 a standard error.
    assert!((reliable_difference(7.5, 0.80) / 1.96 - 4.743).abs() < 0.001);
    assert!(reliable_difference(7.5, 1.0).abs() < 1e-9);
}

proptest! {
    #[test]
    fn a_score_is_the_sum_of_its_answers_in_its_range_and_in_one_band(
        numbers in proptest::collection::vec(0_i64..=3, 9),
        which in 0_usize..5,
    ) {
        let questionnaire = bundled::all().swap_remove(which);
        let questions = questionnaire.questions().count();
        let answers = answered(&questionnaire, &numbers);
        for scored in questionnaire.scored(&answers) {
            let (low, high) = scored.score.range(&questionnaire).unwrap();
            prop_assert!(low <= scored.value && scored.value <= high);
            if scored.score.questions.len() == questions {
                let sum: i64 = numbers.iter().take(questions).sum();
                prop_assert_eq!(scored.value, whole(sum));
            }
            if !scored.score.bands.is_empty() {
                let holding = scored.score.bands.iter();
                let holding = holding.filter(|b| b.low <= scored.value && scored.value <= b.high);
                prop_assert_eq!(holding.count(), 1);
            }
        }
    }

    #[test]
    fn leaving_answers_out_never_takes_a_score_out_of_its_range(
        numbers in proptest::collection::vec(-1_i64..=3, 9),
    ) {
        let phq_9 = bundled::named("phq-9").unwrap();
        let answers = answered(&phq_9, &numbers);
        let missing = numbers.iter().filter(|number| **number < 0).count();
        let Missing::MeanOfOthers { at_most } = phq_9.scores[0].missing else { panic!("no rule") };
        match phq_9.scored(&answers).first() {
            Some(scored) => {
                prop_assert!(missing <= at_most && scored.missing == missing);
                prop_assert!(scored.band().is_some(), "{}", scored.value);
                let known: i64 = numbers.iter().filter(|number| **number >= 0).sum();
                prop_assert!(scored.value >= whole(known));
            }
            None => prop_assert!(missing > at_most),
        }
    }

    #[test]
    fn decimals_are_exact(one in -999_999_999_i64..=999_999_999, two in -999_i64..=999_999) {
        let one: Decimal = format!("{}.{:03}", one / 1_000, (one % 1_000).abs()).parse().unwrap();
        let two = whole(two);
        prop_assert_eq!(one.plus(two).unwrap().minus(two).unwrap(), one);
        prop_assert_eq!(one.to_string().parse::<Decimal>().unwrap(), one);
        let json = serde_json::to_string(&one).unwrap();
        prop_assert_eq!(serde_json::from_str::<Decimal>(&json).unwrap(), one);
    }
}

#[test]
fn numbers_that_are_none_are_refused() {
    for text in [
        "",
        "-",
        ".",
        "1.",
        ".5",
        "1.2345",
        "1e3",
        "+1",
        "10000000001",
        "1.2.3",
        " 1",
        "NaN",
    ] {
        assert!(text.parse::<Decimal>().is_err(), "{text}");
    }
    for json in [
        "1e300",
        "0.0001",
        "2000000000",
        "\"1\"",
        "-9223372036854775808",
    ] {
        assert!(serde_json::from_str::<Decimal>(json).is_err(), "{json}");
    }
    assert_eq!("7,5".parse::<Decimal>().unwrap().rounded(), 8);
    assert_eq!("-7.5".parse::<Decimal>().unwrap().rounded(), -7);
}

#[test]
fn every_question_says_how_it_is_answered() {
    for questionnaire in bundled::all() {
        for question in questionnaire.questions() {
            assert!(!question.kind.hint().is_empty());
            if let Kind::Choice(_) = question.kind {
                let hint = "0 = Not at all, 1 = Several days, 2 = More than half the days, 3 = Nearly every day";
                assert_eq!(question.kind.hint(), hint);
            }
        }
    }
}
