//! The command `coordinator answers`, as scripts use it.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::coordinator;

fn line(number: u64, model: &str) -> Value {
    json!({
        "key": format!("{number:064x}"),
        "provider": "grok",
        "model": model,
        "answered_by": format!("{model}-0709"),
        "content": format!("{{\"patch\": [{number}]}}\n"),
        "finish": "stop",
        "usage": {"prompt": 60, "completion": 30, "reasoning": 5, "cached": 7, "total": 95, "estimated": 35},
        "created_at_ms": 1_700_000_000_000_u64 + number,
        "run_id": "r",
    })
}

fn write(path: &Path, lines: impl Iterator<Item = Value>) {
    let mut lines: Vec<String> = lines.map(|line| line.to_string()).collect();
    lines.push(String::new());
    std::fs::write(path, lines.join("\n")).unwrap();
}

/// Runs `answers` on `store`; returns the exit code, stdout and stderr.
fn answers(store: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let (command, rest) = arguments.split_first().unwrap();
    let store = store.to_str().unwrap();
    let output = coordinator(&[&["answers", command, "--answers", store], rest].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn answers_are_exported_imported_and_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (store, lines) = (at("answers.sqlite"), at("in.jsonl"));
    write(&lines, (0..30).map(|number| line(number, if number < 10 { "old" } else { "new" })));
    let import = ["import", lines.to_str().unwrap(), "--output", "json"];
    let (code, out, _) = answers(&store, &import);
    assert_eq!((code, out.as_str()), (Some(0), "{\"new\":30,\"known\":0}\n"));
    assert_eq!(answers(&store, &import).1, "{\"new\":0,\"known\":30}\n", "again changes nothing");

    let (_, out, _) = answers(&store, &["stats", "--output", "json"]);
    let stats: Value = serde_json::from_str(&out).unwrap();
    let first = &stats[0];
    assert_eq!(
        (&first["model"], &first["answers"], &first["tokens"]),
        (&"new".into(), &20.into(), &1900.into())
    );

    let (code, out, _) = answers(&store, &["export"]);
    assert_eq!(
        (code, out),
        (Some(0), std::fs::read_to_string(&lines).unwrap()),
        "the export equals the import"
    );
    let copy = at("out.jsonl");
    let (code, _, talk) = answers(&store, &["export", copy.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{talk}");
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(&lines).unwrap());

    let (_, out, talk) = answers(&store, &["prune", "--model", "old", "--output", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()[0]["answers"], 10);
    assert!(talk.contains("--yes"), "{talk}");
    assert_eq!(answers(&store, &["export"]).1.lines().count(), 30, "without --yes nothing is removed");
    answers(&store, &["prune", "--model", "old", "--yes"]);
    assert_eq!(answers(&store, &["export"]).1.lines().count(), 20);
    answers(&store, &["prune", "--older-than", "1d", "--yes"]);
    assert_eq!(answers(&store, &["export"]).1, "");
}

#[test]
fn an_export_of_an_older_release_names_the_endpoint_and_is_imported() {
    let folder = tempfile::tempdir().unwrap();
    let (store, lines) = (folder.path().join("answers.sqlite"), folder.path().join("in.jsonl"));
    let old = line(1, "m").to_string().replace("\"provider\":\"grok\"", "\"endpoint\":\"http://h/v1\"");
    std::fs::write(&lines, old).unwrap();
    assert_eq!(answers(&store, &["import", lines.to_str().unwrap()]).0, Some(0));
    let (_, out, _) = answers(&store, &["stats", "--output", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()[0]["provider"], "http://h/v1");
}

#[test]
fn errors_name_the_file_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("answers.sqlite");
    let (code, _, talk) = answers(&store, &["stats"]);
    assert_eq!(code, Some(2));
    assert!(talk.contains("does not exist") && talk.contains(".answers.sqlite"), "{talk}");
    assert!(!store.exists(), "a mistyped name creates no file");

    let lines = folder.path().join("in.jsonl");
    let mut bad = line(2, "m");
    bad["content"] = "  ".into();
    write(&lines, [line(1, "m"), bad, line(3, "m")].into_iter());
    let (code, _, talk) = answers(&store, &["import", lines.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(talk.contains("in.jsonl") && talk.contains("line 2") && talk.contains("empty"), "{talk}");
    assert_eq!(answers(&store, &["export"]).1.lines().count(), 1, "the lines before it are imported");

    let (code, _, talk) = answers(&store, &["prune", "--yes"]);
    assert_eq!(code, Some(2));
    assert!(talk.contains("--older-than"), "{talk}");
    std::fs::write(&store, "no database").unwrap();
    let (code, _, talk) = answers(&store, &["stats"]);
    assert_eq!(code, Some(2));
    assert!(talk.contains("answers.sqlite") && talk.contains("--answers"), "{talk}");
}
