//! Placeholder.



