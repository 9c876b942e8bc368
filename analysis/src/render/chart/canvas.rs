//! Common parts of all charts: the sheet with title and legend, axes, texts.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::drawing::{Canvas, Drawing};
use super::ink::Ink;
use super::pdf::Page;
use crate::render::shown;

/// Width of every chart, in pixels.
pub(super) const WIDTH: u32 = 760;

/// Height of the title and of the legend, in pixels.
const TITLE: i32 = 30;
const LEGEND: i32 = 22;

/// Height of the labels and the title of the horizontal axis, in pixels.
pub(super) const FOOT: i32 = 48;

pub(super) type Sheet<'a> = DrawingArea<Canvas<'a>, Shift>;
pub(super) type Plane<'a, 'b> = ChartContext<'a, Canvas<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Drawing into a string does not fail; if it did, the chart would be incomplete.
pub(super) type Drawn = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// An axis of numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    /// Quantity and unit.
    pub(crate) title: String,
    pub(crate) range: Range<f64>,
    /// Whether the scale is logarithmic.
    pub(crate) log: bool,
}

impl Axis {
    /// A linear axis from `from` to slightly more than the largest of `values`.
    pub(crate) fn linear(title: impl Into<String>, from: f64, values: impl Iterator<Item = f64>) -> Self {
        let most = values.filter(|value| value.is_finite()).fold(from, f64::max);
        let to = if most > from { from + (most - from) * 1.02 } else { from + 1.0 };
        Self { title: title.into(), range: from..to, log: false }
    }

    /// A logarithmic axis over whole decades that contain all positive `values`.
    pub(crate) fn log(title: impl Into<String>, values: impl Iterator<Item = f64>) -> Self {
        let positive = values.filter(|value| value.is_finite() && *value > 0.0);
        let (least, most) = positive.fold((f64::INFINITY, 0.0), |(least, most): (f64, f64), value| {
            (least.min(value), most.max(value))
        });
        let (low, high) = if most > 0.0 { (least.log10().floor(), most.log10().ceil()) } else { (0.0, 1.0) };
        Self { title: title.into(), range: low..if high > low { high } else { low + 1.0 }, log: true }
    }

    /// Position of a number, clamped to the axis.
    pub(super) fn place(&self, x: f64) -> f64 {
        let place = match (self.log, x > 0.0) {
            (true, true) => x.log10(),
            (true, false) => self.range.start,
            (false, _) => x,
        };
        place.clamp(self.range.start, self.range.end)
    }

    fn label(&self, place: f64) -> String {
        let x = if self.log { 10_f64.powf(place) } else { place };
        if x == 0.0 || x.abs() >= 0.01 {
            let digits = if x.abs() >= 10.0 { 0 } else { 3 };
            let text = format!("{x:.digits$}");
            if text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                text
            }
        } else {
            format!("{x:.0e}")
        }
    }

    /// Number of labels.
    fn ticks(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "decades: few")]
        let decades = (self.range.end - self.range.start) as usize + 1;
        if self.log { decades } else { 7 }
    }
}

/// A text of `size` pixels.
pub(super) fn words(size: f64, ink: Ink, h: HPos, v: VPos) -> TextStyle<'static> {
    // plotters takes the height of the line, and writes the size of the font.
    let mut style = TextStyle::from(("system-ui, sans-serif", size * 1.24).into_font());
    style.color = ink.colour().to_backend_color();
    style.pos = Pos::new(h, v);
    style
}

/// Maximum length of a label in characters.
const LETTERS: usize = 48;

/// A text without control characters, cut to the maximum length.
pub(super) fn label(text: &str) -> String {
    let shown = shown(text).replace(['\n', '\t'], " ");
    if shown.chars().count() <= LETTERS {
        return shown;
    }
    shown.chars().take(LETTERS - 1).chain(['…']).collect()
}

/// Width of the longest label in pixels.
pub(super) fn label_width<'a>(labels: impl Iterator<Item = &'a str>) -> i32 {
    let letters = labels.map(|text| label(text).chars().count()).max().unwrap_or(0);
    i32::try_from(letters).unwrap_or(0) * 7 + 14
}

