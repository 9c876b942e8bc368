//! Lines over a logarithmic axis that has a label at each point.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Axis, Beside, FOOT, label, mesh, sheet, words};
use super::drawing::Drawing;
use super::ink::Ink;
use crate::render::number;

/// Height, in pixels.
const HEIGHT: i32 = 320;

/// Minimum distance between two labels, in pixels.
const LABEL: i32 = 30;

/// A named line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) ink: Ink,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Draws lines through their points, sorted by x > 0. `mark` is a position with a vertical line and its name.
pub(crate) fn lines(
    title: &str,
    (below, beside): (&str, &str),
    of: &[Line],
    mark: Option<(f64, &str)>,
) -> Drawing {
    let legend: Vec<(&str, Ink)> = of.iter().map(|line| (line.name.as_str(), line.ink)).collect();
    let mut places: Vec<f64> = of.iter().flat_map(|line| &line.points).map(|(x, _)| *x).collect();
    places.retain(|x| x.is_finite() && *x > 0.0);
    places.sort_by(f64::total_cmp);
    places.dedup();
    let (low, high) = places.first().zip(places.last()).map_or((0.0, 1.0), |(a, b)| (a.log2(), b.log2()));
    let margin = ((high - low) * 0.03).max(0.1);
    let axis = Axis { title: below.to_owned(), range: low - margin..high + margin, log: false };
    let top = nice(of.iter().flat_map(|line| &line.points).map(|(_, y)| *y).fold(0.0, f64::max));
    sheet(title, &legend, HEIGHT, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_right(24)
            .margin_top(8)
            .x_label_area_size(FOOT)
            .y_label_area_size(64)
            .build_cartesian_2d(axis.range.clone(), 0.0..top)?;
        let format = |y: &f64| number(Some(*y));
        mesh(&mut chart, &axis, Some(&Beside { title: beside, ticks: 5, format, below: false }))?;
        let plane = chart.plotting_area();
        let base = area.get_base_pixel();
        let mut last = i32::MIN;
        for x in &places {
            let (pixel, foot) = plane.map_coordinate(&(x.log2(), 0.0));
            if pixel.saturating_sub(last) < LABEL {
                continue;
            }
            last = pixel;
            let style = words(11.0, Ink::Faint, HPos::Center, VPos::Top);
            area.draw(&Text::new(number(Some(*x)), (pixel - base.0, foot - base.1 + 6), style))?;
        }
        if let Some((x, name)) = mark.filter(|(x, _)| *x > 0.0) {
            let x = axis.place(x.log2());
            plane.draw(&PathElement::new([(x, 0.0), (x, top)], Ink::Faint.colour().stroke_width(1)))?;
            let (pixel, head) = plane.map_coordinate(&(x, top));
            let style = words(11.0, Ink::Faint, HPos::Left, VPos::Top);
            area.draw(&Text::new(label(name), (pixel - base.0 + 4, head - base.1), style))?;
        }
        for line in of {
            let mut points: Vec<(f64, f64)> = line
                .points
                .iter()
                .filter(|(x, y)| x.is_finite() && *x > 0.0 && y.is_finite())
                .map(|(x, y)| (x.log2(), *y))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let style = line.ink.colour();
            plane.draw(&PathElement::new(points.clone(), style.stroke_width(2)))?;
            for point in points {
                plane.draw(&Circle::new(point, 3, style.filled()))?;
            }
        }
        Ok(())
    })
}

/// The next of 1, 2, 2.5, 5 and 10 times a power of ten.
fn nice(most: f64) -> f64 {
    if !(most > 0.0 && most.is_finite()) {
        return 1.0;
    }
    let power = 10_f64.powf(most.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|step| step * power).find(|top| *top >= most).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_at_a_round_number() {
        for (most, top) in [(0.013, 0.02), (2.2, 2.5), (6.5, 10.0), (0.0, 1.0)] {
            assert!((nice(most) - top).abs() < 1e-9, "{most}");
        }
    }
}
