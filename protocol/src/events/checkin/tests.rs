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
