//! Whether bytes look like the output of a cipher.
//!
//! Every test here lets truly random bytes of any length pass: the chance of refusing them is
//! below 10⁻⁹ for all tests together. The arithmetic, for n random bytes:
//!
//! - *Few symbols.* The chance that all of n bytes fall into a set of k symbols is (k/256)ⁿ.
//!   Small letters and space with common punctuation, 32 symbols: 12 bytes, 1.5·10⁻¹¹. Letters,
//!   digits, space and line end, 64 symbols: 17 bytes, 5.8·10⁻¹¹. Printable ASCII with tab and
//!   line ends, 98 symbols: 24 bytes, 9.8·10⁻¹¹.
//! - *Mostly printable.* P(Bin(n, 98/256) ≥ ¾n) ≤ exp(−n·D(¾‖98/256)) = exp(−0.278·n): from 96
//!   bytes on, 2.5·10⁻¹².
//! - *UTF-8.* Valid UTF-8 strings of n bytes number about 144.5ⁿ, a share of 0.565ⁿ: from 48 bytes
//!   on, 1.3·10⁻¹².
//! - *Histogram.* X² = Σ(oᵢ − n/256)²/(n/256) over the 256 byte values has mean 255. The limits in
//!   [`UPPER`] and [`LOWER`] are set so that a Chernoff bound on it, with the multinomial counts
//!   bounded by Poisson ones, is below 10⁻¹⁰ for every n; a test computes that bound. The same
//!   holds for the histogram of differences of neighbouring bytes, which are as independent and
//!   uniform as the bytes, and whose histogram catches ramps and slow waves.

/// X² may not be above the limit, by least number of bytes.
const UPPER: [(u64, f64); 3] = [(2_048, 500.0), (256, 600.0), (48, 960.0)];
/// X² may not be below the limit: too even to be random.
const LOWER: (u64, f64) = (16_384, 100.0);

const ALL_SIMPLE_FROM: u64 = 12;
const ALL_ALPHANUMERIC_FROM: u64 = 17;
const ALL_PRINTABLE_FROM: u64 = 24;
const MOSTLY_PRINTABLE_FROM: u64 = 96;
const UTF8_FROM: u64 = 48;

/// What is remembered of bytes that stream by; constant in size.
#[derive(Clone, Debug)]
pub(super) struct Randomness {
    values: Box<[u64; 256]>,
    differences: Box<[u64; 256]>,
    last: Option<u8>,
    total: u64,
    utf8: Utf8,
}

impl Randomness {
    pub(super) fn new() -> Self {
        Self {
            values: Box::new([0; 256]),
            differences: Box::new([0; 256]),
            last: None,
            total: 0,
            utf8: Utf8::Complete,
        }
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut seen = Self::new();
        seen.feed(bytes);
        seen
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            bump(&mut self.values, byte);
            if let Some(last) = self.last {
                bump(&mut self.differences, byte.wrapping_sub(last));
            }
            self.last = Some(byte);
            self.utf8 = self.utf8.then(byte);
        }
        self.total = self.total.saturating_add(bytes.len() as u64);
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Whether the bytes so far could be a cipher's output.
    pub(super) fn plausible(&self) -> bool {
        !self.is_text()
            && even(&self.values, self.total)
            && even(&self.differences, self.total.saturating_sub(1))
    }

    /// Whether the bytes so far are text: ASCII or UTF-8, or nearly so.
    pub(super) fn is_text(&self) -> bool {
        let all = |least, set: fn(u8) -> bool| self.total >= least && self.count(set) == self.total;
        all(ALL_SIMPLE_FROM, is_simple)
            || all(ALL_ALPHANUMERIC_FROM, is_alphanumeric)
            || all(ALL_PRINTABLE_FROM, is_printable)
            || (self.total >= UTF8_FROM && self.utf8 != Utf8::Broken)
            || (self.total >= MOSTLY_PRINTABLE_FROM
                && self.count(is_printable) >= self.total - self.total / 4)
    }

    fn count(&self, set: fn(u8) -> bool) -> u64 {
        (0..=255_u8)
            .zip(self.values.iter())
            .filter(|(byte, _)| set(*byte))
            .map(|(_, n)| n)
            .sum()
    }
}

fn bump(histogram: &mut [u64; 256], byte: u8) {
    if let Some(slot) = histogram.get_mut(usize::from(byte)) {
        *slot = slot.saturating_add(1);
    }
}

/// 32 symbols: what a short note is written in.
fn is_simple(byte: u8) -> bool {
    byte.is_ascii_lowercase() || matches!(byte, b' ' | b'.' | b',' | b'\'' | b'!' | b'?')
}

/// 64 symbols.
fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'\n')
}

/// 98 symbols.
fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r')
}

/// Whether the histogram of n values is as even as chance makes it, no more and no less.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts below 2^53 are exact, above it close"
)]
fn even(histogram: &[u64; 256], n: u64) -> bool {
    let Some((_, upper)) = UPPER.iter().find(|(least, _)| n >= *least) else {
        return true;
    };
    let expected = n as f64 / 256.0;
    let squares = histogram
        .iter()
        .map(|&observed| (observed as f64 - expected).powi(2));
    let x2 = squares.sum::<f64>() / expected;
    x2 <= *upper && (n < LOWER.0 || x2 >= LOWER.1)
}

/// Where a stream of bytes stands in UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Utf8 {
    /// Between characters.
    Complete,
    /// Inside one: how many bytes are to come, and the bounds of the next.
    Inside { to_come: u8, low: u8, high: u8 },
    /// It was no UTF-8.
    Broken,
}

impl Utf8 {
    fn then(self, byte: u8) -> Self {
        let inside = |to_come, low, high| Self::Inside { to_come, low, high };
        match self {
            Self::Broken => Self::Broken,
            Self::Complete => match byte {
                0x00..=0x7F => Self::Complete,
                0xC2..=0xDF => inside(1, 0x80, 0xBF),
                0xE0 => inside(2, 0xA0, 0xBF),
                0xED => inside(2, 0x80, 0x9F),
                0xE1..=0xEF => inside(2, 0x80, 0xBF),
                0xF0 => inside(3, 0x90, 0xBF),
                0xF1..=0xF3 => inside(3, 0x80, 0xBF),
                0xF4 => inside(3, 0x80, 0x8F),
                _ => Self::Broken,
            },
            Self::Inside { to_come, low, high } => match (low..=high).contains(&byte) {
                false => Self::Broken,
                true if to_come == 1 => Self::Complete,
                true => inside(to_come - 1, 0x80, 0xBF),
            },
        }
    }
}

#[cfg(test)]
mod tests;
