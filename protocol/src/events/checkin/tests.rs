use ruma::{
    UInt,
    events::{
        poll::unstable_start::UnstablePollStartEventContent,
        room::message::{MessageType, RoomMessageEventContent},
    },
};

use super::*;

fn ts(ms: u64) -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(UInt::new(ms).unwrap())
}

pub(in crate::events) fn checkin(answer: AnswerKind) -> Checkin {
    Checkin {
        id: "sleep-1".parse().unwrap(),
        text: "How did you sleep?".to_owned(),
        answer,
        asked_ts: ts(1_700_000_000_000),
        expires_ts: Some(ts(1_700_030_000_000)),
        reminds: None,
    }
}

fn labelled() -> Scale {
    Scale {
        low_label: Some("badly".to_owned()),
        high_label: Some("well".to_owned()),
        ..Scale::new(1, 5)
    }
}

#[test]
fn an_existing_client_shows_a_scale_as_a_poll_with_buttons() {
    let sent = checkin(AnswerKind::Scale(labelled())).to_message().unwrap();
    assert_eq!(sent.event_type, POLL_START);
    let poll: UnstablePollStartEventContent = serde_json::from_value(sent.content.clone()).unwrap();
    let start = poll.poll_start();
    assert_eq!(start.question.text, "How did you sleep?");
    assert_eq!(start.kind, PollKind::Disclosed);
    let buttons: Vec<_> = start
        .answers
        .iter()
        .map(|a| (a.id.as_str(), a.text.as_str()))
        .collect();
    let expected = [
        ("1", "1 (badly)"),
        ("2", "2"),
        ("3", "3"),
        ("4", "4"),
        ("5", "5 (well)"),
    ];
    assert_eq!(buttons, expected);
    let body = sent.content["body"].as_str().unwrap();
    assert!(body.contains("How did you sleep?") && body.contains("from 1 (badly) to 5 (well)"));
    assert_eq!(sent.content["org.matrix.msc1767.text"].as_str(), Some(body));
}

#[test]
fn questions_that_are_no_poll_are_plain_text() {
    for answer in [AnswerKind::Text, AnswerKind::Scale(Scale::new(0, 100))] {
        let sent = checkin(answer).to_message().unwrap();
        assert_eq!(sent.event_type, MESSAGE);
        let message: RoomMessageEventContent = serde_json::from_value(sent.content).unwrap();
        assert!(matches!(message.msgtype, MessageType::Text(text) if text.body.contains("sleep")));
    }
}

#[test]
fn what_is_sent_is_what_is_read() {
    let kinds = [
        AnswerKind::Text,
        AnswerKind::Scale(labelled()),
        AnswerKind::Scale(Scale::new(0, 50)),
    ];
    for answer in kinds {
        let mut asked = checkin(answer);
        asked.reminds = Some("sleep-0".parse().unwrap());
        let mut sent = asked.to_message().unwrap();
        sent.content[BLOCK]["added_later"] = json!({ "by": "a newer client" });
        assert_eq!(
            Checkin::from_content(sent.event_type, &sent.content),
            Some(asked.clone())
        );
        assert_eq!(Checkin::from_content("m.room.topic", &sent.content), None);
        assert_eq!(asked.original().as_str(), "sleep-0");
    }
}

#[test]
fn what_is_out_of_limits_is_neither_sent_nor_read() {
    let refused = |change: fn(&mut Checkin)| {
        let mut asked = checkin(AnswerKind::Scale(Scale::new(1, 5)));
        let mut sent = asked.to_message().unwrap();
        change(&mut asked);
        sent.content[BLOCK] = json!(asked);
        assert_eq!(Checkin::from_content(sent.event_type, &sent.content), None);
        asked.to_message().unwrap_err()
    };
    assert_eq!(refused(|c| c.text.clear()), InvalidBlock::Empty);
    assert_eq!(
        refused(|c| c.text = "x".repeat(4_001)),
        InvalidBlock::TooLong
    );
    assert_eq!(
        refused(|c| c.answer = AnswerKind::Scale(Scale::new(5, 1))),
        InvalidBlock::Scale
    );
    assert_eq!(
        refused(|c| c.answer = AnswerKind::Scale(Scale::new(0, 101))),
        InvalidBlock::Scale
    );
    let extremes = |c: &mut Checkin| c.answer = AnswerKind::Scale(Scale::new(i64::MIN, i64::MAX));
    assert_eq!(refused(extremes), InvalidBlock::Scale);
    for id in ["", "two words", &"x".repeat(65)] {
        assert!(id.parse::<BlockId>().is_err(), "{id}");
    }
}

fn questionnaire(id: &str) -> AnswerKind {
    AnswerKind::Questionnaire {
        questionnaire: Box::new(crate::instruments::bundled::named(id).unwrap()),
    }
}

#[test]
fn one_question_stays_a_poll_and_a_questionnaire_is_text_with_its_questions() {
    let mood = checkin(questionnaire("mood")).to_message().unwrap();
    assert_eq!(mood.event_type, POLL_START);
    let poll: UnstablePollStartEventContent = serde_json::from_value(mood.content.clone()).unwrap();
    assert_eq!(
        poll.poll_start().question.text,
        "How is your mood right now?"
    );
    assert_eq!(poll.poll_start().answers.len(), 11);
    let phq_9 = checkin(questionnaire("phq-9")).to_message().unwrap();
    assert_eq!(phq_9.event_type, MESSAGE);
    let body = phq_9.content["body"].as_str().unwrap();
    assert!(
        body.contains("2. Feeling down") && body.contains("9 numbers in this order"),
        "{body}"
    );
    for sent in [mood, phq_9] {
        let read = Checkin::from_content(sent.event_type, &sent.content).unwrap();
        assert_eq!(read.to_message().unwrap(), sent);
    }
}

#[test]
fn every_bundled_questionnaire_fits_into_a_message() {
    for bundled in crate::instruments::bundled::all() {
        let sent = checkin(questionnaire(&bundled.id)).to_message().unwrap();
        assert!(
            sent.content.to_string().len() < MAX_CONTENT_BYTES / 2,
            "{}",
            bundled.id
        );
    }
}

#[test]
fn a_questionnaire_out_of_limits_is_neither_sent_nor_read() {
    let mut large = crate::instruments::bundled::named("line").unwrap();
    large.items = (0..20)
        .map(|n| {
            let text = "x".repeat(4_000);
            crate::instruments::Item::new(n.to_string(), text, Kind::Line)
        })
        .collect();
    let kind = AnswerKind::Questionnaire {
        questionnaire: Box::new(large),
    };
    assert_eq!(checkin(kind).to_message(), Err(InvalidBlock::TooLarge));
    let mut sent = checkin(questionnaire("phq-9")).to_message().unwrap();
    sent.content[BLOCK]["answer"]["questionnaire"]["item"][1]["type"] = json!("attachment");
    assert_eq!(Checkin::from_content(sent.event_type, &sent.content), None);
}
