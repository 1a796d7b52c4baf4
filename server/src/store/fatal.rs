//! What an engine does when it no longer knows what is on the disk: it ends the process, so that nobody is told what may
//! not be so. The next start reads what is there.

use std::{fmt, io::Write, sync::Arc};

/// How an engine stops everything. Cheap to clone.
#[derive(Clone)]
pub struct Fatal(Arc<dyn Fn(&str) + Send + Sync>);

impl Fatal {
    /// Says why, in the log or where there is none on standard error, and ends the process with exit code 1.
    pub fn exit() -> Self {
        Self(Arc::new(|why| {
            if tracing::dispatcher::has_been_set() {
                tracing::error!("{why}");
            } else {
                let _ = writeln!(std::io::stderr(), "respite-server: {why}");
            }
            std::process::exit(1);
        }))
    }

    /// Only tells, for tests, which go on living.
    #[cfg(test)]
    pub fn told(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Stops everything; `why` is a sentence for whoever runs the server, without what is stored.
    pub fn stop(&self, why: &str) {
        (self.0)(why);
    }
}

impl fmt::Debug for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fatal")
    }
}
