use proptest::prelude::*;

use super::{super::checkin::tests::checkin, *};

fn scale() -> Checkin {
    checkin(AnswerKind::Scale(Scale::new(1, 5)))
}

fn read(checkin: &Checkin, text: &str) -> Option<(Option<i64>, Option<String>)> {
    interpret(checkin, Reply::Text(text)).map(|answer| (answer.value, answer.note))
}

fn both(value: i64, note: &str) -> Option<(Option<i64>, Option<String>)> {
    Some((Some(value), (!note.is_empty()).then(|| note.to_owned())))
}

#[test]
fn an_answer_typed_in_any_client_is_understood() {
    for (text, value, note) in [
        ("3", 3, ""),
        (" 5 \n", 5, ""),
        ("3, slept badly", 3, "slept badly"),
        ("3: slept badly", 3, "slept badly"),
        ("3; slept badly", 3, "slept badly"),
        ("3. Slept badly.", 3, "Slept badly."),
        ("3 - slept badly", 3, "slept badly"),
        ("3 – slept badly", 3, "slept badly"),
        ("3\nslept badly", 3, "slept badly"),
        ("3/5", 3, ""),
        ("3/5, woke at 4", 3, "woke at 4"),
        ("3.", 3, ""),
        ("3 slept badly", 3, "slept badly"),
        ("3 Noise, from the street", 3, "Noise, from the street"),
        (
            "> <@therapist:respite.example> How did you sleep?\n> Answer.\n\n2, noise",
            2,
            "noise",
        ),
    ] {
        assert_eq!(read(&scale(), text), both(value, note), "{text:?}");
    }
    let below_zero = checkin(AnswerKind::Scale(Scale::new(-3, 3)));
    assert_eq!(read(&below_zero, "-2, low"), both(-2, "low"));
}

#[test]
fn what_may_mean_something_else_is_left_to_the_therapist() {
    for text in [
        "",
        "slept badly",
        "3.5",
        "3,5",
        "3:15",
        "3-4",
        "3/4",
        "3/10",
        "3 patients died",
        "3am",
        "33",
        "6",
        "0",
        "-3",
        "--3",
        "+3",
        "about 3",
        "3rd night",
        "3%",
        "３",
        "3 4",
        "3 new patients",
        "3 long nights",
        "3 hours",
        "3 am",
        "3 of us",
        "3 or 4",
        "999999999999999999999",
        "> <@them:x> 3",
        "three",
    ] {
        assert_eq!(read(&scale(), text), None, "{text:?}");
    }
}

#[test]
fn a_tap_on_the_poll_is_understood() {
    let tap = |votes: &[&str]| {
        let votes: Vec<_> = votes.iter().map(|&vote| vote.to_owned()).collect();
        interpret(&scale(), Reply::Poll(&votes)).and_then(|answer| answer.value)
    };
    assert_eq!(tap(&["3"]), Some(3));
    for votes in [
        &[][..],
        &["3", "4"],
        &["6"],
        &["03"],
        &["3 "],
        &["+3"],
        &["yes"],
    ] {
        assert_eq!(tap(votes), None, "{votes:?}");
    }
    assert!(interpret(&checkin(AnswerKind::Text), Reply::Poll(&["3".to_owned()])).is_none());
}

#[test]
fn a_question_without_a_scale_takes_any_words() {
    let asked = checkin(AnswerKind::Text);
    assert_eq!(
        read(&asked, " 3 bad dreams "),
        Some((None, Some("3 bad dreams".to_owned())))
    );
    assert_eq!(read(&asked, "  \n"), None);
    assert_eq!(read(&asked, &"x".repeat(4_001)), None);
}

#[test]
fn an_answer_to_a_reminder_answers_the_question() {
    let mut reminder = scale();
    reminder.id = "reminder".parse().unwrap();
    reminder.reminds = Some("sleep-1".parse().unwrap());
    let answer = interpret(&reminder, Reply::Text("4")).unwrap();
    assert_eq!(answer.checkin.as_str(), "sleep-1");
}

#[test]
fn what_is_sent_is_what_is_read() {
    let event_id = "$31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM";
    for (value, note) in [
        (Some(3), None),
        (Some(3), Some("noise")),
        (None, Some("noise")),
    ] {
        let note = note.map(str::to_owned);
        let answer = Answer::new(&scale(), value, note);
        let sent = answer
            .to_message(&scale(), Some(event_id.try_into().unwrap()))
            .unwrap();
        assert_eq!(sent.content["m.relates_to"]["event_id"], event_id);
        assert_eq!(
            Answer::from_content(sent.event_type, &sent.content),
            Some(answer)
        );
        assert_eq!(Answer::from_content("m.sticker", &sent.content), None);
    }
    let silent = Answer::new(&scale(), None, None);
    assert_eq!(
        silent.to_message(&scale(), None),
        Err(InvalidBlock::NoAnswer)
    );
}

