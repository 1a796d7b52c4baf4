//! The binary `respite`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    respite::commands::run(std::env::args_os()).await
}
