//! `worker fix --interactive`.

use std::path::Path;

use tempfile::TempDir;

use crate::cli::{run, worker, write};

const POLICIES: &str = "no_latest_tag,no_privileged,no_host_pid";

fn pod(name: &str) -> String {
    format!(
        "# {name}\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  hostPID: true\n  containers:\n  - name: web\n    image: registry.example.com/web:latest\n    securityContext: {{privileged: true}}\n"
    )
}

fn pods() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        write(folder.path(), &format!("{name}.yaml"), &pod(name));
    }
    folder
}

fn fix(folder: &Path, answers: &str, more: &[&str]) -> (i32, String, String) {
    let args = ["fix", "--interactive", "-p", POLICIES];
    run(worker().current_dir(folder).args(args).args(more).arg(".").write_stdin(answers))
}

/// Which of the three repairs a file has.
fn made(folder: &Path, name: &str) -> [bool; 3] {
    let text = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
    assert!(text.starts_with(&format!("# {name}\n")), "{text}");
    ["web:latest", "privileged: true", "hostPID: true"].map(|violation| !text.contains(violation))
}

#[test]
fn each_repair_is_asked_about() {
    let folder = pods();
    // Of the first file one; of the second one, and none of the rest; of the third all.
    let (code, stdout, stderr) = fix(folder.path(), "n\ny\nn\ny\nd\na\n", &["--write"]);
    assert_eq!(code, 1, "{stderr}");
    assert_eq!(made(folder.path(), "a"), [false, true, false]);
    assert_eq!(made(folder.path(), "b"), [true, false, false]);
    assert_eq!(made(folder.path(), "c"), [true, true, true]);
    assert_eq!(stderr.matches("make this repair [y,n,a,d,q,?]? ").count(), 6, "{stderr}");
    assert!(stderr.contains("5 repairs in 3 files written, 4 violations left"), "{stderr}");
    assert!(
        stderr.contains("a.yaml:1: Pod a: no_latest_tag, no_host_pid: the repair was declined"),
        "{stderr}"
    );
    insta::assert_snapshot!(stdout);
}

#[test]
fn what_was_chosen_before_the_end_is_written() {
    for (answers, end) in [("y\n?\nwhat\nq\n", "y - make this repair"), ("y\n", "the answers have ended")] {
        let folder = pods();
        let (code, _, stderr) = fix(folder.path(), answers, &["--write"]);
        assert!(code == 1 && stderr.contains(end), "{stderr}");
        assert_eq!(made(folder.path(), "a"), [true, false, false]);
        assert_eq!((made(folder.path(), "b"), made(folder.path(), "c")), ([false; 3], [false; 3]));
        assert!(stderr.contains("1 repair in 1 file written, 8 violations left"), "{stderr}");
    }
    // All of them in a new folder; the files stay.
    let folder = pods();
    let (code, _, stderr) = fix(folder.path(), "a\na\na\n", &["--output-dir", "new"]);
    assert_eq!((code, made(folder.path(), "a")), (0, [false; 3]), "{stderr}");
    assert_eq!(made(&folder.path().join("new"), "a"), [true; 3]);
}

#[test]
fn nothing_is_asked_where_nobody_can_answer_or_nothing_would_come_of_it() {
    let folder = pods();
    for (more, expected) in [
        (&["--write", "--output", "json"][..], "and no other --output"),
        (&["--write", "-"], "reads answers from standard input"),
        (&[], "hint: add --write, or --output-dir DIR"),
        (&["--write", "--unsafe"], "cannot be used with"),
        (&["--revert", "x"], "cannot be used with"),
    ] {
        let (code, stdout, stderr) = fix(folder.path(), "a\na\na\n", more);
        assert_eq!((code, stdout.as_str()), (2, ""), "{more:?}");
        assert!(stderr.contains(expected), "{stderr}");
    }
    assert_eq!(made(folder.path(), "a"), [false; 3]);
}
