//! Histories made by hand, each wrong in one way.

use std::time::Duration;

use super::{Kind, Seen, Sent, Told, View, judge};
use crate::history::{Outcome, Violation};

const ROOM: &str = "!room:localhost";

fn at(second: u64) -> Duration {
    Duration::from_secs(second)
}

/// The nth message: begun in the nth second, acknowledged half a second later.
fn message(number: u64) -> Sent {
    Sent {
        kind: Kind::Message,
        mark: number,
        ids: vec![format!("$event{number}")],
        begun: at(number),
        due: at(number) + Duration::from_millis(500),
    }
}

/// A prompt that is scheduled at once, for this second.
fn prompt(number: u64) -> Sent {
    Sent {
        kind: Kind::Prompt,
        mark: number,
        ids: vec![format!("prompt{number}")],
        begun: at(0),
        due: at(number),
    }
}

/// Somebody who is told each event in the second after it, by one poll after the other.
fn view(numbers: &[u64]) -> View {
    let told = |number: &u64| Told {
        event: Seen {
            id: format!("$event{number}"),
            mark: Some(*number),
        },
        at: Some(at(number + 1)),
        not_by: Some(at(*number)),
    };
    View {
        events: numbers.iter().map(told).collect(),
        ..View::new("somebody", "somewhere")
    }
}

/// What is found, and how often.
fn found(sent: &[Sent], views: &[View]) -> Vec<(Violation, u64)> {
    let mut outcome = Outcome::default();
    judge(ROOM, sent, views, &mut outcome);
    outcome.violations.into_iter().collect()
}

/// Messages 1, 2 and 3 and the prompt 4.
fn sent() -> Vec<Sent> {
    vec![message(1), message(2), message(3), prompt(4)]
}

#[test]
fn a_right_history_is_right_for_everybody() {
    let views = [view(&[1, 2, 3, 4]), view(&[1, 2, 3, 4])];
    assert_eq!(found(&sent(), &views), []);
}

#[test]
fn a_message_that_one_of_two_lacks_is_lost() {
    let views = [view(&[1, 2, 3, 4]), view(&[1, 3, 4])];
    assert_eq!(found(&sent(), &views), [(Violation::Lost, 1)]);
}

#[test]
fn a_message_that_all_lack_is_lost_to_all() {
    let views = [view(&[1, 3, 4]), view(&[1, 3, 4])];
    assert_eq!(found(&sent(), &views), [(Violation::Lost, 2)]);
}

#[test]
fn a_message_that_somebody_is_told_twice_is_there_twice() {
    let views = [view(&[1, 2, 3, 4]), view(&[1, 2, 3, 3, 4])];
    assert_eq!(found(&sent(), &views), [(Violation::Duplicated, 1)]);
}

#[test]
fn two_events_of_one_message_are_there_twice() {
    let mut views = [view(&[1, 2, 2, 3, 4]), view(&[1, 2, 2, 3, 4])];
    for view in &mut views {
        view.events[2].event.id = "$again".to_owned();
    }
    // The second is no event that was acknowledged, either.
    assert_eq!(found(&sent(), &views), [(Violation::Duplicated, 4)]);
}

#[test]
fn one_message_that_two_answers_call_by_two_ids_was_taken_twice() {
    let mut sent = sent();
    sent[1].ids.push("$another".to_owned());
    let views = [view(&[1, 2, 3, 4])];
    assert_eq!(found(&sent, &views), [(Violation::Duplicated, 1)]);
}

#[test]
fn what_nobody_sent_is_not_taken_for_something_else() {
    let views = [view(&[1, 2, 3, 4, 5])];
    assert_eq!(found(&sent(), &views), [(Violation::Duplicated, 1)]);
}

