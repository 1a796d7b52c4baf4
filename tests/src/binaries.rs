//! The real programs, as they were built with these tests.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::SystemTime,
};

use anyhow::{Context, Result, ensure};

/// The root of the workspace.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// What the programs are made of.
const SOURCES: [&str; 4] = ["protocol/src", "server/src", "client-cli/src", "Cargo.lock"];

/// The program of this name, built if it is not there or older than its sources.
pub fn program(name: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    let own = env::current_exe()?;
    let folder = own
        .ancestors()
        .find(|path| path.ends_with("debug") || path.ends_with("release"))
        .context("not run from a build directory")?;
    let built = BUILT.get_or_init(|| build(folder).map_err(|error| format!("{error:#}")));
    ensure!(built.is_ok(), "the programs cannot be built: {built:?}");
    Ok(folder.join(name))
}

fn build(folder: &Path) -> Result<()> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for source in SOURCES {
        newest = newest.max(changed(&Path::new(ROOT).join(source))?);
    }
    let fresh = |name: &str| {
        fs::metadata(folder.join(name))
            .and_then(|file| file.modified())
            .is_ok_and(|at| at > newest)
    };
    if fresh("respite-server") && fresh("respite") {
        return Ok(());
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // With the tests' own package, so that the dependencies have the features that they are already built with.
    cargo.args([
        "build",
        "--quiet",
        "--locked",
        "--bin",
        "respite-server",
        "--bin",
        "respite",
        "-p",
        "respite-tests",
        "-p",
        "respite-server",
        "-p",
        "respite",
    ]);
    cargo
        .current_dir(ROOT)
        .env("CARGO_TARGET_DIR", folder.parent().unwrap_or(folder));
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    ensure!(cargo.status()?.success(), "cargo failed");
    Ok(())
}

/// When the newest file in there was changed.
fn changed(path: &Path) -> Result<SystemTime> {
    let about = fs::metadata(path)?;
    let mut newest = about.modified()?;
    if about.is_dir() {
        for entry in fs::read_dir(path)? {
            newest = newest.max(changed(&entry?.path())?);
        }
    }
    Ok(newest)
}
