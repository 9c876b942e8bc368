//! `worker verify` of repairs that somebody made, and of patches that have no record.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::{run, worker, write};

/// Violates three policies.
const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: disk, namespace: ops}\nspec:\n  containers:\n  - name: disk\n    \
                   image: registry.example.com/disk:latest # moves\n    securityContext: {privileged: true}\n";

fn verify(folder: &Path, args: &[&str]) -> (i32, String, String) {
    run(worker().current_dir(folder).arg("verify").args(args))
}

#[test]
fn a_hand_made_repair_is_judged_by_what_it_clears() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "before.yaml", POD);
    write(folder.path(), "after.yaml", &POD.replace("privileged: true", "privileged: false"));
    let (code, stdout, stderr) = verify(folder.path(), &["before.yaml", "after.yaml"]);
    assert_eq!((code, stderr.as_str()), (0, "1 accepted, 0 rejected\n"), "{stdout}");
    assert!(stdout.starts_with("before.yaml:1: Pod ops/disk: accepted\n  clears no_privileged"), "{stdout}");
    assert!(
        stdout.contains("apply passed, policy passed, safety passed, schema passed, rescan passed"),
        "{stdout}"
    );
    assert!(stdout.contains("not cleared, and not judged: no_latest_tag"), "{stdout}");

    // Named, it has to be cleared.
    let (code, stdout, _) = verify(folder.path(), &["-p", "latest-tag", "before.yaml", "after.yaml"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("rejected, by fault of the patch\n  judged for no_latest_tag"), "{stdout}");
    assert!(stdout.contains("policy FAILED"), "{stdout}");
}

/// What `worker detect` finds nothing of any more is cleared; what runs demand beyond that is said, and decides if asked for.
#[test]
fn the_detector_says_what_a_hand_made_repair_clears() {
    let folder = tempfile::tempdir().unwrap();
    let before = POD.replace("{privileged: true}", "{capabilities: {add: [NET_RAW]}}");
    write(folder.path(), "before.yaml", &before);
    write(folder.path(), "after.yaml", &before.replace("add: [NET_RAW]", "drop: [NET_RAW]"));
    let policy = ["-p", "drop_capabilities"];
    let (code, _, stderr) =
        run(worker().current_dir(folder.path()).arg("detect").args(policy).arg("after.yaml"));
    assert_eq!(code, 0, "{stderr}");
    let (code, stdout, stderr) = verify(folder.path(), &["before.yaml", "after.yaml"]);
    assert_eq!((code, stderr.as_str()), (0, "1 accepted, 0 rejected\n"), "{stdout}");
    assert!(stdout.contains("clears drop_capabilities"), "{stdout}");
    assert!(
        stdout.contains("(--gates strict): container \"disk\": allowPrivilegeEscalation must be false"),
        "{stdout}"
    );
    let strict = ["--gates", "strict", "-p", "drop_capabilities", "before.yaml", "after.yaml"];
    let (code, stdout, _) = verify(folder.path(), &strict);
    assert!(
        code == 1 && stdout.contains("policy: container \"disk\": capabilities.drop must include ALL"),
        "{stdout}"
    );
    // What is still found is not cleared.
    write(folder.path(), "half.yaml", &before.replace("add: [NET_RAW]", "drop: [NET_ADMIN]"));
    let (code, stdout, _) = verify(folder.path(), &["-p", "drop_capabilities", "before.yaml", "half.yaml"]);
    assert!(code == 1 && stdout.contains("policy FAILED"), "{stdout}");
}

#[test]
fn what_no_cleared_policy_needs_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "before.yaml", POD);
    let both = POD.replace("privileged: true", "privileged: false").replace("disk:latest", "disk:1.2");
    write(folder.path(), "both.yaml", &both);
    let (code, stdout, _) = verify(folder.path(), &["before.yaml", "both.yaml"]);
    assert_eq!(code, 0, "what one policy does not need the other does: {stdout}");
    assert!(stdout.contains("no_latest_tag") && stdout.contains("no_privileged"), "{stdout}");
    write(folder.path(), "more.yaml", &both.replace("spec:\n", "spec:\n  nodeName: mine\n"));
    let (code, stdout, _) = verify(folder.path(), &["before.yaml", "more.yaml", "--output", "json"]);
    assert_eq!(code, 1);
    let rows: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&rows[0]["accepted"], &rows[0]["fault"]), (&json!(false), &json!("patch")));
    assert_eq!(rows[0]["collateral"], json!(["added /spec/nodeName"]));
    assert_eq!(rows[0]["gates"]["safety"], "failed");
    assert_eq!(rows[0]["gates"]["policy"], "passed");

    // A change of an object that violates nothing.
    let good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n";
    write(folder.path(), "good.yaml", good);
    write(folder.path(), "worse.yaml", &good.replace("a: b", "a: c"));
    let (code, stdout, _) = verify(folder.path(), &["good.yaml", "worse.yaml"]);
    assert!(code == 1 && stdout.contains("not needed for any policy: changed /data/a"), "{stdout}");
    let (code, _, stderr) = verify(folder.path(), &["good.yaml", "good.yaml"]);
    assert!(code == 2 && stderr.contains("nothing differs"), "{stderr}");
    let (code, _, stderr) = verify(folder.path(), &["good.yaml"]);
    assert!(code == 2 && stderr.contains("before and after"), "{stderr}");
}

