//! The binary as a person meets it before there is a server.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

struct Machine {
    home: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_respite"));
        command
            .args(arguments)
            .env_clear()
            .env("RESPITE_HOME", self.home.path())
            .stdin(Stdio::null());
        command
    }

    fn runs(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn runs_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn wrong_usage_exits_2_and_says_what_is_right() {
    let machine = Machine::new();
    let cases: [&[&str]; 9] = [
        &[],
        &["sned", "therapist", "hello"],
        &["register"],
        &["read", "therapist", "--limit", "0"],
        &["checkin", "ask", "heron", "--text", "?", "--scale", "5-1"],
        &[
            "checkin",
            "ask",
            "heron",
            "--text",
            "?",
            "--expires",
            "soon",
        ],
        &["checkin", "postpone", "heron"],
        &["invite", "--uses", "0"],
        &[
            "register",
            "--server",
            "x",
            "--code",
            "c",
            "--user",
            "u",
            "--password",
            "on-the-command-line",
        ],
    ];
    for arguments in cases {
        let output = machine.runs(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).is_empty());
        assert!(stdout(&output).is_empty());
    }
}

#[test]
fn help_has_an_example_for_every_command() {
    let machine = Machine::new();
    let commands: [&[&str]; 33] = [
        &["register"],
        &["login"],
        &["logout"],
        &["whoami"],
        &["status"],
        &["rooms"],
        &["room", "create"],
        &["room", "join"],
        &["room", "leave"],
        &["invite"],
        &["send"],
        &["read"],
        &["inbox"],
        &["checkin", "ask"],
        &["checkin", "answer"],
        &["checkin", "list"],
        &["checkin", "cancel"],
        &["checkin", "postpone"],
        &["checkin", "trend"],
        &["instruments", "list"],
        &["instruments", "show"],
        &["instruments", "import"],
        &["instruments", "export"],
        &["instruments", "remove"],
        &["safety-plan", "show"],
        &["safety-plan", "edit"],
        &["doc", "share"],
        &["doc", "list"],
        &["doc", "get"],
        &["doc", "return"],
        &["recovery", "setup"],
        &["recovery", "restore"],
        &["verify"],
    ];
    for command in commands {
        let arguments: Vec<_> = command.iter().copied().chain(["--help"]).collect();
        let output = machine.runs(&arguments);
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("Example: respite "), "{command:?}");
    }
}

#[test]
fn who_is_not_logged_in_is_told_how_to_start_and_nothing_is_written() {
    let machine = Machine::new();
    for command in [
        &["rooms"][..],
        &["send", "therapist", "hello"],
        &["status"],
        &["whoami"],
        &["inbox"],
    ] {
        let output = machine.runs(command);
        assert_eq!(code(&output), 1);
        assert!(
            stderr(&output).contains("respite register"),
            "{}",
            stderr(&output)
        );
        assert_eq!(stderr(&output).lines().count(), 1);
    }
    assert_eq!(fs::read_dir(machine.home.path()).unwrap().count(), 0);
}

#[test]
fn whom_to_call_is_known_before_there_is_an_account_or_a_network() {
    let machine = Machine::new();
    let output = machine.runs(&["safety-plan", "show", "--country", "fr"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let said = stdout(&output);
    assert!(
        said.contains("3114") && said.contains("not for emergencies"),
        "{said}"
    );
    let mut at_home = machine.command(&["--json", "safety-plan", "show"]);
    let output = at_home.env("LANG", "en_AU.UTF-8").output().unwrap();
    let screen: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(screen["country"]["lines"][0]["number"], "13 11 14");
    assert_eq!(fs::read_dir(machine.home.path()).unwrap().count(), 0);
}

#[test]
fn bundled_questionnaires_are_shown_without_an_account() {
    let machine = Machine::new();
    let listed = stdout(&machine.runs(&["instruments", "list"]));
    assert!(
        listed.contains("phq-9") && listed.contains("between-shifts"),
        "{listed}"
    );
    let shown = stdout(&machine.runs(&["instruments", "show", "phq-9"]));
    assert!(
        shown.contains("20-27 severe") && shown.contains("Urgent from 1 on"),
        "{shown}"
    );
    let fhir = stdout(&machine.runs(&["instruments", "export", "gad-7"]));
    let fhir: serde_json::Value = serde_json::from_str(&fhir).unwrap();
    assert_eq!(fhir["resourceType"], "Questionnaire");
    let none = machine.runs(&["instruments", "show", "isi"]);
    assert_eq!(code(&none), 1);
}

#[test]
fn programs_get_errors_as_json() {
    let output = Machine::new().runs(&["--json", "rooms"]);
    assert_eq!(code(&output), 1);
    let error: serde_json::Value = serde_json::from_str(&stderr(&output)).unwrap();
    assert!(
        error["error"]
            .as_str()
            .unwrap()
            .contains("nobody is logged in")
    );
}

#[test]
fn a_server_that_is_not_there_is_one_sentence() {
    let machine = Machine::new();
    // Port 9 (discard) on loopback: nothing listens there.
    let arguments = [
        "login",
        "--server",
        "http://127.0.0.1:9",
        "--user",
        "heron",
        "--password-stdin",
    ];
    let output = machine.runs_with_input(&arguments, "secret-password\n");
    assert_eq!(code(&output), 1);
    let said = stderr(&output);
    assert!(
        said.contains("cannot be reached") && !said.contains("secret-password"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
}

#[test]
fn a_password_does_not_go_over_an_open_connection() {
    let machine = Machine::new();
    let arguments = [
        "login",
        "--server",
        "http://192.0.2.1",
        "--user",
        "heron",
        "--password-stdin",
    ];
    let output = machine.runs_with_input(&arguments, "secret-password\n");
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("would not be encrypted"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn an_odd_profile_name_is_refused() {
    let output = Machine::new().runs(&["--profile", "../other", "rooms"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("profile's name"));
}

#[test]
fn completions_are_there_for_the_usual_shells() {
    let machine = Machine::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = machine.runs(&["completions", shell]);
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("checkin"), "{shell}");
    }
}

#[test]
fn the_reference_page_is_what_the_program_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/client.md");
    let page = respite::commands::reference();
    if std::env::var_os("RESPITE_WRITE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let checked_in = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == page,
        "docs/client.md is out of date; run: RESPITE_WRITE_DOCS=1 cargo test -p respite reference"
    );
}
