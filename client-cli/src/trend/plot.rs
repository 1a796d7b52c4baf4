//! A series on the terminal.

use jiff::Zoned;

use super::{Point, Series};
use crate::{terminal, time};

/// Columns of the drawing, without what stands beside it.
const COLUMNS: usize = 48;
/// Most rows of the drawing.
const ROWS: usize = 14;

/// A series as a drawing of characters that works in 80 columns and without colours. `●` is an
/// answer, `!` an urgent one, `○` one of which answers were estimated.
pub fn plot(series: &Series, now: &Zoned) -> String {
    let (low, high) = (series.range.0.to_f64(), series.range.1.to_f64());
    let rows = rows(low, high);
    let mut grid = vec![vec![' '; COLUMNS]; rows];
    let row_of = |value: f64| {
        let share = if high > low {
            (value - low) / (high - low)
        } else {
            0.5
        };
        rows.saturating_sub(1)
            .saturating_sub(nearest(share, rows.saturating_sub(1)))
    };
    for band in &series.bands {
        if let Some(row) = grid
            .get_mut(row_of(band.low.to_f64()))
            .filter(|_| band.low > series.range.0)
        {
            row.fill('┈');
        }
    }
    let columns = columns(&series.points);
    let places: Vec<_> = columns
        .iter()
        .zip(&series.points)
        .map(|(column, point)| (*column, row_of(point.value.to_f64())))
        .collect();
    for pair in places.windows(2) {
        if let [from, to] = pair {
            join(&mut grid, *from, *to);
        }
    }
    for ((column, row), point) in places.iter().zip(&series.points) {
        put(&mut grid, *column, *row, mark(point));
    }
    drawn(series, &grid, row_of, now)
}

fn drawn(
    series: &Series,
    grid: &[Vec<char>],
    row_of: impl Fn(f64) -> usize,
    now: &Zoned,
) -> String {
    let labels: Vec<(usize, String)> = series
        .bands
        .iter()
        .map(|band| {
            let middle = (band.low.to_f64() + band.high.to_f64()) / 2.0;
            (row_of(middle), terminal::line(&band.label))
        })
        .collect();
    let mut lines = Vec::new();
    for (place, row) in grid.iter().enumerate() {
        let value = match place {
            0 => series.range.1.to_string(),
            place if place + 1 == grid.len() => series.range.0.to_string(),
            _ => String::new(),
        };
        let label = labels.iter().find(|(row, _)| *row == place);
        let label = label
            .map(|(_, label)| format!(" {label}"))
            .unwrap_or_default();
        let line = format!("{value:>6} │{}│{label}", row.iter().collect::<String>());
        lines.push(line.trim_end().to_owned());
    }
    if let (Some(first), Some(last)) = (series.points.first(), series.points.last()) {
        let (first, last) = (time::shown(first.at, now), time::shown(last.at, now));
        let gap = COLUMNS.saturating_sub(first.chars().count() + last.chars().count());
        lines.push(format!("{:>6}  {first}{}{last}", "", " ".repeat(gap)));
    }
    lines.join("\n")
}

const fn mark(point: &Point) -> char {
    match (point.urgent, point.estimated) {
        (true, _) => '!',
        (false, 0) => '●',
        (false, _) => '○',
    }
}

/// A row for each score, as far as they fit.
fn rows(low: f64, high: f64) -> usize {
    whole(high - low).saturating_add(1).clamp(3, ROWS)
}

/// In which column each point is, by its time.
fn columns(points: &[Point]) -> Vec<usize> {
    let seconds = |point: &Point| point.at.as_second();
    let first = points.first().map_or(0, seconds);
    let span = points
        .last()
        .map_or(0, seconds)
        .saturating_sub(first)
        .max(1);
    let column = |point: &Point| {
        let share = seconds(point).saturating_sub(first) as f64 / span as f64;
        nearest(share, COLUMNS - 1)
    };
    match points {
        [_] => vec![COLUMNS / 2],
        points => points.iter().map(column).collect(),
    }
}

/// Draws a line of dots between two places.
fn join(grid: &mut [Vec<char>], from: (usize, usize), to: (usize, usize)) {
    let width = to.0.saturating_sub(from.0);
    for column in from.0 + 1..to.0 {
        let share = (column - from.0) as f64 / width as f64;
        let (low, high) = (from.1.min(to.1), from.1.max(to.1));
        let step = nearest(share, high - low);
        let row = if to.1 >= from.1 {
            from.1 + step
        } else {
            from.1 - step
        };
        put(grid, column, row, '·');
    }
}

fn put(grid: &mut [Vec<char>], column: usize, row: usize, mark: char) {
    if let Some(cell) = grid.get_mut(row).and_then(|row| row.get_mut(column)) {
        *cell = mark;
    }
}

/// The nearest of the places 0 to `last` to a share of the way.
fn nearest(share: f64, last: usize) -> usize {
    whole(share.clamp(0.0, 1.0) * last as f64)
}

/// The nearest whole number; nothing below 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places on a screen are small and not below nothing"
)]
fn whole(number: f64) -> usize {
    number.round().clamp(0.0, 100_000.0) as usize
}
