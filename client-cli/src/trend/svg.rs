//! A picture as SVG.

use jiff::Zoned;

use super::{
    Series,
    chart::{Canvas, HEIGHT, Shade, WIDTH, draw},
};

/// A series as an SVG picture.
pub fn svg(title: &str, series: &Series, shades: &[Shade], now: &Zoned) -> String {
    let mut picture = Picture(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\" role=\"img\">\n<title>{}</title>\n",
        escaped(title)
    ));
    draw(&mut picture, title, series, shades, now);
    picture.0.push_str("</svg>\n");
    picture.0
}

struct Picture(String);

impl Canvas for Picture {
    fn fill(&mut self, [left, top, width, height]: [f64; 4], colour: [u8; 3]) {
        self.0.push_str(&format!(
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{}\"/>\n",
            hex(colour)
        ));
    }

    fn line(&mut self, from: [f64; 2], to: [f64; 2], colour: [u8; 3]) {
        let ([x1, y1], [x2, y2]) = (from, to);
        self.0.push_str(&format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{}\" stroke-width=\"1.5\"/>\n",
            hex(colour)
        ));
    }

    fn dot(&mut self, [x, y]: [f64; 2], radius: f64, filled: bool, colour: [u8; 3]) {
        let colour = hex(colour);
        let fill = if filled { &colour } else { "#ffffff" };
        self.0.push_str(&format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n"
        ));
    }

    fn write(&mut self, [x, y]: [f64; 2], leftwards: bool, text: &str, colour: [u8; 3]) {
        let anchor = if leftwards { "end" } else { "start" };
        self.0.push_str(&format!(
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"{}\">{}</text>\n",
            y + 4.5,
            hex(colour),
            escaped(text)
        ));
    }
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
