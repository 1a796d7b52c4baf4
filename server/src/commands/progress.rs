//! Shows on standard error how far long work is: a bar on a terminal, lines elsewhere.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use respite_server::progress::Progress;

/// How many steps there are between two lines.
const STEPS_BETWEEN_LINES: u64 = 100_000;

/// Shows how far the work is.
pub(super) enum Shown {
    Bar(ProgressBar),
    Lines { done: u64 },
}

impl Shown {
    /// As it fits where standard error goes.
    pub(super) fn new() -> Self {
        match std::io::stderr().is_terminal() {
            true => Self::Bar(ProgressBar::hidden()),
            false => Self::Lines { done: 0 },
        }
    }
}

impl Progress for Shown {
    fn begin(&mut self, what: &str, total: Option<u64>) {
        match self {
            Self::Bar(bar) => {
                bar.finish_and_clear();
                *bar = new_bar(total).with_message(what.to_owned());
            }
            Self::Lines { done } => {
                *done = 0;
                say(what);
            }
        }
    }

    fn advance(&mut self, steps: u64) {
        match self {
            Self::Bar(bar) => bar.inc(steps),
            Self::Lines { done } => {
                let before = *done / STEPS_BETWEEN_LINES;
                *done += steps;
                if *done / STEPS_BETWEEN_LINES > before {
                    say(&format!("  {done} so far"));
                }
            }
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{msg:34} {wide_bar} {human_pos}/{human_len} {eta:>4}",
        ),
        None => (ProgressBar::new_spinner(), "{msg:34} {human_pos} {spinner}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn say(line: &str) {
    // Nobody reads it: no reason to stop.
    let _ = writeln!(std::io::stderr(), "{line}");
}
