//! Backups: everything that a server keeps, encrypted to keys whose other half is elsewhere, and the way back.
//!
//! A directory holds many of them. The entries of the store are one file for each backup; a blob never changes, so it is
//! there once, for all backups that need it. See `docs/decisions/0005-backup.md`.

mod check;
mod copying;
mod frame;
mod keys;
mod make;
mod read;
mod restore;
mod seal;
mod shelf;

use std::io;

use tokio::task::spawn_blocking;

pub use self::{
    check::{Checked, check},
    keys::{Identities, NewKey, Recipients},
    make::{Made, Order, make},
    restore::{Restored, restore},
    shelf::Shelf,
};

/// One backup that is to be read.
pub struct Source {
    /// The directory that it is in.
    pub shelf: Shelf,
    /// Its name.
    pub name: String,
    /// What opens it.
    pub identities: Identities,
}

async fn on_disk<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(act).await.map_err(io::Error::other)?
}

async fn blocking<T: Send + 'static>(
    shelf: &Shelf,
    act: impl FnOnce(&Shelf) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let shelf = shelf.clone();
    tokio::task::spawn_blocking(move || act(&shelf)).await?
}

#[cfg(test)]
mod tests;
