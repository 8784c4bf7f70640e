//! The picture of a sweep: tokens a second against the active share, as an SVG of its own.

use std::fmt::Write as _;

use super::spread::Spread;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 560.0;

/// Left edge of what stands above the plot.
const HEADING: f64 = 24.0;

/// Edges of the plot inside of the picture.
const LEFT: f64 = 72.0;
const RIGHT: f64 = WIDTH - 32.0;
const TOP: f64 = 144.0;
const BOTTOM: f64 = HEIGHT - 64.0;

/// Room between the outermost marks and the edges of the plot, as a factor of the share.
const MARGIN: f64 = 1.2;

/// Readable on white and on black; by the order of the series.
const COLORS: [&str; 4] = ["#3b82f6", "#f97316", "#10b981", "#a855f7"];

const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #57606a }
.title { font-size: 18px; font-weight: 600; fill: #1f2328 }
.card { fill: #ffffff; stroke: #d0d7de }
.grid { stroke: #d8dee4 }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
.roof { fill: none; stroke-width: 1.5; stroke-dasharray: 5 4; opacity: 0.8 }
.range { stroke-width: 1.5; opacity: 0.5 }
.end { text-anchor: end }
.middle { text-anchor: middle }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1 }
  .title { fill: #f0f6fc }
  .card { fill: #0d1117; stroke: #3d444d }
  .grid { stroke: #2a313c }
}
";

/// What the picture shows.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: String,
    /// Lines below the title.
    pub(super) notes: Vec<String>,
    /// Bytes a second that memory gives: the rooflines are this over the bytes of a token.
    pub(super) bandwidth: f64,
    pub(super) series: Vec<Series>,
}

/// A line of the picture and its roofline.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: &'static str,
    /// One or more, with ascending shares.
    pub(super) marks: Vec<Mark>,
}

/// What was measured at one active share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) active: f64,
    /// Tokens a second.
    pub(super) rate: Spread,
    pub(super) bytes_per_token: f64,
}

/// Where shares and rates lie in the picture: shares on a logarithmic axis, rates from zero.
#[derive(Debug)]
struct Axes {
    shares: [f64; 2],
    highest_rate: f64,
}

impl Chart {
    /// The picture as the text of an SVG file.
    pub(super) fn to_svg(&self) -> String {
        let axes = self.axes();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n<title>{}</title>\n\
             <style>\n{STYLE}</style>\n\
             <rect class=\"card\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n",
            escape(&self.title),
            WIDTH - 1.0,
            HEIGHT - 1.0
        );
        svg += &self.heading();
        svg += &self.grid(&axes);
        for (series, color) in self.series.iter().zip(COLORS.iter().cycle()) {
            svg += &series.roofline(&axes, color, self.bandwidth);
        }
        for (series, color) in self.series.iter().zip(COLORS.iter().cycle()) {
            svg += &series.line(&axes, color, self.bandwidth);
        }
        svg + "</svg>\n"
    }

    fn marks(&self) -> impl Iterator<Item = &Mark> + Clone {
        self.series.iter().flat_map(|series| &series.marks)
    }

    fn axes(&self) -> Axes {
        let shares = self.marks().map(|mark| mark.active);
        let rates = self.marks().flat_map(|mark| [mark.rate.highest, mark.roof(self.bandwidth)]);
        Axes {
            shares: [
                shares.clone().fold(f64::INFINITY, f64::min) / MARGIN,
                shares.fold(0.0, f64::max) * MARGIN,
            ],
            highest_rate: 1.05 * rates.fold(f64::MIN_POSITIVE, f64::max),
        }
    }

    /// Title, notes and the legend.
    fn heading(&self) -> String {
        let mut svg = text("title", HEADING, 34.0, &self.title);
        for (y, note) in [56.0, 74.0].into_iter().zip(&self.notes) {
            svg += &text("note", HEADING, y, note);
        }
        let mut x = HEADING;
        for (series, color) in self.series.iter().zip(COLORS.iter().cycle()) {
            let _ = writeln!(
                svg,
                "<line class=\"line\" stroke=\"{color}\" x1=\"{x}\" y1=\"102\" x2=\"{}\" y2=\"102\"/>\
                 <circle fill=\"{color}\" cx=\"{}\" cy=\"102\" r=\"4\"/>",
                x + 28.0,
                x + 14.0
            );
            svg += &text("note", x + 36.0, 106.0, series.name);
            x += 128.0;
        }
        let _ = writeln!(
            svg,
            "<line class=\"roof\" stroke=\"#808890\" x1=\"{x}\" y1=\"102\" x2=\"{}\" y2=\"102\"/>",
            x + 28.0
        );
        svg + &text("note", x + 36.0, 106.0, "roofline: read bandwidth / bytes of a token")
    }

    /// Lines and numbers at round rates and at the shares that were measured.
    fn grid(&self, axes: &Axes) -> String {
        let mut svg = String::new();
        let step = round_step(axes.highest_rate);
        let mut rate = 0.0;
        while rate <= axes.highest_rate {
            let y = axes.y(rate);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>"
            );
            svg += &text("end", LEFT - 8.0, y + 4.0, &rate.to_string());
            rate += step;
        }
        let mut shares: Vec<f64> = self.marks().map(|mark| mark.active).collect();
        shares.sort_by(f64::total_cmp);
        shares.dedup();
        let mut free = 0.0;
        for share in shares {
            let x = axes.x(share);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{BOTTOM}\"/>"
            );
            if x >= free {
                svg += &text("middle", x, BOTTOM + 20.0, &percent(share));
                free = x + 48.0;
            }
        }
        svg += &text("middle", f64::midpoint(LEFT, RIGHT), BOTTOM + 44.0, "active neurons");
        svg + &text("end", LEFT - 8.0, TOP - 12.0, "tok/s")
    }
}

