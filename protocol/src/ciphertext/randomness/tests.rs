use std::f64::consts::TAU;

use super::{super::samples::random_bytes, *};

/// Past the largest blob that the server takes.
const LARGEST: u64 = 1 << 28;

fn plausible(bytes: &[u8]) -> bool {
    Randomness::of(bytes).plausible()
}

#[test]
fn what_a_cipher_makes_looks_random_at_every_length() {
    let all = random_bytes(70_000);
    for len in (0..600).chain([1_000, 2_047, 2_048, 4_096, 16_383, 16_384, 65_536]) {
        assert!(plausible(&all[..len]), "{len} bytes");
    }
}

#[test]
fn what_people_write_does_not() {
    let texts = [
        "i want to sleep",
        "Dear diary, 3 a.m. again",
        "Ich konnte schon wieder nicht schlafen, und die Schicht beginnt um fünf.",
        "Снова не спал всю ночь, смена начинается в пять.",
        "また一晩中眠れなかった。勤務は五時に始まる。",
        "{\"note\": \"slept badly\", \"score\": 3}",
        "4920637269656420616c6c206e69676874",
        "SSBjcmllZCBhbGwgbmlnaHQ=ABCDEFG",
    ];
    for text in texts {
        assert!(!plausible(text.as_bytes()), "{text}");
        assert!(!plausible(text.repeat(50).as_bytes()), "{text}");
        let utf16: Vec<u8> = text
            .repeat(8)
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert!(!plausible(&utf16), "{text}");
        let xored: Vec<u8> = text.repeat(50).bytes().map(|byte| byte ^ 0xA5).collect();
        assert!(!plausible(&xored), "{text}");
    }
}

#[test]
fn structure_that_is_evenly_spread_is_found_by_its_differences() {
    let ramp: Vec<u8> = (0..65_536_u32).map(|i| i as u8).collect();
    assert!(!plausible(&ramp));
    let wave: Vec<u8> = (0..65_536_u32)
        .map(|i| (127.5 + 127.0 * (f64::from(i) * TAU / 200.0).sin()) as u8)
        .collect();
    assert!(!plausible(&wave));
    assert!(!plausible(&[0; 64]));
}

#[test]
fn chunks_do_not_matter() {
    let text = "Снова не спал всю ночь, смена начинается в пять.";
    let mut by_byte = Randomness::new();
    text.as_bytes()
        .chunks(1)
        .for_each(|byte| by_byte.feed(byte));
    assert!(!by_byte.plausible());
    for valid in ["é", "€", "𝄞", "a", "\u{D7FF}\u{E000}"] {
        let end = valid.bytes().fold(Utf8::Complete, Utf8::then);
        assert_eq!(end, Utf8::Complete, "{valid}");
    }
    for broken in [
        &b"\xC0\x80"[..],
        b"\xED\xA0\x80",
        b"\xF4\x90\x80\x80",
        b"\x80",
        b"\xFF",
    ] {
        assert_eq!(
            broken.iter().copied().fold(Utf8::Complete, Utf8::then),
            Utf8::Broken
        );
    }
}

#[test]
fn symbol_sets_have_the_sizes_that_the_arithmetic_takes() {
    let size = |set: fn(u8) -> bool| (0..=255).filter(|byte| set(*byte)).count();
    assert_eq!(size(is_simple), 32);
    assert_eq!(size(is_alphanumeric), 64);
    assert_eq!(size(is_printable), 98);
    for (symbols, from) in [
        (32.0, ALL_SIMPLE_FROM),
        (64.0, ALL_ALPHANUMERIC_FROM),
        (98.0, ALL_PRINTABLE_FROM),
    ] {
        assert!((symbols / 256.0_f64).powf(from as f64) < 1e-10);
    }
}

/// For n random bytes, a bound on the chance that X² crosses a limit: the counts are multinomial,
/// which is Poisson given their sum, so a bound for Poisson counts times √(2πn)·e^(1/12n) holds.
/// `sign` is 1 for the upper limit and −1 for the lower. Counts so high that even one of them is
/// unlikely (10⁻¹³) are left out of the sum and added to the bound.
fn chance(n: f64, limit: f64, sign: f64) -> f64 {
    const RARE: f64 = 1e-13;
    let mean = n / 256.0;
    let from_poisson = 0.5 * (TAU * n).ln() + 1.0 / (12.0 * n);
    let spread = mean.sqrt();
    let log_p = |count: f64| count * mean.ln() - mean - log_factorial(count);
    let mut highest = mean.ceil();
    while from_poisson + 256_f64.ln() + log_p(highest + 1.0) - (1.0 - mean / (highest + 2.0)).ln()
        > RARE.ln()
    {
        highest += (spread / 4.0).ceil();
    }
    let lowest = (mean - 12.0 * spread).floor().max(0.0);
    let bound = |s: f64| {
        let terms: Vec<f64> = (0..=(highest - lowest) as u64)
            .map(|i| lowest + i as f64)
            .map(|count| log_p(count) + sign * s * (count - mean).powi(2) / mean)
            .collect();
        let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_moment = top
            + terms
                .iter()
                .map(|term| (term - top).exp())
                .sum::<f64>()
                .ln();
        from_poisson - sign * s * limit + 256.0 * log_moment
    };
    let best = (1..100)
        .map(|i| bound(f64::from(i) * 0.005))
        .fold(f64::INFINITY, f64::min);
    best.exp() + 2.0 * RARE
}

/// Stirling's series, exact enough from 0 on.
fn log_factorial(count: f64) -> f64 {
    let (mut x, mut shift) = (count + 1.0, 0.0);
    while x < 10.0 {
        shift += x.ln();
        x += 1.0;
    }
    (x - 0.5) * x.ln() - x + 0.5 * TAU.ln() + 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) - shift
}

#[test]
fn random_bytes_cross_the_histogram_limits_less_than_once_in_ten_thousand_million() {
    let sizes = |from: u64, to: u64| {
        std::iter::successors(Some(from as f64), |n| Some((n * 1.4).ceil()))
            .take_while(move |n| *n < to as f64)
            .chain([to as f64 - 1.0])
    };
    let mut above = LARGEST;
    for (least, limit) in UPPER {
        for n in sizes(least, above) {
            assert!(
                chance(n, limit, 1.0) < 1e-10,
                "{n} bytes: {:e}",
                chance(n, limit, 1.0)
            );
        }
        above = least;
    }
    for n in sizes(LOWER.0, LARGEST) {
        assert!(chance(n, LOWER.1, -1.0) < 1e-10, "{n} bytes");
    }
}