/// Draws a chart of this height (without title and legend).
pub(super) fn sheet(
    title: &str,
    legend: &[(&str, Ink)],
    height: i32,
    draw: impl FnOnce(&Sheet<'_>) -> Drawn,
) -> Drawing {
    let head = TITLE + if legend.is_empty() { 0 } else { LEGEND };
    let size = (WIDTH, u32::try_from(height + head).unwrap_or(400));
    let (mut svg, mut page) = (String::new(), Page::new(size));
    {
        let root = Canvas::new(&mut svg, &mut page, size).into_drawing_area();
        let (top, rest) = root.split_vertically(head);
        let drawn =
            head_of(&top, title, legend).and_then(|()| draw(&rest)).and_then(|()| Ok(root.present()?));
        debug_assert!(drawn.is_ok(), "{title}: {:?}", drawn.err());
    }
    Drawing { svg, pdf: page.finish() }
}

fn head_of(top: &Sheet<'_>, title: &str, legend: &[(&str, Ink)]) -> Drawn {
    let style = words(14.0, Ink::Text, HPos::Left, VPos::Top);
    top.draw(&Text::new(shown(title).replace('\n', " "), (4, 6), style))?;
    let mut x = 4;
    for (name, ink) in legend {
        let name = label(name);
        top.draw(&Rectangle::new([(x, TITLE + 3), (x + 11, TITLE + 14)], ink.colour().filled()))?;
        let width = i32::try_from(name.chars().count()).unwrap_or(0) * 7 + 34;
        let style = words(12.0, Ink::Text, HPos::Left, VPos::Top);
        top.draw(&Text::new(name, (x + 16, TITLE + 3), style))?;
        x += width;
    }
    Ok(())
}

/// A plane with the axis `x` below, for charts whose rows have their own labels.
pub(super) fn rows<'a, 'b>(
    sheet: &'a Sheet<'b>,
    x: &Axis,
    rows: usize,
    margins: (i32, i32),
) -> Result<Plane<'a, 'b>, Box<dyn std::error::Error + Send + Sync>>
where
    'b: 'a,
{
    let mut chart = ChartBuilder::on(sheet)
        .margin_left(margins.0)
        .margin_right(margins.1)
        .margin_top(4)
        .x_label_area_size(FOOT)
        .build_cartesian_2d(x.range.clone(), 0.0..rows.max(1) as f64)?;
    mesh(&mut chart, x, None)?;
    Ok(chart)
}

/// The vertical axis.
pub(super) struct Beside<'a> {
    pub(super) title: &'a str,
    /// Number of labels.
    pub(super) ticks: usize,
    pub(super) format: fn(&f64) -> String,
    /// Whether the horizontal axis has numbers; else the chart draws its own labels.
    pub(super) below: bool,
}

/// Draws the lines and labels of the axes.
pub(super) fn mesh(chart: &mut Plane<'_, '_>, x: &Axis, beside: Option<&Beside<'_>>) -> Drawn {
    let format = |place: &f64| x.label(*place);
    let number: fn(&f64) -> String = beside.map_or(|_| String::new(), |beside| beside.format);
    let mut mesh = chart.configure_mesh();
    mesh.x_labels(x.ticks())
        .max_light_lines(0)
        .bold_line_style(Ink::Grid.colour())
        .light_line_style(TRANSPARENT)
        .axis_style(Ink::Grid.colour())
        .x_label_formatter(&format)
        .y_label_formatter(&number)
        .label_style(words(11.0, Ink::Faint, HPos::Center, VPos::Top))
        .y_label_style(words(11.0, Ink::Faint, HPos::Right, VPos::Center))
        .axis_desc_style(words(12.0, Ink::Faint, HPos::Center, VPos::Top))
        .x_desc(x.title.clone());
    match beside {
        None => {
            mesh.disable_y_mesh().disable_y_axis();
        }
        Some(beside) => {
            mesh.y_labels(beside.ticks).y_desc(beside.title);
            if !beside.below {
                mesh.disable_x_mesh().x_labels(0);
            }
        }
    }
    mesh.draw()?;
    Ok(())
}
