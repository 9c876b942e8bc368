//! `worker detect` and `worker fix` with `--helm` and `--kustomize`. Errors are those of small programs in their place; the
//! charts and overlays of `data/fixtures` are rendered where Helm and kustomize (or kubectl) are.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use domain::testing::skipped_optional;
use serde_json::Value;

use crate::cli::{root, run, worker, write};

/// A chart of two templates, one without an action, and a program in the place of Helm that renders it.
struct Bench {
    root: tempfile::TempDir,
}

const LITERAL: &str = "kind: Pod\napiVersion: v1\nmetadata: {name: literal}\nspec:\n  containers:\n  - name: c\n    image: b:1\n    securityContext:\n      privileged: true # why\n";
const TEMPLATE: &str = "kind: Pod\napiVersion: v1\nmetadata: {name: {{ .x }}}\nspec:\n  containers:\n  - name: c\n    image: b:1\n    securityContext:\n      privileged: true\n";

/// Renders as Helm does.
const HELM: &str = r#"
[ "$1" = template ] && [ -f "$3/Chart.yaml" ] || exit 9
for file in literal template; do
  printf -- '---\n# Source: shop/templates/%s.yaml\n' $file
  sed 's/{{ .x }}/rendered/' "$3/templates/$file.yaml"
done
"#;

impl Bench {
    fn new(helm: &str) -> Self {
        let bench = Self { root: tempfile::tempdir().unwrap() };
        write(bench.root.path(), "shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n");
        write(bench.root.path(), "shop/templates/literal.yaml", LITERAL);
        write(bench.root.path(), "shop/templates/template.yaml", TEMPLATE);
        bench.program("helm", helm);
        bench
    }

    fn program(&self, name: &str, text: &str) {
        let path = format!("bin/{name}");
        write(self.root.path(), &path, &format!("#!/bin/sh\n{text}\n"));
        let path = self.root.path().join(path);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.path().join(path)).unwrap()
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let path = format!("{}:/usr/bin:/bin", self.root.path().join("bin").display());
        let mut command = worker();
        command.current_dir(self.root.path()).env("PATH", path).args(args);
        run(command.args(["-p", "no_privileged"]))
    }
}

#[test]
fn findings_name_the_template_and_no_line_of_it() {
    let bench = Bench::new(HELM);
    let detect = |form: &str| {
        let (code, stdout, stderr) = bench.run(&["detect", "--helm", "shop/", "--output", form]);
        assert_eq!(code, 1, "{stderr}");
        stdout
    };
    let (_, _, stderr) = bench.run(&["detect", "--helm", "shop"]);
    assert_eq!(
        stderr, "2 findings in 2 objects of 2 files\n",
        "no line of a rendering is one of the template"
    );
    let text = detect("text");
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("shop/templates/literal.yaml: error: "), "{text}");
    assert!(first.ends_with("Pod literal (rendered by helm)"), "{text}");
    let findings: Value = serde_json::from_str(&detect("json")).unwrap();
    assert_eq!(
        (&findings[1]["path"], &findings[1]["name"]),
        (&"shop/templates/template.yaml".into(), &"rendered".into())
    );
    assert_eq!((&findings[1]["rendered_by"], &findings[1]["line"]), (&"helm".into(), &Value::Null));
    let log: Value = serde_json::from_str(&detect("sarif")).unwrap();
    let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "shop/templates/literal.yaml");
    assert_eq!(place.get("region"), None);
    let report: Value = serde_json::from_str(&detect("gitlab")).unwrap();
    assert_eq!(report[0]["location"]["lines"]["begin"], 1);
    let diagnostics: Value = serde_json::from_str(&detect("rdjson")).unwrap();
    assert_eq!(diagnostics["diagnostics"][0]["location"].get("range"), None);
    assert!(detect("github").starts_with("::error file=shop/templates/literal.yaml,title="));
    assert!(detect("junit").contains("Pod literal (rendered)\" file=\"shop/templates/literal.yaml\">"));
    assert!(detect("markdown").contains(" (rendered) `privileged-container`"));
}

