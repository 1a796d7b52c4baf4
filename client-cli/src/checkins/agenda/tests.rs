use respite_protocol::events::{Answer, Scale};
use ruma::{MilliSecondsSinceUnixEpoch, UInt, user_id};

use super::*;

const MINUTE: i64 = 60;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * MINUTE).unwrap()
}

fn entry(id: &str, sender: &str, minute: i64, said: Said) -> Entry {
    Entry {
        event_id: id.try_into().unwrap(),
        sender: sender.try_into().unwrap(),
        at: at(minute),
        about: None,
        said,
    }
}

fn checkin(id: &str, reminds: Option<&str>) -> Checkin {
    Checkin {
        id: id.parse().unwrap(),
        text: "How was the night?".to_owned(),
        answer: AnswerKind::Scale(Scale::new(1, 5)),
        asked_ts: time::to_matrix(at(0)),
        expires_ts: Some(time::to_matrix(at(60))),
        reminds: reminds.map(|id| id.parse().unwrap()),
    }
}

fn asks(id: &str, event: &str, minute: i64) -> Entry {
    entry(
        event,
        "@therapist:x",
        minute,
        Said::Checkin(checkin(id, None)),
    )
}

fn writes(event: &str, minute: i64, body: &str) -> Entry {
    entry(
        event,
        "@nurse:x",
        minute,
        Said::Text {
            body: body.to_owned(),
            edited: false,
        },
    )
}

fn block(value: Option<i64>, note: Option<&str>) -> Answer {
    Answer::new(&checkin("c1", None), value, note.map(ToOwned::to_owned))
}

fn values(agenda: &[Asked]) -> Vec<Vec<Option<i64>>> {
    agenda
        .iter()
        .map(|asked| asked.answers.iter().map(|given| given.value).collect())
        .collect()
}

#[test]
fn an_answer_by_any_client_is_understood() {
    let block = block(Some(4), None);
    let by_block = [
        asks("c1", "$1", 0),
        entry("$2", "@nurse:x", 5, Said::Answer(block)),
    ];
    let by_text = [asks("c1", "$1", 0), writes("$2", 5, "4, long but fine")];
    let mut vote = entry("$2", "@nurse:x", 5, Said::Vote(vec!["4".to_owned()]));
    vote.about = Some("$1".try_into().unwrap());
    for entries in [
        by_block.to_vec(),
        by_text.to_vec(),
        vec![asks("c1", "$1", 0), vote],
    ] {
        assert_eq!(values(&agenda(&entries)), [[Some(4)]]);
    }
}

#[test]
fn a_message_that_is_no_answer_leaves_the_check_in_open() {
    let agenda = agenda(&[asks("c1", "$1", 0), writes("$2", 5, "3 patients tonight")]);
    assert!(agenda[0].answers.is_empty());
    assert!(agenda[0].is_open_for(user_id!("@nurse:x"), at(10)));
    assert!(
        !agenda[0].is_open_for(user_id!("@nurse:x"), at(61)),
        "expired"
    );
    assert!(
        !agenda[0].is_open_for(user_id!("@therapist:x"), at(10)),
        "one's own"
    );
}

#[test]
fn the_therapist_cannot_answer_in_the_nurses_name() {
    let own = block(Some(5), None);
    let agenda = agenda(&[
        asks("c1", "$1", 0),
        entry("$2", "@therapist:x", 1, Said::Answer(own)),
    ]);
    assert!(agenda[0].answers.is_empty());
}

#[test]
fn a_number_off_the_scale_does_not_count() {
    let wild = block(Some(99), None);
    let agenda = agenda(&[
        asks("c1", "$1", 0),
        entry("$2", "@nurse:x", 1, Said::Answer(wild)),
    ]);
    assert!(agenda[0].answers.is_empty());
}

#[test]
fn a_reminder_belongs_to_its_check_in() {
    let reminder = entry(
        "$2",
        "@therapist:x",
        30,
        Said::Checkin(checkin("c2", Some("c1"))),
    );
    let mut reply = writes("$3", 31, "2");
    reply.about = Some("$2".try_into().unwrap());
    let agenda = agenda(&[asks("c1", "$1", 0), reminder, reply]);
    assert_eq!(values(&agenda), [[Some(2)]]);
}

#[test]
fn somebody_else_cannot_take_over_a_check_in_by_its_id() {
    let forged = entry(
        "$2",
        "@mallory:x",
        1,
        Said::Checkin(checkin("c9", Some("c1"))),
    );
    let agenda = agenda(&[asks("c1", "$1", 0), forged]);
    assert_eq!(agenda.len(), 2);
    assert_eq!(agenda[0].event_id, "$1");
}

#[test]
fn a_later_answer_replaces_an_earlier_one() {
    let answer = |value| Said::Answer(block(Some(value), None));
    let agenda = agenda(&[
        asks("c1", "$1", 0),
        entry("$2", "@nurse:x", 1, answer(2)),
        entry("$3", "@nurse:x", 2, answer(3)),
    ]);
    assert_eq!(values(&agenda), [[Some(3)]]);
}

