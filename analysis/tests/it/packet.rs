//! The packet for review: what a person needs, bounded, masked, in its own folder alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::ids::DocumentHash;
use domain::outcome::{Caution, Outcome, Proposal};
use domain::patch::{Op, Patch};
use domain::pointer::Pointer;
use domain::record::{Neighbours, Record, SourceDocument};
use domain::run::RunState;
use results::corpus_copy::CorpusWriter;
use results::layout::CORPUS_FILE;
use serde_json::{Value, json};

use crate::support::{accepted, analysis, failure, run_folder, stdout, ten};

const DOCUMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 3\n  template:\n    spec:\n      \
                        containers:\n      - name: c\n        image: nginx:latest\n        env:\n        - {name: DB_PASSWORD, value: hunter2-secret}\n";

/// An accepted repair of [`DOCUMENT`].
fn repair(position: u64, policy: &str, op: Op) -> Outcome {
    let mut row = accepted(position, policy, 1);
    "Deployment".clone_into(&mut row.kind);
    row.document = Some(DocumentHash::of(DOCUMENT.as_bytes()));
    "apps/web.yaml".clone_into(&mut row.manifest_path);
    row.patched_yaml = None;
    let cautions = vec![Caution::TagUnverified];
    row.proposal = Some(Arc::new(Proposal { patch: Patch(vec![op]), cautions, ..Proposal::default() }));
    row
}

fn path(keys: &[&str]) -> Pointer {
    Pointer::of(keys.iter().copied())
}

/// A run of two repairs of one document, one of a `DaemonSet` and one of a path that leaves its folder.
fn run(dir: &Path) -> PathBuf {
    let image = path(&["spec", "template", "spec", "containers", "0", "image"]);
    let env = path(&["spec", "template", "spec", "containers", "0", "env"]);
    let mut daemons =
        repair(2, "no_latest_tag", Op::Replace { path: image.clone(), value: json!("nginx:1") });
    "DaemonSet".clone_into(&mut daemons.kind);
    daemons.document = Some(DocumentHash::of(b"another"));
    let mut outside =
        repair(3, "no_latest_tag", Op::Replace { path: image.clone(), value: json!("nginx:1") });
    "CronJob".clone_into(&mut outside.kind);
    outside.document = Some(DocumentHash::of(b"a third"));
    "../../etc/passwd\n\u{1b}[31m".clone_into(&mut outside.manifest_path);
    let rows = [
        repair(0, "no_latest_tag", Op::Replace { path: image, value: json!("nginx:stable") }),
        repair(1, "env_var_secret", Op::Remove { path: env }),
        daemons,
        outside,
    ];
    let folder = run_folder(dir, "r1", &[&rows], RunState::Finished);
    let mut corpus = CorpusWriter::create(&folder.join(CORPUS_FILE)).unwrap();
    for row in &rows {
        let document = SourceDocument::new(DOCUMENT.to_owned(), Neighbours::Unknown);
        let record = Record {
            id: row.record_id.clone(),
            position: row.position,
            manifest_path: "apps/web.yaml".to_owned(),
            document: document.hash,
            raw_policy_id: row.raw_policy_id.clone(),
            violation_text: String::new(),
            problem: None,
        };
        corpus.push(record, &document).unwrap();
    }
    corpus.finish().unwrap();
    folder
}

fn packet(run: &Path, out: &Path, more: &[&str]) -> Value {
    let mut args = vec!["packet", "--out", out.to_str().unwrap(), run.to_str().unwrap()];
    args.extend(more);
    stdout(&args);
    serde_json::from_str(&std::fs::read_to_string(out.join("packet.json")).unwrap()).unwrap()
}

#[test]
fn documents_come_by_blast_radius_with_proven_reverts() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    let out = dir.path().join("packet");
    let value = packet(&run, &out, &["--window", "15m"]);
    let units = value["packet"]["units"].as_array().unwrap();
    let radii: Vec<&str> = units.iter().map(|unit| unit["radius"].as_str().unwrap()).collect();
    assert_eq!(radii, ["job", "workload", "nodes"]);
    let web = &units[1];
    assert_eq!((web["repairs"].as_array().unwrap().len(), &web["replaces_pods"]), (2, &json!(true)));
    let windows = value["packet"]["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 3);
    let document: Value = serde_saphyr::from_str(DOCUMENT).unwrap();
    let repair = &web["repairs"][0];
    let mut patched = document.clone();
    for ops in [&repair["patch"], &repair["revert"]["proven"]] {
        json_patch::patch(&mut patched, &serde_json::from_value::<json_patch::Patch>(ops.clone()).unwrap())
            .unwrap();
    }
    assert_eq!(patched, document);
    assert_eq!(repair["cautions"][0]["caution"], "tag_unverified");
    assert_eq!(repair["verdicts"][0], json!(["apply", true]));
    let page = std::fs::read_to_string(out.join("repairs/0002.md")).unwrap();
    assert!(
        page.contains("-        image: nginx:latest") || page.contains("-      - image: nginx:latest"),
        "{page}"
    );
    assert!(page.contains("### Revert"), "{page}");
}

