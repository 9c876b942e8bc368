//! The settings of a repository, `.k8s-auto-fix.yaml`.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{run, worker, write};

/// A privileged pod in the namespace of the host, with an image that moves.
fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  hostPID: true\n  containers:\n  - name: web\n    image: registry.example.com/web:latest\n    securityContext: {{privileged: true}}\n"
    )
}

/// A repository with pods in two folders and with settings.
fn repository(settings: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(".git")).unwrap();
    write(folder.path(), "app/web.yaml", &pod("web"));
    write(folder.path(), "agents/agent.yaml", &pod("agent"));
    write(folder.path(), ".k8s-auto-fix.yaml", settings);
    folder
}

fn in_folder(folder: &Path, args: &[&str]) -> (i32, String, String) {
    run(worker().current_dir(folder).args(args))
}

/// What was found: path and policy.
fn found(folder: &Path, args: &[&str]) -> Vec<(String, String)> {
    let (_, stdout, stderr) = in_folder(folder, &[&["detect", "-o", "json"], args].concat());
    let all: Vec<Value> = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stderr}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.iter().map(|found| (text(&found["path"]), text(&found["policy"]))).collect()
}

#[test]
fn the_nearest_file_up_to_the_repository_is_found_and_flags_win() {
    let outer = tempfile::tempdir().unwrap();
    write(outer.path(), ".k8s-auto-fix.yaml", "nonsense: true\n");
    let folder = repository(
        "policies: [no_privileged, no_latest_tag]\nexclude: ['agents/*', none.yaml]\nfail_on: error\n",
    );
    std::fs::rename(folder.path(), outer.path().join("repo")).unwrap();
    let folder = outer.path().join("repo");
    let only = |policies: &[&str]| -> Vec<(String, String)> {
        policies.iter().map(|policy| ("app/web.yaml".to_owned(), (*policy).to_owned())).collect()
    };
    assert_eq!(found(&folder, &["app", "agents"]), only(&["no_latest_tag", "no_privileged"]));
    assert_eq!(found(&folder, &["app", "-p", "no_host_pid"]), only(&["no_host_pid"]));
    // From another folder, and for one file.
    let (code, stdout, stderr) = in_folder(outer.path(), &["detect", "repo/app/web.yaml"]);
    assert_eq!((code, stdout.lines().count()), (1, 2), "{stderr}");
    assert!(
        stderr.contains("settings of the repository: ") && stderr.contains("repo/.k8s-auto-fix.yaml"),
        "{stderr}"
    );
    assert_eq!(in_folder(&folder.join("app"), &["detect", "../agents", "."]).1.lines().count(), 2);
    assert!(found(&folder, &["app", "agents", "--no-repository-config"]).len() > 4);
    // Only errors fail.
    let warnings = ["detect", "app", "-p", "no_latest_tag"];
    assert_eq!(in_folder(&folder, &warnings).0, 0);
    assert_eq!(
        in_folder(&folder, &[&warnings[..], &["-o", "detections"]].concat()).0,
        1,
        "records have no severity"
    );
    assert_eq!(in_folder(&folder, &[&warnings[..], &["--fail-on", "warning"]].concat()).0, 1);
    // A file in a nearer folder, and one that is named.
    write(&folder, "app/.k8s-auto-fix.yaml", "policies: [no_host_pid]\n");
    assert_eq!(found(&folder, &["app"]), only(&["no_host_pid"]));
    write(outer.path(), "other.yaml", "policies: [no_latest_tag]\n");
    assert_eq!(found(&folder, &["app", "--repository-config", "../other.yaml"]), only(&["no_latest_tag"]));
}

#[test]
fn without_a_repository_no_folder_above_the_working_one_counts() {
    let outer = tempfile::tempdir().unwrap();
    write(outer.path(), ".k8s-auto-fix.yaml", "nonsense: true\n");
    write(outer.path(), "inner/app/web.yaml", &pod("web"));
    let inner = outer.path().join("inner");
    assert!(found(&inner, &["app"]).len() > 2);
    write(&inner, ".k8s-auto-fix.yaml", "policies: [no_latest_tag]\n");
    assert_eq!(found(&inner, &["app"]).len(), 1);
}

#[test]
fn the_catalogue_and_the_known_findings_come_from_the_repository() {
    let folder = repository("profile: rbac\n");
    assert_eq!(found(folder.path(), &["app"]), []);
    assert!(!found(folder.path(), &["app", "--catalogue", "paper"]).is_empty());
    assert!(
        !found(folder.path(), &["app", "--set", "detector.profile=pss-baseline"]).is_empty(),
        "the user's own"
    );

    let folder = repository("");
    let (_, log, _) = in_folder(folder.path(), &["detect", "app", "-o", "sarif"]);
    write(folder.path(), "known.sarif", &log);
    write(folder.path(), ".k8s-auto-fix.yaml", "baseline: known.sarif\n");
    let (code, _, stderr) = in_folder(folder.path(), &["detect", "app"]);
    assert!(code == 0 && stderr.contains("of the baseline"), "{stderr}");
    for outside in ["../known.sarif", "/etc/hostname"] {
        write(folder.path(), ".k8s-auto-fix.yaml", &format!("baseline: {outside}\n"));
        let (code, _, stderr) = in_folder(folder.path(), &["detect", "app"]);
        assert!(code == 2 && stderr.contains("leads out of its folder"), "{stderr}");
    }
}

