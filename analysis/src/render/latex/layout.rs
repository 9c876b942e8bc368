//! How a table is laid out so that it fits a page: the size of its text, the widths of its columns, one page or several.

use cli_support::output::{Align, Table};

use super::width::{widest_piece, widest_word, width};

/// Width and height of the text of the class `article` at 10 pt, in points, with room for a caption.
pub(super) const PAGE: f64 = 345.0;
const HEIGHT: f64 = 480.0;

/// `\tabcolsep` as LaTeX has it, in points.
pub(super) const GAP: f64 = 6.0;

/// Characters of a word that is not broken, in a caption and in a narrow column.
pub(super) const CAPTION: usize = 40;
const WORD: usize = 24;
const SYLLABLE: usize = 5;

/// A size of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Normal,
    Small,
    Footnote,
    Script,
    Tiny,
}

impl Size {
    pub(super) const fn command(self) -> &'static str {
        match self {
            Self::Normal => "",
            Self::Small => "\\small",
            Self::Footnote => "\\footnotesize",
            Self::Script => "\\scriptsize",
            Self::Tiny => "\\tiny",
        }
    }

    /// Widths of its font by those at 10 pt: Computer Modern is wider, the smaller it is.
    const fn factor(self) -> f64 {
        match self {
            Self::Normal => 1.0,
            Self::Small => 0.93,
            Self::Footnote => 0.86,
            Self::Script => 0.81,
            Self::Tiny => 0.70,
        }
    }

    /// Distance of two lines in points.
    const fn line(self) -> f64 {
        match self {
            Self::Normal => 12.0,
            Self::Small => 11.0,
            Self::Footnote => 9.5,
            Self::Script => 8.0,
            Self::Tiny => 6.0,
        }
    }
}

/// What may be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaks {
    /// Texts, but no cell of a column of numbers.
    Texts,
    /// Columns of numbers at their spaces too.
    All,
    /// Every word.
    Words,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Column {
    /// As wide as its widest cell.
    Natural(Align),
    /// Of this share of the line.
    Wrapped(Align, f64),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    pub(super) size: Size,
    /// Between columns, at each side of one, in points.
    pub(super) gap: f64,
    pub(super) columns: Vec<Column>,
    /// Characters of a word that is not broken; `None`: no cell is.
    pub(super) most: Option<usize>,
    /// Whether it takes more than a page.
    pub(super) is_long: bool,
}

/// Widths of a column at 10 pt.
#[derive(Debug, Clone, Copy)]
struct Widths {
    align: Align,
    natural: f64,
    /// The widest part that is not broken.
    least: f64,
}

impl Layout {
    /// The layout with the largest text in which the table fits; else that with the smallest.
    pub(super) fn of(table: &Table) -> Self {
        let natural = widths(table, Breaks::Texts);
        for size in [Size::Normal, Size::Small] {
            let sum: f64 = natural.iter().map(|column| column.natural * size.factor()).sum();
            if sum <= room(natural.len(), GAP) {
                let columns = natural.iter().map(|column| Column::Natural(column.align)).collect();
                let lines = table.rows().len() as f64;
                return Self { size, gap: GAP, columns, most: None, is_long: lines * size.line() > HEIGHT };
            }
        }
        let tries = [
            (Size::Small, 4.0, Breaks::Texts),
            (Size::Footnote, 4.0, Breaks::Texts),
            (Size::Footnote, 3.0, Breaks::All),
            (Size::Script, 3.0, Breaks::Texts),
            (Size::Script, 3.0, Breaks::All),
            (Size::Tiny, 2.0, Breaks::All),
        ];
        let fitting =
            tries.into_iter().find_map(|(size, gap, breaks)| Self::wrapped(table, size, gap, breaks));
        fitting.unwrap_or_else(|| Self::squeezed(table))
    }

    /// Columns between their least and their natural widths; `None`: there is no room.
    fn wrapped(table: &Table, size: Size, gap: f64, breaks: Breaks) -> Option<Self> {
        let widths = widths(table, breaks);
        let room = room(widths.len(), gap);
        let sum = |of: fn(&Widths) -> f64| widths.iter().map(of).sum::<f64>() * size.factor();
        let (least, natural) = (sum(|column| column.least), sum(|column| column.natural));
        if least > room {
            return None;
        }
        let stretch = if natural > least { ((room - least) / (natural - least)).min(1.0) } else { 0.0 };
        let given: Vec<f64> =
            widths.iter().map(|of| size.factor() * (of.least + stretch * (of.natural - of.least))).collect();
        Some(Self::laid(table, (size, gap), &widths, &given, WORD))
    }

