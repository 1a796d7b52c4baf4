//! The end-to-end tests: a real server and real clients, one story a file.

mod codes;
mod conformance;
mod directory;
mod disk;
mod first_day;
mod gate;
mod malformed;
mod operator;
mod strangers;
mod tokens;
