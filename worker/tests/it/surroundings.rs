//! What stands around a document: neighbours, kustomizations, nodes, clusters, folders.

use std::fs;
use std::path::Path;

use crate::cli::{run, worker, write};

fn fix(folder: &Path, args: &[&str]) -> (i32, String) {
    let (code, _, stderr) = run(worker().current_dir(folder).args(["fix", "--unsafe", "--write"]).args(args));
    (code, stderr)
}

fn detect(folder: &Path, args: &[&str]) -> (i32, String, String) {
    run(worker().current_dir(folder).arg("detect").args(args))
}

fn text(folder: &Path, path: &str) -> String {
    fs::read_to_string(folder.join(path)).unwrap()
}

fn deployment(name: &str, labels: &str, image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  selector: {{matchLabels: {labels}}}\n  \
         template:\n    metadata: {{labels: {labels}}}\n    spec:\n      containers:\n      - {{name: main, image: '{image}'}}\n"
    )
}

fn service(name: &str, selector: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {selector}, ports: [{{port: 80}}]}}\n"
    )
}

#[test]
fn a_repair_that_takes_the_pods_of_a_service_is_left_to_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let orders = deployment("orders", "{app: orders, part: api}", "registry.example.com/orders:3").replacen(
        "part: api",
        "part: http",
        1,
    );
    write(root, "workload.yaml", &orders);
    write(root, "deep/service.yaml", &service("orders", "{app: orders, part: api}"));
    let (code, stderr) = fix(root, &["-p", "mismatching_selector,dangling_service", "."]);
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("needs review: Service orders selects these pods by app=orders,part=api"),
        "{stderr}"
    );
    assert!(stderr.contains("0 repairs in 0 files written, 1 violation left"), "{stderr}");
    assert_eq!(text(root, "workload.yaml"), orders);

    // Where nothing depends on the label, the template follows its selector.
    fs::remove_file(root.join("deep/service.yaml")).unwrap();
    let (code, stderr) = fix(root, &["-p", "mismatching_selector", "."]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(text(root, "workload.yaml").matches("part: http").count(), 2);
}