proptest! {
    #[test]
    fn our_own_answers_read_the_same_without_their_block(
        value in 1_i64..=5,
        note in "[a-zA-Zäöü0-9?!]{1,5}( [a-zA-Zäöü0-9?!,.]{1,9}){0,5}",
    ) {
        let answer = Answer::new(&scale(), Some(value), Some(note));
        let sent = answer.to_message(&scale(), None).unwrap();
        let body = sent.content["body"].as_str().unwrap();
        prop_assert_eq!(interpret(&scale(), Reply::Text(body)), Some(answer));
    }

    #[test]
    fn no_text_is_misread(text in any::<String>()) {
        if let Some((value, _)) = read(&scale(), &text) {
            let value = value.unwrap().to_string();
            prop_assert!(text.lines().any(|line| line.trim().starts_with(&value)), "{:?}", text);
        }
    }

    #[test]
    fn a_number_that_is_part_of_something_is_no_answer(
        value in 1_i64..=5,
        glued in "[0-9a-zA-Z%°€]|[.,:;-][0-9a-z]| [0-9]| (patients|hours|nights|am|of|more) ",
        rest in "[a-z0-9 ]{0,8}",
    ) {
        prop_assert_eq!(read(&scale(), &format!("{value}{glued}{rest}")), None);
    }

    #[test]
    fn words_before_the_number_make_it_no_answer(words in "[a-zA-Z+.,*#(]{1,8}", value in 1_i64..=5) {
        let joined = format!("{words} {value}");
        prop_assert_eq!(read(&scale(), &joined), None);
        let glued = format!("{words}{value}");
        prop_assert_eq!(read(&scale(), &glued), None);
    }
}

fn questionnaire(id: &str) -> Checkin {
    let questionnaire = crate::instruments::bundled::named(id).unwrap();
    let mut asked = checkin(AnswerKind::Text);
    asked.text = questionnaire.title.clone();
    asked.answer = AnswerKind::Questionnaire {
        questionnaire: Box::new(questionnaire),
    };
    asked
}

/// What a typed answer adds up to, in words.
fn scored(asked: &Checkin, text: &str) -> Option<Vec<String>> {
    let answer = interpret(asked, Reply::Text(text))?;
    let answers = answer.answers(asked).unwrap();
    let scored = asked.questionnaire().unwrap().scored(&answers);
    Some(scored.iter().map(ToString::to_string).collect())
}

#[test]
fn a_whole_questionnaire_is_answered_by_typing_its_numbers() {
    let asked = questionnaire("phq-9");
    let total = |text: &str| scored(&asked, text).map(|scores| scores.join("; "));
    assert_eq!(
        total("2 1 0 0 1 2 0 1 0").as_deref(),
        Some("total 7 (mild)")
    );
    assert_eq!(
        total("> <@them:x> PHQ-9\n\n2,1,0,0,1,2,0,1,-").as_deref(),
        Some("total 8 (mild), 1 answer estimated")
    );
    for text in ["2", "2 1 0", "2 1 0 0 1 2 0 1 9", "all fine"] {
        assert_eq!(total(text), None, "{text}");
    }
    let answer = interpret(&asked, Reply::Text("1 1 1 1 1 1 1 1 0 lay awake")).unwrap();
    assert_eq!(answer.note.as_deref(), Some("lay awake"));
    assert!(!answer.urgent);
}

#[test]
fn an_urgent_answer_says_so_inside_and_first() {
    let asked = questionnaire("phq-9");
    let answer = interpret(&asked, Reply::Text("0 0 0 0 0 0 0 0 1")).unwrap();
    assert!(answer.urgent);
    let sent = answer.to_message(&asked, None).unwrap();
    let body = sent.content["body"].as_str().unwrap();
    assert!(body.starts_with("URGENT"), "{body}");
    assert!(
        body.contains("total 1 (minimal)") && body.contains("1, Several days"),
        "{body}"
    );
    assert_eq!(sent.content[BLOCK]["urgent"], true);
    assert_eq!(
        Answer::from_content(sent.event_type, &sent.content),
        Some(answer)
    );
}

#[test]
fn one_question_of_a_questionnaire_is_tapped() {
    let asked = questionnaire("mood");
    let votes = ["7".to_owned()];
    let answer = interpret(&asked, Reply::Poll(&votes)).unwrap();
    let answers = answer.answers(&asked).unwrap();
    assert_eq!(answers.get("mood"), Some(&Chosen::Integer(7)));
    for vote in ["11", "07", "seven"] {
        assert!(
            interpret(&asked, Reply::Poll(&[vote.to_owned()])).is_none(),
            "{vote}"
        );
    }
    let many = questionnaire("phq-9");
    assert!(
        interpret(&many, Reply::Poll(&votes)).is_none(),
        "a questionnaire is no poll"
    );
}

#[test]
fn a_response_in_a_block_is_held_against_what_was_asked() {
    let asked = questionnaire("phq-9");
    let answer = interpret(&asked, Reply::Text("1 1 1 1 1 1 1 1 1")).unwrap();
    let mut content = answer.to_message(&asked, None).unwrap().content;
    *content
        .pointer_mut("/chat.respite.checkin.answer/response/item/0/answer/0/valueCoding/code")
        .unwrap() = json!("LA-none");
    let forged = Answer::from_content(MESSAGE, &content).unwrap();
    assert_eq!(forged.answers(&asked).unwrap().iter().count(), 8);
    assert_eq!(forged.answers(&checkin(AnswerKind::Text)), None);
}
