//! PHQ-9, PHQ-2, PHQ-4, GAD-7 and GAD-2.

use super::{bands, number};
use crate::instruments::{
    Choice, Item, Kind, Missing, Questionnaire, Score, Urgent, questionnaire::coding,
};

const COPYRIGHT: &str = "Developed by Drs. Robert L. Spitzer, Janet B.W. Williams, Kurt Kroenke and colleagues, with an \
     educational grant from Pfizer Inc. No permission required to reproduce, translate, display or \
     distribute. This material contains content from LOINC (http://loinc.org). LOINC is copyright \
     © Regenstrief Institute, Inc. and the Logical Observation Identifiers Names and Codes (LOINC) \
     Committee and is available at no cost under the license at http://loinc.org/license.";
const LEAD: &str =
    "Over the last 2 weeks, how often have you been bothered by any of the following problems?";

/// The nine questions about depression: LOINC's code and the words.
const DEPRESSION: [(&str, &str); 9] = [
    ("44250-9", "Little interest or pleasure in doing things"),
    ("44255-8", "Feeling down, depressed, or hopeless"),
    (
        "44259-0",
        "Trouble falling or staying asleep, or sleeping too much",
    ),
    ("44254-1", "Feeling tired or having little energy"),
    ("44251-7", "Poor appetite or overeating"),
    (
        "44258-2",
        "Feeling bad about yourself - or that you are a failure or have let yourself or your family down",
    ),
    (
        "44252-5",
        "Trouble concentrating on things, such as reading the newspaper or watching television",
    ),
    (
        "44253-3",
        "Moving or speaking so slowly that other people could have noticed? Or the opposite - being so \
         fidgety or restless that you have been moving around a lot more than usual",
    ),
    (
        "44260-8",
        "Thoughts that you would be better off dead or of hurting yourself in some way",
    ),
];

/// The seven questions about anxiety.
const ANXIETY: [(&str, &str); 7] = [
    ("69725-0", "Feeling nervous, anxious or on edge"),
    ("68509-9", "Not being able to stop or control worrying"),
    ("69733-4", "Worrying too much about different things"),
    ("69734-2", "Trouble relaxing"),
    ("69735-9", "Being so restless that it is hard to sit still"),
    ("69689-8", "Becoming easily annoyed or irritable"),
    (
        "69736-7",
        "Feeling afraid as if something awful might happen",
    ),
];

/// The ninth question of the PHQ-9. An answer above “not at all” is urgent.
const SELF_HARM: &str = "44260-8";
/// How many questions of the PHQ-9 and the GAD-7 may be without an answer.
const MISSING: Missing = Missing::MeanOfOthers { at_most: 2 };

pub(super) fn phq_9() -> Questionnaire {
    let mut phq_9 = questionnaire("phq-9", "PHQ-9: depression", &[&DEPRESSION]);
    phq_9.codes = vec![coding("44249-1", "PHQ-9 quick depression assessment panel")];
    phq_9.scores = vec![Score {
        code: Some(coding(
            "44261-6",
            "Patient Health Questionnaire 9 item (PHQ-9) total score",
        )),
        missing: MISSING,
        bands: bands(&[
            (0, 4, "minimal"),
            (5, 9, "mild"),
            (10, 14, "moderate"),
            (15, 19, "moderately severe"),
            (20, 27, "severe"),
        ]),
        // NHS Talking Therapies manual: a change of 6 or more.
        reliable_change: Some(number(6)),
        ..Score::sum("total", ids(&DEPRESSION))
    }];
    phq_9
}

pub(super) fn phq_2() -> Questionnaire {
    let [interest, down, ..] = DEPRESSION;
    let mut phq_2 = questionnaire("phq-2", "PHQ-2: depression, in short", &[&[interest, down]]);
    phq_2.codes = vec![coding(
        "55757-9",
        "Patient Health Questionnaire 2 item (PHQ-2)",
    )];
    phq_2.scores = vec![Score {
        code: Some(coding(
            "55758-7",
            "Patient Health Questionnaire 2 item (PHQ-2) total score",
        )),
        positive_from: Some(number(3)),
        ..Score::sum("total", ids(&[interest, down]))
    }];
    phq_2
}

