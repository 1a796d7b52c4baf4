//! A picture as PNG: rectangles, lines, discs and a font of 8 by 8 points need no library to draw.

use anyhow::Result;
use font8x8::{BASIC_FONTS, LATIN_FONTS, UnicodeFonts as _};
use jiff::Zoned;

use super::{
    Series,
    chart::{Canvas, HEIGHT, Shade, WIDTH, draw},
};

/// Pixels for a unit of the picture.
const ZOOM: f64 = 2.0;
/// Width of a letter, in units of the picture.
const LETTER: f64 = 8.0;

/// A series as a PNG picture.
///
/// # Errors
///
/// If it cannot be packed.
pub fn png(title: &str, series: &Series, shades: &[Shade], now: &Zoned) -> Result<Vec<u8>> {
    let (width, height) = (pixel(WIDTH), pixel(HEIGHT));
    let mut picture = Picture {
        width,
        height,
        bytes: vec![255; width * height * 3],
    };
    draw(&mut picture, title, series, shades, now);
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, u32::try_from(width)?, u32::try_from(height)?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(&picture.bytes)?;
    Ok(file)
}

struct Picture {
    width: usize,
    height: usize,
    bytes: Vec<u8>,
}

impl Picture {
    fn put(&mut self, x: f64, y: f64, colour: [u8; 3]) {
        let (x, y) = (pixel(x), pixel(y));
        if x < self.width && y < self.height {
            let at = (y * self.width + x) * 3;
            if let Some(pixel) = self.bytes.get_mut(at..at + 3) {
                pixel.copy_from_slice(&colour);
            }
        }
    }

    /// Calls `paint` for the middle of every pixel of a rectangle.
    fn each(place: [f64; 4], mut paint: impl FnMut(f64, f64)) {
        let [left, top, width, height] = place;
        let step = 1.0 / ZOOM;
        for row in 0..pixel(height) {
            for column in 0..pixel(width) {
                paint(left + step * column as f64, top + step * row as f64);
            }
        }
    }
}

impl Canvas for Picture {
    fn fill(&mut self, place: [f64; 4], colour: [u8; 3]) {
        Self::each(place, |x, y| self.put(x, y, colour));
    }

    fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], colour: [u8; 3]) {
        let steps = pixel((x2 - x1).abs().max((y2 - y1).abs())).max(1);
        for step in 0..=steps {
            let share = step as f64 / steps as f64;
            let (x, y) = (x1 + (x2 - x1) * share, y1 + (y2 - y1) * share);
            self.fill([x - 0.5, y - 0.5, 1.5, 1.5], colour);
        }
    }

    fn dot(&mut self, [x, y]: [f64; 2], radius: f64, filled: bool, colour: [u8; 3]) {
        let around = [x - radius, y - radius, 2.0 * radius, 2.0 * radius];
        Self::each(around, |px, py| {
            let distance = (px - x).hypot(py - y);
            if distance <= radius {
                let edge = filled || distance > radius - 1.5;
                self.put(px, py, if edge { colour } else { [255; 3] });
            }
        });
    }

    fn write(&mut self, [x, y]: [f64; 2], leftwards: bool, text: &str, colour: [u8; 3]) {
        let width = LETTER * text.chars().count() as f64;
        let left = if leftwards { x - width } else { x };
        for (place, letter) in text.chars().enumerate() {
            let start = left + LETTER * place as f64;
            for (row, bits) in (0_u32..).zip(shape(letter)) {
                for column in (0_u32..8).filter(|column| bits >> column & 1 == 1) {
                    let at = [
                        start + f64::from(column),
                        y - 4.0 + f64::from(row),
                        1.0,
                        1.0,
                    ];
                    self.fill(at, colour);
                }
            }
        }
    }
}

/// The points of a letter, or of a question mark.
fn shape(letter: char) -> [u8; 8] {
    let plain = match letter {
        '–' | '—' | '−' => '-',
        '“' | '”' => '"',
        '’' => '\'',
        letter => letter,
    };
    let known = BASIC_FONTS.get(plain).or_else(|| LATIN_FONTS.get(plain));
    known.or_else(|| BASIC_FONTS.get('?')).unwrap_or_default()
}

/// A length in pixels; nothing below 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the picture is small, and nothing is drawn left of it or above"
)]
fn pixel(length: f64) -> usize {
    (length * ZOOM).round().max(0.0) as usize
}
