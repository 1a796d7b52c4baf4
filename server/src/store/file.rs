//! Files and directories that must be there after the power was lost: names beside a name, and directories that are synced.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The path with an ending after its whole name.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// Makes a directory that nobody else may look into, and those above it, where they are not there yet. Blocks.
///
/// # Errors
/// The disk's.
pub fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Puts the names in a directory on the disk. Blocks.
///
/// # Errors
/// The disk's.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Puts the name of a file or directory on the disk. Blocks.
///
/// # Errors
/// The disk's.
pub fn sync_name(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|path| !path.as_os_str().is_empty());
    sync_directory(parent.unwrap_or(Path::new(".")))
}