#[test]
fn secrets_are_masked_and_paths_do_not_leave() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    let out = dir.path().join("packet");
    let value = packet(&run, &out, &[]);
    let mut files = 0;
    for folder in [out.clone(), out.join("repairs")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(!text.contains("hunter2"), "{}", path.display());
                assert!(!text.contains('\u{1b}'), "{}", path.display());
                files += 1;
            }
        }
    }
    assert_eq!(files, 6, "three of the packet and one for each document");
    // The names of what is secret stay.
    let page = std::fs::read_to_string(out.join("repairs/0002.md")).unwrap();
    assert!(page.contains("DB_PASSWORD") && page.contains("secrets are masked here"), "{page}");
    let commit = &value["plan"]["branches"][0]["commits"][0];
    assert_eq!(commit["is_inside"], false);
    assert!(!commit["file"].as_str().unwrap().contains('\n'));
    let plan = std::fs::read_to_string(out.join("plan.txt")).unwrap();
    assert!(
        plan.contains("branch k8s-auto-fix/r1/window-001-job") && plan.contains("nothing was pushed"),
        "{plan}"
    );
    assert!(plan.contains("change apps/web.yaml"), "{plan}");
    let above: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(above.len(), 2, "{above:?}");
}

#[test]
fn a_packet_is_bounded_and_says_what_it_leaves_out() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    let out = dir.path().join("packet");
    packet(&run, &out, &[]);
    let value = packet(&run, &out, &["--most", "1"]);
    assert_eq!(
        (value["packet"]["left_out"].as_u64(), value["packet"]["documents"].as_u64()),
        (Some(2), Some(3))
    );
    assert_eq!(
        std::fs::read_dir(out.join("repairs")).unwrap().count(),
        1,
        "pages of the earlier packet are gone"
    );
    assert!(std::fs::read_to_string(out.join("packet.md")).unwrap().contains("2 documents are left out"));
}

#[test]
fn other_folders_are_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    let run = run.to_str().unwrap();
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("notes.md"), "mine").unwrap();
    let text = failure(&["packet", "--out", other.to_str().unwrap(), run]);
    assert!(text.contains("notes.md, which does not belong to a packet") && text.contains("hint:"), "{text}");
    let linked = dir.path().join("linked");
    std::fs::create_dir(&linked).unwrap();
    std::os::unix::fs::symlink(&other, linked.join("repairs")).unwrap();
    let text = failure(&["packet", "--out", linked.to_str().unwrap(), run]);
    assert!(text.contains("is a link"), "{text}");
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 1);
    // A link of a file's name is replaced, and not followed.
    let third = dir.path().join("third");
    std::fs::create_dir(&third).unwrap();
    std::os::unix::fs::symlink(other.join("notes.md"), third.join("plan.txt")).unwrap();
    stdout(&["packet", "--out", third.to_str().unwrap(), run]);
    assert_eq!(std::fs::read_to_string(other.join("notes.md")).unwrap(), "mine");
    assert!(!std::fs::symlink_metadata(third.join("plan.txt")).unwrap().is_symlink());
}

#[test]
fn a_run_without_accepted_repairs_has_no_packet() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<Outcome> = ten().into_iter().skip(4).collect();
    let run = run_folder(dir.path(), "none", &[&rows], RunState::Finished);
    let out = dir.path().join("packet");
    let text = failure(&["packet", "--out", out.to_str().unwrap(), run.to_str().unwrap()]);
    assert!(text.contains("accepted no repair"), "{text}");
    assert!(!out.exists());
    // Without a copy of the corpus there is no effect and no revert, which is said.
    let run = run_folder(dir.path(), "bare", &[&ten()], RunState::Finished);
    analysis(&["packet", "--out", out.to_str().unwrap(), run.to_str().unwrap()]).assert().success();
    let page = std::fs::read_to_string(out.join("repairs/0001.md")).unwrap();
    assert!(page.contains("None: the run has no copy of the document"), "{page}");
}