pub(super) fn phq_4() -> Questionnaire {
    let [interest, down, ..] = DEPRESSION;
    let [nervous, worrying, ..] = ANXIETY;
    let (anxiety, depression) = ([nervous, worrying], [interest, down]);
    let mut phq_4 = questionnaire(
        "phq-4",
        "PHQ-4: anxiety and depression, in short",
        &[&anxiety, &depression],
    );
    let half = |name, of: &[(&str, &str)]| Score {
        positive_from: Some(number(3)),
        ..Score::sum(name, ids(of))
    };
    phq_4.scores = vec![
        Score {
            code: Some(coding(
                "70272-0",
                "Patient Health Questionnaire 4 item (PHQ-4) total score",
            )),
            bands: bands(&[
                (0, 2, "none"),
                (3, 5, "mild"),
                (6, 8, "moderate"),
                (9, 12, "severe"),
            ]),
            ..Score::sum("total", [ids(&anxiety), ids(&depression)].concat())
        },
        half("anxiety", &anxiety),
        half("depression", &depression),
    ];
    phq_4
}

pub(super) fn gad_7() -> Questionnaire {
    let mut gad_7 = questionnaire("gad-7", "GAD-7: anxiety", &[&ANXIETY]);
    gad_7.codes = vec![coding(
        "69737-5",
        "Generalized anxiety disorder 7 item (GAD-7)",
    )];
    gad_7.scores = vec![Score {
        code: Some(coding(
            "70274-6",
            "Generalized anxiety disorder 7 item (GAD-7) total score",
        )),
        missing: MISSING,
        bands: bands(&[
            (0, 4, "minimal"),
            (5, 9, "mild"),
            (10, 14, "moderate"),
            (15, 21, "severe"),
        ]),
        // NHS Talking Therapies manual: a change of 4 or more.
        reliable_change: Some(number(4)),
        ..Score::sum("total", ids(&ANXIETY))
    }];
    gad_7
}

pub(super) fn gad_2() -> Questionnaire {
    let [nervous, worrying, ..] = ANXIETY;
    let mut gad_2 = questionnaire("gad-2", "GAD-2: anxiety, in short", &[&[nervous, worrying]]);
    gad_2.scores = vec![Score {
        positive_from: Some(number(3)),
        ..Score::sum("total", ids(&[nervous, worrying]))
    }];
    gad_2
}

fn questionnaire(id: &str, title: &str, parts: &[&[(&str, &str)]]) -> Questionnaire {
    let mut items = vec![Item::new("lead", LEAD, Kind::Display)];
    items.extend(parts.iter().copied().flatten().map(question));
    super::questionnaire(id, title, COPYRIGHT, items)
}

fn question((code, text): &(&str, &str)) -> Item {
    let choices = [
        ("LA6568-5", "Not at all"),
        ("LA6569-3", "Several days"),
        ("LA6570-1", "More than half the days"),
        ("LA6571-9", "Nearly every day"),
    ];
    let choices = (0..)
        .zip(choices)
        .map(|(weight, (code, label))| Choice::loinc(code, label, number(weight)));
    Item {
        codes: vec![coding(code, text)],
        urgent: (*code == SELF_HARM).then(|| Urgent::from(number(1))),
        ..Item::new(link_id(code), *text, Kind::Choice(choices.collect()))
    }
}

/// As the LOINC Consortium's own forms name their items.
fn link_id(code: &str) -> String {
    format!("/{code}")
}

fn ids(of: &[(&str, &str)]) -> Vec<String> {
    of.iter().map(|(code, _)| link_id(code)).collect()
}
