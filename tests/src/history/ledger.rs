//! What came of it, in figures.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

use super::{
    Violation,
    judge::{Kind, Sent, View},
    servers::Blow,
};

/// How many violations are told in words; further ones are only counted.
const MAX_TOLD: usize = 20;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What happened.
    pub figures: Figures,
    /// What must never happen, and how often it did.
    pub violations: BTreeMap<Violation, u64>,
    /// The first of those in words.
    pub told: Vec<String>,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Messages that were acknowledged.
    pub messages: usize,
    /// Prompts that were acknowledged.
    pub prompts: usize,
    /// One-time keys that were handed out.
    pub keys: usize,
    /// How often a server was killed, and started again.
    pub killed: u64,
    /// How often a server was cut off from the database.
    pub cut_from_database: u64,
    /// How often a server was cut off from its clients.
    pub cut_from_clients: u64,
    /// Requests that failed, or whose answer nobody heard, and that were answered when they were made again.
    pub resumed: u64,
    /// Requests that hung for half a minute, in words.
    pub unanswered: Vec<String>,
    /// How long it took until polls told people of messages that were acknowledged.
    pub polls: Waits,
    /// How long it took until polls told people of prompts whose time had come.
    pub releases: Waits,
}

/// Waits, in milliseconds.
#[derive(Clone, Default)]
pub struct Waits(Vec<u32>);

impl Outcome {
    pub(super) fn violated(&mut self, what: Violation, story: String) {
        *self.violations.entry(what).or_default() += 1;
        if self.told.len() < MAX_TOLD {
            self.told.push(story);
        }
    }
}

impl Figures {
    pub(super) fn struck(&mut self, blow: Blow) {
        *match blow {
            Blow::Server => &mut self.killed,
            Blow::Database | Blow::DatabaseAnswers => &mut self.cut_from_database,
            Blow::Clients | Blow::ClientsAnswers => &mut self.cut_from_clients,
        } += 1;
    }

    /// Counts how long people waited.
    pub(super) fn waited(&mut self, sent: &[Sent], views: &[View]) {
        let known: HashMap<u64, &Sent> = sent.iter().map(|sent| (sent.mark, sent)).collect();
        for told in views.iter().flat_map(|view| &view.events) {
            let sent = told.event.mark.and_then(|mark| known.get(&mark));
            let (Some(sent), Some(at)) = (sent, told.at) else {
                continue;
            };
            let waits = match sent.kind {
                Kind::Message => &mut self.polls,
                Kind::Prompt => &mut self.releases,
            };
            let waited = at.saturating_sub(sent.due).as_millis();
            waits.0.push(u32::try_from(waited).unwrap_or(u32::MAX));
        }
    }
}

impl Waits {
    /// The wait that this share of all waits is not longer than.
    fn share(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let place = (sorted.len().saturating_sub(1) as f64 * share) as usize;
        Duration::from_millis(sorted.get(place).copied().unwrap_or_default().into())
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |share| self.share(share).as_secs_f64();
        write!(
            f,
            "{:.2} s at the longest, {:.2} s in 99 of 100 cases, {:.2} s in half of them",
            seconds(1.0),
            seconds(0.99),
            seconds(0.5)
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        for (count, what) in [
            (figures.messages as u64, "messages acknowledged"),
            (figures.prompts as u64, "prompts acknowledged"),
            (figures.keys as u64, "one-time keys handed out"),
            (figures.killed, "servers killed and started again"),
            (
                figures.cut_from_database,
                "servers cut off from the database",
            ),
            (
                figures.cut_from_clients,
                "servers cut off from their clients",
            ),
            (
                figures.resumed,
                "requests made again until they were answered",
            ),
            (
                figures.unanswered.len() as u64,
                "requests that hung for half a minute",
            ),
        ] {
            writeln!(f, "{count:>10}  {what}")?;
        }
        writeln!(
            f,
            "            until a poll told of a message: {}",
            figures.polls
        )?;
        writeln!(
            f,
            "            until a poll told of a due prompt: {}",
            figures.releases
        )?;
        for what in Violation::ALL {
            let count = self.violations.get(&what).copied().unwrap_or_default();
            writeln!(f, "{count:>10}  {what}")?;
        }
        let hung = figures.unanswered.iter().take(MAX_TOLD);
        for story in self.told.iter().chain(hung) {
            writeln!(f, "            {story}")?;
        }
        Ok(())
    }
}