#[test]
fn patches_of_a_kustomization_are_left_alone() {
    let patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  replicas: 3\n  template:\n    \
                 spec:\n      containers:\n      - {name: main, image: 'shop:latest'}\n";
    let marked = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  template:\n    spec:\n      \
                  containers:\n      - {name: debug, image: 'debug:latest', $patch: delete}\n";
    for (name, lists) in [
        ("kustomization.yaml", "resources: [shop.yaml]\npatches:\n- path: edits/patch.yaml\n"),
        ("kustomization.yml", "resources: [shop.yaml]\npatchesStrategicMerge: [./edits/patch.yaml]\n"),
        (
            "kustomization.yaml",
            "patchesJson6902:\n- {path: edits/patch.yaml, target: {kind: Deployment, name: shop}}\n",
        ),
        ("Kustomization", "patches:\n- path: edits/patch.yaml\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, name, lists);
        write(root, "shop.yaml", &deployment("shop", "{app: shop}", "shop:latest"));
        write(root, "edits/patch.yaml", patch);
        write(root, "edits/marked.yaml", marked);
        let (code, stdout, stderr) = detect(root, &["-p", "no_latest_tag", "."]);
        assert_eq!(code, 1, "{stderr}");
        assert_eq!(stdout.lines().count(), 1, "{stdout}");
        assert!(stdout.starts_with("shop.yaml:"), "{stdout}");
        assert!(
            stderr.contains(&format!("edits/patch.yaml:1: left alone: {name} lists its file as a patch")),
            "{stderr}"
        );
        assert!(
            stderr.contains("edits/marked.yaml:1: left alone: ") && stderr.contains("$patch"),
            "{stderr}"
        );
        assert!(stderr.contains("2 documents left alone"), "{stderr}");
        let (code, stderr) = fix(root, &["-p", "no_latest_tag,no_anti_affinity,set_requests_limits", "."]);
        assert_eq!(code, 0, "{name}: {stderr}");
        assert_eq!(
            (text(root, "edits/patch.yaml").as_str(), text(root, "edits/marked.yaml").as_str()),
            (patch, marked)
        );
    }
    // A single file is named: its kustomization lies beside it.
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "kustomization.yaml", "patches:\n- path: patch.yaml\n");
    write(folder.path(), "patch.yaml", patch);
    let (code, stderr) = fix(folder.path(), &["patch.yaml"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(text(folder.path(), "patch.yaml"), patch);
}

#[test]
fn operations_that_a_kustomization_lists_are_no_unreadable_document() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(
        root,
        "kustomization.yaml",
        "resources: [shop.yaml]\npatches:\n- {path: ops.yaml}\n- path: ops.json\n",
    );
    write(root, "shop.yaml", &deployment("shop", "{app: shop}", "shop:1"));
    write(root, "ops.yaml", "# more\n- op: replace\n  path: /spec/replicas\n  value: 3\n");
    write(root, "ops.json", "[{\"op\": \"remove\", \"path\": \"/spec/paused\"}]\n");
    let (code, _, stderr) = detect(root, &["-p", "no_latest_tag", "."]);
    assert_eq!(code, 0, "{stderr}");
    for file in ["ops.yaml", "ops.json"] {
        let expected = format!("{file}:1: left alone: kustomization.yaml lists its file as a patch");
        assert!(stderr.contains(&expected), "{stderr}");
    }
    assert!(stderr.contains("2 documents left alone") && !stderr.contains("unreadable"), "{stderr}");
    let (code, stderr) = fix(root, &["-p", "no_latest_tag", "ops.json"]);
    assert_eq!(code, 0, "{stderr}");
    // A list that nothing lists is none of a kustomization's.
    write(root, "other.yaml", "- op: test\n");
    let (_, _, stderr) = detect(root, &["."]);
    assert!(stderr.contains("other.yaml:1: ") && stderr.contains("3 documents left alone"), "{stderr}");
}

#[test]
fn a_tag_that_a_kustomization_sets_is_set_there() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let manifest = deployment("manager", "{app: manager}", "controller:latest");
    write(root, "base/manager.yaml", &manifest);
    write(root, "base/kustomization.yaml", "resources: [manager.yaml]\n");
    let overlay =
        "resources: [../base]\nimages:\n- name: controller\n  newName: r.example.com/manager\n  newTag: v4\n";
    write(root, "prod/kustomization.yaml", overlay);
    let expected = "the tag of the image \"controller:latest\" of container \"main\" is set by images of \"prod/kustomization.yaml\"";
    let (code, stderr) = fix(root, &["-p", "no_latest_tag", "."]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("needs review: ") && stderr.contains(expected), "{stderr}");
    assert_eq!(text(root, "base/manager.yaml"), manifest);
    let note = "prod/kustomization.yaml replaces this image when it is built: `--kustomize prod` judges";
    for form in ["text", "github", "sarif", "rdjson", "gitlab", "json", "junit", "markdown"] {
        let (_, stdout, _) = detect(root, &["-p", "no_latest_tag", "--output", form, "."]);
        let stdout = stdout.replace("%3A", ":").replace('\\', "").replace("&#96;", "`");
        assert!(stdout.contains(note), "{form}: {stdout}");
    }
    let (_, stdout, _) = run(worker().current_dir(root).args(["propose", "."]));
    assert!(stdout.contains("is set by images of"), "{stdout}");
    assert!(!stdout.contains("controller:stable"), "{stdout}");

    // One file, and its kustomization beside it.
    write(
        root,
        "base/kustomization.yaml",
        "images: [{name: controller, digest: 'sha256:00'}]\nresources: [manager.yaml]\n",
    );
    let (code, stderr) = fix(&root.join("base"), &["-p", "no_latest_tag", "manager.yaml"]);
    assert!(code == 1 && stderr.contains("images of \"kustomization.yaml\""), "{stderr}");

    // What no kustomization replaces is repaired.
    fs::remove_file(root.join("prod/kustomization.yaml")).unwrap();
    write(
        root,
        "base/kustomization.yaml",
        "images: [{name: other, newTag: v1}]\nresources: [manager.yaml]\n",
    );
    let (code, stderr) = fix(root, &["-p", "no_latest_tag", "."]);
    assert_eq!(code, 0, "{stderr}");
    assert!(text(root, "base/manager.yaml").contains("controller:stable"));
}

