//! All tables as LaTeX, to be included by `\input`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::render::latex;
use crate::report::block::{Block, Report};

/// Maximum number of rows of a table; longer ones are for no page and are left to CSV.
const LINES: usize = 1000;

pub(super) fn tables(report: &Report) -> String {
    let mut text = String::from(
        "% Tables of the report; needs booktabs, array and longtable. They are as wide as the text of article at 10 pt, or\n\
         % less; long ones are longtables, for one column. Figures: figures/*.svg, and figures/*.pdf by --figures pdf\n\
         % (\\includegraphics[width=\\linewidth]{figures/ended.pdf}).\n",
    );
    let mut labels: BTreeMap<&str, usize> = BTreeMap::new();
    for block in report.sections.iter().flat_map(|section| &section.blocks) {
        if let Block::Table(table) = block {
            let rows = table.titled.table.rows().len();
            if rows > LINES {
                let _ = write!(text, "\n% {}: {rows} rows, see tables/{}.csv\n", table.name, table.name);
                continue;
            }
            let times = labels.entry(&table.name).or_default();
            *times += 1;
            let label = if *times == 1 { table.name.clone() } else { format!("{}-{times}", table.name) };
            let _ = write!(text, "\n% {}\n{}", table.name, latex(&table.titled, &label));
        }
    }
    text
}
