use respite_protocol::events::{Checkin, Scale};
use ruma::user_id;

use super::*;
use crate::time;

fn asked(id: &str, second: i64, answer: AnswerKind) -> Asked {
    let at = Timestamp::from_second(second).unwrap();
    Asked {
        checkin: Checkin {
            id: id.parse().unwrap(),
            text: "?".to_owned(),
            answer,
            asked_ts: time::to_matrix(at),
            expires_ts: None,
            reminds: None,
        },
        event_id: format!("${id}").try_into().unwrap(),
        sender: "@therapist:x".try_into().unwrap(),
        at,
        expires: None,
        answers: Vec::new(),
        unclear: Vec::new(),
    }
}

fn scale() -> AnswerKind {
    AnswerKind::Scale(Scale::new(1, 5))
}

fn says(said: Option<&str>, value: Option<i64>, note: Option<&str>) -> Answer {
    let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
    Answer {
        room: String::new(),
        said: said.into_iter().map(ToOwned::to_owned).collect(),
        value,
        note: owned(note),
        id: None,
        set: Vec::new(),
        urgent: false,
        form: false,
    }
}

#[test]
fn the_newest_open_check_in_is_answered_unless_another_is_named() {
    let now = Timestamp::from_second(100).unwrap();
    let agenda = [asked("first", 1, scale()), asked("second", 2, scale())];
    let own = user_id!("@nurse:x");
    assert_eq!(choose(&agenda, None, own, now).unwrap().event_id, "$second");
    assert_eq!(
        choose(&agenda, Some("fir"), own, now).unwrap().event_id,
        "$first"
    );
    assert!(choose(&agenda, Some("third"), own, now).is_err());
    assert!(choose(&agenda, None, user_id!("@therapist:x"), now).is_err());
}

#[test]
fn a_number_goes_to_a_scale_and_words_to_a_question_for_words() {
    let number = says(Some("3"), None, Some("tired"));
    assert_eq!(
        number.words(&asked("a", 1, scale())).unwrap(),
        (Some(3), Some("tired".to_owned()))
    );
    assert_eq!(
        number.words(&asked("a", 1, AnswerKind::Text)).unwrap(),
        (None, Some("3\ntired".to_owned()))
    );
    assert!(
        says(Some("fine"), None, None)
            .words(&asked("a", 1, scale()))
            .is_err()
    );
    assert_eq!(
        says(None, Some(2), None)
            .words(&asked("a", 1, scale()))
            .unwrap(),
        (Some(2), None)
    );
}

fn phq_2() -> AnswerKind {
    crate::instruments::asked(respite_protocol::instruments::bundled::named("phq-2").unwrap())
}

fn numbers(said: &[&str]) -> Answer {
    Answer {
        said: said.iter().map(|said| (*said).to_owned()).collect(),
        ..says(None, None, None)
    }
}

#[test]
fn a_questionnaire_takes_its_numbers_in_order_or_by_name() {
    let asked = asked("q", 1, phq_2());
    let scores = |answer: &Answer| {
        let answer = answer
            .answer(&asked, &Screen::of(None, None))
            .unwrap()
            .unwrap();
        let answers = answer.answers(&asked.checkin).unwrap();
        asked.checkin.questionnaire().unwrap().scored(&answers)[0]
            .value
            .to_string()
    };
    assert_eq!(scores(&numbers(&["1", "2"])), "3");
    assert_eq!(
        scores(&numbers(&["q", "1", "2"])),
        "3",
        "after the check-in's id"
    );
    let by_name = Answer {
        set: vec!["1=3".to_owned(), "/44255-8=several days".to_owned()],
        ..says(None, None, None)
    };
    assert_eq!(scores(&by_name), "4");
    for wrong in [&["1"][..], &["1", "9"], &["1", "2", "3"]] {
        let error = numbers(wrong)
            .answer(&asked, &Screen::of(None, None))
            .unwrap_err()
            .to_string();
        assert!(error.contains("is not understood"), "{error}");
    }
    let unknown = Answer {
        set: vec!["9=1".to_owned()],
        ..says(None, None, None)
    };
    assert!(unknown.answer(&asked, &Screen::of(None, None)).is_err());
}

#[test]
fn an_id_is_told_from_an_answer() {
    assert_eq!(numbers(&["ab3", "4"]).id(), Some("ab3"));
    assert_eq!(numbers(&["2", "1", "0"]).id(), None);
    assert_eq!(numbers(&["-", "1"]).id(), None);
    assert_eq!(numbers(&["4"]).id(), None);
    let named = Answer {
        id: Some("x".to_owned()),
        ..numbers(&["fine", "thanks"])
    };
    assert_eq!((named.id(), named.values().len()), (Some("x"), 2));
}
