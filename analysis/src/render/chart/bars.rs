//! Bars: shares of a whole as stacked rows, and counts as columns.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Axis, Beside, FOOT, label, label_width, mesh, rows, sheet, words};
use super::drawing::Drawing;
use super::ink::Ink;

/// Pixels of a row.
const ROW: i32 = 28;

/// Height of columns, in pixels.
const COLUMNS: i32 = 250;

/// A row of a stacked bar chart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stack {
    pub(crate) label: String,
    /// The parts in the order of the legend.
    pub(crate) parts: Vec<f64>,
}

/// Draws one stacked bar per row.
pub(crate) fn stacked(title: &str, legend: &[(&str, Ink)], axis: &Axis, of: &[Stack]) -> Drawing {
    let left = label_width(of.iter().map(|stack| stack.label.as_str()));
    let height = i32::try_from(of.len().max(1)).unwrap_or(1) * ROW + FOOT + 4;
    sheet(title, legend, height, |area| {
        let chart = rows(area, axis, of.len(), (left, 16))?;
        let plane = chart.plotting_area();
        for (place, stack) in of.iter().enumerate() {
            let y = (of.len() - place) as f64 - 0.5;
            let (_, row) = plane.map_coordinate(&(axis.range.start, y));
            area.draw(&Text::new(
                label(&stack.label),
                (left - 8, row - area.get_base_pixel().1),
                words(12.0, Ink::Text, HPos::Right, VPos::Center),
            ))?;
            let mut from = 0.0;
            for (part, (_, ink)) in stack.parts.iter().zip(legend).filter(|(part, _)| **part > 0.0) {
                let corners = [(axis.place(from), y - 0.34), (axis.place(from + part), y + 0.34)];
                plane.draw(&Rectangle::new(corners, ink.colour().filled()))?;
                from += part;
            }
        }
        Ok(())
    })
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    /// Printed below the column.
    pub(crate) label: String,
    pub(crate) count: f64,
}

/// Draws counts as columns.
pub(crate) fn columns(title: &str, (below, beside): (&str, &str), of: &[Column]) -> Drawing {
    let most = of.iter().map(|column| column.count).fold(1.0, f64::max);
    sheet(title, &[], COLUMNS, |area| {
        let axis = Axis { title: below.to_owned(), range: 0.0..of.len().max(1) as f64, log: false };
        let mut chart = ChartBuilder::on(area)
            .margin_right(16)
            .margin_top(10)
            .x_label_area_size(FOOT)
            .y_label_area_size(72)
            .build_cartesian_2d(axis.range.clone(), 0.0..most * 1.06)?;
        let format = |count: &f64| format!("{count:.0}");
        mesh(&mut chart, &axis, Some(&Beside { title: beside, ticks: 6, format, below: false }))?;
        let plane = chart.plotting_area();
        // Labels are skipped where they have no room.
        let step = of.len().div_ceil(24).max(1);
        for (place, column) in of.iter().enumerate() {
            let x = place as f64;
            let corners = [(x + 0.1, 0.0), (x + 0.9, column.count)];
            plane.draw(&Rectangle::new(corners, Ink::Good.colour().filled()))?;
            if place % step == 0 {
                let (x, y) = plane.map_coordinate(&(x + 0.5, 0.0));
                let base = area.get_base_pixel();
                area.draw(&Text::new(
                    label(&column.label),
                    (x - base.0, y - base.1 + 6),
                    words(11.0, Ink::Faint, HPos::Center, VPos::Top),
                ))?;
            }
        }
        Ok(())
    })
}
