//! Respite end to end, in stories: one test binary, one file a story.

mod codes;
mod conformance;
mod directory;
mod disk;
mod gate;
mod malformed;
mod operator;
mod strangers;
mod tokens;
