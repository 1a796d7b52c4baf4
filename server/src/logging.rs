//! The log: what the server does, to standard error. Never content, tokens, addresses, user ids, or a path as it was asked
//! for: who writes a log line names what happened, not to whom.

use std::io;

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{Log, LogFormat, LogLevel};

/// Starts the log of this process; a second call changes nothing. A panic is logged by its place, without its text, which
/// may hold anything.
pub fn start(config: &Log) {
    // Other crates' lines below a warning may hold addresses and raw requests, whatever level is set.
    let filter = EnvFilter::new(format!("warn,respite_server={}", directive(config.level)));
    let log = fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match config.format {
        LogFormat::Text => log.with_target(false).with_ansi(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            tracing::error!(place = place.as_deref().unwrap_or("unknown"), "a panic");
        }));
    }
}

fn directive(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    }
}
