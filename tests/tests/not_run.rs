//! The last lines of `cargo test`: which tests were not run because a program is missing, and how to get it.

#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::process::ExitCode;

use respite_outside::{PARTS, part};

fn main() -> ExitCode {
    let missing: Vec<_> = PARTS.iter().filter(|part| !part.is_found()).collect();
    if missing.is_empty() {
        println!("\nEvery program that tests need is here: nothing was left out.");
        return ExitCode::SUCCESS;
    }
    for part in &missing {
        println!(
            "\nNOT RUN, because {} is missing: {}.",
            part.name, part.tests
        );
        println!("To run them: {}.", part.how);
    }
    ExitCode::from(u8::from(part::everything_is_required()))
}