impl Series {
    /// What the bandwidth allows; the bytes of a token are linear in the active share.
    fn roofline(&self, axes: &Axes, color: &str, bandwidth: f64) -> String {
        const STEPS: u32 = 12;
        let mut points = String::new();
        let mut point = |x: f64, rate: f64| {
            let _ = write!(points, "{x:.1},{:.1} ", axes.y(rate));
        };
        if let [mark] = self.marks[..] {
            for offset in [-20.0, 20.0] {
                point(axes.x(mark.active) + offset, mark.roof(bandwidth));
            }
        }
        for pair in self.marks.windows(2) {
            for step in 0..=STEPS {
                let part = f64::from(step) / f64::from(STEPS);
                let between = |from: f64, to: f64| from + part * (to - from);
                let share = between(pair[0].active, pair[1].active);
                let bytes = between(pair[0].bytes_per_token, pair[1].bytes_per_token);
                point(axes.x(share), bandwidth / bytes);
            }
        }
        format!("<polyline class=\"roof\" stroke=\"{color}\" points=\"{}\"/>\n", points.trim_end())
    }

    /// What was measured: medians joined, their ranges, and the numbers under the pointer.
    fn line(&self, axes: &Axes, color: &str, bandwidth: f64) -> String {
        let place = |mark: &Mark| (axes.x(mark.active), axes.y(mark.rate.median));
        let points: Vec<String> =
            self.marks.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let mut svg = format!(
            "<polyline class=\"line\" stroke=\"{color}\" points=\"{}\"/>\n",
            points.join(" ")
        );
        for mark in &self.marks {
            let (x, y) = place(mark);
            let _ = writeln!(
                svg,
                "<line class=\"range\" stroke=\"{color}\" x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" \
                 y2=\"{:.1}\"/><circle fill=\"{color}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\">\
                 <title>{} at {}: {:.2} tok/s, {} of its roofline</title></circle>",
                axes.y(mark.rate.lowest),
                axes.y(mark.rate.highest),
                escape(self.name),
                percent(mark.active),
                mark.rate.median,
                percent((1e3 * mark.rate.median / mark.roof(bandwidth)).round() / 1e3),
            );
        }
        svg
    }
}

