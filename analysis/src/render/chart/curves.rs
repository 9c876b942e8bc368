//! Cumulative distributions.

use plotters::prelude::*;

use super::canvas::{Axis, Beside, FOOT, mesh, sheet};
use super::drawing::Drawing;
use super::ink::Ink;
use crate::stats::Sample;

/// Height, in pixels.
const HEIGHT: i32 = 300;

/// Maximum number of points of a curve.
const POINTS: usize = 240;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) sample: Sample,
}

/// Draws cumulative distributions over one axis, the share in percent.
pub(crate) fn curves(title: &str, axis: &Axis, of: &[Curve]) -> Drawing {
    let legend: Vec<(&str, Ink)> =
        of.iter().enumerate().map(|(place, curve)| (curve.name.as_str(), Ink::series(place))).collect();
    sheet(title, &legend, HEIGHT, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_right(24)
            .margin_top(8)
            .x_label_area_size(FOOT)
            .y_label_area_size(64)
            .build_cartesian_2d(axis.range.clone(), 0.0..100.0)?;
        let format = |share: &f64| format!("{share:.0} %");
        let title = "share of records, up to this";
        mesh(&mut chart, axis, Some(&Beside { title, ticks: 5, format, below: true }))?;
        let plane = chart.plotting_area();
        for (place, curve) in of.iter().enumerate().filter(|(_, curve)| !curve.sample.is_empty()) {
            let line =
                PathElement::new(points(&curve.sample, axis), Ink::series(place).colour().stroke_width(2));
            plane.draw(&line)?;
        }
        Ok(())
    })
}

/// Evenly spaced quantiles, including both ends.
fn points(sample: &Sample, axis: &Axis) -> Vec<(f64, f64)> {
    let last = POINTS.min(sample.len()).max(2) - 1;
    (0..=last)
        .filter_map(|step| {
            let percent = 100.0 * step as f64 / last as f64;
            Some((axis.place(sample.linear(percent)?), percent))
        })
        .collect()
}