#[test]
fn two_people_who_see_two_orders_are_found() {
    // The two were under way at the same time: each order would be right if it were everybody's.
    let mut sent = sent();
    sent[1].due = at(9);
    sent[2].due = at(9);
    let views = [view(&[1, 2, 3, 4]), view(&[1, 3, 2, 4])];
    assert_eq!(found(&sent, &views), [(Violation::OutOfOrder, 1)]);
}

#[test]
fn an_order_that_is_everybodys_and_not_the_one_of_acknowledgement_is_found() {
    let views = [view(&[1, 3, 2, 4]), view(&[1, 3, 2, 4])];
    assert_eq!(found(&sent(), &views), [(Violation::OutOfOrder, 1)]);
}

#[test]
fn a_poll_that_leaves_out_what_was_acknowledged_is_found() {
    let mut late = view(&[1, 2, 3, 4]);
    late.events[1].not_by = Some(at(7));
    let views = [view(&[1, 2, 3, 4]), late];
    assert_eq!(found(&sent(), &views), [(Violation::OutOfOrder, 1)]);
}

/// A room with a membership in the middle.
fn with_a_membership(numbers: &[u64]) -> View {
    let mut view = view(numbers);
    for told in &mut view.events {
        if told.event.mark == Some(2) {
            told.event.mark = None;
        }
    }
    view
}

#[test]
fn a_membership_that_one_of_two_lacks_is_lost() {
    let sent = [message(1), message(3)];
    let whole = with_a_membership(&[1, 2, 3]);
    assert_eq!(found(&sent, &[whole.clone(), whole.clone()]), []);
    let lacking = with_a_membership(&[1, 3]);
    let both = [whole.clone(), lacking.clone()];
    assert_eq!(found(&sent, &both), [(Violation::Lost, 1)]);
    let both = [lacking, whole];
    assert_eq!(found(&sent, &both), [(Violation::Lost, 1)]);
}

#[test]
fn polls_tell_what_still_holds_and_never_less_than_may_be_read() {
    let sent = [message(1), message(3)];
    let paged = |mut view: View| {
        view.events.iter_mut().for_each(|told| told.at = None);
        view
    };
    let whole = with_a_membership(&[1, 2, 3]);
    let lacking = with_a_membership(&[1, 3]);
    let pages = paged(lacking.clone());
    assert_eq!(
        found(&sent, &[whole.clone(), pages.clone(), pages.clone()]),
        []
    );
    let more = paged(whole.clone());
    assert_eq!(
        found(&sent, &[lacking, more.clone()]),
        [(Violation::Lost, 1)]
    );
    assert_eq!(found(&sent, &[whole, pages, more]), [(Violation::Lost, 1)]);
}

#[test]
fn somebody_who_was_invited_later_sees_less_and_always_the_same() {
    let sent = [message(3)];
    let longer = with_a_membership(&[2, 3]);
    let mut shorter = view(&[3]);
    assert_eq!(
        found(&sent, &[longer.clone(), shorter.clone()]),
        [(Violation::Lost, 1)]
    );
    shorter.user = "another".to_owned();
    assert_eq!(found(&sent, &[longer, shorter]), []);
}

#[test]
fn a_prompt_is_released_once_and_not_before_its_time() {
    let never = [view(&[1, 2, 3])];
    assert_eq!(found(&sent(), &never), [(Violation::Prompt, 1)]);
    let mut twice = [view(&[1, 2, 3, 4, 4])];
    twice[0].events[4].event.id = "$again".to_owned();
    assert_eq!(found(&sent(), &twice), [(Violation::Prompt, 1)]);
    let mut early = [view(&[1, 2, 3, 4])];
    early[0].events[3].at = Some(at(3));
    assert_eq!(found(&sent(), &early), [(Violation::Prompt, 1)]);
}

#[test]
fn a_prompt_that_was_scheduled_twice_is_found_by_its_ids() {
    let mut sent = sent();
    sent[3].ids.push("another".to_owned());
    let views = [view(&[1, 2, 3, 4])];
    assert_eq!(found(&sent, &views), [(Violation::Prompt, 1)]);
}
