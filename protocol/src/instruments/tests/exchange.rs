use fhirkit::r4;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::bundles::answered;
use crate::instruments::{
    Answers, Band, Choice, Comparison, Condition, Decimal, InvalidQuestionnaire, Item, Kind,
    Missing, Questionnaire, Response, Scale, Score, Urgent, Value, When, bundled, fhir::Coding,
};

/// Another implementation, generated from the specification, must find nothing wrong with it.
fn is_fhir(questionnaire: &Questionnaire) -> Result<(), String> {
    let text = serde_json::to_string(questionnaire).unwrap();
    let read = fhirkit::from_json_strict::<r4::Questionnaire>(&text);
    read.map(drop).map_err(|error| format!("{error:?}: {text}"))
}

fn response_is_fhir(response: &Response) -> Result<(), String> {
    let text = serde_json::to_string(response).unwrap();
    let read = fhirkit::from_json_strict::<r4::QuestionnaireResponse>(&text);
    read.map(drop).map_err(|error| format!("{error:?}: {text}"))
}

fn again(questionnaire: &Questionnaire) -> Questionnaire {
    let text = serde_json::to_string(questionnaire).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn read(json: Json) -> Result<Questionnaire, String> {
    serde_json::from_value(json).map_err(|error| error.to_string())
}

#[test]
fn what_is_bundled_is_valid_fhir_and_reads_the_same_again() {
    for questionnaire in bundled::all() {
        is_fhir(&questionnaire).unwrap();
        assert_eq!(again(&questionnaire), questionnaire);
        let mut nameless = questionnaire.clone();
        nameless.items[0].link_id.clear();
        assert!(is_fhir(&nameless).is_err(), "the judge judges");
        let some = vec![1; questionnaire.questions().count()];
        if questionnaire.id.contains('-') && questionnaire.id != "between-shifts" {
            let response = Response::new(&questionnaire, &answered(&questionnaire, &some));
            response_is_fhir(&response).unwrap();
            assert!(response.complete);
        }
    }
}

#[test]
fn codes_of_loinc_are_kept() {
    let json = serde_json::to_value(bundled::named("phq-9").unwrap()).unwrap();
    assert_eq!(json["code"][0]["code"], "44249-1");
    let score = json
        .pointer("/extension/0/extension/1/valueCoding")
        .unwrap();
    assert_eq!(
        (score["system"].as_str(), score["code"].as_str()),
        (Some("http://loinc.org"), Some("44261-6"))
    );
    let codes: Vec<_> = (1..=9)
        .map(|n| json["item"][n]["code"][0]["code"].as_str().unwrap())
        .collect();
    let expected = [
        "44250-9", "44255-8", "44259-0", "44254-1", "44251-7", "44258-2", "44252-5", "44253-3",
        "44260-8",
    ];
    assert_eq!(codes, expected);
    let choices: Vec<_> = (0..4)
        .map(|n| {
            json["item"][1]["answerOption"][n]["valueCoding"]["code"]
                .as_str()
                .unwrap()
        })
        .collect();
    assert_eq!(choices, ["LA6568-5", "LA6569-3", "LA6570-1", "LA6571-9"]);
    let gad_7 = serde_json::to_value(bundled::named("gad-7").unwrap()).unwrap();
    let codes: Vec<_> = (1..=7)
        .map(|n| gad_7["item"][n]["code"][0]["code"].as_str().unwrap())
        .collect();
    assert_eq!(
        codes,
        [
            "69725-0", "68509-9", "69733-4", "69734-2", "69735-9", "69689-8", "69736-7"
        ]
    );
}

/// A file as other programs write it: a narrative, a shared value set, computed items, prefixes.
fn of_another_program() -> Json {
    json!({
        "resourceType": "Questionnaire",
        "meta": { "versionId": "7", "profile": ["http://example.org/q"] },
        "text": { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>" },
        "contained": [{
            "resourceType": "ValueSet", "id": "often", "status": "active",
            "compose": { "include": [{ "system": "http://loinc.org", "concept": [
                { "code": "LA6568-5", "display": "Not at all", "extension": [
                    { "url": "http://hl7.org/fhir/StructureDefinition/valueset-ordinalValue", "valueDecimal": 0 }] },
                { "code": "LA6569-3", "display": "Several days", "extension": [
                    { "url": "http://hl7.org/fhir/StructureDefinition/itemWeight", "valueDecimal": 1.5 }] },
            ]}]},
        }],
        "name": "Sleep Check (short)",
        "status": "draft",
        "subjectType": ["Patient"],
        "item": [
            { "linkId": "g", "type": "group", "text": "Last week", "item": [
                { "linkId": "1", "prefix": "1.", "type": "choice", "text": "How often?", "answerValueSet": "#often" },
                { "linkId": "2", "type": "boolean", "text": "Any help?", "enableWhen": [
                    { "question": "1", "operator": "=", "answerCoding": { "code": "LA6569-3" } }] },
            ]},
            { "linkId": "total", "type": "decimal", "text": "Total", "readOnly": true },
        ],
    })
}

#[test]
fn a_file_of_another_program_is_read_for_what_we_know() {
    let questionnaire = read(of_another_program()).unwrap();
    assert_eq!(
        (questionnaire.id.as_str(), questionnaire.title.as_str()),
        ("sleep-check-short", "Sleep Check (short)")
    );
    let questions: Vec<_> = questionnaire
        .questions()
        .map(|item| item.text.as_str())
        .collect();
    assert_eq!(
        questions,
        ["1. How often?", "Any help?"],
        "the total is ours to compute"
    );
    let often = questionnaire.question("1").unwrap();
    assert_eq!(
        often.kind.hint(),
        "1 = Not at all, 2 = Several days",
        "halves are no numbers to type"
    );
    let several = often.kind.read("several days").unwrap();
    assert_eq!(often.weight(&several), Some("1.5".parse().unwrap()));
    is_fhir(&questionnaire).unwrap();
    let answers = Answers::from_iter([
        ("1".to_owned(), several),
        ("2".to_owned(), Value::Boolean(true)),
    ]);
    questionnaire.check(&answers).unwrap();
    let response = Response::new(&questionnaire, &answers);
    response_is_fhir(&response).unwrap();
    let json = serde_json::to_value(&response).unwrap();
    assert_eq!(
        json.pointer("/item/0/item/0/answer/0/valueCoding/code"),
        Some(&json!("LA6569-3"))
    );
    assert_eq!(
        questionnaire.sift(&serde_json::from_value(json).unwrap()),
        answers
    );
}

#[test]
fn a_file_that_we_cannot_ask_is_refused_with_its_place() {
    let changed = |change: fn(&mut Json)| {
        let mut file = of_another_program();
        change(&mut file);
        read(file).unwrap_err()
    };
    assert!(changed(|file| file["resourceType"] = json!("Patient")).contains("“Patient”"));
    assert!(
        changed(|file| file["item"][0]["item"][1]["type"] = json!("attachment"))
            .contains("“2” is of the type “attachment”")
    );
    assert!(
        changed(|file| file["item"][0]["item"][0]["repeats"] = json!(true))
            .contains("several answers")
    );
    assert!(
        changed(|file| file["item"][0]["item"][0]["answerValueSet"] = json!("http://x"))
            .contains("no answers to choose")
    );
    assert!(
        changed(|file| file["item"][0]["item"][1]["enableWhen"][0]["question"] = json!("9"))
            .contains("enableWhen")
    );
    assert!(
        changed(|file| file["item"][0]["item"][1]["enableWhen"][0]["operator"] = json!("~"))
            .contains("enableWhen")
    );
    assert!(changed(|file| file["item"] = json!([])).contains("asks nothing"));
    assert!(read(json!([])).is_err() && read(json!({})).is_err() && read(json!(7)).is_err());
    let error = read(json!({ "resourceType": "x".repeat(10_000) })).unwrap_err();
    assert!(
        error.len() < 200,
        "what a file says is not repeated at length"
    );
}

#[test]
fn a_response_out_of_limits_is_none() {
    let response = |item: Json| {
        serde_json::from_value::<Response>(
            json!({ "resourceType": "QuestionnaireResponse", "item": item }),
        )
    };
    assert!(response(json!([{ "linkId": "a", "answer": [{ "valueString": "x" }] }])).is_ok());
    assert!(response(json!([{ "linkId": "", "answer": [{ "valueString": "x" }] }])).is_err());
    assert!(
        response(json!([{ "linkId": "a", "answer": [{ "valueString": "x".repeat(2_001) }] }]))
            .is_err()
    );
    assert!(
        response(json!([{ "linkId": "a", "answer": [{ "valueInteger": i64::MAX }] }])).is_err()
    );
    assert!(
        response(json!(
            (0..101)
                .map(|n| json!({ "linkId": n.to_string() }))
                .collect::<Vec<_>>()
        ))
        .is_err()
    );
    let deep = (0..9).fold(
        json!([]),
        |inside, _| json!([{ "linkId": "a", "item": inside }]),
    );
    assert!(response(deep).is_err());
    assert!(
        serde_json::from_value::<Response>(json!({ "resourceType": "Questionnaire" })).is_err()
    );
}

fn decimal() -> impl Strategy<Value = Decimal> {
    (-50_000_i64..50_000).prop_map(|n| {
        format!("{}.{:03}", n / 1_000, (n % 1_000).abs())
            .parse()
            .unwrap()
    })
}

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Zäöü?!\"<>&😀]{1,8}( [a-zA-Z0-9,.]{1,8}){0,3}"
}

fn kind() -> impl Strategy<Value = Kind> {
    let labels = (proptest::option::of(text()), proptest::option::of(text()));
    let scale =
        (-20_i64..20, 1_i64..20, labels).prop_map(|(low, steps, (low_label, high_label))| {
            Kind::Scale(Scale {
                low_label,
                high_label,
                ..Scale::new(low, low + steps)
            })
        });
    let range = (
        proptest::option::of(-50_i64..0),
        proptest::option::of(0_i64..50),
    );
    let choices = (1_usize..6, any::<u8>(), any::<bool>()).prop_map(|(count, which, weighted)| {
        let choice = |n: i64| Choice {
            value: match which % 3 {
                0 => Value::Coding(Coding {
                    system: (which > 100).then(|| "urn:x".to_owned()),
                    code: Some(format!("c{n}")),
                    display: Some(format!("choice {n}")),
                }),
                1 => Value::Integer(n),
                _ => Value::Text(format!("text {n}")),
            },
            weight: (weighted || which % 3 == 1).then(|| Decimal::whole(n).unwrap()),
        };
        Kind::Choice(
            (0..count)
                .map(|n| choice(i64::try_from(n).unwrap()))
                .collect(),
        )
    });
    prop_oneof![
        Just(Kind::Line),
        Just(Kind::Text),
        Just(Kind::Date),
        Just(Kind::Boolean),
        Just(Kind::Display),
        scale,
        choices,
        range.prop_map(|(min, max)| Kind::Integer { min, max }),
        (decimal(), decimal()).prop_map(|(one, two)| Kind::Decimal {
            min: Some(one.min(two)),
            max: Some(one.max(two))
        }),
    ]
}

/// Questionnaires of every kind, with branches, groups, scores and rules.
fn questionnaires() -> impl Strategy<Value = Questionnaire> {
    let item = (kind(), text(), any::<bool>(), any::<bool>(), decimal());
    (
        proptest::collection::vec(item, 1..8),
        any::<u8>(),
        decimal(),
    )
        .prop_map(|(drawn, how, bound)| {
            let mut items = vec![Item::new("first", "First?", Kind::Boolean)];
            for (place, (kind, text, required, branches, threshold)) in
                drawn.into_iter().enumerate()
            {
                let is_question = kind.is_question();
                let mut item = Item::new(format!("q{place}"), text, kind);
                item.required = required && is_question;
                let condition = |comparison| Condition {
                    question: "first".to_owned(),
                    comparison,
                };
                item.when = branches.then(|| When {
                    any: how % 2 == 0,
                    conditions: vec![
                        condition(Comparison::Is(Value::Boolean(true))),
                        condition(Comparison::Exists(how % 3 == 0)),
                    ],
                });
                let counts = item.weight(&Value::Integer(1)).is_some()
                    && matches!(item.kind, Kind::Scale(_));
                item.urgent = counts.then_some(Urgent {
                    at_least: Some(threshold),
                    at_most: (how > 99).then_some(bound),
                });
                items.push(item);
            }
            if how % 5 == 0 {
                let inside = items.split_off(1);
                items.push(Item {
                    items: inside,
                    ..Item::new("group", "A group", Kind::Group)
                });
            }
            let one = Decimal::whole(1).unwrap();
            Questionnaire {
                items,
                scores: vec![Score {
                    missing: if how % 2 == 0 {
                        Missing::NoScore
                    } else {
                        Missing::MeanOfOthers { at_most: 0 }
                    },
                    bands: vec![Band {
                        low: Decimal::ZERO,
                        high: one,
                        label: "all".to_owned(),
                    }],
                    positive_from: (how % 2 == 0).then_some(bound),
                    reliable_change: (how % 2 == 0).then_some(one),
                    ..Score::sum("yes", vec!["first".to_owned()])
                }],
                description: (how % 2 == 0).then(|| "what for".to_owned()),
                ..bundled::named("mood").unwrap()
            }
        })
}

/// An answer to every question that is asked, as far as `seed` gives one.
fn answers(questionnaire: &Questionnaire, seed: u64) -> Answers {
    let mut answers = Answers::default();
    let texts = [
        "1",
        "0",
        "2",
        "-3",
        "7.5",
        "2026-10-25",
        "yes",
        "no",
        "words",
    ];
    for _ in 0..20 {
        let asked = questionnaire.asked(&answers);
        let open = asked.iter().find_map(|item| {
            let start = usize::try_from(seed).unwrap() % texts.len();
            let mut texts = texts.iter().cycle().skip(start).take(texts.len());
            let none = answers.get(&item.link_id).is_none();
            let value = none
                .then(|| texts.find_map(|text| item.kind.read(text)))
                .flatten()?;
            Some((item.link_id.clone(), value))
        });
        let Some((link_id, value)) = open else { break };
        answers.set(link_id, value);
    }
    answers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_valid_fhir_and_read_again_as_it_was(questionnaire in questionnaires(), seed in 0_u64..1_000) {
        let missing_nothing = |mut questionnaire: Questionnaire| {
            // None that may be missing is the same as no score without them.
            for score in &mut questionnaire.scores {
                score.missing = Missing::NoScore;
            }
            questionnaire
        };
        prop_assert_eq!(questionnaire.validate(), Ok(()));
        prop_assert_eq!(is_fhir(&questionnaire), Ok(()));
        prop_assert_eq!(missing_nothing(again(&questionnaire)), missing_nothing(questionnaire.clone()));
        let answers = answers(&questionnaire, seed);
        let response = Response::new(&questionnaire, &answers);
        if !answers.is_empty() {
            prop_assert_eq!(response_is_fhir(&response), Ok(()));
        }
        let json = serde_json::to_string(&response).unwrap();
        let read: Response = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&read, &response);
        prop_assert_eq!(questionnaire.sift(&read), answers);
    }

    #[test]
    fn whatever_a_file_holds_it_is_read_or_refused(
        path in proptest::sample::select(vec![
            "/item/0/type", "/item/0/item/0/linkId", "/item/0/item/0/answerValueSet", "/contained/0/compose",
            "/item/0/item/1/enableWhen/0/answerCoding", "/item/0/item/1/enableWhen", "/item", "/name", "/contained",
        ]),
        with in prop_oneof![
            Just(json!(null)), Just(json!(7)), Just(json!("")), Just(json!([])), Just(json!({})), Just(json!("x".repeat(9_000))),
            Just(json!([[], {}])),
        ],
    ) {
        let mut file = of_another_program();
        *file.pointer_mut(path).unwrap() = with;
        if let Ok(questionnaire) = read(file) {
            prop_assert_eq!(questionnaire.validate(), Ok(()));
        }
    }
}

#[test]
fn errors_are_sentences() {
    let error = InvalidQuestionnaire::Kind("q".to_owned(), "quantity".to_owned()).to_string();
    assert!(error.starts_with("“q” is of the type “quantity”"));
}
