//! All tables as LaTeX, to be included by `\input`.

use std::fmt::Write as _;

use crate::render::latex;
use crate::report::block::{Block, Report};

/// Maximum number of rows of a table; longer ones do not fit on a page and are left to CSV.
const LINES: usize = 60;

pub(super) fn tables(report: &Report) -> String {
    let mut text = String::from(
        "% Tables of the report; needs booktabs. Figures: figures/*.svg (\\includesvg of the package svg, or\n\
         % rsvg-convert -f pdf -o X.pdf X.svg).\n",
    );
    for block in report.sections.iter().flat_map(|section| &section.blocks) {
        if let Block::Table(table) = block {
            let rows = table.titled.table.rows().len();
            if rows > LINES {
                let _ = write!(text, "\n% {}: {rows} rows, see tables/{}.csv\n", table.name, table.name);
            } else {
                let _ = write!(text, "\n% {}\n{}", table.name, latex(&table.titled));
            }
        }
    }
    text
}
