//! Links, special files and files of the kernel in a folder of strangers: nothing outside is read or written.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use corpus::{CorpusError, Source, read};
use domain::config::RunConfig;
use serde_json::Value;

use crate::cli::{run, worker, write};

/// A pod with a secret in plain text, whose repair needs a companion with that text.
fn pod(secret: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n  - name: a\n    image: \
         registry.example.com/a:1\n    env:\n    - {{name: DB_SECRET, value: {secret}}}\n"
    )
}

const PRIVILEGED: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: p\n    image: \
                          registry.example.com/p:1\n    securityContext: {privileged: true}\n";

/// `worker fix --write` with one policy, in `folder`.
fn fix(folder: &Path, policy: &str, path: &str) -> (i32, String) {
    let (code, _, stderr) =
        run(worker().current_dir(folder).args(["fix", "--unsafe", "--write", "--policy", policy, path]));
    (code, stderr)
}

fn detect(folder: &Path, path: &str) -> (i32, String, String) {
    run(worker().current_dir(folder).args(["detect", "-p", "no_privileged", "--output", "detections", path]))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_companion_is_not_written_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (checkout, profile) = (folder.path().join("checkout"), folder.path().join("profile"));
    write(&checkout, "x.yaml", &pod("hunter2hunter2"));
    fs::write(&profile, "# mine\n").unwrap();
    for target in [profile.as_path(), Path::new("../profile"), Path::new("nowhere"), Path::new("y")] {
        fs::write(checkout.join("y"), "# mine\n").unwrap();
        let _ = fs::remove_file(checkout.join("x.companions.yaml"));
        symlink(target, checkout.join("x.companions.yaml")).unwrap();
        let (code, stderr) = fix(&checkout, "env_var_secret", ".");
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains("x.companions.yaml") && stderr.contains("link"), "{stderr}");
        assert_eq!(text(&profile), "# mine\n", "{}", target.display());
        assert_eq!(text(&checkout.join("y")), "# mine\n");
        assert!(!checkout.join("nowhere").exists());
        assert_eq!(
            text(&checkout.join("x.yaml")),
            pod("hunter2hunter2"),
            "not repaired without its companion"
        );
    }
}

#[test]
fn a_companion_is_not_written_into_a_hard_link_or_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (checkout, profile) = (folder.path().join("checkout"), folder.path().join("profile"));
    write(&checkout, "x.yaml", &pod("hunter2hunter2"));
    fs::write(&profile, "").unwrap();
    let companions = checkout.join("x.companions.yaml");
    fs::hard_link(&profile, &companions).unwrap();
    let (code, stderr) = fix(&checkout, "env_var_secret", "x.yaml");
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("hard link"), "{stderr}");
    assert_eq!((text(&profile).as_str(), fs::metadata(&profile).unwrap().nlink()), ("", 2));
    fs::remove_file(&companions).unwrap();
    fs::create_dir(&companions).unwrap();
    let (code, stderr) = fix(&checkout, "env_var_secret", "x.yaml");
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("x.companions.yaml"), "{stderr}");
    assert_eq!(text(&checkout.join("x.yaml")), pod("hunter2hunter2"));
}

#[test]
fn a_file_outside_is_neither_read_nor_repaired_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (checkout, outside) = (folder.path().join("checkout"), folder.path().join("outside.yaml"));
    write(&checkout, "a.yaml", PRIVILEGED);
    fs::write(&outside, PRIVILEGED.replace("name: p}", "name: outside}")).unwrap();
    let before = text(&outside);
    symlink("../outside.yaml", checkout.join("c.yaml")).unwrap();
    for path in [".", "c.yaml"] {
        let (_, found, stderr) = detect(&checkout, path);
        assert!(!found.contains("outside"), "{found}");
        assert!(stderr.contains("c.yaml: ") && stderr.contains("link"), "it is said: {stderr}");
        assert!(path != "." || stderr.contains("1 unreadable"), "and counted: {stderr}");
        let (code, stderr) = fix(&checkout, "no_privileged", path);
        assert!(path != "c.yaml" || code == 2, "{stderr}");
        assert_eq!(text(&outside), before);
    }
    assert_eq!(
        text(&checkout.join("a.yaml")),
        PRIVILEGED.replace("true", "false"),
        "the others are repaired"
    );
}

