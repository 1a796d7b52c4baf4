//! Clients that exist: each is driven by tests of its own, in `tests/interop`, against the real program.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use respite_outside::part::{CHROMIUM, LIBOLM, NODE, Part};
use respite_tests::binaries;
use tokio::{fs, process::Command, sync::OnceCell};

/// Where the clients and their tests are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/interop");

/// Where Python's packages are put.
const PYTHON: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/nio");

/// The path of a program that is there.
fn program(part: &Part, name: &str) -> Result<PathBuf> {
    part.program(name)
        .with_context(|| format!("{name} is missing"))
}

/// Runs a command to its end.
async fn run(command: &mut Command) -> Result<()> {
    let output = command
        .current_dir(FOLDER)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Ok(())
}

/// Whether what was made of `recipe` is there and as new.
async fn is_fresh(made: &Path, recipe: &Path) -> bool {
    let changed = async |path| fs::metadata(path).await?.modified();
    matches!((changed(made).await, changed(recipe).await), (Ok(made), Ok(recipe)) if made >= recipe)
}

/// Gets the packages of `package-lock.json`, if they are not there.
async fn npm_packages() -> Result<()> {
    static GOT: OnceCell<()> = OnceCell::const_new();
    GOT.get_or_try_init(async || {
        let folder = Path::new(FOLDER);
        let lock = folder.join("package-lock.json");
        let made = folder.join("node_modules/.package-lock.json");
        if is_fresh(&made, &lock).await {
            return Ok(());
        }
        let mut npm = Command::new(program(&NODE, "npm")?);
        run(npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])).await
    })
    .await
    .copied()
}

/// Gets the packages of `nio/requirements.txt`, if they are not there. Returns the Python that has them.
async fn python_packages() -> Result<PathBuf> {
    let recipe = Path::new(FOLDER).join("nio/requirements.txt");
    let python = Path::new(PYTHON).join("bin/python");
    let made = Path::new(PYTHON).join("made");
    if !is_fresh(&made, &recipe).await {
        let mut venv = Command::new(program(&LIBOLM, "/usr/bin/python3")?);
        run(venv.args(["-m", "venv", "--clear", "--system-site-packages", PYTHON])).await?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "-r"]);
        run(pip.arg(&recipe)).await?;
        fs::write(&made, "").await?;
    }
    Ok(python)
}

/// Node, about to run the tests that match a pattern.
async fn node(tests: &str) -> Result<Command> {
    npm_packages().await?;
    let mut node = Command::new(program(&NODE, "node")?);
    node.args(["--test", "--test-force-exit", tests]);
    node.env("RESPITE_SERVER", binaries::program("respite-server")?);
    Ok(node)
}

#[tokio::test]
async fn clients_of_matrix_js_sdk_do_all_that_people_do() -> Result<()> {
    if NODE.is_there() {
        run(&mut node("js-sdk/*.test.js").await?).await?;
    }
    Ok(())
}

#[tokio::test]
async fn clients_of_matrix_nio_talk_to_those_of_matrix_js_sdk() -> Result<()> {
    if NODE.is_there() && LIBOLM.is_there() {
        let python = python_packages().await?;
        let mut node = node("nio/*.test.js").await?;
        run(node.env("RESPITE_NIO", python)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_nurse_answers_a_check_in_in_a_browser() -> Result<()> {
    if NODE.is_there() && CHROMIUM.is_there() {
        let mut node = node("browser/*.test.js").await?;
        run(node.env("RESPITE_CHROMIUM", program(&CHROMIUM, "chromium")?)).await?;
    }
    Ok(())
}
