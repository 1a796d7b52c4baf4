//! A series as a picture, on whatever can hold one.

use jiff::{Timestamp, Zoned};

use super::{Point, Series};

/// Width of the picture, in units of which a letter is 8 wide.
pub(super) const WIDTH: f64 = 760.0;
/// Height of the picture.
pub(super) const HEIGHT: f64 = 360.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 592.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 296.0;

/// Red, green, blue.
type Colour = [u8; 3];

const PAPER: Colour = [255, 255, 255];
const INK: Colour = [31, 41, 55];
const GREY: Colour = [107, 114, 128];
const LINE: Colour = [29, 78, 137];
const URGENT: Colour = [185, 28, 28];
const SHADE: Colour = [214, 219, 227];
/// Bands from the lowest to the highest.
const BANDS: [Colour; 5] = [
    [233, 245, 238],
    [246, 246, 226],
    [252, 238, 217],
    [250, 226, 214],
    [246, 213, 213],
];

/// A time to be shaded, such as a shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shade {
    /// When it begins.
    pub from: Timestamp,
    /// When it ends.
    pub to: Timestamp,
}

/// Where a text stands by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// To the right of it.
    Right,
    /// To the left of it.
    Left,
}

/// What holds a picture.
pub(super) trait Canvas {
    /// Fills a rectangle: left, top, width, height.
    fn fill(&mut self, place: [f64; 4], colour: [u8; 3]);
    /// Draws a line between two points.
    fn line(&mut self, from: [f64; 2], to: [f64; 2], colour: [u8; 3]);
    /// Draws a disc, or only its edge.
    fn dot(&mut self, at: [f64; 2], radius: f64, filled: bool, colour: [u8; 3]);
    /// Writes a text, its middle at this height, to the right or the left of a place.
    fn write(&mut self, at: [f64; 2], leftwards: bool, text: &str, colour: [u8; 3]);
}

/// Draws a series under a title; `shades` are drawn behind it.
pub(super) fn draw(
    canvas: &mut dyn Canvas,
    title: &str,
    series: &Series,
    shades: &[Shade],
    now: &Zoned,
) {
    canvas.fill([0.0, 0.0, WIDTH, HEIGHT], PAPER);
    write(canvas, [LEFT, 20.0], Side::Right, title, INK);
    let up = |value: f64| {
        let (low, high) = (series.range.0.to_f64(), series.range.1.to_f64());
        let share = if high > low {
            (value - low) / (high - low)
        } else {
            0.5
        };
        BOTTOM - share.clamp(0.0, 1.0) * (BOTTOM - TOP)
    };
    bands(canvas, series, &up);
    let across = Across::of(&series.points);
    for shade in shades {
        if let Some((from, to)) = across.within(shade) {
            canvas.fill([from, TOP, (to - from).max(1.0), BOTTOM - TOP], SHADE);
        }
    }
    canvas.line([LEFT, TOP], [LEFT, BOTTOM], GREY);
    canvas.line([LEFT, BOTTOM], [RIGHT, BOTTOM], GREY);
    for end in [series.range.0, series.range.1] {
        write(
            canvas,
            [LEFT - 8.0, up(end.to_f64())],
            Side::Left,
            &end.to_string(),
            GREY,
        );
    }
    let places: Vec<_> = series
        .points
        .iter()
        .map(|point| [across.at(point.at), up(point.value.to_f64())])
        .collect();
    for pair in places.windows(2) {
        if let [from, to] = pair {
            canvas.line(*from, *to, LINE);
        }
    }
    for (place, point) in places.iter().zip(&series.points) {
        let colour = if point.urgent { URGENT } else { LINE };
        canvas.dot(*place, 4.0, point.estimated == 0, colour);
    }
    beneath(canvas, series, now);
}

fn bands(canvas: &mut dyn Canvas, series: &Series, up: &dyn Fn(f64) -> f64) {
    let count = series.bands.len();
    for (place, band) in series.bands.iter().enumerate() {
        // Scores are whole: a band reaches to where the next begins.
        let next = series.bands.get(place + 1).map(|next| next.low);
        let top = up(next.unwrap_or(band.high).to_f64());
        let bottom = up(band.low.to_f64());
        let shade = if count > 1 {
            place * (BANDS.len() - 1) / (count - 1)
        } else {
            0
        };
        let colour = BANDS.get(shade).copied().unwrap_or(PAPER);
        canvas.fill([LEFT, top, RIGHT - LEFT, (bottom - top).max(1.0)], colour);
        write(
            canvas,
            [RIGHT + 8.0, f64::midpoint(top, bottom)],
            Side::Right,
            &band.label,
            GREY,
        );
    }
}

fn beneath(canvas: &mut dyn Canvas, series: &Series, now: &Zoned) {
    let day = |at: Timestamp| {
        at.to_zoned(now.time_zone().clone())
            .strftime("%Y-%m-%d")
            .to_string()
    };
    if let (Some(first), Some(last)) = (series.points.first(), series.points.last()) {
        write(
            canvas,
            [LEFT, BOTTOM + 16.0],
            Side::Right,
            &day(first.at),
            GREY,
        );
        if first.at != last.at {
            write(
                canvas,
                [RIGHT, BOTTOM + 16.0],
                Side::Left,
                &day(last.at),
                GREY,
            );
        }
    }
    let last = series
        .since_last
        .map(|change| format!("since the last: {}", change.shown()));
    let first = series
        .since_first
        .map(|change| format!("since the first: {}", change.shown()));
    let said: Vec<_> = [last, first].into_iter().flatten().collect();
    write(
        canvas,
        [LEFT, BOTTOM + 44.0],
        Side::Right,
        &said.join("; "),
        INK,
    );
}

fn write(canvas: &mut dyn Canvas, at: [f64; 2], side: Side, text: &str, colour: Colour) {
    canvas.write(at, side == Side::Left, &crate::terminal::line(text), colour);
}

/// Where times are, from left to right.
struct Across {
    first: i64,
    last: i64,
}

impl Across {
    fn of(points: &[Point]) -> Self {
        let seconds = |point: &Point| point.at.as_second();
        Self {
            first: points.first().map_or(0, seconds),
            last: points.last().map_or(0, seconds),
        }
    }

    fn at(&self, time: Timestamp) -> f64 {
        if self.first == self.last {
            return f64::midpoint(LEFT, RIGHT);
        }
        let span = self.last.saturating_sub(self.first) as f64;
        let share = time.as_second().saturating_sub(self.first) as f64 / span;
        LEFT + 8.0 + share.clamp(0.0, 1.0) * (RIGHT - LEFT - 16.0)
    }

    fn within(&self, shade: &Shade) -> Option<(f64, f64)> {
        let (from, to) = (shade.from.as_second(), shade.to.as_second());
        let outside = to <= self.first || self.last <= from || self.first == self.last;
        (!outside).then(|| (self.at(shade.from), self.at(shade.to)))
    }
}