#[test]
fn files_of_the_kernel_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", PRIVILEGED);
    symlink("/proc/self/environ", folder.path().join("b.yaml")).unwrap();
    let detect = |path: &str| {
        let mut command = worker();
        command.current_dir(folder.path()).env("PLANTED_KEY", "canary-8841");
        run(command.args(["detect", "--output", "detections", path]))
    };
    for path in [".", "b.yaml", "/proc/self/environ"] {
        let (_, stdout, stderr) = detect(path);
        assert!(
            !stdout.contains("canary-8841") && !stderr.contains("canary-8841"),
            "{path}: {stdout}{stderr}"
        );
        assert!(stderr.contains("b.yaml: ") || stderr.contains("environ: "), "it is said: {stderr}");
    }
    let source = Source { corpus: "/proc/self/environ".into(), manifests: None };
    let error = read::<CorpusError>(&source, &RunConfig::default(), &mut |_, _| Ok(())).unwrap_err();
    assert!(error.to_string().contains("kernel"), "{error}");
}

#[test]
fn special_files_are_refused_and_do_not_block() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", PRIVILEGED);
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("b.yaml")).status().unwrap();
    assert!(made.success());
    let mut command = worker();
    let (code, _, stderr) = run(command
        .current_dir(folder.path())
        .timeout(std::time::Duration::from_secs(30))
        .args(["detect", "."]));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("b.yaml: is a named pipe"), "{stderr}");
    let mut command = worker();
    command.current_dir(folder.path()).timeout(std::time::Duration::from_secs(30));
    let (code, _, stderr) = run(command.args(["detect", "b.yaml"]));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("named pipe"), "{stderr}");
}

#[test]
fn a_file_below_the_folder_is_read_once_whatever_links_to_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "real/t.yaml", PRIVILEGED);
    write(folder.path(), ".data/u.yaml", &PRIVILEGED.replace("name: p}", "name: hidden}"));
    symlink("real/t.yaml", folder.path().join("a.yaml")).unwrap();
    symlink(".data/u.yaml", folder.path().join("u.yaml")).unwrap();
    symlink(".data/u.yaml", folder.path().join("v.yaml")).unwrap();
    let (_, found, stderr) = detect(folder.path(), ".");
    let found: Vec<Value> = serde_json::from_str(&found).unwrap();
    let paths: Vec<_> = found.iter().map(|entry| entry["manifest_path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["real/t.yaml", "u.yaml"], "{stderr}");

    let link = folder.path().join("u.yaml");
    let (code, stderr) = fix(folder.path(), "no_privileged", ".");
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("u.yaml: ") && stderr.contains("link"), "{stderr}");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(text(&link).contains("privileged: true"), "nothing is written through a link");
    assert!(text(&folder.path().join("real/t.yaml")).contains("privileged: false"));
}

#[test]
fn a_file_with_two_names_is_repaired_once_and_keeps_both() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "b.yaml", PRIVILEGED);
    fs::create_dir(folder.path().join("deep")).unwrap();
    let (first, second) = (folder.path().join("b.yaml"), folder.path().join("deep/a.yaml"));
    fs::hard_link(&first, &second).unwrap();
    let (_, found, _) = detect(folder.path(), ".");
    assert_eq!(serde_json::from_str::<Vec<Value>>(&found).unwrap().len(), 1, "{found}");
    let (code, stderr) = fix(folder.path(), "no_privileged", ".");
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stderr.matches("written under its other names too").count(), 1, "{stderr}");
    assert!(stderr.contains("1 repair in 1 file written, 0 violations left"), "{stderr}");
    assert!(text(&first).contains("privileged: false"));
    let inode = |path: &Path| (fs::metadata(path).unwrap().ino(), fs::metadata(path).unwrap().nlink());
    assert_eq!(inode(&first), inode(&second));
    assert_eq!(inode(&first).1, 2);
}

