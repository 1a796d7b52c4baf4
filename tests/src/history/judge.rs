//! Compares what people saw of a room with what was acknowledged, and with each other. Pure, so that it can be shown to find
//! what it is for.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use anyhow::Result;
use serde_json::Value;

use super::{Outcome, Violation};
use crate::raw::text_at;

/// By how much the clock that prompts go by and the one that is read here may part within a prompt's wait.
const CLOCKS_PART: Duration = Duration::from_millis(100);

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    Prompt,
}

/// Something that was acknowledged. Times are since everything began.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) kind: Kind,
    /// Its ciphertext's.
    pub(super) mark: u64,
    /// What the answers said: the event's id, or the prompt's, as often as it was asked for.
    pub(super) ids: Vec<String>,
    /// When it was first asked for.
    pub(super) begun: Duration,
    /// From when on it must be seen: when it was acknowledged, or a prompt's time.
    pub(super) due: Duration,
}

/// An event as somebody is told it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) id: String,
    /// The ciphertext's, if there is one.
    pub(super) mark: Option<u64>,
}

/// All that somebody saw of a room, in their order.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) user: String,
    /// Who saw it, and where.
    pub(super) who: String,
    pub(super) events: Vec<Told>,
}

/// An event in a view.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) event: Seen,
    /// When a poll told it.
    pub(super) at: Option<Duration>,
    /// When the poll before that one began, which did not.
    pub(super) not_by: Option<Duration>,
}

impl View {
    pub(super) fn new(user: &str, place: &str) -> Self {
        Self {
            user: user.to_owned(),
            who: format!("{user} {place}"),
            events: Vec::new(),
        }
    }

    /// Adds what was told.
    pub(super) fn told(
        &mut self,
        events: Vec<Seen>,
        at: Option<Duration>,
        not_by: Option<Duration>,
    ) {
        let told = |event| Told { event, at, not_by };
        self.events.extend(events.into_iter().map(told));
    }

    fn is_by_polls(&self) -> bool {
        self.events.iter().any(|told| told.at.is_some())
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.events.iter().map(|told| told.event.id.as_str())
    }

    /// The newest event's id.
    pub(super) fn last(&self) -> Option<&str> {
        self.events.last().map(|told| told.event.id.as_str())
    }
}

/// What tells one ciphertext from all others.
pub(super) fn mark(content: &Value) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    text_at(content, "ciphertext")?.hash(&mut hasher);
    Ok(hasher.finish())
}

/// Tells of everything that is not as it must be.
pub(super) fn judge(room: &str, sent: &[Sent], views: &[View], outcome: &mut Outcome) {
    let known: HashMap<u64, &Sent> = sent.iter().map(|sent| (sent.mark, sent)).collect();
    let longest = views.iter().max_by_key(|view| view.events.len());
    if let Some(longest) = longest {
        in_the_order_of_acknowledgement(room, &known, longest, outcome);
    }
    for view in views {
        if let Some(longest) = longest {
            in_the_same_order(room, longest, view, outcome);
        }
        if let Some(own) = readable(views, &view.user) {
            nothing_missing(room, view, own, outcome);
            if view.is_by_polls() == own.is_by_polls() {
                nothing_missing(room, own, view, outcome);
            }
        }
        each_once(room, &known, view, outcome);
        in_time(room, &known, view, outcome);
    }
    let mut prompts = HashSet::new();
    for prompt in sent.iter().filter(|sent| sent.kind == Kind::Prompt) {
        let ids: HashSet<&String> = prompt.ids.iter().collect();
        if ids.len() != 1 || !ids.iter().all(|id| prompts.insert(*id)) {
            let story = format!("prompts have ids that are not theirs alone: {ids:?}");
            outcome.violated(Violation::Prompt, story);
        }
    }
}