#[test]
fn a_postponed_check_in_expires_as_much_later() {
    let agenda = agenda(&[asks("c1", "$1", 90)]);
    assert_eq!(agenda[0].expires, Some(at(150)));
}

#[test]
fn wild_times_do_not_panic() {
    let mut wild = checkin("c1", None);
    wild.asked_ts = MilliSecondsSinceUnixEpoch(UInt::MIN);
    wild.expires_ts = Some(MilliSecondsSinceUnixEpoch(UInt::MAX));
    assert_eq!(
        agenda(&[entry("$1", "@therapist:x", 0, Said::Checkin(wild))]).len(),
        1
    );
}

/// The therapist asks a bundled questionnaire.
fn asks_for(id: &str, event: &str) -> Entry {
    let questionnaire = respite_protocol::instruments::bundled::named(id).unwrap();
    let asked = Checkin {
        text: questionnaire.title.clone(),
        answer: AnswerKind::Questionnaire {
            questionnaire: Box::new(questionnaire),
        },
        ..checkin("q1", None)
    };
    entry(event, "@therapist:x", 0, Said::Checkin(asked))
}

#[test]
fn a_questionnaire_is_answered_by_typing_numbers_in_any_client() {
    let agenda = agenda(&[
        asks_for("phq-9", "$1"),
        writes("$2", 5, "2 1 0 0 1 2 0 1 0"),
    ]);
    let given = &agenda[0].answers[0];
    assert_eq!(given.scores[0].shown, "total 7 (mild)");
    assert_eq!(given.said.len(), 9);
    assert!(!given.urgent && !given.late);
}

#[test]
fn an_urgent_answer_is_known_as_such_though_its_client_knows_nothing_of_it() {
    let agenda = agenda(&[
        asks_for("phq-9", "$1"),
        writes("$2", 5, "0 0 0 0 0 0 0 0 2"),
    ]);
    assert!(agenda[0].answers[0].urgent);
}

#[test]
fn an_urgent_answer_that_is_corrected_stays_urgent() {
    let agenda = agenda(&[
        asks_for("phq-9", "$1"),
        writes("$2", 2, "0 0 0 0 0 0 0 0 1"),
        writes("$3", 3, "0 0 0 0 0 0 0 0 0"),
    ]);
    assert_eq!(agenda[0].answers.len(), 1);
    assert!(agenda[0].answers[0].urgent);
}

#[test]
fn what_looks_like_an_answer_and_is_none_is_shown_until_one_comes() {
    let unclear = |entries: &[Entry]| -> Vec<String> {
        let agenda = agenda(entries);
        agenda[0]
            .unclear
            .iter()
            .map(|unclear| unclear.body.clone())
            .collect()
    };
    let asked = asks_for("phq-9", "$1");
    assert_eq!(
        unclear(&[asked.clone(), writes("$2", 5, "2 1 0")]),
        ["2 1 0"]
    );
    assert!(unclear(&[asked.clone(), writes("$2", 5, "later, I am tired")]).is_empty());
    let mut reply = writes("$2", 5, "quite alright");
    reply.about = Some("$1".try_into().unwrap());
    assert_eq!(unclear(&[asked.clone(), reply]), ["quite alright"]);
    let then = [
        asked,
        writes("$2", 5, "2 1 0"),
        writes("$3", 6, "2 1 0 0 1 2 0 1 0"),
    ];
    assert!(unclear(&then).is_empty());
    assert!(
        unclear(&[
            asks("c1", "$1", 0),
            entry("$2", "@therapist:x", 1, text("9"))
        ])
        .is_empty()
    );
}

fn text(body: &str) -> Said {
    Said::Text {
        body: body.to_owned(),
        edited: false,
    }
}

#[test]
fn a_late_answer_counts_as_late() {
    let late = |minute, body: &str| {
        let agenda = agenda(&[asks("c1", "$1", 0), writes("$2", minute, body)]);
        agenda[0].answers.first().map(|given| given.late)
    };
    assert_eq!(late(59, "3"), Some(false));
    assert_eq!(late(61, "3"), Some(true));
    let mut words = checkin("c1", None);
    words.answer = AnswerKind::Text;
    let asked = entry("$1", "@therapist:x", 0, Said::Checkin(words));
    let agenda = agenda(&[asked, writes("$2", 61, "something else")]);
    assert!(
        agenda[0].answers.is_empty(),
        "whatever is written much later is no answer"
    );
}

#[test]
fn an_answer_block_counts_only_for_what_was_asked() {
    let asked = asks_for("phq-9", "$1");
    let Said::Checkin(of) = &asked.said else {
        panic!("no check-in")
    };
    let questionnaire = of.questionnaire().unwrap();
    let nothing = Answer::to_questionnaire(of, questionnaire, &Answers::default(), None);
    let agenda = agenda(&[
        asked.clone(),
        entry("$2", "@nurse:x", 5, Said::Answer(nothing)),
    ]);
    assert!(agenda[0].answers.is_empty());
}
