//! `worker fix --revert`: what a repair changed comes back.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::cli::{run, worker, write};

const POD: &str = "# Reads disks\napiVersion: v1\nkind: Pod\nmetadata: {name: disk, namespace: ops}\nspec:\n  serviceAccountName: \
                   runner\n  containers:\n  - name: disk\n    image: registry.example.com/disk:latest # moves\n    env:\n    - {name: \
                   DB_SECRET, value: hunter2hunter2}\n    securityContext:\n      # needed once\n      privileged: true\n";

fn fix(folder: &Path, args: &[&str]) -> (i32, String, String) {
    run(worker().current_dir(folder).arg("fix").args(args))
}

fn read(folder: &Path, path: &str) -> String {
    std::fs::read_to_string(folder.join(path)).unwrap()
}

/// A folder in which everything was repaired, with what undoes it.
fn repaired() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a/pod.yaml", POD);
    write(folder.path(), "a/windows.yaml", &POD.replace('\n', "\r\n").replace("disk", "net"));
    write(
        folder.path(),
        "a/pod.companions.yaml",
        "kind: ConfigMap\napiVersion: v1\nmetadata: {name: mine}\n",
    );
    let (_, _, stderr) = fix(folder.path(), &["--unsafe", "--write", "--revert-file", "undo.jsonl", "a"]);
    assert!(stderr.contains("written"), "{stderr}");
    assert!(!read(folder.path(), "a/pod.yaml").contains("privileged: true"), "{stderr}");
    folder
}

#[test]
fn files_come_back_byte_for_byte_with_their_companions() {
    let folder = repaired();
    assert!(folder.path().join("a/windows.companions.yaml").exists());
    let mode = std::fs::metadata(folder.path().join("undo.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds secrets");
    let after = read(folder.path(), "a/pod.yaml");
    let (code, stdout, stderr) = fix(folder.path(), &["--revert", "undo.jsonl"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stdout.contains("+      privileged: true") && stdout.contains("+++ /dev/null"), "{stdout}");
    assert_eq!(read(folder.path(), "a/pod.yaml"), after, "the diff alone is shown");

    let (code, stdout, stderr) = fix(folder.path(), &["--revert", "undo.jsonl", "--write"]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "", "2 files restored, 0 left\n"));
    assert_eq!(read(folder.path(), "a/pod.yaml"), POD);
    assert_eq!(read(folder.path(), "a/windows.yaml"), POD.replace('\n', "\r\n").replace("disk", "net"));
    assert_eq!(
        read(folder.path(), "a/pod.companions.yaml"),
        "kind: ConfigMap\napiVersion: v1\nmetadata: {name: mine}\n"
    );
    assert!(!folder.path().join("a/windows.companions.yaml").exists());
    let (code, _, stderr) = fix(folder.path(), &["--revert", "undo.jsonl", "--write"]);
    assert_eq!((code, stderr.as_str()), (0, "0 files restored, 2 as before, 0 left\n"));
}

#[test]
fn a_file_that_was_changed_since_keeps_its_changes() {
    let folder = repaired();
    let changed = read(folder.path(), "a/pod.yaml").replace("# Reads disks", "# Reads all disks");
    write(
        folder.path(),
        "a/pod.yaml",
        &changed.replace("metadata: {name: disk,", "metadata: {labels: {a: b}, name: disk,"),
    );
    let (code, _, stderr) = fix(folder.path(), &["--revert", "undo.jsonl", "--write"]);
    assert_eq!(code, 0, "{stderr}");
    let text = read(folder.path(), "a/pod.yaml");
    for part in
        ["# Reads all disks", "labels: {a: b}", "privileged: true", "disk:latest # moves", "hunter2hunter2"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Its value is what it was, with the changes.
    write(
        folder.path(),
        "expected.yaml",
        &POD.replace("metadata: {name: disk,", "metadata: {labels: {a: b}, name: disk,"),
    );
    let (code, _, stderr) =
        run(worker().current_dir(folder.path()).args(["verify", "expected.yaml", "a/pod.yaml"]));
    assert!(code == 2 && stderr.contains("nothing differs"), "{stderr}");
}

#[test]
fn what_was_repaired_and_then_changed_is_left() {
    let folder = repaired();
    let after = read(folder.path(), "a/pod.yaml");
    let changed = after.replace("privileged: false", "privileged: null");
    assert_ne!(after, changed);
    write(folder.path(), "a/pod.yaml", &changed);
    let (code, _, stderr) = fix(folder.path(), &["--revert", "undo.jsonl", "--write"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("a/pod.yaml: not restored: Pod disk was changed since"), "{stderr}");
    assert!(stderr.ends_with("1 file restored, 1 left\n"), "{stderr}");
    assert_eq!(read(folder.path(), "a/pod.yaml"), changed);
}

#[test]
fn nothing_outside_the_folder_is_restored() {
    let folder = repaired();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("pod.yaml"), read(folder.path(), "a/pod.yaml")).unwrap();
    let before = std::fs::read_to_string(outside.path().join("pod.yaml")).unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
    let undo = read(folder.path(), "undo.jsonl");
    let there = outside.path().display().to_string();
    for path in [format!("{there}/pod.yaml"), format!("a/../..{there}/pod.yaml"), "link/pod.yaml".to_owned()]
    {
        write(folder.path(), "odd.jsonl", &undo.replace("\"a/pod.yaml\"", &format!("{path:?}")));
        let (code, _, stderr) = fix(folder.path(), &["--revert", "odd.jsonl", "--write"]);
        assert!(code == 1 && stderr.contains("not restored"), "{path}: {stderr}");
        assert_eq!(std::fs::read_to_string(outside.path().join("pod.yaml")).unwrap(), before, "{path}");
    }
}

#[test]
fn a_file_that_undoes_nothing_is_refused() {
    let folder = repaired();
    let (code, _, stderr) = fix(folder.path(), &["--write", "--revert-file", "undo.jsonl", "a"]);
    assert!(code == 2 && stderr.contains("undo.jsonl is there already"), "{stderr}");
    let (code, _, stderr) = fix(folder.path(), &["--revert-file", "new.jsonl", "a"]);
    assert!(code == 2 && stderr.contains("--write"), "{stderr}");
    for (text, said) in
        [("", "is empty"), ("{}\n", "line 1"), ("{\"format\":\"x\",\"version\":1}\n", "this release reads")]
    {
        write(folder.path(), "odd.jsonl", text);
        let (code, _, stderr) = fix(folder.path(), &["--revert", "odd.jsonl"]);
        assert!(code == 2 && stderr.contains(said), "{text}: {stderr}");
    }
    // A process that was killed left half an entry, for a file that it had not written.
    let undo = read(folder.path(), "undo.jsonl");
    write(folder.path(), "half.jsonl", undo.get(..undo.len() - 20).unwrap());
    let (_, _, stderr) = fix(folder.path(), &["--revert", "half.jsonl", "--write"]);
    assert!(stderr.contains("1 file restored, 0 left"), "{stderr}");
}
