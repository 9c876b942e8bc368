//! The report: whole, the same twice, and deaf to what manifests say.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use domain::outcome::{Fault, Outcome, Status};
use domain::run::RunState;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::support::{analysis, failure, run_folder, stdout, ten};

/// Texts that would be markup, code or formulas if somebody let them.
const HOSTILE: &str =
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u{202e}\u{1b}[31m\"'`|&$\\_#{x}";

fn hostile() -> Vec<Outcome> {
    let mut rows = ten();
    for row in &mut rows {
        row.manifest_path = format!("{HOSTILE}{}", row.position);
        row.name = String::from(HOSTILE);
        row.kind = String::from(HOSTILE);
        row.policy_id = String::from(HOSTILE);
        row.errors = vec![HOSTILE.to_owned()];
    }
    rows
}

fn report(runs: &[&Path], dir: &Path) -> PathBuf {
    let out = dir.join("out");
    let mut args = vec!["report", "--out", out.to_str().unwrap()];
    args.extend(runs.iter().map(|run| run.to_str().unwrap()));
    stdout(&args);
    out
}

fn read(out: &Path, file: &str) -> String {
    std::fs::read_to_string(out.join(file)).unwrap()
}

/// What stands between two texts.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    text.split_once(from).unwrap().1.split_once(to).unwrap().0
}

#[test]
fn the_manifest_names_every_file_by_its_hash() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let out = report(&[&run], dir.path());
    let manifest: Value = serde_json::from_str(&read(&out, "manifest.json")).unwrap();
    let files = manifest["files"].as_array().unwrap();
    for file in files {
        let bytes = std::fs::read(out.join(file["file"].as_str().unwrap())).unwrap();
        let hash: Vec<u8> = Sha256::digest(&bytes).to_vec();
        let hex = file["sha256"].as_str().unwrap();
        let named: Vec<u8> =
            (0..32).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        assert_eq!(named, hash, "{file}");
    }
    let names: Vec<&str> = files.iter().map(|file| file["file"].as_str().unwrap()).collect();
    for name in [
        "report.html",
        "report.md",
        "tables.tex",
        "records.csv",
        "tables/acceptance-by-policy.csv",
        "tables/failures.csv",
        "tables/queue-sweep.csv",
        "figures/ended.svg",
        "figures/times.svg",
        "figures/patch-sizes.svg",
        "figures/queue-waits.svg",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert_eq!(manifest["runs"][0]["run_id"], "r1");
    assert_eq!(read(&out, "records.csv").lines().count(), 11);
}

#[test]
fn the_same_results_give_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let once = read(&report(&[&run], dir.path()), "manifest.json");
    assert_eq!(read(&report(&[&run], dir.path()), "manifest.json"), once);
}

#[test]
fn what_a_manifest_says_stays_text() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&hostile()], RunState::Finished);
    let out = report(&[&run], dir.path());
    let page = read(&out, "report.html");
    assert_eq!(page.matches("<script").count(), 2, "the data and our script");
    assert!(!page.contains("<img") && !page.contains('\u{202e}') && !page.contains('\u{1b}'));
    assert!(page.contains("&lt;img src=x onerror=alert(2)&gt;"));
    for place in ["src=\"", "url(", "@import", "href=\"http", "<link", "<iframe"] {
        assert!(!page.contains(place), "{place}");
    }
    let data: Value = serde_json::from_str(between(&page, "id=\"data\">", "</script>")).unwrap();
    assert_eq!(data["rows"], 10);
    assert!(data.to_string().contains("alert(1)"), "the data are whole");
    let markdown = read(&out, "report.md");
    for tag in ["<img", "<script"] {
        assert_eq!(
            markdown.matches(tag).count(),
            markdown.matches(&format!("\\{tag}")).count(),
            "{markdown}"
        );
    }
    for entry in std::fs::read_dir(out.join("figures")).unwrap() {
        let svg = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!svg.contains("<img") && !svg.contains("<script") && !svg.contains('\u{1b}'), "{svg}");
    }
}

#[test]
fn the_policy_lets_only_our_own_script_run() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let page = read(&report(&[&run], dir.path()), "report.html");
    let policy = between(&page, "\"Content-Security-Policy\" content=\"", "\"").replace("&#39;", "'");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    for (element, directive) in [("script>", "script-src"), ("style>", "style-src")] {
        let text = between(&page, &format!("<{element}"), &format!("</{element}"));
        let hash = BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()));
        assert!(policy.contains(&format!("{directive} 'sha256-{hash}'")), "{directive}: {policy}");
    }
    assert!(!page.contains(" style=\"") && !page.contains(" onclick"));
}

