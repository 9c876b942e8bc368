//! Every form of every figure, for a run whose manifests are hostile.

use std::path::Path;

use domain::outcome::Outcome;
use domain::run::RunState;

use crate::support::{analysis, run_folder, stdout, ten};

/// Texts that act on a terminal, in a spreadsheet or in LaTeX where they are not escaped.
const HOSTILE: [&str; 6] = [
    "=cmd|' /C calc'!A0\u{1b}[31m",
    "@SUM(1)\u{202e}\u{9b}31m",
    "+1+cmd\u{7}\u{0}",
    "-2+3\u{2066}\r",
    "[1in] row \u{85}\u{2028}",
    "* \u{6f22}\u{1f600} \u{e0}\u{200f}",
];

fn hostile() -> Vec<Outcome> {
    let mut rows = ten();
    for (at, row) in rows.iter_mut().enumerate() {
        let text = HOSTILE[at % HOSTILE.len()];
        for field in [
            &mut row.manifest_path,
            &mut row.name,
            &mut row.namespace,
            &mut row.kind,
            &mut row.policy_id,
            &mut row.raw_policy_id,
            &mut row.mode,
            &mut row.source,
            &mut row.guardrails,
            &mut row.worker,
        ] {
            text.clone_into(field);
        }
        row.model = Some(text.to_owned());
        row.errors = vec![text.to_owned()];
        row.attempt_errors = vec![text.to_owned()];
        row.new_violations = vec![text.to_owned()];
    }
    rows
}

/// Characters that act on a reader's screen; a line feed ends a line of ours.
fn acting(text: &str) -> Vec<char> {
    let acts = |c: &char| {
        (c.is_control() && *c != '\n')
            || matches!(*c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(acts).collect()
}

/// Cells that a spreadsheet would compute.
fn formulas(csv: &str) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(csv.as_bytes());
    let cells =
        reader.records().flat_map(|record| record.unwrap().iter().map(str::to_owned).collect::<Vec<_>>());
    let is_number = |cell: &str| {
        let digits = cell.trim_end_matches('%').trim_end().replace(',', "");
        digits.parse::<f64>().is_ok_and(f64::is_finite)
    };
    cells
        .filter(|cell| cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell != "-" && !is_number(cell))
        .collect()
}

fn check(what: &str, form: &str, text: &str) {
    assert_eq!(acting(text), vec![], "{what} as {form}: {text}");
    if form == "csv" {
        assert_eq!(formulas(text), Vec::<String>::new(), "{what}: {text}");
    }
    if form == "tex" {
        for line in text.lines() {
            assert!(!line.trim_start().starts_with(['[', '*']), "an argument of \\\\: {line}");
            assert!(line.starts_with('%') || line.chars().all(|c| c < '\u{100}'), "{line}");
        }
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn no_figure_of_hostile_manifests_acts() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&hostile()], RunState::Finished);
    let run = run.to_str().unwrap();
    for command in ["metrics", "policy-metrics", "failures", "patch-stats", "latency", "tokens", "ablation"] {
        for form in ["text", "json", "csv", "md", "tex"] {
            let output = analysis(&[command, "--output", form, run]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let talk = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success() || talk.contains("--output"), "{command} {form}: {talk}");
            check(command, form, &text);
            check(command, "talk", &talk);
        }
    }
}

#[test]
fn no_file_of_a_report_of_hostile_manifests_acts() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&hostile()], RunState::Finished);
    let out = dir.path().join("out");
    stdout(&["report", "--out", out.to_str().unwrap(), run.to_str().unwrap()]);
    let written = files(&out);
    assert!(written.len() > 10);
    for file in written {
        let form = file.extension().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        // The source of the page is laid out with tabs where a style sheet is.
        check(&file.display().to_string(), form, &text);
    }
}

#[test]
fn numbers_of_a_table_stay_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let before = run_folder(dir.path(), "a", &[&ten()], RunState::Finished);
    let mut rows = ten();
    rows.truncate(9);
    let after = run_folder(dir.path(), "b", &[&rows], RunState::Finished);
    let output = analysis(&["diff", "--output", "csv", before.to_str().unwrap(), after.to_str().unwrap()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(",'-") && !text.contains(",'+"), "{text}");
}
