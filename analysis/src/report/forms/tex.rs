//! Every table as LaTeX, to be `\input`.

use std::fmt::Write as _;

use crate::render::latex;
use crate::report::block::{Block, Report};

/// Lines of a table, at most: more fit no page, and the CSV has them all.
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