#[test]
fn every_table_and_figure_says_of_how_many() {
    let dir = tempfile::tempdir().unwrap();
    let one = run_folder(dir.path(), "one", &[&ten()], RunState::Finished);
    let two = run_folder(dir.path(), "two", &[&ten()], RunState::Finished);
    let page = read(&report(&[&one, &two], dir.path()), "report.html");
    let titles: Vec<&str> = page
        .split("<caption>")
        .skip(1)
        .map(|rest| rest.split_once('<').unwrap().0)
        .chain(page.split("role=\"img\" aria-label=\"").skip(1).map(|rest| rest.split_once('"').unwrap().0))
        .collect();
    assert!(titles.len() > 30, "{}", titles.len());
    for title in titles {
        assert!(title.contains("n = ") && title.contains('('), "{title}");
    }
    for anchor in [
        "ended",
        "failures",
        "acceptance",
        "patches",
        "times",
        "tokens",
        "queue",
        "comparison",
        "stability",
        "provenance",
    ] {
        assert!(page.contains(&format!("<h2 id=\"{anchor}\"")), "{anchor}");
    }
}

#[test]
fn two_runs_are_held_against_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = ten();
    other[0].status = Status::Rejected;
    other[0].fault = Fault::Patch;
    other[0].errors = vec!["a container was lost".to_owned()];
    // Named in this order: the first is before, whatever the alphabet says.
    let before = run_folder(dir.path(), "z", &[&ten()], RunState::Finished);
    let after = run_folder(dir.path(), "a", &[&other], RunState::Finished);
    let out = report(&[&before, &after], dir.path());
    assert!(
        read(&out, "report.md").contains("Fewer are accepted than before: 1 lost and 0 gained of 10 records")
    );
    let changes = read(&out, "tables/comparison-changes.csv");
    assert_eq!(
        changes,
        "records,before,after,with the most frequent reason,most frequent reason\n1,accepted,rejected,1,a container was lost\n"
    );
    assert!(
        read(&out, "tables/comparison-records.csv").contains("001,no_latest_tag,accepted,rejected,patch,")
    );
}

#[test]
fn the_top_says_when_who_and_how_two_runs_differ() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = ten();
    for row in other.iter_mut().take(2) {
        row.status = Status::Rejected;
        row.errors = vec!["a container \"c1\" was lost".to_owned()];
    }
    let before = run_folder(dir.path(), "one", &[&ten()], RunState::Finished);
    let after = run_folder(dir.path(), "two", &[&other], RunState::Finished);
    for run in [&before, &after] {
        let path = run.join("run.json");
        let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        file["finished_at"] = "2026-11-30T23:59:58.000Z".into();
        file["wall_s"] = 5.0.into();
        file["models"] = serde_json::json!({"requested": {"m-1": 3}, "served": {"m-1-0709": 3}});
        std::fs::write(path, file.to_string()).unwrap();
    }
    let out = report(&[&before, &after], dir.path());
    let text = read(&out, "report.md");
    let top = text.split("## ").next().unwrap();
    assert!(
        top.contains("**-20.00 percentage points** from run one (40.00 % accepted) to run two (20.00 %)"),
        "{top}"
    );
    assert!(top.contains("2 lost and 0 gained of 10 records that both have"), "{top}");
    assert!(top.contains("p = 0.5") && top.contains("10 pairs"), "{top}");
    for fact in [
        "- finished: 2026-11-30 23:59:58 UTC",
        "- proposer: rules, guardrails targeted",
        "- model asked: m-1\n",
        "- model that answered: m-1-0709",
        "- rate: 2 records a second over 5 s of work",
    ] {
        assert!(top.contains(fact), "{fact}: {top}");
    }
    let page = read(&out, "report.html");
    let order = [
        "-20.00 <small>percentage points from run one to run two",
        "Run one",
        "id=\"comparison\"",
        "id=\"acceptance\"",
        "class=\"example\"",
    ];
    let places: Vec<usize> = order.iter().map(|what| page.find(what).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
    // Side by side: a row has both outcomes, and says which differ.
    let records = read(&out, "records.csv");
    assert!(records.starts_with("record,change,status before,status after,"), "{records}");
    assert!(records.contains("001,lost,accepted,rejected,"), "{records}");
    assert!(records.contains("003,same,accepted,accepted,"), "{records}");
    assert_eq!(records.lines().count(), 11);
    assert!(page.contains("id=\"different\""));
    assert!(read(&out, "tables/stability.csv").contains("accepted in some runs,2,20.00 %"));
}

