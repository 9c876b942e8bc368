//! The table of all files of the paper.

use cli_support::output::{Align, Table};
use serde_json::json;

use super::checks;
use super::line::{Line, Status};
use crate::paper::folder::{PaperError, PaperFolder};
use crate::render::Figures;

/// Checks every file that has a check, and adds a line for each other file of the folder.
pub(crate) fn recompute(paper: &PaperFolder) -> Result<Vec<Line>, PaperError> {
    let mut lines: Vec<Line> = vec![];
    for check in checks::CHECKS {
        lines.push(checks::run(check, paper));
    }
    for file in paper.files()? {
        if lines.iter().all(|line| line.file != file) {
            lines.push(checks::unlisted(&file));
        }
    }
    Ok(lines)
}

/// The lines as a table, and the number of files by status.
pub(crate) fn figures(lines: &[Line]) -> Figures {
    let header = [
        ("file", Align::Left),
        ("status", Align::Left),
        ("command", Align::Left),
        ("values", Align::Right),
        ("detail", Align::Left),
    ];
    let mut table = Table::new(header);
    let mut counts = Table::new([("status", Align::Left), ("files", Align::Right)]);
    let statuses = [
        Status::Exact,
        Status::Rounding,
        Status::PaperWrong,
        Status::InputsMissing,
        Status::NotProduced,
        Status::Differs,
    ];
    for status in statuses {
        let matching = lines.iter().filter(|line| line.status == status);
        counts.push([status.as_str().to_owned(), matching.clone().count().to_string()]);
        for line in matching {
            let mut detail = line.detail.clone();
            if let (Status::Differs, Some(first)) = (status, line.differences.first()) {
                detail = format!("{}: ours {}, paper {}. {detail}", first.place, first.ours, first.paper);
            }
            let values = if line.compared == 0 { "-".to_owned() } else { line.compared.to_string() };
            table.push([line.file.clone(), status.as_str().to_owned(), line.command.clone(), values, detail]);
        }
    }
    Figures::new(json!(lines))
        .with("Files of the paper, computed again", table)
        .with("Files by status", counts)
}
