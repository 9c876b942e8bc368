//! Dot plots: values with their intervals, one per row.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Axis, FOOT, WIDTH, label, label_width, rows, sheet, words};
use super::drawing::Drawing;
use super::ink::Ink;

/// Height of a row in pixels.
const ROW: i32 = 22;

/// Width of the note at the right of a row, in pixels.
const NOTE: i32 = 116;

/// A row: a value and its interval.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dot {
    pub(crate) label: String,
    pub(crate) value: f64,
    pub(crate) interval: Option<(f64, f64)>,
    pub(crate) ink: Ink,
    /// Printed at the right: the counts behind the value.
    pub(crate) note: String,
}

/// Draws one dot per row, with whiskers for its interval.
pub(crate) fn dots(title: &str, legend: &[(&str, Ink)], axis: &Axis, of: &[Dot]) -> Drawing {
    let left = label_width(of.iter().map(|dot| dot.label.as_str()));
    let height = i32::try_from(of.len().max(1)).unwrap_or(1) * ROW + FOOT + 4;
    sheet(title, legend, height, |area| {
        let chart = rows(area, axis, of.len(), (left, NOTE))?;
        let plane = chart.plotting_area();
        for (place, dot) in of.iter().enumerate() {
            let y = (of.len() - place) as f64 - 0.5;
            let (_, row) = plane.map_coordinate(&(axis.range.start, y));
            let row = row - area.get_base_pixel().1;
            area.draw(&Text::new(
                label(&dot.label),
                (left - 8, row),
                words(12.0, Ink::Text, HPos::Right, VPos::Center),
            ))?;
            let edge = i32::try_from(WIDTH).unwrap_or(0) - NOTE + 8;
            area.draw(&Text::new(
                label(&dot.note),
                (edge, row),
                words(11.0, Ink::Faint, HPos::Left, VPos::Center),
            ))?;
            let style = dot.ink.colour();
            if let Some((low, high)) = dot.interval {
                let ends = [(axis.place(low), y), (axis.place(high), y)];
                plane.draw(&PathElement::new(ends, style.stroke_width(2)))?;
                for end in ends {
                    let cap =
                        EmptyElement::at(end) + PathElement::new([(0, -4), (0, 4)], style.stroke_width(2));
                    plane.draw(&cap)?;
                }
            }
            plane.draw(&Circle::new((axis.place(dot.value), y), 4, style.filled()))?;
        }
        Ok(())
    })
}