#[test]
fn one_run_has_nothing_to_compare() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "one", &[&ten()], RunState::Finished);
    let out = report(&[&run], dir.path());
    let page = read(&out, "report.html");
    assert!(!page.contains("id=\"different\"") && !page.contains("McNemar"), "a comparison of one");
    assert!(read(&out, "report.md").contains("could show a difference of"), "the power of a run");
}

#[test]
fn reasons_are_kinds_and_mostly_means_more_than_half() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = ten();
    for (place, row) in rows.iter_mut().enumerate().take(5) {
        row.status = Status::NeedsReview;
        row.policy_id = if place < 3 { "dangling_service" } else { "no_host_path" }.to_owned();
        row.errors =
            vec![format!("the Service selects app=web-{place}, which no pod carries; give its workload")];
    }
    let run = run_folder(dir.path(), "r1", &[&rows], RunState::Finished);
    let out = report(&[&run], dir.path());
    // Six need review: three of one kind, two of another, one of ten().
    let text = read(&out, "report.md");
    assert!(
        text.contains("6 needs review, most often (3): dangling\\_service: the Service selects …"),
        "{text}"
    );
    let reasons = read(&out, "tables/failures.csv");
    assert!(reasons.lines().nth(1).unwrap().starts_with("3,needs review,"), "{reasons}");
    rows[3].policy_id = "dangling_service".to_owned();
    let run = run_folder(dir.path(), "r2", &[&rows], RunState::Finished);
    let text = read(&report(&[&run], dir.path()), "report.md");
    assert!(text.contains("6 needs review, mostly (4): dangling\\_service"), "{text}");
}

#[test]
fn figures_are_pdf_too_where_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let plain = report(&[&run], dir.path());
    assert!(!plain.join("figures/ended.pdf").exists());
    let out = dir.path().join("pdf");
    stdout(&["report", "--figures", "pdf", "--out", out.to_str().unwrap(), run.to_str().unwrap()]);
    let mut drawn = 0;
    for entry in std::fs::read_dir(out.join("figures")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "svg") {
            let pdf = std::fs::read(path.with_extension("pdf")).unwrap();
            assert!(pdf.starts_with(b"%PDF-"), "{}", path.display());
            drawn += 1;
        }
    }
    assert!(drawn > 5, "{drawn}");
}

#[test]
fn every_latex_table_has_a_label_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let one = run_folder(dir.path(), "one", &[&ten()], RunState::Finished);
    let two = run_folder(dir.path(), "two", &[&ten()], RunState::Finished);
    let text = read(&report(&[&one, &two], dir.path()), "tables.tex");
    let labels: Vec<&str> =
        text.split("\\label{").skip(1).map(|rest| rest.split_once('}').unwrap().0).collect();
    let distinct: std::collections::BTreeSet<&str> = labels.iter().copied().collect();
    assert_eq!(labels.len(), distinct.len(), "{labels:?}");
    let tables = text.matches("\\begin{table}").count() + text.matches("\\begin{longtable}").count();
    assert_eq!(labels.len(), tables);
    assert!(text.contains("\\begin{longtable}"), "a configuration is longer than a page");
}

#[test]
fn examples_can_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let out = report(&[&run], dir.path());
    assert!(read(&out, "report.html").contains("<details class=\"example\""));
    let to = dir.path().join("bare");
    stdout(&["report", "--examples", "0", "--out", to.to_str().unwrap(), run.to_str().unwrap()]);
    assert!(!read(&to, "report.html").contains("<details class=\"example\""));
}

#[test]
fn a_long_table_keeps_what_was_not_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let to = dir.path().join("short");
    stdout(&["report", "--rows", "6", "--out", to.to_str().unwrap(), run.to_str().unwrap()]);
    let records = read(&to, "records.csv");
    assert_eq!(records.lines().count(), 7);
    assert!(!records.contains(",accepted,"), "{records}");
    assert!(read(&to, "report.html").contains("6 of 10 records"));
}

#[test]
fn a_run_without_records_has_a_report_too() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "none", &[], RunState::Finished);
    let out = dir.path().join("out");
    analysis(&["report", "--out", out.to_str().unwrap(), run.to_str().unwrap()]).assert().success();
    assert!(read(&out, "report.html").contains("no records"));
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished);
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let text = failure(&["report", "--out", file.to_str().unwrap(), run.to_str().unwrap()]);
    assert!(text.contains("cannot write the report") && text.contains("hint: --out is a folder"), "{text}");
}
