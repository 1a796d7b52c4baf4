use crate::instruments::{
    Answers, Choice, Comparison, Condition, Date, Decimal, InvalidAnswer, InvalidQuestionnaire,
    Item, Kind, MAX_CHOICES, MAX_ITEMS, Questionnaire, Response, Scale, Score, Urgent, Value, When,
    bundled,
};

fn with(items: Vec<Item>) -> Questionnaire {
    Questionnaire {
        items,
        scores: Vec::new(),
        ..bundled::named("mood").unwrap()
    }
}

fn when(any: bool, conditions: Vec<(&str, Comparison)>) -> Option<When> {
    let conditions = conditions
        .into_iter()
        .map(|(question, comparison)| Condition {
            question: question.to_owned(),
            comparison,
        });
    Some(When {
        any,
        conditions: conditions.collect(),
    })
}

fn question(link_id: &str, kind: Kind) -> Item {
    Item::new(link_id, "?", kind)
}

fn number() -> Kind {
    Kind::Integer {
        min: None,
        max: None,
    }
}

fn asked(questionnaire: &Questionnaire, answers: &[(&str, Value)]) -> Vec<String> {
    let answers: Answers = answers
        .iter()
        .map(|(id, value)| ((*id).to_owned(), value.clone()))
        .collect();
    questionnaire
        .asked(&answers)
        .iter()
        .map(|item| item.link_id.clone())
        .collect()
}

#[test]
fn a_question_is_asked_when_its_condition_holds() {
    let day = |text: &str| text.parse::<Date>().unwrap();
    let cases = [
        (Comparison::Exists(true), Some(Value::Integer(0)), true),
        (Comparison::Exists(true), None, false),
        (Comparison::Exists(false), None, true),
        (
            Comparison::Is(Value::Integer(3)),
            Some(Value::Integer(3)),
            true,
        ),
        (Comparison::Is(Value::Integer(3)), None, false),
        (Comparison::IsNot(Value::Integer(3)), None, true),
        (
            Comparison::IsNot(Value::Integer(3)),
            Some(Value::Integer(3)),
            false,
        ),
        (
            Comparison::Above(Value::Integer(3)),
            Some(Value::Integer(4)),
            true,
        ),
        (
            Comparison::Above(Value::Integer(3)),
            Some(Value::Integer(3)),
            false,
        ),
        (Comparison::Below(Value::Integer(3)), None, false),
        (
            Comparison::AtLeast(Value::Integer(3)),
            Some(Value::Integer(3)),
            true,
        ),
        (
            Comparison::AtMost(Value::Integer(3)),
            Some(Value::Integer(4)),
            false,
        ),
    ];
    for (comparison, answer, expected) in cases {
        let branch = Item {
            when: when(false, vec![("a", comparison.clone())]),
            ..question("b", Kind::Text)
        };
        let questionnaire = with(vec![question("a", number()), branch]);
        questionnaire.validate().unwrap();
        let answers: Vec<_> = answer
            .clone()
            .map(|answer| ("a", answer))
            .into_iter()
            .collect();
        let is_asked = asked(&questionnaire, &answers).contains(&"b".to_owned());
        assert_eq!(is_asked, expected, "{comparison:?} {answer:?}");
    }
    let dated = Item {
        when: when(
            false,
            vec![("a", Comparison::AtLeast(day("2026-03-01").into()))],
        ),
        ..question("b", Kind::Text)
    };
    let questionnaire = with(vec![question("a", Kind::Date), dated]);
    assert_eq!(
        asked(&questionnaire, &[("a", day("2026-02-28").into())]),
        ["a"]
    );
    assert_eq!(
        asked(&questionnaire, &[("a", day("2026-10-25").into())]),
        ["a", "b"]
    );
}

#[test]
fn several_conditions_hold_together_or_one_for_all() {
    let conditions = || {
        vec![
            ("a", Comparison::Is(Value::Boolean(true))),
            ("b", Comparison::Is(Value::Boolean(true))),
        ]
    };
    for (any, expected) in [(false, false), (true, true)] {
        let branch = Item {
            when: when(any, conditions()),
            ..question("c", Kind::Text)
        };
        let questionnaire = with(vec![
            question("a", Kind::Boolean),
            question("b", Kind::Boolean),
            branch,
        ]);
        let asked = asked(&questionnaire, &[("a", Value::Boolean(true))]);
        assert_eq!(asked.contains(&"c".to_owned()), expected);
    }
}