impl Mark {
    fn roof(&self, bandwidth: f64) -> f64 {
        bandwidth / self.bytes_per_token
    }
}

impl Axes {
    fn x(&self, share: f64) -> f64 {
        let [lowest, highest] = self.shares;
        LEFT + (RIGHT - LEFT) * (share / lowest).ln() / (highest / lowest).ln()
    }

    fn y(&self, rate: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * rate / self.highest_rate
    }
}

/// 1, 2 or 5 times a power of ten, so that four to ten of them make the whole.
fn round_step(whole: f64) -> f64 {
    let power = 10.0_f64.powf((whole / 10.0).log10().floor());
    let fits = |step: &f64| whole / step <= 10.0;
    [1.0, 2.0, 5.0].map(|factor| factor * power).into_iter().find(fits).unwrap_or(10.0 * power)
}

/// A share with the digits that it has.
fn percent(share: f64) -> String {
    format!("{} %", (share * 1e4).round() / 100.0)
}

fn text(class: &str, x: f64, y: f64, content: &str) -> String {
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>\n", escape(content))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(names: &[&'static str], shares: &[f64]) -> Chart {
        let mark = |&active: &f64| Mark {
            active,
            rate: Spread { median: 40.0, lowest: 38.0, highest: 41.0 },
            bytes_per_token: 2e8 * (1.0 + active),
        };
        let marks: Vec<Mark> = shares.iter().map(mark).collect();
        let series = names.iter().map(|name| Series { name, marks: marks.clone() }).collect();
        let (title, notes) = ("a < b & c".to_owned(), vec!["one".to_owned(), "two".to_owned()]);
        Chart { title, notes, bandwidth: 2e10, series }
    }

    #[test]
    fn every_strategy_has_a_line_a_roofline_and_all_marks() {
        let svg = chart(&["dense", "exact", "predictor"], &[0.05, 0.1, 0.5]).to_svg();
        for (part, count) in [
            ("<polyline class=\"line\"", 3),
            ("<polyline class=\"roof\"", 3),
            ("r=\"5\"", 9),
            ("at 5 %: 40.00 tok/s, 42 % of its roofline", 3),
            ("a &lt; b &amp; c", 2),
            ("NaN", 0),
            ("inf", 0),
        ] {
            assert_eq!(svg.matches(part).count(), count, "{part}: {svg}");
        }
    }

    #[test]
    fn every_mark_lies_inside_of_the_plot() {
        for shares in [&[0.1][..], &[0.01, 0.9]] {
            let chart = chart(&["exact"], shares);
            let axes = chart.axes();
            for mark in chart.marks() {
                let x = axes.x(mark.active);
                assert!(LEFT < x && x < RIGHT, "{x}");
                for rate in [0.0, mark.rate.lowest, mark.rate.highest, mark.roof(2e10)] {
                    let y = axes.y(rate);
                    assert!((TOP..=BOTTOM).contains(&y), "{rate}: {y}");
                }
            }
        }
    }

    #[test]
    fn a_single_share_has_a_visible_roofline() {
        let svg = chart(&["exact"], &[0.1]).to_svg();
        let roof = svg.lines().find(|line| line.contains("polyline class=\"roof\"")).unwrap();
        assert_eq!(roof.matches(',').count(), 2, "two ends: {roof}");
    }

    #[test]
    fn steps_are_round_and_few() {
        for (whole, step) in
            [(100.0, 10.0), (101.0, 20.0), (499.0, 50.0), (0.7, 0.1), (5200.0, 1000.0)]
        {
            let found = round_step(whole);
            assert!((found / step - 1.0).abs() < 1e-9, "{whole}: {found}");
        }
    }
}
