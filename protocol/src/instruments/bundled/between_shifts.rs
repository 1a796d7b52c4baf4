//! Short questions of our own, for between shifts.

use super::number;
use crate::instruments::{
    Comparison, Condition, Decimal, Item, Kind, Questionnaire, Scale, Score, Value, When,
};

const COPYRIGHT: &str = "Part of Respite, under its licence. Not a validated instrument.";

fn labelled(low: i64, high: i64, low_label: &str, high_label: &str) -> Kind {
    Kind::Scale(Scale {
        low_label: Some(low_label.to_owned()),
        high_label: Some(high_label.to_owned()),
        ..Scale::new(low, high)
    })
}

fn mood_item() -> Item {
    let kind = labelled(0, 10, "very low", "very good");
    Item::new("mood", "How is your mood right now?", kind)
}

fn sleep_item() -> Item {
    let kind = labelled(1, 5, "very badly", "very well");
    Item::new("sleep", "How did you sleep since your last shift?", kind)
}

fn load_item() -> Item {
    let kind = labelled(0, 10, "light", "more than I could carry");
    Item::new("load", "How heavy was your last shift?", kind)
}

fn sleepiness_item() -> Item {
    let kind = labelled(0, 10, "wide awake", "fighting to stay awake");
    Item::new("sleepiness", "How sleepy are you right now?", kind)
}

fn line_item() -> Item {
    Item::new("line", "What should I know, in a line?", Kind::Line)
}

pub(super) fn mood() -> Questionnaire {
    alone("mood", "Mood", mood_item())
}

pub(super) fn sleep() -> Questionnaire {
    alone("sleep", "Sleep", sleep_item())
}

pub(super) fn load() -> Questionnaire {
    alone("load", "Load", load_item())
}

pub(super) fn sleepiness() -> Questionnaire {
    alone("sleepiness", "Sleepiness", sleepiness_item())
}

pub(super) fn line() -> Questionnaire {
    alone("line", "One line", line_item())
}

/// All of them together, and the hours slept. Who slept badly is asked what kept them awake.
pub(super) fn all() -> Questionnaire {
    let hours = Kind::Decimal {
        min: Some(Decimal::ZERO),
        max: Some(number(24)),
    };
    let slept_badly = Condition {
        question: "sleep".to_owned(),
        comparison: Comparison::AtMost(Value::Integer(2)),
    };
    let awake = Item {
        when: Some(When {
            any: false,
            conditions: vec![slept_badly],
        }),
        ..Item::new("awake", "What kept you awake?", Kind::Line)
    };
    questionnaire(
        "between-shifts",
        "Between shifts",
        vec![
            mood_item(),
            sleep_item(),
            Item::new("hours", "How many hours did you sleep?", hours),
            awake,
            load_item(),
            sleepiness_item(),
            line_item(),
        ],
    )
}

fn alone(id: &str, title: &str, item: Item) -> Questionnaire {
    questionnaire(id, title, vec![item])
}

/// Each question that has a number is a score of its own, so that it can be followed over time.
fn questionnaire(id: &str, title: &str, items: Vec<Item>) -> Questionnaire {
    let counts = |item: &&Item| matches!(item.kind, Kind::Scale(_) | Kind::Decimal { .. });
    let scores = items
        .iter()
        .filter(counts)
        .map(|item| Score::sum(&item.link_id, vec![item.link_id.clone()]))
        .collect();
    Questionnaire {
        scores,
        ..super::questionnaire(id, title, COPYRIGHT, items)
    }
}
