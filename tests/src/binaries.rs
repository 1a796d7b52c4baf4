//! The real programs, as they were built with these tests.

use std::{env, path::PathBuf, process::Command, sync::OnceLock};

use anyhow::{Context, Result, ensure};

/// The program of this name, built if it is not there yet.
pub fn program(name: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<bool> = OnceLock::new();
    let own = env::current_exe()?;
    let folder = own
        .ancestors()
        .find(|path| path.ends_with("debug") || path.ends_with("release"))
        .context("not run from a build directory")?;
    let built = BUILT.get_or_init(|| {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args([
            "build",
            "--quiet",
            "--locked",
            "-p",
            "respite-server",
            "-p",
            "respite",
            "--bins",
        ]);
        cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        cargo.env("CARGO_TARGET_DIR", folder.parent().unwrap_or(folder));
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        cargo.status().is_ok_and(|status| status.success())
    });
    ensure!(*built, "the programs cannot be built");
    Ok(folder.join(name))
}