#[test]
fn objects_that_go_or_come_without_need_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let second = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    write(folder.path(), "before.yaml", &format!("{POD}{second}"));
    write(folder.path(), "after.yaml", &POD.replace("privileged: true", "privileged: false"));
    let (code, stdout, stderr) = verify(folder.path(), &["before.yaml", "after.yaml"]);
    assert_eq!((code, stderr.as_str()), (1, "1 accepted, 1 rejected\n"));
    assert!(stdout.contains("ConfigMap a: rejected\n  the repair takes the object away"), "{stdout}");
    let (code, stdout, _) = verify(folder.path(), &["after.yaml", "before.yaml"]);
    assert!(code == 1 && stdout.contains("nothing needs it"), "{stdout}");
}

#[test]
fn a_patch_alone_is_judged() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "pod.yaml", POD);
    let at = "/spec/containers/0/securityContext/privileged";
    write(folder.path(), "p.json", &json!([{"op": "replace", "path": at, "value": false}]).to_string());
    let (code, stdout, _) = verify(folder.path(), &["--patch", "p.json", "pod.yaml"]);
    assert!(code == 0 && stdout.contains("clears no_privileged"), "{stdout}");
    write(folder.path(), "p.json", &json!([{"op": "remove", "path": "/spec/nowhere"}]).to_string());
    let (code, stdout, _) = verify(folder.path(), &["--patch", "p.json", "pod.yaml"]);
    assert!(code == 1 && stdout.contains("apply FAILED") && stdout.contains("policy not run"), "{stdout}");
    for (text, said) in [
        ("[{\"op\": \"remove\"}]", "is not a JSON Patch"),
        ("{\"id\": \"001\"}", "--detections and --patches"),
    ] {
        write(folder.path(), "p.json", text);
        let (code, _, stderr) = verify(folder.path(), &["--patch", "p.json", "pod.yaml"]);
        assert!(code == 2 && stderr.contains(said), "{stderr}");
    }

    write(folder.path(), "two.yaml", &format!("{POD}---\n{}", POD.replace("disk", "net")));
    write(folder.path(), "p.json", &json!([{"op": "replace", "path": at, "value": false}]).to_string());
    let (code, _, stderr) = verify(folder.path(), &["--patch", "p.json", "two.yaml"]);
    assert!(code == 2 && stderr.contains("--object: Pod/disk, Pod/net"), "{stderr}");
    let (code, stdout, _) = verify(folder.path(), &["--patch", "p.json", "--object", "Pod/net", "two.yaml"]);
    assert!(code == 0 && stdout.starts_with("two.yaml:10: Pod ops/net: accepted"), "{stdout}");
}

#[test]
fn what_fix_writes_is_accepted_with_its_companions() {
    let folder = tempfile::tempdir().unwrap();
    let pod = POD.replace("spec:\n", "spec:\n  serviceAccountName: runner\n");
    for place in ["before", "after"] {
        write(folder.path(), &format!("{place}/pod.yaml"), &pod);
    }
    let fix = [
        "fix",
        "--unsafe",
        "--write",
        "after",
        "-p",
        "no_privileged,no_latest_tag,non_existent_service_account",
    ];
    assert_eq!(run(worker().current_dir(folder.path()).args(fix)).0, 0);
    let (code, stdout, stderr) = verify(folder.path(), &["before", "after"]);
    assert_eq!((code, stderr.as_str()), (0, "1 accepted, 0 rejected\n"), "{stdout}");
    assert!(stdout.contains("with after/pod.companions.yaml:1: ServiceAccount ops/runner"), "{stdout}");
    for policy in ["no_privileged", "no_latest_tag", "non_existent_service_account"] {
        assert!(stdout.contains(policy), "{stdout}");
    }
}

#[test]
fn a_patch_without_a_record_is_named_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "pod.yaml", POD);
    let worker = |args: &[&str]| run(worker().current_dir(folder.path()).args(args));
    let (_, detections, _) = worker(&["detect", "-p", "no_privileged", "--output", "detections", "pod.yaml"]);
    write(folder.path(), "d.json", &detections);
    let (_, patches, _) = worker(&["propose", "--detections", "d.json"]);
    let mut rows: Vec<Value> = serde_json::from_str(&patches).unwrap();
    rows.push(json!({"id": "zzz", "patch": []}));
    write(folder.path(), "p.json", &json!(rows).to_string());
    let args = ["verify", "--detections", "d.json", "--patches", "p.json"];
    let (code, stdout, stderr) = worker(&args);
    assert!(code == 2 && stderr.contains("p.json: no record has the id of 1 patch: zzz"), "{stderr}");
    let found: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    assert_eq!(found[0]["accepted"], true, "the others are judged");

    write(folder.path(), "p.json", r#"[{"patch": []}]"#);
    let (code, stdout, stderr) = worker(&args);
    assert!(code == 2 && stderr.contains("1 entry has no id"), "{stderr}");
    assert!(stderr.contains("1 rejected (1 had no patch)"), "{stderr}");
    let found: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    for gate in ["ok_policy", "ok_safety", "ok_schema", "ok_rescan"] {
        assert_eq!(found[0][gate], false, "{gate} did not run");
    }
    let (_, stdout, _) = worker(&[&args[..], &["--output", "text"]].concat());
    assert_eq!(stdout, "001  error  no_privileged\n    no patch for this record\n");
}
