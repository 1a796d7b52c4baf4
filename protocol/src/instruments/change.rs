use super::{Decimal, Score};

/// How a score has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// By how much: above 0 if it is higher now.
    pub by: Decimal,
    /// Whether that is more than the error of measurement, if that is known of the instrument.
    pub reliability: Option<Reliability>,
}

/// Whether a change is more than the error of measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reliability {
    /// It may be chance.
    WithinError,
    /// It is a reliable rise.
    Rise,
    /// It is a reliable fall.
    Fall,
}

/// The change of a score between two answers.
pub fn change(score: &Score, from: Decimal, to: Decimal) -> Option<Change> {
    let by = to.minus(from)?;
    let reliability = score.reliable_change.map(|least| {
        if by.abs() < least {
            Reliability::WithinError
        } else if by > Decimal::ZERO {
            Reliability::Rise
        } else {
            Reliability::Fall
        }
    });
    Some(Change { by, reliability })
}

/// The difference between two scores that chance exceeds once in twenty times: 1.96 standard errors
/// of the difference, which is the standard deviation times √(2(1 − reliability)).
///
/// Jacobson and Truax, Journal of Consulting and Clinical Psychology 59 (1991), 12-19.
pub fn reliable_difference(standard_deviation: f64, reliability: f64) -> f64 {
    1.96 * standard_deviation * (2.0 * (1.0 - reliability.clamp(0.0, 1.0))).sqrt()
}