#[test]
fn what_is_inside_is_asked_with_what_it_is_inside_of() {
    let group = Item {
        when: when(false, vec![("a", Comparison::Is(Value::Boolean(true)))]),
        items: vec![Item {
            items: vec![question("d", Kind::Text)],
            ..question("c", number())
        }],
        ..question("b", Kind::Group)
    };
    let questionnaire = with(vec![question("a", Kind::Boolean), group]);
    let yes = ("a", Value::Boolean(true));
    assert_eq!(
        asked(&questionnaire, &[("a", Value::Boolean(false))]),
        ["a"]
    );
    assert_eq!(
        asked(&questionnaire, std::slice::from_ref(&yes)),
        ["a", "b", "c"]
    );
    assert_eq!(
        asked(&questionnaire, &[yes, ("c", Value::Integer(1))]),
        ["a", "b", "c", "d"]
    );
}

#[test]
fn an_answer_that_its_question_does_not_take_is_refused() {
    let questionnaire = bundled::named("between-shifts").unwrap();
    let check = |answers: &[(&str, Value)]| {
        let answers = answers
            .iter()
            .map(|(id, value)| ((*id).to_owned(), value.clone()));
        questionnaire.check(&answers.collect())
    };
    assert_eq!(check(&[]), Err(InvalidAnswer::Nothing));
    assert_eq!(
        check(&[("mood", Value::Integer(4))]),
        Ok(()),
        "an incomplete answer is one"
    );
    assert!(matches!(
        check(&[("mood", Value::Integer(11))]),
        Err(InvalidAnswer::NotTaken(..))
    ));
    assert!(matches!(
        check(&[("mood", Value::Text("low".to_owned()))]),
        Err(InvalidAnswer::NotTaken(..))
    ));
    assert!(matches!(
        check(&[("nobody", Value::Integer(1))]),
        Err(InvalidAnswer::NoQuestion(_))
    ));
    let awake = ("awake", Value::Text("noise".to_owned()));
    let slept = |number| ("sleep", Value::Integer(number));
    assert_eq!(check(&[slept(1), awake.clone()]), Ok(()));
    assert!(matches!(
        check(&[slept(5), awake]),
        Err(InvalidAnswer::NotAsked(_))
    ));
    let mut strict = questionnaire.clone();
    strict.items[0].required = true;
    let answers = Answers::from_iter([("sleep".to_owned(), Value::Integer(3))]);
    assert!(matches!(
        strict.check(&answers),
        Err(InvalidAnswer::Missing(_))
    ));
}

#[test]
fn of_a_response_only_what_fits_the_questionnaire_counts() {
    let questionnaire = bundled::named("between-shifts").unwrap();
    let forged = Answers::from_iter([
        ("mood".to_owned(), Value::Integer(99)),
        ("sleep".to_owned(), Value::Integer(5)),
        ("awake".to_owned(), Value::Text("not asked".to_owned())),
        ("load".to_owned(), Value::Integer(3)),
    ]);
    let mut response = Response::new(&questionnaire, &forged);
    response.items.push(crate::instruments::Answered {
        link_id: "awake".to_owned(),
        text: None,
        value: Some(Value::Text("smuggled in".to_owned())),
        items: Vec::new(),
    });
    let sifted = questionnaire.sift(&response);
    let left: Vec<_> = sifted
        .iter()
        .map(|(link_id, _)| link_id.to_owned())
        .collect();
    assert_eq!(left, ["load", "sleep"]);
}

