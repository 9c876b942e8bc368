//! `worker policies` and `worker explain`.

use serde_json::Value;

use crate::cli::{run, worker};

#[test]
fn policies_are_listed_whole_or_by_catalogue_and_profile() {
    let lines = |more: &[&str]| {
        let (code, stdout, stderr) = run(worker().arg("policies").args(more));
        assert_eq!(code, 0, "{stderr}");
        stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = lines(&[]);
    let paper = lines(&["--catalogue", "paper"]);
    assert!(all.len() > paper.len() && paper.len() == 30, "{} {}", all.len(), paper.len());
    assert!(lines(&["--profile", "rbac"]).iter().all(|line| !line.starts_with("no_latest_tag")));
    let of = |id: &str| all.iter().find(|line| line.starts_with(&format!("{id} "))).unwrap();
    assert!(of("no_latest_tag").contains("warning") && of("no_latest_tag").contains("repaired"));
    assert!(of("wildcard_in_rules").contains("review"), "{}", of("wildcard_in_rules"));
    let (_, stdout, _) = run(worker().args(["policies", "--output", "json"]));
    let list: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), all.len());
}

#[test]
fn a_policy_is_explained_under_each_of_its_names() {
    let (code, stdout, stderr) = run(worker().args(["explain", "latest-tag"]));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("no_latest_tag: every image carries a fixed tag."), "{stdout}");
    for part in ["What it checks", "Why", "Repair", "Example", "Checks: latest-tag"] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    assert_eq!(run(worker().args(["explain", "no_latest_tag"])).1, stdout);
    let (_, json, _) = run(worker().args(["explain", "no_latest_tag", "--output", "json"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["may_change"][0]["place"], "{container}/image");
    let (code, _, stderr) = run(worker().args(["explain", "no_such_policy"]));
    assert!(code == 2 && stderr.contains("no_latest_tag"), "the policies are named: {stderr}");
}