#[test]
fn items_of_a_typed_list_are_repaired_without_a_kind_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let pod = "{metadata: {name: a}, spec: {containers: [{name: a, image: 'a:latest'}]}}";
    let workload = "{metadata: {name: a}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: 'a:latest'}]}}}}";
    for (head, item) in [
        ("apiVersion: v1\nkind: PodList", pod),
        ("apiVersion: apps/v1\nkind: DeploymentList", workload),
        ("apiVersion: apps/v1\nkind: StatefulSetList", workload),
    ] {
        let list = format!("{head}\nitems:\n- {item}\n- {item}\n");
        write(root, "list.yaml", &list);
        let (_, stdout, stderr) = run(worker().current_dir(root).args(["propose", "."]));
        assert!(stdout.contains("a:stable"), "{head}: {stdout}{stderr}");
        let (code, stderr) = fix(root, &["-p", "no_latest_tag", "."]);
        assert_eq!(code, 0, "{head}: {stderr}");
        assert_eq!(text(root, "list.yaml"), list.replace("a:latest", "a:stable"));
    }
}

#[test]
fn a_service_is_never_pointed_at_another_folder() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let dangling = service("cache", "{app: cache, part: reader}");
    write(root, "charts/a/service.yaml", &dangling);
    write(root, "charts/b/cache.yaml", &deployment("cache", "{app: cache}", "cache:1"));
    for context in [&[][..], &["--context", "input"], &["--context", "folder"]] {
        let args = [&["-p", "dangling_service"], context, &["."]].concat();
        let (code, stderr) = fix(root, &args);
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains("needs review"), "{stderr}");
        assert_eq!(text(root, "charts/a/service.yaml"), dangling);
    }
    // Beside it, the workload is one that it can mean.
    write(root, "charts/a/cache.yaml", &deployment("cache", "{app: cache}", "cache:1"));
    let (code, stderr) = fix(root, &["-p", "dangling_service", "."]);
    assert_eq!(code, 0, "{stderr}");
    assert!(text(root, "charts/a/service.yaml").contains("selector: {app: cache}"));
}

#[test]
fn the_context_says_where_neighbours_stand() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "services/mail.yaml", &service("mail", "{app: mail}"));
    write(root, "workloads/mail.yaml", &deployment("mail", "{app: mail}", "mail:1"));
    let found = |context: &[&str]| {
        let args = [&["-p", "dangling_service"], context, &["."]].concat();
        let (code, stdout, _) = detect(root, &args);
        (code, stdout.lines().count())
    };
    assert_eq!(found(&[]), (0, 0));
    assert_eq!(found(&["--context", "input"]), (0, 0));
    assert_eq!(found(&["--context", "folder"]), (1, 1));
    assert_eq!(found(&["--set", "context=folder"]), (1, 1));
    assert_eq!(found(&["--set", "context=folder", "--context", "input"]), (0, 0), "the flag beats the key");
}

#[test]
fn an_agent_of_a_node_is_not_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let agent = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: probe, namespace: monitoring}\nspec:\n  selector: \
                 {matchLabels: {app: probe}}\n  template:\n    metadata: {labels: {app: probe}}\n    spec:\n      hostPID: true\n      \
                 containers:\n      - name: probe\n        image: registry.example.com/probe:1.8\n        securityContext: {privileged: true}\n        \
                 volumeMounts: [{name: proc, mountPath: /host/proc, readOnly: true}]\n      volumes:\n      - {name: proc, hostPath: {path: /proc}}\n";
    write(folder.path(), "probe.yaml", agent);
    let policies = "no_privileged,no_host_path,no_host_pid,drop_cap_sys_admin,run_as_non_root,run_as_user";
    let (code, stderr) = fix(folder.path(), &["-p", policies, "."]);
    assert_eq!(code, 1, "{stderr}");
    // One line a reason, with every policy that it is about.
    assert_eq!(stderr.matches("is an agent of its node").count(), 4, "{stderr}");
    assert!(policies.split(',').all(|policy| stderr.contains(policy)), "{stderr}");
    assert_eq!(text(folder.path(), "probe.yaml"), agent);
}