#[test]
fn a_questionnaire_out_of_limits_is_refused_with_a_sentence() {
    let choice = |text: &str| Choice {
        value: Value::Text(text.to_owned()),
        weight: None,
    };
    let many = |count: usize| {
        (0..count)
            .map(|n| question(&format!("q{n}"), Kind::Text))
            .collect()
    };
    let choices = |count: usize| Kind::Choice((0..count).map(|n| choice(&n.to_string())).collect());
    let later = Item {
        when: when(false, vec![("b", Comparison::Exists(true))]),
        ..question("a", Kind::Text)
    };
    let mismatched = Item {
        when: when(false, vec![("a", Comparison::Is(Value::Boolean(true)))]),
        ..question("b", Kind::Text)
    };
    let urgent = Item {
        urgent: Some(Urgent::from(Decimal::ZERO)),
        ..question("a", Kind::Text)
    };
    let deep = (0..6).fold(question("x", Kind::Text), |inside, level| Item {
        items: vec![inside],
        ..question(&format!("g{level}"), Kind::Group)
    });
    let cases: Vec<(Vec<Item>, InvalidQuestionnaire)> = vec![
        (vec![], InvalidQuestionnaire::Empty),
        (
            vec![question("t", Kind::Display)],
            InvalidQuestionnaire::Empty,
        ),
        (many(MAX_ITEMS + 1), InvalidQuestionnaire::TooMany("items")),
        (vec![deep], InvalidQuestionnaire::TooMany("levels")),
        (
            vec![question("a", choices(MAX_CHOICES + 1))],
            InvalidQuestionnaire::TooMany("choices"),
        ),
        (
            vec![question("a", choices(0))],
            InvalidQuestionnaire::Choices("a".to_owned()),
        ),
        (
            vec![question("a", Kind::Text), question("a", Kind::Text)],
            InvalidQuestionnaire::Twice("a".to_owned()),
        ),
        (
            vec![later, question("b", Kind::Text)],
            InvalidQuestionnaire::Condition("a".to_owned()),
        ),
        (
            vec![question("a", number()), mismatched],
            InvalidQuestionnaire::Condition("b".to_owned()),
        ),
        (vec![urgent], InvalidQuestionnaire::Urgent("a".to_owned())),
        (
            vec![question(
                "a",
                Kind::Integer {
                    min: Some(2),
                    max: Some(1),
                },
            )],
            InvalidQuestionnaire::Range("a".to_owned()),
        ),
    ];
    for (items, expected) in cases {
        let error = with(items).validate().unwrap_err();
        assert_eq!(error, expected);
        assert!(!error.to_string().is_empty());
    }
    let upside_down = question("a", Kind::Scale(Scale::new(5, 1)));
    assert!(matches!(
        with(vec![upside_down]).validate(),
        Err(InvalidQuestionnaire::Scale(..))
    ));
    for id in ["", "two words", &"x".repeat(65)] {
        let mut named = bundled::named("mood").unwrap();
        named.id = id.to_owned();
        assert_eq!(named.validate(), Err(InvalidQuestionnaire::Id));
    }
}

#[test]
fn a_score_that_makes_no_sense_is_refused() {
    type Change = fn(&mut Score);
    let changes: [Change; 7] = [
        |score| score.questions.clear(),
        |score| score.questions.push("nobody".to_owned()),
        |score| score.questions.push(score.questions[0].clone()),
        |score| score.name.clear(),
        |score| score.missing = crate::instruments::Missing::MeanOfOthers { at_most: 9 },
        |score| score.bands.reverse(),
        |score| score.reliable_change = Some(Decimal::ZERO),
    ];
    for change in changes {
        let mut phq_9 = bundled::named("phq-9").unwrap();
        change(&mut phq_9.scores[0]);
        assert!(matches!(
            phq_9.validate(),
            Err(InvalidQuestionnaire::Score(..))
        ));
    }
}

#[test]
fn days_are_those_of_the_calendar() {
    for text in ["2024-02-29", "2026-12-31", "2000-02-29"] {
        assert_eq!(text.parse::<Date>().unwrap().to_string(), text);
    }
    for text in [
        "2026-02-29",
        "1900-02-29",
        "2026-13-01",
        "2026-00-10",
        "2026-1-1",
        "26-01-01",
        "2026-01-01T",
        "",
    ] {
        assert!(text.parse::<Date>().is_err(), "{text}");
    }
}
