use respite_protocol::events::{Answer, AnswerKind, Checkin, Scale};
use ruma::user_id;

use super::*;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
}

fn entry(sender: &str, minute: i64, said: Said) -> Entry {
    Entry {
        event_id: format!("${sender}{minute}").try_into().unwrap(),
        sender: sender.try_into().unwrap(),
        at: at(minute),
        about: None,
        said,
    }
}

fn text(sender: &str, minute: i64) -> Entry {
    entry(
        sender,
        minute,
        Said::Text {
            body: "hello".to_owned(),
            edited: false,
        },
    )
}

fn asks(minute: i64) -> Entry {
    entry(
        "@therapist:x",
        minute,
        Said::Checkin(Checkin {
            id: "c1".parse().unwrap(),
            text: "How was it?".to_owned(),
            answer: AnswerKind::Scale(Scale::new(1, 5)),
            asked_ts: time::to_matrix(at(minute)),
            expires_ts: None,
            reminds: None,
        }),
    )
}

fn answers_(minute: i64) -> Entry {
    let Said::Checkin(asked) = asks(1).said else {
        panic!("no check-in")
    };
    let answer = Answer::new(&asked, Some(4), None);
    entry("@nurse:x", minute, Said::Answer(answer))
}

fn asks_phq_9(minute: i64) -> Entry {
    let mut asks = asks(minute);
    let phq_9 = respite_protocol::instruments::bundled::named("phq-9").unwrap();
    if let Said::Checkin(checkin) = &mut asks.said {
        checkin.answer = crate::instruments::asked(phq_9);
    }
    asks
}

fn writes(minute: i64, body: &str) -> Entry {
    let body = body.to_owned();
    let said = Said::Text {
        body,
        edited: false,
    };
    entry("@nurse:x", minute, said)
}

#[test]
fn an_urgent_answer_stays_until_something_is_written_to_them() {
    let therapist = user_id!("@therapist:x");
    let urgent = [asks_phq_9(1), writes(2, "0 0 0 0 0 0 0 0 1")];
    assert_eq!(
        seen_by(therapist, &urgent, 3),
        ["answer"],
        "though it is read"
    );
    let planned = [&urgent[..], &[asks(4)]].concat();
    assert_eq!(
        seen_by(therapist, &planned, 3),
        seen_by(therapist, &urgent, 3)
    );
    let answered = [&urgent[..], &[text("@therapist:x", 4)]].concat();
    assert!(seen_by(therapist, &answered, 5).is_empty());
    let calm = [asks_phq_9(1), writes(2, "3 3 3 3 3 3 3 3 0")];
    assert!(seen_by(therapist, &calm, 3).is_empty());
}

#[test]
fn what_is_not_understood_is_shown_as_such() {
    let therapist = user_id!("@therapist:x");
    let entries = [asks_phq_9(1), writes(2, "2 1 0")];
    assert_eq!(seen_by(therapist, &entries, 1), ["unclear", "unread"]);
    assert!(seen_by(user_id!("@nurse:x"), &entries, 1).contains(&"checkin".to_owned()));
}

#[test]
fn what_is_urgent_comes_before_everything_else() {
    let therapist = user_id!("@therapist:x");
    let entries = [asks_phq_9(1), writes(2, "0 0 0 0 0 0 0 0 3")];
    let mut whats = attention(&entries, therapist, at(1), &Names::default(), at(9));
    whats.push(What::Checkin {
        id: String::new(),
        text: String::new(),
        time: at(0),
        expires: Some(at(0)),
    });
    whats.sort_by_key(What::order);
    assert!(matches!(whats[0], What::Answer { urgent: true, .. }));
}

fn seen_by(user: &UserId, entries: &[Entry], read: i64) -> Vec<String> {
    let whats = attention(entries, user, at(read), &Names::default(), at(1_000));
    whats
        .iter()
        .map(|what| {
            serde_json::to_value(what).unwrap()["type"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[test]
fn the_nurse_sees_an_open_check_in_even_when_it_is_read() {
    let nurse = user_id!("@nurse:x");
    assert_eq!(seen_by(nurse, &[asks(1)], 5), ["checkin"]);
    assert!(seen_by(nurse, &[asks(1), answers_(2)], 5).is_empty());
}

#[test]
fn the_therapist_sees_the_answer_once_and_not_as_a_message() {
    let therapist = user_id!("@therapist:x");
    let entries = [asks(1), answers_(2), text("@nurse:x", 3)];
    assert_eq!(seen_by(therapist, &entries, 1), ["answer", "unread"]);
    assert_eq!(seen_by(therapist, &entries, 2), ["unread"]);
    assert!(seen_by(therapist, &entries, 3).is_empty());
}

#[test]
fn ones_own_words_want_no_attention() {
    assert!(seen_by(user_id!("@nurse:x"), &[text("@nurse:x", 3)], 0).is_empty());
}

#[test]
fn what_expires_first_comes_first() {
    let checkin = |minute: i64| What::Checkin {
        id: String::new(),
        text: String::new(),
        time: at(0),
        expires: Some(at(minute)),
    };
    let unread = What::Unread {
        count: 1,
        more: false,
        by: String::new(),
        time: at(0),
    };
    let mut all = [unread.clone(), checkin(9), What::Invitation, checkin(3)];
    all.sort_by_key(What::order);
    assert_eq!(all, [checkin(3), checkin(9), unread, What::Invitation]);
}
