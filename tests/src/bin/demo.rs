//! The main job, on a terminal: what a therapist and a night nurse see, beside what the server holds of it.

#![expect(clippy::print_stdout, reason = "the demo is there to be looked at")]

use std::{env, io::IsTerminal};

use anyhow::Result;
use clap::Parser;
use matrix_sdk::ruma::api::client::uiaa;
use respite_tests::{
    held::Held,
    person::Person,
    practice::Practice,
    story::{self, Scene},
};

/// Plays the main job with real clients against a real server, then keeps the server running so that one can join in.
#[derive(Parser)]
#[command(name = "demo", version)]
struct Arguments {
    /// Stops when the story is over, instead of waiting for Ctrl-C.
    #[arg(long)]
    once: bool,
}

/// The width of what people see, and of what the server holds.
const PEOPLE: usize = 46;
const SERVER: usize = 66;
/// How much of a ciphertext is shown.
const SHOWN: usize = 3 * SERVER - 24;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let paint = Paint::new();
    let practice = Practice::open().await?;
    println!(
        "{}",
        paint.bold("Respite: a therapist, a night nurse, and a server that cannot read")
    );
    println!(
        "The server listens at {} and keeps everything in {}\n",
        practice.url(),
        practice.data().display()
    );
    columns(
        &paint,
        &["what people see".to_owned()],
        &["what the server holds".to_owned()],
    );
    println!("{}", "─".repeat(PEOPLE + SERVER + 3));

    let mut act = 0;
    let mut narrate = |scene: Scene| {
        act += 1;
        show(&paint, act, &scene);
    };
    let ending = story::play(&practice, &mut narrate).await?;
    let therapist_key = recovery_key(&ending.therapist).await?;
    let nurse_key = recovery_key(&ending.nurse).await?;

    println!("{}\n", paint.bold("Now you. The server keeps running."));
    println!("  server     {}", practice.url());
    account("therapist", &ending.therapist, &therapist_key);
    account("nurse", &ending.nurse, &nurse_key);
    println!("\nAt another terminal (each asks for the password, and for the recovery key):\n");
    let respite = "cargo run --release --bin respite --";
    println!(
        "  {respite} --profile demo login --server {} --user nurse",
        practice.url()
    );
    println!("  {respite} --profile demo recovery restore");
    println!("  {respite} --profile demo read therapist");
    println!("  {respite} --profile demo send therapist \"Slept better today\"");
    println!("\nOr log in with Element or any other Matrix client at the same address.");
    println!("Ctrl-C stops the server and removes everything.");
    if !arguments.once {
        tokio::signal::ctrl_c().await?;
    }
    let mut practice = practice;
    practice.stop().await
}

/// Backs up the keys, so that another device can read what was said.
async fn recovery_key(person: &Person) -> Result<String> {
    let encryption = person.client.encryption();
    let user =
        uiaa::UserIdentifier::Matrix(uiaa::MatrixUserIdentifier::new(person.id().to_string()));
    let password = uiaa::Password::new(user, person.password.clone());
    encryption
        .bootstrap_cross_signing(Some(uiaa::AuthData::Password(password)))
        .await?;
    Ok(encryption
        .recovery()
        .enable()
        .wait_for_backups_to_upload()
        .await?)
}

fn account(role: &str, person: &Person, recovery_key: &str) {
    println!("  {role:<10} {}", person.id());
    println!("             password: {}", person.password);
    println!("             recovery key: {recovery_key}");
}

fn show(paint: &Paint, act: usize, scene: &Scene) {
    println!("{}", paint.bold(&format!("{act}. {}", scene.what)));
    let left = wrap(&format!("{}: {}", scene.who, scene.sees), PEOPLE);
    let right: Vec<_> = scene
        .held
        .iter()
        .flat_map(|held| wrap(&describe(held), SERVER))
        .collect();
    columns(paint, &left, &right);
    println!();
}

fn columns(paint: &Paint, left: &[String], right: &[String]) {
    for line in 0..left.len().max(right.len()) {
        let left = left.get(line).map_or("", String::as_str);
        let right = right.get(line).map_or("", String::as_str);
        println!(
            "{} {} {}",
            pad(left, PEOPLE),
            paint.dim("│"),
            paint.dim(right)
        );
    }
}

fn describe(held: &Held) -> String {
    match held {
        Held::Hash(hash) => format!("hash {}", shorten(hash)),
        Held::Event { kind, content } => format!("{kind} {}", shorten(content)),
        Held::Waiting { content, .. } => format!("to be released later {}", shorten(content)),
        Held::Blob { size, bytes } => {
            let hex: String = bytes
                .iter()
                .take(48)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            format!("blob of {size} bytes {hex}…")
        }
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

/// Breaks between words where it can, anywhere where it must: ciphertext has no words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let room =
            |line: &str| width.saturating_sub(line.chars().count() + usize::from(!line.is_empty()));
        let mut rest: Vec<char> = word.chars().collect();
        while !rest.is_empty() {
            let Some(line) = lines.last_mut() else {
                return lines;
            };
            let free = room(line);
            if rest.len() > free && (rest.len() <= width || free < width / 3) {
                lines.push(String::new());
                continue;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.extend(rest.drain(..free.min(rest.len())));
            if !rest.is_empty() {
                lines.push(String::new());
            }
        }
    }
    lines
}

fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.chars().count());
    format!("{text}{}", " ".repeat(missing))
}

/// Emphasis, on a terminal that wants it.
struct Paint(bool);

impl Paint {
    fn new() -> Self {
        Self(std::io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none())
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(&self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}