#[test]
fn a_file_with_a_name_elsewhere_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "in/b.yaml", PRIVILEGED);
    let (first, second) = (folder.path().join("in/b.yaml"), folder.path().join("a.yaml"));
    fs::hard_link(&first, &second).unwrap();
    let (code, stderr) = fix(&folder.path().join("in"), "no_privileged", ".");
    assert_eq!(code, 2, "{stderr}");
    assert_eq!(stderr.matches("hard link").count(), 1, "{stderr}");
    assert!(stderr.contains("0 repairs in 0 files written, 1 violation left"), "{stderr}");
    assert!(stderr.contains("1 file could not be written"), "{stderr}");
    assert_eq!((text(&first).as_str(), fs::metadata(&first).unwrap().nlink()), (PRIVILEGED, 2));
}

#[test]
fn a_file_that_is_named_twice_is_repaired_once() {
    for paths in [
        ["a.yaml", "a.yaml"],
        [".", "a.yaml"],
        ["a.yaml", "."],
        ["./a.yaml", "deep/../a.yaml"],
        ["link.yaml", "a.yaml"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.yaml", PRIVILEGED);
        write(folder.path(), "deep/x.txt", "");
        symlink("a.yaml", folder.path().join("link.yaml")).unwrap();
        let mut command = worker();
        command.current_dir(folder.path()).args(["fix", "--unsafe", "--policy", "no_privileged"]);
        let (_, diff, stderr) = run(command.args(paths));
        assert_eq!(
            diff.matches("+    securityContext: {privileged: false}").count(),
            1,
            "{paths:?}: {diff}{stderr}"
        );
        assert!(stderr.contains("1 repair in 1 file to be written"), "{paths:?}: {stderr}");
        if paths[0] == "link.yaml" {
            continue;
        }
        let mut command = worker();
        command.current_dir(folder.path()).args(["fix", "--unsafe", "--write", "--policy", "no_privileged"]);
        let (code, _, stderr) = run(command.args(paths));
        assert_eq!(code, 0, "{paths:?}: {stderr}");
        assert!(stderr.contains("1 repair in 1 file written, 0 violations left"), "{paths:?}: {stderr}");
    }
}

#[test]
fn a_repaired_file_keeps_its_mode_and_a_new_secret_is_private() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "x.yaml", &pod("hunter2hunter2"));
    let path = folder.path().join("x.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let (code, stderr) = fix(folder.path(), "env_var_secret", "x.yaml");
    assert_eq!(code, 0, "{stderr}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&folder.path().join("x.companions.yaml"))), (0o640, 0o600));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
}

#[test]
fn manifests_of_published_records_stay_below_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("manifests");
    write(&manifests, "a.yaml", PRIVILEGED);
    fs::write(folder.path().join("outside.yaml"), PRIVILEGED.replace("name: p}", "name: canary-2210}"))
        .unwrap();
    symlink("../outside.yaml", manifests.join("b.yaml")).unwrap();
    let detections = serde_json::json!([
        {"id": "1", "manifest_path": "manifests/a.yaml", "policy_id": "privileged-container", "violation_text": ""},
        {"id": "2", "manifest_path": "manifests/b.yaml", "policy_id": "privileged-container", "violation_text": ""},
    ]);
    let corpus = folder.path().join("detections.json");
    fs::write(&corpus, detections.to_string()).unwrap();
    let source = Source { corpus, manifests: Some(manifests) };
    let mut found = Vec::new();
    read::<CorpusError>(&source, &RunConfig::default(), &mut |record, document| {
        found.push((document.text.to_string(), record.problem.map(|problem| problem.message)));
        Ok(())
    })
    .unwrap();
    assert_eq!(found[0], (PRIVILEGED.to_owned(), None));
    assert!(!found[1].0.contains("canary-2210"), "{found:?}");
    let problem = found[1].1.as_deref().unwrap();
    assert!(problem.contains("b.yaml") && problem.contains("link"), "{problem}");
}
