//! Latency over concurrency as a picture.

use std::fmt::Write as _;

use super::stats::Figures;

const SIZE: (f64, f64) = (760.0, 420.0);
/// Left, right, top, bottom.
const MARGIN: (f64, f64, f64, f64) = (64.0, 150.0, 40.0, 52.0);

/// The lines: name, percentile, colour.
const LINES: [(&str, u32, &str); 3] =
    [("median", 50, "#1f6feb"), ("p90", 90, "#d97706"), ("p99", 99, "#b91c1c")];

/// The picture of the steps; those without an answer are left out.
pub fn svg(title: &str, steps: &[Figures], knee: Option<f64>) -> String {
    let mut shown: Vec<&Figures> = steps.iter().filter(|step| step.latency.max().is_some()).collect();
    shown.sort_by(|a, b| a.concurrency.total_cmp(&b.concurrency));
    let most = shown.iter().filter_map(|step| step.latency.percentile(99)).fold(0.0, f64::max);
    let frame = Frame {
        low: shown.first().map_or(1.0, |step| step.concurrency).max(0.1).log2(),
        high: shown.last().map_or(2.0, |step| step.concurrency).max(0.2).log2(),
        top: nice(most),
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{}\" y=\"22\" font-size=\"14\" font-weight=\"bold\">{}</text>\n",
        SIZE.0,
        SIZE.1,
        MARGIN.0,
        escaped(title)
    );
    axes(&mut out, &frame, &shown);
    if let Some(knee) = knee {
        let x = frame.x(knee);
        let (top, bottom) = (MARGIN.2, SIZE.1 - MARGIN.3);
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\" stroke=\"#6b7280\" stroke-dasharray=\"4 3\"/>\
             <text x=\"{:.1}\" y=\"{}\" fill=\"#6b7280\">knee</text>",
            x + 4.0,
            top + 12.0
        );
    }
    for (index, (name, percentile, colour)) in LINES.iter().enumerate() {
        line(&mut out, &frame, &shown, *percentile, colour);
        let y = MARGIN.2 + 14.0 + 20.0 * index as f64;
        let x = SIZE.0 - MARGIN.1 + 18.0;
        let _ = writeln!(
            out,
            "<line x1=\"{x}\" x2=\"{}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"{}\" \
             y=\"{y:.1}\">{name}</text>",
            x + 20.0,
            y - 4.0,
            y - 4.0,
            x + 26.0
        );
    }
    out.push_str("</svg>\n");
    out
}

struct Frame {
    low: f64,
    high: f64,
    top: f64,
}

impl Frame {
    /// Concurrency doubles from step to step: the axis is logarithmic.
    fn x(&self, concurrency: f64) -> f64 {
        let share = (concurrency.max(0.1).log2() - self.low) / (self.high - self.low).max(1e-9);
        MARGIN.0 + share.clamp(0.0, 1.0) * (SIZE.0 - MARGIN.0 - MARGIN.1)
    }

    fn y(&self, seconds: f64) -> f64 {
        SIZE.1 - MARGIN.3 - (seconds / self.top).clamp(0.0, 1.0) * (SIZE.1 - MARGIN.2 - MARGIN.3)
    }
}

fn axes(out: &mut String, frame: &Frame, shown: &[&Figures]) {
    let (left, right, bottom) = (MARGIN.0, SIZE.0 - MARGIN.1, SIZE.1 - MARGIN.3);
    for part in 0..=4 {
        let seconds = frame.top * f64::from(part) / 4.0;
        let y = frame.y(seconds);
        let _ = writeln!(
            out,
            "<line x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#e5e7eb\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{}</text>",
            left - 6.0,
            y + 4.0,
            number(seconds)
        );
    }
    let mut last = f64::NEG_INFINITY;
    for step in shown {
        let x = frame.x(step.concurrency);
        // Labels that would run into each other are left out.
        if x - last < 28.0 {
            continue;
        }
        last = x;
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 18.0,
            number(step.concurrency)
        );
    }
    let _ = writeln!(
        out,
        "<line x1=\"{left}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\" stroke=\"#374151\"/>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">calls in flight</text>\n\
         <text x=\"16\" y=\"{:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {:.1})\">seconds of an answer</text>",
        f64::midpoint(left, right),
        SIZE.1 - 12.0,
        SIZE.1 / 2.0,
        SIZE.1 / 2.0
    );
}

fn line(out: &mut String, frame: &Frame, shown: &[&Figures], percentile: u32, colour: &str) {
    let points: Vec<(f64, f64)> = shown
        .iter()
        .filter_map(|step| Some((frame.x(step.concurrency), frame.y(step.latency.percentile(percentile)?))))
        .collect();
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        path.join(" ")
    );
    for (x, y) in points {
        let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
    }
}

/// The next of 1, 2, 2.5, 5, 10 times a power of ten.
fn nice(most: f64) -> f64 {
    if !(most > 0.0 && most.is_finite()) {
        return 1.0;
    }
    let power = 10.0_f64.powf(most.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|step| step * power).find(|top| *top >= most).unwrap_or(most)
}

fn number(value: f64) -> String {
    if value >= 10.0 || (value - value.round()).abs() < 1e-9 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use domain::budget::Price;

    use super::super::call::Ended;
    use super::super::call::testing::call;
    use super::super::drive::{Pace, Step};
    use super::*;

    #[test]
    fn each_step_is_a_point_of_each_line() {
        let calls: Vec<_> = (0..3_u32)
            .map(|number| {
                let mut call = call(0.0, f64::from(number) + 1.0, Ended::Answered);
                call.step = number as usize;
                call
            })
            .collect();
        let step = |most| Step { purpose: "step", pace: Pace::InFlight(most), began: 0.0, ended: 1.0 };
        let steps: Vec<Figures> = [1, 2, 4]
            .iter()
            .enumerate()
            .map(|(number, most)| Figures::of(number, &step(*most), &calls, &Price::default()))
            .collect();
        let picture = svg("a < b", &steps, Some(2.0));
        assert_eq!(picture.matches("<circle").count(), 9);
        assert!(picture.contains("a &lt; b") && picture.contains(">knee<") && picture.ends_with("</svg>\n"));
        assert!(!svg("empty", &[], None).contains("NaN"));
    }

    #[test]
    fn the_axis_ends_at_a_round_number() {
        for (most, top) in [(0.013, 0.02), (2.2, 2.5), (6.5, 10.0), (0.0, 1.0)] {
            assert!((nice(most) - top).abs() < 1e-9, "{most}");
        }
    }
}