#[test]
fn documents_with_placeholders_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let placeholders =
        ["'{{ .Values.name }}'", "'web-${ENV}'", "$(NAME)", "'%%NAME%%'", "<name>", "__NAME__"];
    for (at, name) in placeholders.iter().enumerate() {
        write(root, &format!("{at}.yaml"), &deployment(name, "{app: web}", "web:1"));
    }
    write(root, "raw.yaml", "kind: Pod\nmetadata: {{ include \"x\" . }}\n");
    write(root, "whole.yaml", &deployment("web", "{app: web}", "web:1"));
    let (_, _, stderr) = detect(root, &["."]);
    // Outside the templates of a chart it is as broken as another document.
    assert!(stderr.contains(", 6 documents with unrendered placeholders, 1 unreadable"), "{stderr}");
    let (_, _, stderr) = detect(root, &["whole.yaml"]);
    assert!(!stderr.contains("placeholders"), "{stderr}");
}

#[test]
fn an_amount_that_is_no_quantity_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let pod = |memory: &str| {
        let amounts = format!("{{cpu: 1, memory: {memory}}}");
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n  - name: a\n    image: a:1\n    \
             resources: {{requests: {amounts}, limits: {amounts}}}\n"
        )
    };
    for (memory, found) in [("64mi", 2), ("'{{ .x }}'", 2), ("1gb", 2), ("64Mi", 0)] {
        write(folder.path(), "a.yaml", &pod(memory));
        let (code, stdout, stderr) = detect(folder.path(), &["-p", "set_requests_limits", "a.yaml"]);
        assert_eq!(
            (code, stdout.lines().count()),
            (i32::from(found > 0), found),
            "{memory}: {stdout}{stderr}"
        );
        let (code, stderr) = fix(folder.path(), &["-p", "set_requests_limits", "a.yaml"]);
        assert_eq!(code, i32::from(found > 0), "{memory}: {stderr}");
        assert_eq!(text(folder.path(), "a.yaml"), pod(memory));
    }
}

#[test]
fn the_level_restricted_is_reached_in_every_container() {
    let folder = tempfile::tempdir().unwrap();
    let spec = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  selector: {matchLabels: {app: a}}\n  template:\n    \
                metadata: {labels: {app: a}}\n    spec:\n      securityContext: {runAsUser: 1000}\n      initContainers:\n      - name: i\n        \
                image: i:1\n        securityContext: {capabilities: {add: [CHOWN, NET_BIND_SERVICE]}}\n      containers:\n      - name: c\n        \
                image: c:1\n";
    write(folder.path(), "a.yaml", spec);
    let policies = ["-p", "drop_capabilities,run_as_non_root"];
    let level = ["--set", "rules.level=restricted"];
    let (code, stderr) = fix(folder.path(), &[&policies[..], &level, &["a.yaml"]].concat());
    assert_eq!(code, 0, "{stderr}");
    let repaired = text(folder.path(), "a.yaml");
    assert_eq!(repaired.matches("runAsNonRoot: true").count(), 2, "{repaired}");
    assert_eq!(repaired.matches("ALL").count(), 2, "{repaired}");
    assert!(repaired.contains("NET_BIND_SERVICE") && !repaired.contains("CHOWN"), "{repaired}");
    assert_eq!(detect(folder.path(), &[&policies[..], &level, &["a.yaml"]].concat()).0, 0, "nothing is left");
}
