//! Power loss: an engine works under `strace`, and is opened again on what had been synced at many moments of its work.
//!
//! What had not been synced is lost altogether, or page by page at random, names in directories as well as bytes in
//! files. So the disk here keeps exactly what POSIX says it must, which is less than any real one does.

mod disk;
mod trace;
mod work;

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail, ensure};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use respite_outside::part::STRACE;
use tempfile::TempDir;
use tokio::process::Command;

pub use self::work::{Found, Writers, look, work};
use self::{
    disk::Disk,
    trace::{Event, Trace},
};
use crate::engine::Engine;

/// What is tried.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program that works and looks: `powerloss` itself.
    pub program: PathBuf,
    /// The engine; one that keeps its store in files.
    pub engine: Engine,
    /// At how many moments the power fails. In every second case, some of what was not synced is on the disk.
    pub cuts: usize,
    /// Who writes how much.
    pub writers: Writers,
    /// What chance begins with.
    pub seed: u64,
    /// After the first acknowledgement no sync reaches the disk, as if the engine had left them out. Then something must be
    /// missing, or the comparison is blind.
    pub deaf: bool,
}

/// What the power cuts did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How often the power failed.
    pub cuts: usize,
    /// How often the store could not be opened or read after that.
    pub unopenable: usize,
    /// How often something acknowledged was lost, in whole or in part.
    pub with_losses: usize,
    /// Acknowledged commits that are lost, in all.
    pub lost: usize,
    /// Commits that are there twice.
    pub duplicated: usize,
    /// Acknowledged commits that have another number than they were told.
    pub out_of_order: usize,
    /// Commits of which only a part is there.
    pub halved: usize,
    /// Acknowledged commits, over all cuts.
    pub acknowledged: usize,
    /// What went wrong first.
    pub first: Option<String>,
}

impl Report {
    /// Whether nothing at all went wrong.
    pub fn is_clean(&self) -> bool {
        self.unopenable + self.with_losses + self.duplicated + self.out_of_order + self.halved == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} power cuts, {} acknowledged commits looked for: not to be opened {}, cuts with losses {}, commits lost {}, \
             twice {}, out of order {}, in part {}",
            self.cuts,
            self.acknowledged,
            self.unopenable,
            self.with_losses,
            self.lost,
            self.duplicated,
            self.out_of_order,
            self.halved
        )?;
        if let Some(first) = &self.first {
            write!(out, "; first: {first}")?;
        }
        Ok(())
    }
}

/// Runs the plan.
///
/// # Errors
/// `strace` is missing, the work itself fails, or the trace holds what is not understood. What an engine loses is no
/// error but in the report.
pub async fn run(plan: &Plan) -> Result<Report> {
    let place = TempDir::new()?;
    let root = place.path().join("disk");
    std::fs::create_dir(&root)?;
    let trace = record(plan, &root, &place.path().join("trace")).await?;
    let first = trace
        .first_acknowledgement()
        .context("nothing was acknowledged")?;
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut moments: Vec<usize> = (0..plan.cuts)
        .map(|_| random.random_range(first..=trace.len()))
        .collect();
    moments.sort_unstable();

    let mut disk = Disk::new(&root);
    let mut acknowledged = work::Acknowledged::default();
    let mut report = Report::default();
    let mut at = 0;
    for (n, moment) in moments.into_iter().enumerate() {
        for event in trace.between(at, moment) {
            disk.apply(event)?;
            if plan.deaf && matches!(event, Event::Said(_)) {
                disk.turn_deaf();
            }
            acknowledged.hear(event)?;
        }
        at = moment;
        let after = place.path().join("after");
        disk.lose_power(&after, (n % 2 == 1).then_some(&mut random))?;
        let found = looked(plan, &after).await;
        acknowledged.compare(found, &mut report, &format!("cut {n} at call {moment}"));
        std::fs::remove_dir_all(&after)?;
    }
    Ok(report)
}

async fn record(plan: &Plan, root: &Path, trace: &Path) -> Result<Trace> {
    let strace = STRACE.program("strace").context(STRACE.how)?;
    let status = Command::new(strace)
        .args(trace::OPTIONS)
        .arg("-o")
        .arg(trace)
        .arg(&plan.program)
        .args(["work", "--store", &plan.engine.address(root)?])
        .args(["--writers", &plan.writers.number.to_string()])
        .args(["--commits", &plan.writers.commits.to_string()])
        .stdout(Stdio::null())
        .status()
        .await?;
    ensure!(status.success(), "the work under strace failed: {status}");
    Trace::read(trace)
}

/// What a new process finds in the store; an error is the store's.
async fn looked(plan: &Plan, root: &Path) -> Result<Found> {
    let output = Command::new(&plan.program)
        .args(["look", "--store", &plan.engine.address(root)?])
        .output()
        .await?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}", said.trim().chars().take(400).collect::<String>());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
