//! The programs that some tests need.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

/// A program of another project.
#[derive(Debug)]
pub struct Part {
    /// What people call it.
    pub name: &'static str,
    /// The programs that have to be there.
    pub programs: &'static [&'static str],
    /// A program and its arguments that end well where these are good enough; nothing, where any version is.
    pub probe: &'static [&'static str],
    /// Which tests need it.
    pub tests: &'static str,
    /// How to get it.
    pub how: &'static str,
}

/// PostgreSQL's server.
pub const POSTGRESQL: Part = Part {
    name: "PostgreSQL",
    programs: &["initdb", "postgres", "psql"],
    probe: &[],
    tests: "the PostgreSQL engine, kills under load, moves and restores with it, one history over three servers that die; \
            otherwise several servers ran on a store within one process instead",
    how: "install the package postgresql (Debian, Ubuntu), or put its programs on PATH",
};

/// What watches a program's system calls, and makes them fail.
pub const STRACE: Part = Part {
    name: "strace",
    programs: &["strace"],
    probe: &[],
    tests: "a disk that returns errors, power loss",
    how: "install the package strace",
};

/// What runs clients that are made of matrix-js-sdk.
pub const NODE: Part = Part {
    name: "Node.js 22 or newer with npm",
    programs: &["node", "npm"],
    probe: &[
        "node",
        "-e",
        "process.exit(parseInt(process.versions.node) >= 22 ? 0 : 1)",
    ],
    tests: "clients that are made of matrix-js-sdk, and clients that talk to these",
    how: "install it from your distribution or nodejs.org; .ci/run shows how on Debian",
};

/// What clients that are made of matrix-nio need: libolm, in the Python that the system's packages are for.
pub const LIBOLM: Part = Part {
    name: "libolm for Python",
    programs: &["/usr/bin/python3"],
    probe: &["/usr/bin/python3", "-c", "import ensurepip, olm, venv"],
    tests: "clients that are made of matrix-nio",
    how: "install the packages python3-olm and python3-venv (Debian, Ubuntu)",
};

/// What shows a page.
pub const CHROMIUM: Part = Part {
    name: "Chromium",
    programs: &["chromium"],
    probe: &[],
    tests: "a client in a browser",
    how: "install the package chromium",
};

/// All of them.
pub const PARTS: [&Part; 5] = [&POSTGRESQL, &STRACE, &NODE, &LIBOLM, &CHROMIUM];

/// Where systems put the server's programs, which are not meant to be called by hand. `*` stands for the highest version
/// there is.
const HOMES: [&str; 9] = [
    // Debian and Ubuntu; openSUSE; Alpine.
    "/usr/lib/postgresql/*/bin",
    "/usr/lib/postgresql*/bin",
    "/usr/libexec/postgresql*",
    // The PostgreSQL project's packages for Red Hat's family.
    "/usr/pgsql-*/bin",
    // Homebrew, on both kinds of Macs and on Linux.
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    // Postgres.app; built from source.
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/local/pgsql/bin",
];

impl Part {
    /// The path of one of its programs, if it is there.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
        folders.extend(HOMES.into_iter().flat_map(folders_like));
        folders
            .into_iter()
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
    }

    /// Whether all of it is there.
    ///
    /// # Panics
    /// It is not, and `RESPITE_TEST_REQUIRE=all` says that everything has to be.
    pub fn is_there(&self) -> bool {
        let there = self.is_found();
        assert!(
            there || !everything_is_required(),
            "{} is missing, and RESPITE_TEST_REQUIRE=all: {}",
            self.name,
            self.how
        );
        there
    }

    /// Whether all of it is there, whatever is required.
    pub fn is_found(&self) -> bool {
        let mut programs = self.programs.iter();
        programs.all(|name| self.program(name).is_some()) && self.is_good_enough()
    }

    fn is_good_enough(&self) -> bool {
        let Some((name, arguments)) = self.probe.split_first() else {
            return true;
        };
        let mut probe = Command::new(name);
        probe.args(arguments).stdin(Stdio::null());
        probe.stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    }
}

/// Whether a test that is not run is a failure.
pub fn everything_is_required() -> bool {
    env::var("RESPITE_TEST_REQUIRE").is_ok_and(|what| what == "all")
}

/// The folders that a pattern with one `*` for a version means, the highest version first.
fn folders_like(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join(after.trim_start_matches('/'))))
        })
        .collect();
    versions.sort();
    versions
        .into_iter()
        .rev()
        .map(|(_, folder)| folder)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_comes_first_and_nothing_else_is_taken_for_one() {
        let home = tempfile::tempdir().unwrap();
        for name in ["pgsql-9", "pgsql-15", "pgsql-old", "pgsql", "16"] {
            fs::create_dir(home.path().join(name)).unwrap();
        }
        let home = home.path().display().to_string();
        let found = folders_like(&format!("{home}/pgsql-*/bin"));
        let expected =
            ["15", "9"].map(|version| PathBuf::from(format!("{home}/pgsql-{version}/bin")));
        assert_eq!(found, expected);
        let found = folders_like(&format!("{home}/*/bin"));
        assert_eq!(found, [PathBuf::from(format!("{home}/16/bin"))]);
        assert!(folders_like("/nowhere/*/bin").is_empty());
    }
}
