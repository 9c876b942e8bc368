//! A real control plane, where its programs are on this machine (`scripts/control-plane`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use api_server::control_plane::{Options, find};
use api_server::{ApiServer, ConnectError, Limits, Source, Unreachable};
use domain::api_server::ServerClass;
use domain::testing::skipped_optional;

use crate::fake::pod;

/// The version of the recorded verdicts.
const VERSION: &str = "1.37";

/// A control plane of `VERSION`; `None`: the test is left out.
#[track_caller]
pub(crate) fn source() -> Option<Source> {
    if find(Some(VERSION)).is_err() {
        skipped_optional("no control plane (scripts/control-plane)");
        return None;
    }
    let supervisor = Some(PathBuf::from(env!("CARGO_BIN_EXE_control-plane")));
    Some(Source::ControlPlane(Options { version: Some(VERSION.to_owned()), supervisor }))
}

/// The processes whose command line names `folder`.
pub(crate) fn processes(folder: &Path) -> Vec<(i32, String)> {
    let folder = folder.display().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let found = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(&folder).then_some((pid, line))
    });
    found.collect()
}

const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  names: {kind: Widget, plural: widgets}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {size: {type: integer, minimum: 1}}}}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_judges_is_prepared_and_leaves_nothing() {
    let Some(source) = source() else { return };
    let mut server = ApiServer::connect(&source, Limits::default()).await.unwrap();
    assert!(server.version().starts_with("v1.37."), "{}", server.version());
    let folder = server.kubeconfig().await.unwrap().parent().unwrap().to_owned();
    assert_eq!(processes(&folder).len(), 2, "{:?}", processes(&folder));
    let class = async |server: &ApiServer, text: &str| server.judge(text).await.unwrap().class;

    let complete = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: made-for-it}\nspec: {containers: [{name: a, image: a}]}\n";
    assert_eq!(class(&server, complete).await, ServerClass::Accepted);
    let found = server.judge(&pod("a")).await.unwrap();
    assert_eq!(found.errors(), ["spec.containers: Required value"]);
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: twice}\n";
    assert_eq!(class(&server, namespace).await, class(&server, namespace).await);
    assert_eq!(class(&server, &complete.replace("made-for-it", "Not_Valid")).await, ServerClass::Namespace);
    assert_eq!(
        class(&server, &complete.replace("kind: Pod", "kind: Pod\nkind: Pod")).await,
        ServerClass::StrictDecoding
    );

    let widget = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\nspec: {size: 0}\n";
    assert_eq!(class(&server, widget).await, ServerClass::UnknownKind);
    let flags = server.flags().to_owned();
    let refused = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: bad}\nspec: {}\n";
    let prepared = server.prepare([DEFINITION, refused, complete]).await.unwrap();
    assert_eq!((prepared.fixtures, prepared.definitions, prepared.refused.len()), (7, 1, 1), "{prepared:?}");
    assert_ne!(server.flags(), flags);
    let found = server.judge(widget).await.unwrap();
    assert_eq!(found.class, ServerClass::Invalid, "{found:?}");

    server.stop().await;
    assert_eq!(processes(&folder), []);
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_dies_is_started_again() {
    let Some(source) = source() else { return };
    let mut server = ApiServer::connect(&source, Limits::default()).await.unwrap();
    server.prepare([DEFINITION]).await.unwrap();
    let widget = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\nspec: {size: 1}\n";
    let flags = server.flags().to_owned();
    for program in ["kube-apiserver", "etcd"] {
        let folder = server.kubeconfig().await.unwrap().parent().unwrap().to_owned();
        let (pid, _) =
            processes(&folder).into_iter().find(|(_, line)| line.contains(&format!("/{program} "))).unwrap();
        kill(pid);
        let asked: Vec<String> = (0..20).map(|number| pod(&format!("p{number}"))).collect();
        let found = futures::future::join_all(asked.iter().map(|text| server.judge(text))).await;
        assert!(
            found.iter().all(|found| found.as_ref().is_ok_and(|found| found.class == ServerClass::Invalid)),
            "{found:?}"
        );
        assert_eq!(server.judge(widget).await.unwrap().class, ServerClass::Accepted, "prepared again");
        assert!(!folder.exists() && processes(&folder).is_empty());
    }
    assert_eq!(server.flags(), flags);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_not_be_started_again_gives_no_verdict() {
    let Some(source) = source() else { return };
    let limits = Limits { restarts: 0, ..Limits::default() };
    let server = ApiServer::connect(&source, limits).await.unwrap();
    let folder = server.kubeconfig().await.unwrap().parent().unwrap().to_owned();
    for (pid, _) in processes(&folder) {
        kill(pid);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let error = server.judge(&pod("a")).await.unwrap_err();
    assert!(matches!(error, Unreachable::Ended { .. }), "{error}");
}

#[tokio::test]
async fn programs_that_end_at_once_are_reported_with_their_words() {
    // Fake programs: what the server says last must reach the user.
    let root = tempfile::tempdir().unwrap();
    let cache = root.path().join("k8s-auto-fix/control-plane/1.2.3");
    std::fs::create_dir_all(&cache).unwrap();
    for (name, script) in
        [("etcd", "exec sleep 60"), ("kube-apiserver", "echo 'E: no such flag' >&2; exit 3")]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(cache.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(cache.join(name), std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_control-plane"))
        .arg("1.2")
        .env("XDG_CACHE_HOME", root.path())
        .env_remove("KUBEBUILDER_ASSETS")
        .env("TMPDIR", root.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        stderr.contains("kube-apiserver ended (exit code 3)") && stderr.contains("E: no such flag"),
        "{stderr}"
    );
    let left: Vec<_> =
        std::fs::read_dir(root.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["k8s-auto-fix"], "only the cache is left");
}

#[tokio::test]
async fn a_missing_control_plane_says_what_provides_it() {
    let options = Options { version: Some("1.0".to_owned()), supervisor: None };
    let error = ApiServer::connect(&Source::ControlPlane(options), Limits::default()).await.unwrap_err();
    let ConnectError::ControlPlane(error) = error else { panic!("{error}") };
    assert!(error.to_string().contains("`scripts/control-plane 1.0`"), "{error}");
}

/// SIGKILL.
pub(crate) fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
