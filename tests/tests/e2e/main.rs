//! The end-to-end tests: a real server and real clients, one story a file.

mod codes;
mod directory;
mod disk;
mod first_day;
mod gate;
mod malformed;
mod strangers;
mod tokens;
