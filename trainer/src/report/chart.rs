//! Charts as inline SVG.
//!
//! Colours are CSS classes, so that the page's light, dark and print styles apply; series differ by dash and mark too, not
//! by colour alone. Each chart has a title, a description in words for those who do not see it, and the value of every point
//! as a tooltip.

use std::fmt::Write as _;

use super::html::escaped;

/// A chart of points and lines.
#[derive(Debug, Clone, Default)]
pub(super) struct Chart {
    pub(super) title: String,
    /// What it shows, in words.
    pub(super) description: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
    /// Draw the line y = x.
    pub(super) diagonal: bool,
}

/// An axis.
#[derive(Debug, Clone, Default)]
pub(super) struct Axis {
    /// Its name, with the unit.
    pub(super) label: String,
    /// Least and greatest value; out of the points when absent.
    pub(super) range: Option<(f64, f64)>,
    pub(super) logarithmic: bool,
    /// Words at 0, 1, 2 and so on, in place of numbers.
    pub(super) names: Vec<String>,
}

/// Points of one kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<Point>,
    /// Connect the points.
    pub(super) line: bool,
}

/// A point; `spread` is half the length of its error bar.
#[derive(Debug, Clone, Default)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) spread: f64,
    /// A word beside the point.
    pub(super) label: String,
}

impl Axis {
    pub(super) fn new(label: &str) -> Self {
        Self { label: label.to_owned(), ..Self::default() }
    }
}

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;
/// Series beyond these repeat a colour with another dash.
const COLOURS: usize = 6;

/// From values to places on the paper.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    fn new(axis: &Axis, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let logarithmic = axis.logarithmic;
        let usable = values.filter(|v| v.is_finite() && (!logarithmic || *v > 0.0));
        let (mut low, mut high) = usable.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            (low, high) = (if logarithmic { 1.0 } else { 0.0 }, if logarithmic { 10.0 } else { 1.0 });
        }
        if let Some((l, h)) = axis.range {
            (low, high) = (l, h);
        } else if logarithmic {
            (low, high) = (low / 1.3, high * 1.3);
        } else {
            let margin = if high > low { 0.06 * (high - low) } else { high.abs().max(1.0) * 0.1 };
            (low, high) = (low - margin, high + margin);
        }
        Self { low, high, from, to, logarithmic }
    }

    fn place(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share.clamp(-0.02, 1.02) * (self.to - self.from)
    }

    /// Round values within the scale: steps of 1, 2 or 5 times a power of ten.
    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let first = self.low.log10().floor() as i32;
            let last = self.high.log10().ceil() as i32;
            let all = (first..=last).flat_map(|power| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(power)));
            return all.filter(|v| (self.low..=self.high).contains(v)).collect();
        }
        let rough = (self.high - self.low) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough * 0.99).unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }
}

