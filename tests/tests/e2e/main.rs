//! The end-to-end tests: a real server and real clients, one story a file.
#![expect(
    clippy::indexing_slicing,
    reason = "JSON is looked into by name, which never panics"
)]

mod backups;
mod bucket;
mod canaries;
mod codes;
mod conformance;
mod crash;
mod deletion;
mod devices;
mod directory;
mod disk;
mod first_day;
mod gate;
mod interop;
mod keys;
mod main_job;
mod malformed;
mod operator;
mod powerloss;
mod program;
mod prompts;
mod push;
mod questionnaires;
mod room_list;
mod rows;
mod several;
mod strangers;
mod tokens;
