//! The programs that some tests need.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// A program of another project.
#[derive(Debug)]
pub struct Part {
    /// What people call it.
    pub name: &'static str,
    /// The programs that have to be there.
    pub programs: &'static [&'static str],
    /// Which tests need it.
    pub tests: &'static str,
    /// How to get it.
    pub how: &'static str,
}

/// PostgreSQL's server.
pub const POSTGRESQL: Part = Part {
    name: "PostgreSQL",
    programs: &["initdb", "postgres", "psql"],
    tests: "the PostgreSQL engine, several servers on one database",
    how: "install the package postgresql (Debian, Ubuntu) or postgresql-server (Fedora)",
};

/// What watches a program's system calls, and makes them fail.
pub const STRACE: Part = Part {
    name: "strace",
    programs: &["strace"],
    tests: "a disk that returns errors, power loss",
    how: "install the package strace",
};

/// All of them.
pub const PARTS: [&Part; 2] = [&POSTGRESQL, &STRACE];

/// Where Debian and others put the server's programs, which are not meant to be called by hand.
const HOMES: [&str; 3] = [
    "/usr/lib/postgresql",
    "/usr/pgsql",
    "/opt/homebrew/opt/postgresql",
];

impl Part {
    /// The path of one of its programs, if it is there.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
        folders.extend(HOMES.iter().flat_map(|home| versions(Path::new(home))));
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
        self.programs
            .iter()
            .all(|name| self.program(name).is_some())
    }
}

/// Whether a test that is not run is a failure.
pub fn everything_is_required() -> bool {
    env::var("RESPITE_TEST_REQUIRE").is_ok_and(|what| what == "all")
}

/// `HOME/VERSION/bin`, the highest version first.
fn versions(home: &Path) -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(home)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    versions
        .into_iter()
        .rev()
        .map(|(_, folder)| folder)
        .collect()
}