/// A number as a label: no more digits than it needs.
pub(super) fn short(value: f64) -> String {
    let text = match value.abs() {
        0.0 => return "0".to_owned(),
        a if a >= 1e6 => return format!("{}M", short(value / 1e6)),
        a if a >= 1e4 => return format!("{}k", short(value / 1e3)),
        a if a >= 100.0 => format!("{value:.0}"),
        a if a >= 10.0 => format!("{value:.1}"),
        a if a >= 0.1 => format!("{value:.2}"),
        a if a >= 1e-4 => format!("{value:.4}"),
        _ => return format!("{value:.1e}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

impl Chart {
    pub(super) fn has_points(&self) -> bool {
        self.series.iter().any(|s| !s.points.is_empty())
    }

    /// The chart as an `<svg>` element; `id` must be unique in the page.
    pub(super) fn svg(&self, id: &str) -> String {
        let all = || self.series.iter().flat_map(|s| &s.points);
        let x = Scale::new(&self.x, all().map(|p| p.x), LEFT, WIDTH - RIGHT);
        let y = Scale::new(&self.y, all().flat_map(|p| [p.y - p.spread, p.y + p.spread]), HEIGHT - BOTTOM, TOP);
        let mut out = String::new();
        let _ = write!(
            out,
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
            escaped(&self.title),
            escaped(&self.description)
        );
        self.axes(&mut out, &x, &y);
        if self.diagonal {
            let (low, high) = (x.low.max(y.low), x.high.min(y.high));
            let _ = write!(
                out,
                "<line class=\"diagonal\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
                x.place(low),
                y.place(low),
                x.place(high),
                y.place(high)
            );
        }
        for (number, series) in self.series.iter().enumerate() {
            let points = series.points.iter().filter(|p| p.x.is_finite() && p.y.is_finite()).cloned().collect();
            self.one(&mut out, number, &Series { points, ..series.clone() }, &x, &y);
        }
        out.push_str("</svg>");
        out
    }

    fn axes(&self, out: &mut String, x: &Scale, y: &Scale) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for tick in y.ticks() {
            let at = y.place(tick);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                at + 3.5,
                short(tick)
            );
        }
        let ticks = match self.x.names.len() {
            0 => x.ticks().into_iter().map(|tick| (tick, short(tick))).collect(),
            _ => self.x.names.iter().enumerate().map(|(i, name)| (i as f64, escaped(name))).collect::<Vec<_>>(),
        };
        for (tick, label) in ticks {
            let at = x.place(tick);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
                 <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                bottom + 15.0
            );
        }
        let _ = write!(
            out,
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\
             <text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"label\" transform=\"translate(13 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 8.0,
            escaped(&self.x.label),
            (TOP + bottom) / 2.0,
            escaped(&self.y.label)
        );
    }

    fn one(&self, out: &mut String, number: usize, series: &Series, x: &Scale, y: &Scale) {
        let style = format!("s{} d{}", number % COLOURS, number % 4);
        let _ = write!(out, "<g class=\"{style}\">");
        if series.line && series.points.len() > 1 {
            let points: Vec<String> =
                series.points.iter().map(|p| format!("{:.1},{:.1}", x.place(p.x), y.place(p.y))).collect();
            let _ = write!(out, "<polyline class=\"line\" points=\"{}\"/>", points.join(" "));
        }
        for point in &series.points {
            let (px, py) = (x.place(point.x), y.place(point.y));
            if point.spread > 0.0 {
                let (low, high) = (y.place(point.y - point.spread), y.place(point.y + point.spread));
                let _ = write!(
                    out,
                    "<path class=\"bar\" d=\"M{px:.1} {low:.1}V{high:.1}M{:.1} {low:.1}h6M{:.1} {high:.1}h6\"/>",
                    px - 3.0,
                    px - 3.0
                );
            }
            let spread = if point.spread > 0.0 { format!(" ± {}", short(point.spread)) } else { String::new() };
            let label = if point.label.is_empty() { &series.name } else { &point.label };
            let at = match self.x.names.get(point.x.round().max(0.0) as usize) {
                Some(name) => name.clone(),
                None => format!("{} {}", self.x.label, short(point.x)),
            };
            let _ = write!(
                out,
                "<g class=\"mark\"><title>{}: {}, {} {}{spread}</title>{}</g>",
                escaped(label),
                escaped(&at),
                escaped(&self.y.label),
                short(point.y),
                mark(number, px, py)
            );
            if !point.label.is_empty() {
                // To the left where there is no room on the right.
                let (anchor, at) = if px > WIDTH - 120.0 { ("end", px - 7.0) } else { ("start", px + 7.0) };
                let _ = write!(
                    out,
                    "<text class=\"name\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                    py - 6.0,
                    escaped(&point.label)
                );
            }
        }
        out.push_str("</g>");
    }

    /// The names of the series with their marks, as HTML; empty for one series.
    pub(super) fn legend(&self) -> String {
        if self.series.len() < 2 {
            return String::new();
        }
        let items: Vec<String> = self
            .series
            .iter()
            .enumerate()
            .map(|(number, series)| {
                let line = if series.line { "<path class=\"line\" d=\"M1 6H27\"/>" } else { "" };
                format!(
                    "<li><svg class=\"key\" viewBox=\"0 0 28 12\" aria-hidden=\"true\"><g class=\"s{} d{}\">{line}<g class=\"mark\">{}</g></g></svg>{}</li>",
                    number % COLOURS,
                    number % 4,
                    mark(number, 14.0, 6.0),
                    escaped(&series.name)
                )
            })
            .collect();
        format!("<ul class=\"legend\">{}</ul>", items.concat())
    }
}

/// The mark of a series: a circle, square, triangle or diamond.
fn mark(number: usize, x: f64, y: f64) -> String {
    match number % 4 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\"/>"),
        1 => format!("<rect x=\"{:.1}\" y=\"{:.1}\" width=\"6.2\" height=\"6.2\"/>", x - 3.1, y - 3.1),
        2 => format!("<path d=\"M{x:.1} {:.1}l4 7h-8z\"/>", y - 4.2),
        _ => format!("<path d=\"M{x:.1} {:.1}l4.2 4.2l-4.2 4.2l-4.2 -4.2z\"/>", y - 4.2),
    }
}
