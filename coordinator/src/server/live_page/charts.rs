//! Small charts as inline SVG: one value over time, or the shares of a whole. Colours are those of the style sheet.

use std::fmt::Write as _;

use cli_support::progress::duration;
use maud::{Markup, html};

/// Width and height of a chart, in its own units.
const SIZE: (f64, f64) = (240.0, 48.0);

/// A line of a chart: the class that colours it, and its points by time.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) class: &'static str,
    /// Time in seconds, and value; `None` breaks the line.
    pub(super) points: Vec<(u64, Option<f64>)>,
}

/// A chart of lines over the same time. `caption` says what it shows, `now` its last value in words.
pub(super) fn over_time(caption: &str, now: &str, lines: &[Line]) -> Markup {
    let times = || lines.iter().flat_map(|line| line.points.iter().map(|(at, _)| *at));
    let (first, last) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    let values = lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, value)| *value));
    let most = values.filter(|value| value.is_finite()).fold(0.0_f64, f64::max);
    let span = last.saturating_sub(first);
    let words = format!("{caption}: {now}, at most {}, over {}", figure(most), duration(span as f64));
    html! {
        figure.chart {
            figcaption { (caption) " " strong { (now) } }
            svg viewBox={ "0 0 " (SIZE.0) " " (SIZE.1) } preserveAspectRatio="none" role="img" aria-label=(words) {
                line.axis x1="0" x2=(SIZE.0) y1=(SIZE.1 - 0.5) y2=(SIZE.1 - 0.5) {}
                @for line in lines {
                    path class=(line.class) d=(path(line, (first, last), most)) {}
                }
            }
            p.range { span { (duration(span as f64)) " ago" } span { "at most " (figure(most)) } }
        }
    }
}

/// The path of a line, broken where a value is not known.
fn path(line: &Line, (first, last): (u64, u64), most: f64) -> String {
    let (width, height) = SIZE;
    let span = last.saturating_sub(first).max(1) as f64;
    let mut path = String::new();
    let mut draws = false;
    for (at, value) in &line.points {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            draws = false;
            continue;
        };
        let x = at.saturating_sub(first) as f64 / span * width;
        let y = if most > 0.0 { height - value.max(0.0) / most * (height - 2.0) - 1.0 } else { height - 1.0 };
        let _ = write!(path, "{}{x:.1} {y:.1}", if draws { "L" } else { "M" });
        draws = true;
    }
    path
}

/// A bar of shares of a whole, each with its class and name.
pub(super) fn shares(caption: &str, parts: &[(&'static str, &str, u64)], whole: u64) -> Markup {
    let whole = whole.max(1) as f64;
    let mut at = 0.0;
    let mut bars = Vec::new();
    for (class, _, count) in parts {
        let width = *count as f64 / whole * SIZE.0;
        bars.push((*class, at, width));
        at += width;
    }
    let named: Vec<String> = parts.iter().map(|(_, name, count)| format!("{count} {name}")).collect();
    html! {
        svg.shares viewBox={ "0 0 " (SIZE.0) " 8" } preserveAspectRatio="none" role="img"
            aria-label={ (caption) ": " (named.join(", ")) } {
            rect.rest x="0" y="0" width=(SIZE.0) height="8" {}
            @for (class, x, width) in bars {
                rect class=(class) x=(format!("{x:.2}")) y="0" width=(format!("{width:.2}")) height="8" {}
            }
        }
    }
}

/// A number of few digits.
pub(super) fn figure(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value < 1.0 {
        format!("{value:.4}")
    } else if value < 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_spans_the_chart_and_breaks_where_nothing_is_known() {
        let points =
            vec![(100, Some(0.0)), (110, Some(5.0)), (120, None), (130, Some(10.0)), (140, Some(f64::NAN))];
        let line = Line { class: "a", points };
        assert_eq!(path(&line, (100, 140), 10.0), "M0.0 47.0L60.0 24.0M180.0 1.0");
        let flat = Line { class: "a", points: vec![(5, Some(0.0))] };
        assert_eq!(path(&flat, (5, 5), 0.0), "M0.0 47.0");
    }

    #[test]
    fn charts_say_in_words_what_they_show() {
        let line = Line { class: "calls", points: vec![(0, Some(1.0)), (60, Some(480.0))] };
        let html = over_time("calls a minute", "480 <now>", &[line]).into_string();
        assert!(
            html.contains("aria-label=\"calls a minute: 480 &lt;now&gt;, at most 480, over 1 min 00 s\""),
            "{html}"
        );
        let html = over_time("waiting", "0", &[]).into_string();
        assert!(html.contains("at most 0"), "{html}");
        let html = shares("records", &[("good", "accepted", 3), ("bad", "rejected", 1)], 8).into_string();
        assert!(
            html.contains("records: 3 accepted, 1 rejected") && html.contains("width=\"90.00\""),
            "{html}"
        );
    }
}
