use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A number with at most three decimal places, up to a thousand million, exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal {
    thousandths: i64,
}

/// A text that is no such number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a number with at most three decimal places, such as 7 or 7.5")]
pub struct InvalidDecimal;

impl Decimal {
    /// Nothing.
    pub const ZERO: Self = Self { thousandths: 0 };
    /// Largest number, without its sign.
    pub const MAX_ABS: i64 = 1_000_000_000;
    const ONE: i64 = 1_000;

    /// A whole number; nothing if it is larger than [`MAX_ABS`](Self::MAX_ABS).
    pub fn whole(number: i64) -> Option<Self> {
        Self::new(i128::from(number) * i128::from(Self::ONE))
    }

    /// The whole number, if it is one.
    pub const fn as_whole(self) -> Option<i64> {
        if self.thousandths % Self::ONE == 0 {
            Some(self.thousandths / Self::ONE)
        } else {
            None
        }
    }

    /// The nearest whole number, halves up.
    pub const fn rounded(self) -> i64 {
        (self.thousandths + Self::ONE / 2).div_euclid(Self::ONE)
    }

    /// The sum, if it is in limits.
    pub fn plus(self, other: Self) -> Option<Self> {
        Self::new(i128::from(self.thousandths) + i128::from(other.thousandths))
    }

    /// The difference, if it is in limits.
    pub fn minus(self, other: Self) -> Option<Self> {
        Self::new(i128::from(self.thousandths) - i128::from(other.thousandths))
    }

    /// The number times `times` over `over`, if that is in limits.
    pub fn scaled(self, times: usize, over: usize) -> Option<Self> {
        let over = i128::try_from(over).ok().filter(|over| *over > 0)?;
        let scaled = i128::from(self.thousandths) * i128::try_from(times).ok()?;
        Self::new((scaled + over / 2).div_euclid(over))
    }

    /// Without its sign.
    pub const fn abs(self) -> Self {
        Self {
            thousandths: self.thousandths.abs(),
        }
    }

    /// For drawing: the nearest floating-point number.
    #[expect(
        clippy::cast_precision_loss,
        reason = "drawing needs no more than a double has"
    )]
    pub fn to_f64(self) -> f64 {
        self.thousandths as f64 / 1_000.0
    }

    fn new(thousandths: i128) -> Option<Self> {
        let thousandths = i64::try_from(thousandths).ok()?;
        let in_limits = thousandths.unsigned_abs() <= (Self::MAX_ABS * Self::ONE).unsigned_abs();
        in_limits.then_some(Self { thousandths })
    }
}

impl FromStr for Decimal {
    type Err = InvalidDecimal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (whole, part) = digits.split_once(['.', ',']).unwrap_or((digits, "0"));
        let plain = |digits: &str, most: usize| {
            (1..=most).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
        };
        if !plain(whole, 10) || !plain(part, 3) {
            return Err(InvalidDecimal);
        }
        let whole: i128 = whole.parse().map_err(|_| InvalidDecimal)?;
        let part: i128 = format!("{part:0<3}").parse().map_err(|_| InvalidDecimal)?;
        Self::new(sign * (whole * i128::from(Self::ONE) + part)).ok_or(InvalidDecimal)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.thousandths < 0 { "-" } else { "" };
        let abs = self.thousandths.unsigned_abs();
        let (whole, part) = (abs / 1_000, abs % 1_000);
        if part == 0 {
            write!(f, "{sign}{whole}")
        } else {
            let part = format!("{part:03}");
            write!(f, "{sign}{whole}.{}", part.trim_end_matches('0'))
        }
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_whole() {
            Some(whole) => serializer.serialize_i64(whole),
            None => serializer.serialize_f64(self.to_f64()),
        }
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let read = match number.as_i64() {
            Some(whole) => Self::whole(whole),
            // The shortest text of a double is what was written, for as many digits as we take.
            None => number
                .as_f64()
                .and_then(|number| number.to_string().parse().ok()),
        };
        read.ok_or_else(|| D::Error::custom(InvalidDecimal))
    }
}
