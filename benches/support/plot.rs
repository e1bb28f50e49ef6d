//! Line plots as SVG by hand: two axes with titles and units, lines, a dashed line for a ceiling or target. Text is
//! dark on light, and light on dark where the reader's system asks for it.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// Left, right, top and bottom of the drawing.
const FRAME: (f64, f64, f64, f64) = (78.0, 722.0, 72.0, 350.0);
/// Told apart by people who see colours differently (Okabe and Ito), on light and on dark.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// Name and points of a line.
pub type Line = (String, Vec<(f64, f64)>);

/// A plot to be.
pub struct Plot {
    pub title: &'static str,
    pub x: &'static str,
    pub y: &'static str,
    /// Powers of ten along x.
    pub is_log: bool,
    pub lines: Vec<Line>,
    /// Name and height of the dashed line.
    pub ceiling: Option<(String, f64)>,
}

struct Scale {
    x: (f64, f64),
    top: f64,
    is_log: bool,
}

impl Scale {
    fn across(&self, value: f64) -> f64 {
        let at = |x: f64| if self.is_log { x.log10() } else { x };
        let share = (at(value) - at(self.x.0)) / (at(self.x.1) - at(self.x.0)).max(1e-9);
        FRAME.0 + share * (FRAME.1 - FRAME.0)
    }

    fn up(&self, value: f64) -> f64 {
        FRAME.3 - value / self.top * (FRAME.3 - FRAME.2)
    }
}

impl Plot {
    /// The file.
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let highest =
            points().map(|(_, y)| *y).chain(self.ceiling.iter().map(|(_, y)| *y)).fold(0.0, f64::max);
        let step = step(highest * 1.1);
        let scale = Scale {
            // Time begins at zero, whenever the first point was taken.
            x: points().fold((if self.is_log { f64::MAX } else { 0.0 }, f64::MIN), |(low, high), (x, _)| {
                (low.min(*x), high.max(*x))
            }),
            top: (highest * 1.1 / step).ceil() * step,
            is_log: self.is_log,
        };
        let mut out = String::new();
        self.begin(&mut out);
        self.axes(&mut out, &scale, step);
        if let Some((name, height)) = &self.ceiling {
            let (y, (left, right, ..)) = (scale.up(*height), FRAME);
            let _ = writeln!(out, "<path class=\"ceiling\" d=\"M{left} {y:.1}H{right}\"/>");
            let _ = writeln!(
                out,
                "<text class=\"small\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                right - 4.0,
                y - 6.0
            );
        }
        for at in 0..self.lines.len() {
            self.line(&mut out, &scale, at);
        }
        out.push_str("</svg>\n");
        out
    }

    fn begin(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             role=\"img\" aria-label=\"{}\">\n<style>\
             text{{font:13px system-ui,sans-serif;fill:#1f2328}}.title{{font-size:16px;font-weight:600}}\
             .small{{font-size:12px}}.paper{{fill:#fff}}.grid{{stroke:#d8dee4;fill:none}}.axis{{stroke:#57606a;fill:none}}\
             .ceiling{{stroke:#57606a;stroke-dasharray:6 5;stroke-width:1.5;fill:none}}\
             .line{{fill:none;stroke-width:2.2;stroke-linejoin:round}}\
             @media (prefers-color-scheme:dark){{text{{fill:#e6edf3}}.paper{{fill:#0d1117}}.grid{{stroke:#30363d}}\
             .axis,.ceiling{{stroke:#9198a1}}}}</style>\n\
             <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>\n\
             <text class=\"title\" x=\"{}\" y=\"26\">{}</text>",
            self.title, FRAME.0, self.title
        );
    }

    fn axes(&self, out: &mut String, scale: &Scale, step: f64) {
        let (left, right, top, bottom) = FRAME;
        let mut height = 0.0;
        while height <= scale.top * 1.001 {
            let y = scale.up(height);
            let _ = writeln!(out, "<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/>");
            let _ = writeln!(
                out,
                "<text class=\"small\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                y + 4.0,
                label(height)
            );
            height += step;
        }
        for x in self.marks(scale) {
            let at = scale.across(x);
            let _ = writeln!(out, "<path class=\"axis\" d=\"M{at:.1} {bottom}v5\"/>");
            let _ = writeln!(
                out,
                "<text class=\"small\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 20.0,
                label(x)
            );
        }
        let _ = writeln!(out, "<path class=\"axis\" d=\"M{left} {top}V{bottom}H{right}\"/>");
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            bottom + 46.0,
            self.x
        );
        let middle = (top + bottom) / 2.0;
        let _ = writeln!(
            out,
            "<text x=\"20\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 20 {middle})\">{}</text>",
            self.y
        );
    }

    fn marks(&self, scale: &Scale) -> Vec<f64> {
        if self.is_log {
            let (low, high) = (scale.x.0.log10().floor() as i32, scale.x.1.log10().ceil() as i32);
            let all = (low..=high).map(|power| 10_f64.powi(power));
            return all.filter(|x| *x >= scale.x.0 * 0.99 && *x <= scale.x.1 * 1.01).collect();
        }
        let step = step(scale.x.1 - scale.x.0);
        let mut marks = Vec::new();
        let mut x = (scale.x.0 / step).ceil() * step;
        while x <= scale.x.1 * 1.001 {
            marks.push(x);
            x += step;
        }
        marks
    }

    fn line(&self, out: &mut String, scale: &Scale, at: usize) {
        let (name, points) = &self.lines[at];
        let colour = COLOURS[at % COLOURS.len()];
        let path: Vec<String> =
            points.iter().map(|(x, y)| format!("{:.1} {:.1}", scale.across(*x), scale.up(*y))).collect();
        let _ = writeln!(out, "<path class=\"line\" stroke=\"{colour}\" d=\"M{}\"/>", path.join("L"));
        if points.len() < 20 {
            for (x, y) in points {
                let _ = writeln!(
                    out,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.6\" fill=\"{colour}\"/>",
                    scale.across(*x),
                    scale.up(*y)
                );
            }
        }
        // The legend, in rows of three below the title.
        let (column, row) = ((at % 3) as f64, (at / 3) as f64);
        let (x, y) = (FRAME.0 + column * 222.0, 44.0 + row * 16.0);
        let _ = writeln!(out, "<path class=\"line\" stroke=\"{colour}\" d=\"M{x} {}h18\"/>", y - 4.0);
        let _ = writeln!(out, "<text class=\"small\" x=\"{}\" y=\"{y}\">{name}</text>", x + 24.0);
    }
}

/// A round distance that gives five to ten marks.
fn step(span: f64) -> f64 {
    let rough = (span / 6.0).max(1e-6);
    let power = 10_f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    power * factors.into_iter().find(|factor| factor * power >= rough).unwrap_or(10.0)
}

/// `12,000`, `1.25`.
fn label(value: f64) -> String {
    if value.fract().abs() > 1e-6 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