/// Everything that was acknowledged is there, once, as the event that the answers named, and nothing else.
fn each_once(room: &str, known: &HashMap<u64, &Sent>, view: &View, outcome: &mut Outcome) {
    let who = &view.who;
    let (mut ids, mut marks) = (HashSet::new(), HashSet::new());
    for Seen { id, mark } in view.events.iter().map(|told| &told.event) {
        let sent = mark.map(|mark| known.get(&mark));
        let prompt = matches!(sent, Some(Some(sent)) if sent.kind == Kind::Prompt);
        let twice = match prompt {
            true => Violation::Prompt,
            false => Violation::Duplicated,
        };
        if !ids.insert(id) || mark.is_some_and(|mark| !marks.insert(mark)) {
            outcome.violated(twice, format!("{who} has {id} of {room} twice"));
        }
        match sent {
            Some(None) => {
                let story = format!("{who} has {id} in {room}, which nobody sent");
                outcome.violated(Violation::Duplicated, story);
            }
            Some(Some(sent)) if !prompt && sent.ids.iter().any(|told| told != id) => {
                let told = &sent.ids;
                let story = format!("{who} has {id} in {room}, acknowledged as {told:?}");
                outcome.violated(Violation::Duplicated, story);
            }
            _ => {}
        }
    }
    for missing in known.values().filter(|sent| !marks.contains(&sent.mark)) {
        let (lost, what) = match missing.kind {
            Kind::Message => (Violation::Lost, "message"),
            Kind::Prompt => (Violation::Prompt, "prompt"),
        };
        let story = format!("{who} lacks the {what} {:?} of {room}", missing.ids);
        outcome.violated(lost, story);
    }
}

/// What two views have in common, they have in the same order.
fn in_the_same_order(room: &str, one: &View, other: &View, outcome: &mut Outcome) {
    let places: HashMap<&str, usize> = one.ids().zip(0..).collect();
    let mut newest = 0;
    for Seen { id, .. } in other.events.iter().map(|told| &told.event) {
        match places.get(id.as_str()) {
            Some(place) if *place < newest => {
                let story = format!("{} has {id} of {room} in another place", other.who);
                outcome.violated(Violation::OutOfOrder, story);
            }
            Some(place) => newest = *place,
            None => {}
        }
    }
}

/// What somebody may read of a room: what they paged through, if they did. Polls tell them also of older state that still
/// holds.
fn readable<'v>(views: &'v [View], user: &str) -> Option<&'v View> {
    let mut own = views.iter().filter(|view| view.user == user);
    let paged = own.clone().find(|view| !view.is_by_polls());
    paged.or_else(|| own.next())
}

/// One view of somebody's has the state that another one has; ciphertext that is missing is counted elsewhere. Others may have
/// other state: people do not see all that was before their invitation.
fn nothing_missing(room: &str, one: &View, other: &View, outcome: &mut Outcome) {
    let ids: HashSet<&str> = one.ids().collect();
    for Seen { id, mark } in other.events.iter().map(|told| &told.event) {
        if mark.is_none() && !ids.contains(id.as_str()) {
            let story = format!("{} lacks {id} of {room}", one.who);
            outcome.violated(Violation::Lost, story);
        }
    }
}

/// What was acknowledged before another message was begun stands before it.
fn in_the_order_of_acknowledgement(
    room: &str,
    known: &HashMap<u64, &Sent>,
    view: &View,
    outcome: &mut Outcome,
) {
    let mut begun = Duration::ZERO;
    for told in &view.events {
        let Some(sent) = told.event.mark.and_then(|mark| known.get(&mark)) else {
            continue;
        };
        if sent.kind == Kind::Message && sent.due < begun {
            let story = format!("{} of {room} stands behind a later one", told.event.id);
            outcome.violated(Violation::OutOfOrder, story);
        }
        begun = begun.max(sent.begun);
    }
}

/// No poll that began after a message was acknowledged may leave it out, and no prompt is told before its time.
fn in_time(room: &str, known: &HashMap<u64, &Sent>, view: &View, outcome: &mut Outcome) {
    for told in &view.events {
        let Some(sent) = told.event.mark.and_then(|mark| known.get(&mark)) else {
            continue;
        };
        let (who, id) = (&view.who, &told.event.id);
        let left_out = told.not_by.is_some_and(|begun| begun > sent.due);
        let early = told.at.is_some_and(|at| at + CLOCKS_PART < sent.due);
        if sent.kind == Kind::Message && left_out {
            let story = format!("{who} left {id} of {room} out, which was acknowledged");
            outcome.violated(Violation::OutOfOrder, story);
        }
        if sent.kind == Kind::Prompt && early {
            let story = format!("{who} has the prompt {id} of {room} before its time");
            outcome.violated(Violation::Prompt, story);
        }
    }
}
