//! Who is told how far long work is.

/// Is told how far long work is: what is done now, and how much of it.
pub trait Progress: Send {
    /// Something begins, in words for a person; `total` is how many steps it has, where that is known.
    fn begin(&mut self, what: &str, total: Option<u64>);
    /// This many steps more are done.
    fn advance(&mut self, steps: u64);
}

/// Nobody looks.
impl Progress for () {
    fn begin(&mut self, _: &str, _: Option<u64>) {}
    fn advance(&mut self, _: u64) {}
}