#[test]
fn suppressed_findings_are_counted_and_shown_with_their_reason() {
    let settings = "suppressions:\n- policy: host-pid\n  path: agents/**\n  object: Pod/agent\n  reason: reads the processes\n- {policy: no_privileged, path: agent.yaml, reason: mounts disks}\n- {policy: no_latest_tag, path: 'agents/*', object: Pod/other, reason: not this one}\n";
    let folder = repository(settings);
    let (code, stdout, stderr) =
        in_folder(folder.path(), &["detect", ".", "-p", "no_host_pid,no_privileged,no_latest_tag"]);
    assert_eq!(code, 1);
    let agents = stdout.lines().filter(|line| line.starts_with("agents/")).count();
    assert_eq!((agents, stdout.lines().count()), (1, 4), "{stdout}");
    let suppressed =
        "agents/agent.yaml:1: suppressed: host-pid (.k8s-auto-fix.yaml:2: \"reads the processes\")";
    assert!(stderr.contains(suppressed) && stderr.contains("\"mounts disks\""), "{stderr}");
    assert!(
        stderr.contains("4 findings in 2 objects of 2 files, 2 suppressed by the repository"),
        "{stderr}"
    );

    let unused = ".k8s-auto-fix.yaml:7: the suppression of no_latest_tag matches nothing";
    assert!(stderr.contains(unused) && stderr.matches("matches nothing").count() == 1, "{stderr}");
    assert!(
        !stderr.contains("settings of the repository"),
        "it suppresses alone, and that is said: {stderr}"
    );
    let (_, _, stderr) = in_folder(folder.path(), &["-v", "detect", "app", "-p", "no_latest_tag"]);
    assert!(stderr.contains("settings of the repository"), "{stderr}");
    assert!(!stderr.contains("matches nothing"), "its files were not read: {stderr}");
    let (_, _, stderr) = in_folder(folder.path(), &["detect", ".", "-p", "no_host_pid"]);
    assert!(!stderr.contains("matches nothing"), "its policy was not looked for: {stderr}");

    // They are not repaired either.
    let (_, diff, stderr) = in_folder(
        folder.path(),
        &["fix", "--unsafe", "agents", "-p", "no_host_pid,no_privileged,no_latest_tag"],
    );
    assert!(
        diff.contains("-    image: ")
            && !diff.contains("-  hostPID")
            && !diff.contains("-    securityContext"),
        "{diff}"
    );
    assert!(
        stderr.contains(suppressed) && stderr.contains("0 violations left, 2 suppressed by the repository"),
        "{stderr}"
    );
    let (_, report, _) = in_folder(folder.path(), &["fix", "--unsafe", "agents", "-o", "json"]);
    assert!(!report.contains("no_host_pid"), "{report}");
}

#[test]
fn the_repairs_that_the_repository_allows_are_made() {
    let folder = repository("policies: [no_privileged, no_latest_tag]\nallow: [tag_unverified]\n");
    let fix = |more: &[&str]| in_folder(folder.path(), &[&["fix", "app"], more].concat());
    let (_, diff, stderr) = fix(&[]);
    assert!(stderr.contains("pull_policy_relaxed"), "{stderr}");
    assert!(!diff.contains("+    image: "), "{diff}");
    write(folder.path(), ".k8s-auto-fix.yaml", "policies: [no_privileged, no_latest_tag]\nunsafe: true\n");
    assert!(fix(&[]).1.contains("+    image: "));
    let (_, diff, stderr) = fix(&["--allow", "user_guessed"]);
    assert!(!diff.contains("+    image: ") && stderr.contains("held back"), "a flag wins: {diff}{stderr}");
    assert!(!fix(&["--no-repository-config"]).1.contains("+    image: "));
}

#[test]
fn what_is_wrong_with_the_file_is_named_with_line_and_remedy() {
    let folder = repository("");
    for (settings, expected) in [
        ("exclude: [a]\nscanners: {kyverno: rm}\n", ".k8s-auto-fix.yaml:2: unknown field `scanners`"),
        ("unsafe: [1]\n", ".k8s-auto-fix.yaml:1: "),
        (
            "suppressions:\n- {policy: no_privileged, path: a}\n",
            ".k8s-auto-fix.yaml:2: missing field `reason`",
        ),
        ("policies: [a, b\n", ".k8s-auto-fix.yaml"),
    ] {
        write(folder.path(), ".k8s-auto-fix.yaml", settings);
        for command in ["detect", "fix"] {
            let (code, stdout, stderr) = in_folder(folder.path(), &[command, "app"]);
            assert_eq!((code, stdout.as_str()), (2, ""), "{settings}");
            assert!(
                stderr.contains(expected) && stderr.contains("hint: .k8s-auto-fix.yaml may have"),
                "{stderr}"
            );
        }
    }
    // A link that leads out is not followed, and not overlooked.
    std::fs::remove_file(folder.path().join(".k8s-auto-fix.yaml")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", folder.path().join(".k8s-auto-fix.yaml")).unwrap();
    let (code, _, stderr) = in_folder(folder.path(), &["detect", "app"]);
    assert!(code == 2 && stderr.contains("is a link that leads out"), "{stderr}");
}