#[test]
fn only_a_template_without_actions_is_written() {
    let bench = Bench::new(HELM);
    let (code, stdout, stderr) = bench.run(&["fix", "--unsafe", "--helm", "shop"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stdout.contains("+++ b/shop/templates/literal.yaml\n"), "{stdout}");
    assert!(stdout.contains("+++ b/shop/templates/template.yaml (rendered)\n"), "{stdout}");
    assert!(
        stderr
            .contains("it comes from a template; change shop/templates/template.yaml or its values by hand"),
        "{stderr}"
    );
    assert_eq!(bench.read("shop/templates/literal.yaml"), LITERAL);

    let (code, stdout, stderr) = bench.run(&["fix", "--unsafe", "--helm", "shop", "--write"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("1 repair in 1 file written, 1 violation left"), "{stderr}");
    assert!(!stdout.contains("literal.yaml"), "{stdout}");
    assert_eq!(bench.read("shop/templates/literal.yaml"), LITERAL.replace("true", "false"));
    assert_eq!(bench.read("shop/templates/template.yaml"), TEMPLATE);
}

#[test]
fn a_file_is_restored_where_something_else_comes_of_it() {
    let depends = format!("{HELM}\ngrep -q 'privileged: false' \"$3/templates/literal.yaml\"");
    for (name, more, said) in [
        ("fails", format!("{depends} && exit 3\nexit 0"), "it can no longer be rendered: helm"),
        (
            "adds",
            format!("{depends} && printf -- '---\\nkind: Pod\\n'\nexit 0"),
            "is rendered to 3 documents, not 2",
        ),
        (
            "changes",
            format!(
                "{depends} && value=b || value=a\nprintf -- '---\\nkind: ConfigMap\\nmetadata: {{name: sum}}\\ndata: {{a: %s}}\\n' $value"
            ),
            "ConfigMap sum of shop is not rendered as expected",
        ),
        (
            "ignores",
            HELM.replace("sed '", "sed 's/privileged: false/privileged: true/;"),
            "Pod literal of shop is not rendered as expected",
        ),
    ] {
        let bench = Bench::new(&more);
        let (code, _, stderr) = bench.run(&["fix", "--unsafe", "--helm", "shop", "--write"]);
        assert_eq!(code, 1, "{name}: {stderr}");
        assert!(
            stderr.contains("shop/templates/literal.yaml was restored, because") && stderr.contains(said),
            "{name}: {stderr}"
        );
        assert!(stderr.contains("0 repairs in 0 files written, 2 violations left"), "{name}: {stderr}");
        assert_eq!(bench.read("shop/templates/literal.yaml"), LITERAL, "{name}");
    }
}

#[test]
fn what_changes_each_time_is_no_reason_to_restore() {
    let random = format!(
        "{HELM}\nprintf -- '---\\nkind: Secret\\nmetadata: {{name: r}}\\nstringData: {{a: \"%s\"}}\\n' $$"
    );
    let bench = Bench::new(&random);
    let (_, _, stderr) = bench.run(&["fix", "--unsafe", "--helm", "shop", "--write"]);
    assert!(stderr.contains("1 repair in 1 file written"), "{stderr}");
    assert_eq!(bench.read("shop/templates/literal.yaml"), LITERAL.replace("true", "false"));
}

#[test]
fn a_program_that_does_not_work_is_a_failure_with_its_name_and_the_remedy() {
    for (text, said) in [
        (
            "echo 'template: broken' >&2; exit 1",
            "cannot render shop: ended with exit code 1: template: broken",
        ),
        ("kill -9 $$", "ended with signal 9"),
        ("printf '\\377'", "not UTF-8"),
        ("sleep 100 & sleep 100", "did not end within 1 s and was killed; raise detector.timeout_seconds"),
        ("echo 'Usage: helm'", "helm wrote no object for shop, but: Usage: helm"),
        ("exit 0", "found no manifest"),
    ] {
        let bench = Bench::new(text);
        for command in ["detect", "fix"] {
            let args = [command, "--helm", "shop", "--set", "detector.timeout_seconds=1"];
            let (code, stdout, stderr) = bench.run(&args);
            assert_eq!((code, stdout.as_str()), (2, ""), "{text}: {stderr}");
            assert!(stderr.contains(said), "{text}: {stderr}");
        }
    }
}

#[test]
fn what_is_named_wrongly_is_said() {
    let bench = Bench::new(HELM);
    std::fs::remove_file(bench.root.path().join("bin/helm")).unwrap();
    for (args, said) in [
        (&["detect", "--helm", "shop"][..], "helm not found: looked in PATH"),
        (&["detect", "--helm", "shop"], "`scripts/baselines helm` provides it"),
        (
            &["fix", "--helm", "shop", "--write", "--revert-file", "x"],
            "--revert-file does not go with --helm",
        ),
        (&["fix", "--helm", "shop", "--output", "sarif"], "--output does not go with --helm"),
        (&["detect", "--helm", "shop", "shop"], "cannot be used with"),
        (&["detect", "--values", "x", "shop"], "cannot be used with"),
        (&["detect"], "PATH"),
    ] {
        let (code, _, stderr) = bench.run(args);
        assert!(code == 2 && stderr.contains(said), "{args:?}: {stderr}");
    }
    bench.program("helm", HELM);
    for (args, said) in [
        (&["detect", "--helm", "bin"][..], "bin is not the folder of a chart: it has no Chart.yaml"),
        (
            &["detect", "--helm", "shop", "--values", "https://example.com/x"],
            "cannot open the values https://example.com/x",
        ),
    ] {
        let (code, _, stderr) = bench.run(args);
        assert!(code == 2 && stderr.contains(said), "{args:?}: {stderr}");
    }
}

/// Where programs are looked for: PATH with what `scripts/baselines` built. `None`: the program is not there.
pub(crate) fn path_with(programs: &[&str]) -> Option<String> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    let own = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::iter::once(cache.join("k8s-auto-fix/baselines")).chain(std::env::split_paths(&own)).collect();
    let is_there = |name: &&str| folders.iter().any(|folder| folder.join(name).is_file());
    if !programs.iter().any(is_there) {
        skipped_optional(&format!("no {} (scripts/baselines)", programs.join(" or ")));
        return None;
    }
    std::env::join_paths(folders).unwrap().into_string().ok()
}

/// The texts of all files below a folder.
fn texts(folder: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                all.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    all
}

/// A copy of fixtures, and their texts.
fn copied(name: &str) -> (tempfile::TempDir, BTreeMap<String, String>) {
    let copy = tempfile::tempdir().unwrap();
    let all = texts(&root().join("data/fixtures").join(name));
    for (path, text) in &all {
        write(copy.path(), path, text);
    }
    (copy, all)
}

/// Repairs a chart or overlay of a copy; the files that are written then, in each of which only `privileged` may have changed.
fn written(
    copy: &Path,
    before: &BTreeMap<String, String>,
    path: &str,
    args: &[&str],
) -> (Vec<String>, String) {
    let mut command = worker();
    command.current_dir(copy).env("PATH", path).args(["fix", "--unsafe", "--write", "-p", "no_privileged"]);
    let (code, stdout, stderr) = run(command.args(args));
    assert!(code == 0 || code == 1, "{args:?}: {stdout}{stderr}");
    let after = texts(copy);
    assert!(after.keys().eq(before.keys()), "{args:?}: no file is made or removed");
    let mut changed = Vec::new();
    for (name, text) in after {
        let old = &before[&name];
        if text != *old {
            assert_eq!(text, old.replace("privileged: true", "privileged: false"), "{args:?} {name}");
            changed.push(name);
        }
    }
    (changed, stdout + &stderr)
}

#[test]
fn of_charts_literal_templates_alone_are_written() {
    let Some(path) = path_with(&["helm"]) else { return };
    for (chart, files, said) in [
        ("loop", &[][..], "change loop/templates/workers.yaml or its values by hand"),
        ("include", &[], "change include/templates/deployment.yaml or its values by hand"),
        ("conditional", &[], "change conditional/templates/pod.yaml or its values by hand"),
        (
            "literal",
            &["literal/templates/agent.yaml"],
            "change literal/templates/web.yaml or its values by hand",
        ),
        ("subchart", &[], "parent/charts/twin/templates/image.yaml, which is not a file of the chart"),
        ("crds", &["crds/templates/controller.yaml"], "1 repair in 1 file written, 0 violations left"),
        ("checksum", &[], "ConfigMap sum of checksum is not rendered as expected"),
        ("random", &["random/templates/agent.yaml"], "1 repair in 1 file written, 0 violations left"),
    ] {
        let (copy, before) = copied("charts");
        let (changed, text) = written(copy.path(), &before, &path, &["--helm", chart]);
        assert_eq!(changed, files, "{chart}: {text}");
        assert!(text.contains(said), "{chart}: {text}");
    }
    let (copy, before) = copied("charts");
    let values = ["--helm", "conditional", "--values", "conditional/production.yaml"];
    let (changed, text) = written(copy.path(), &before, &path, &values);
    assert!(changed.is_empty() && text.contains("0 violations left"), "{text}");
}

#[test]
fn of_overlays_what_the_source_says_itself_is_written() {
    let Some(path) = path_with(&["kustomize", "kubectl"]) else { return };
    for (overlay, files, said) in [
        (
            "shared/dev",
            &["shared/base/deployment.yaml"][..],
            "shared/base/deployment.yaml: Deployment dev-web: no_privileged: repaired",
        ),
        ("shared/prod", &["shared/base/deployment.yaml"], "0 violations left"),
        (
            "strategic",
            &[],
            "/spec/template/spec/containers is not in strategic/base/deployment.yaml what it is when rendered",
        ),
        ("json6902", &[], "privileged is not in json6902/deployment.yaml what it is when rendered"),
        ("images", &["images/deployment.yaml"], "0 violations left"),
        ("generated", &["generated/pod.yaml"], "0 violations left"),
        ("component", &["component/agent/agent.yaml"], "0 violations left"),
        ("twice", &[], "several objects of the build come from it; change twice/base/pod.yaml by hand"),
    ] {
        let (copy, before) = copied("overlays");
        let (changed, text) = written(copy.path(), &before, &path, &["--kustomize", overlay]);
        assert_eq!(changed, files, "{overlay}: {text}");
        assert!(text.contains(said), "{overlay}: {text}");
    }
    let (copy, before) = copied("overlays");
    let both = ["--kustomize", "shared/dev", "--kustomize", "shared/prod"];
    let (changed, text) = written(copy.path(), &before, &path, &both);
    assert_eq!(changed, ["shared/base/deployment.yaml"], "{text}");
    assert!(text.contains("1 repair in 1 file written, 0 violations left"), "{text}");
}

#[test]
fn bases_elsewhere_are_neither_fetched_nor_written() {
    let Some(path) = path_with(&["kustomize", "kubectl"]) else { return };
    let (copy, _) = copied("overlays");
    let detect = |overlay: &str| {
        let args = ["detect", "-p", "no_privileged", "--kustomize", overlay];
        run(worker().current_dir(copy.path()).env("PATH", &path).args(args))
    };
    write(copy.path(), "remote/kustomization.yaml", "resources: ['https://example.com/x.yaml']\n");
    let (code, _, stderr) = detect("remote");
    assert!(code == 2 && stderr.contains("cannot render remote"), "{stderr}");
    let (code, stdout, stderr) = detect("shared/prod");
    assert_eq!(code, 1, "{stderr}");
    assert!(stdout.starts_with("shared/base/deployment.yaml: error: "), "{stdout}");
    assert!(stdout.contains("Deployment prod/web (rendered by kustomize)"), "{stdout}");
    // A working folder from which the base is elsewhere.
    let args = ["fix", "--unsafe", "--write", "-p", "no_privileged", "--kustomize", "."];
    let prod = copy.path().join("shared/prod");
    let (code, _, stderr) = run(worker().current_dir(prod).env("PATH", &path).args(args));
    assert!(code == 1 && stderr.contains("lies outside of . and of the working folder"), "{stderr}");
}