    /// What is left: the smallest text, every word broken, all columns equally wide.
    fn squeezed(table: &Table) -> Self {
        let (size, gap) = (Size::Tiny, 1.0);
        let widths = widths(table, Breaks::Words);
        let each = room(widths.len(), gap) / widths.len().max(1) as f64;
        let given = vec![each.max(1.0); widths.len()];
        Self::laid(table, (size, gap), &widths, &given, SYLLABLE)
    }

    fn laid(table: &Table, (size, gap): (Size, f64), widths: &[Widths], given: &[f64], most: usize) -> Self {
        let columns = widths.iter().zip(given).map(|(of, given)| Column::Wrapped(of.align, given / PAGE));
        let lines = |cells: &Vec<String>| {
            let of = cells
                .iter()
                .zip(given)
                .map(|(cell, given)| (width(cell) * size.factor() * 1.1 / given).ceil());
            of.fold(1.0, f64::max)
        };
        let lines: f64 = table.rows().iter().map(lines).sum();
        Self {
            size,
            gap,
            columns: columns.collect(),
            most: Some(most),
            is_long: lines * size.line() > HEIGHT,
        }
    }
}

/// The room for the columns themselves.
fn room(columns: usize, gap: f64) -> f64 {
    PAGE - 2.0 * gap * columns.saturating_sub(1) as f64
}

fn widths(table: &Table, breaks: Breaks) -> Vec<Widths> {
    /// Headings are bold.
    const BOLD: f64 = 1.16;
    /// Room for the rounding of metrics and shares.
    const SLACK: f64 = 1.5;
    let mut widths: Vec<Widths> = table
        .header()
        .iter()
        .map(|(name, align)| Widths {
            align: *align,
            natural: BOLD * width(name) + SLACK,
            least: BOLD * least(name, Align::Left, breaks) + SLACK,
        })
        .collect();
    for row in table.rows() {
        for (of, cell) in widths.iter_mut().zip(row) {
            of.natural = of.natural.max(width(cell) + SLACK);
            of.least = of.least.max(least(cell, of.align, breaks) + SLACK);
        }
    }
    widths
}

/// The widest part of a cell that is not broken.
fn least(cell: &str, align: Align, breaks: Breaks) -> f64 {
    match (breaks, align) {
        (Breaks::Words, _) => widest_piece(cell, SYLLABLE),
        (_, Align::Left) => widest_piece(cell, WORD),
        (Breaks::Texts, Align::Right) => width(cell),
        (Breaks::All, Align::Right) => widest_word(cell),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: usize, cell: &str) -> Table {
        let mut table = Table::new((0..columns).map(|place| (format!("column {place}"), Align::Left)));
        table.push(vec![cell; columns]);
        table
    }

    fn total(layout: &Layout) -> f64 {
        let shares = layout.columns.iter().map(|column| match column {
            Column::Wrapped(_, share) => share * PAGE,
            Column::Natural(_) => 0.0,
        });
        shares.sum::<f64>() + 2.0 * layout.gap * (layout.columns.len() - 1) as f64
    }

    #[test]
    fn columns_never_take_more_than_the_page() {
        for columns in [1, 3, 8, 14, 30] {
            for cell in ["x", "some words here", "an_unusually/long-text.with_many:parts and others", "9"] {
                let layout = Layout::of(&table(columns, &cell.repeat(4)));
                assert!(total(&layout) <= PAGE + 0.5, "{columns} {cell}: {}", total(&layout));
            }
        }
    }

    #[test]
    fn text_is_as_large_as_fits() {
        assert_eq!(Layout::of(&table(3, "short")).size, Size::Normal);
        let wrapped = Layout::of(&table(4, &"words of a text ".repeat(5)));
        assert_eq!((wrapped.size, wrapped.most), (Size::Small, Some(WORD)));
        assert_eq!(Layout::of(&table(60, "x")).most, Some(SYLLABLE));
    }
}
