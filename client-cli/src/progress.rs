//! Progress of what takes long, shown only to somebody who watches.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use indicatif::{ProgressBar, ProgressStyle};
use matrix_sdk::TransmissionProgress;
use tokio::task::JoinHandle;

const TICK: Duration = Duration::from_millis(120);

/// Something that takes a while. It disappears when it is finished or dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    task: Option<JoinHandle<()>>,
}

/// A sign that something goes on.
pub fn spinner(show: bool, what: &'static str) -> Progress {
    let bar = if show {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    bar.set_message(what);
    bar.enable_steady_tick(TICK);
    Progress { bar, task: None }
}

/// How much of an upload is done. The updates are asked for only if somebody watches: without a
/// listener the transfer goes out in one piece.
pub fn upload<S>(show: bool, updates: impl FnOnce() -> S) -> Progress
where
    S: Stream<Item = TransmissionProgress> + Send + Unpin + 'static,
{
    if !show {
        return Progress {
            bar: ProgressBar::hidden(),
            task: None,
        };
    }
    let mut updates = updates();
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("Sending {wide_bar} {bytes}/{total_bytes}") {
        bar.set_style(style);
    }
    let shown = bar.clone();
    let task = tokio::spawn(async move {
        while let Some(progress) = updates.next().await {
            shown.set_length(progress.total as u64);
            shown.set_position(progress.current as u64);
        }
    });
    Progress {
        bar,
        task: Some(task),
    }
}

/// Steps of something with a known number of them.
pub fn steps(show: bool, what: &'static str, steps: usize) -> Progress {
    let bar = if show {
        ProgressBar::new(steps as u64)
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    Progress { bar, task: None }
}

impl Progress {
    /// One step is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// It is done.
    pub fn finish(self) {
        drop(self);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.bar.finish_and_clear();
    }
}
