//! The end-to-end tests: a real server and real clients, one story a file.

mod first_day;
