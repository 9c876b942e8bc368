//! `worker detect --profile pss-baseline|pss-restricted|rbac`: what the admission of the Pod Security Standards would refuse,
//! control by control, and what roles grant.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::cli::{root, run, worker, write};

/// The policies of the findings in a file or folder.
fn found(profile: &str, path: &Path) -> BTreeSet<String> {
    let path = path.to_str().unwrap();
    let (code, stdout, stderr) =
        run(worker().args(["detect", "--profile", profile, "--output", "json", path]));
    assert!(code < 2, "{stderr}");
    let findings: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    findings.iter().map(|finding| finding["policy"].as_str().unwrap().to_owned()).collect()
}

/// What *Restricted* asks of a container.
const HELD: &str = "runAsNonRoot: true, allowPrivilegeEscalation: false, seccompProfile: {type: RuntimeDefault}, capabilities: {drop: [ALL]}";

/// A pod that *Restricted* admits, with `pod` in its spec and `container` in its container.
fn pod(annotations: &str, pod: &str, container: &str, context: &str) -> String {
    let context = if context.is_empty() { HELD } else { context };
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a, annotations: {{{annotations}}}}}\nspec: {{{pod} containers: [{{name: a, image: 'a:1', {container} securityContext: {{{context}}}}}]}}\n"
    )
}

/// A document, and what the profiles *baseline* and *restricted* find in it.
type Case = (String, (Vec<&'static str>, Vec<&'static str>));

#[test]
#[expect(clippy::too_many_lines, reason = "a table: a row for each control")]
fn each_control_refuses_its_own() {
    let in_pod = |text: &str| pod("", text, "", "");
    let in_container = |text: &str| pod("", "", text, "");
    let context = |text: &str| pod("", "", "", &format!("{HELD}, {text}"));
    let both = |id| (vec![id], vec![id]);
    let cases: Vec<Case> = vec![
        (in_pod(""), (vec![], vec![])),
        (context("privileged: true"), both("no_privileged")),
        (in_pod("hostNetwork: true,"), both("no_host_network")),
        (in_pod("hostPID: true,"), both("no_host_pid")),
        (in_pod("hostIPC: true,"), both("no_host_ipc")),
        (in_pod("volumes: [{name: a, hostPath: {path: /x}}],"), both("no_host_path")),
        (in_container("ports: [{containerPort: 1, hostPort: 1}],"), both("no_host_ports")),
        (in_container("ports: [{containerPort: 1, hostPort: 0}],"), (vec![], vec![])),
        (context("windowsOptions: {hostProcess: true}"), both("no_host_process")),
        (context("seLinuxOptions: {type: spc_t}"), both("baseline_selinux")),
        (context("appArmorProfile: {type: Unconfined}"), both("baseline_app_armor")),
        (
            pod("container.apparmor.security.beta.kubernetes.io/a: unconfined", "", "", ""),
            both("baseline_app_armor"),
        ),
        (
            in_pod("securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]},"),
            both("baseline_sysctls"),
        ),
        (in_container("livenessProbe: {tcpSocket: {host: h, port: 1}},"), both("no_probe_host")),
        (in_pod("securityContext: {seccompProfile: {type: Unconfined}},"), both("baseline_seccomp")),
        (
            context("procMount: Unmasked"),
            (vec!["baseline_proc_mount"], vec!["baseline_proc_mount", "unsafe_proc_mount"]),
        ),
        (
            pod(
                "",
                "hostUsers: false,",
                "",
                "allowPrivilegeEscalation: false, procMount: Unmasked, seccompProfile: {type: RuntimeDefault}, capabilities: {drop: [ALL]}",
            ),
            (vec![], vec!["unsafe_proc_mount"]),
        ),
        (in_pod("volumes: [{name: a, nfs: {server: s, path: /}}],"), (vec![], vec!["restricted_volumes"])),
        (context("runAsUser: 0"), (vec![], vec!["no_root_user"])),
        (
            pod(
                "",
                "",
                "",
                "allowPrivilegeEscalation: false, runAsUser: 5, seccompProfile: {type: RuntimeDefault}, capabilities: {drop: [ALL]}",
            ),
            (vec![], vec!["restricted_non_root"]),
        ),
        (
            pod(
                "",
                "",
                "",
                "runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}",
            ),
            (vec![], vec!["no_allow_privilege_escalation"]),
        ),
        (
            pod(
                "",
                "",
                "",
                "allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: {drop: [ALL]}",
            ),
            (vec![], vec!["enforce_seccomp"]),
        ),
        (
            pod(
                "",
                "",
                "",
                "allowPrivilegeEscalation: false, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}, capabilities: {drop: [ALL], add: [CHOWN]}",
            ),
            (vec![], vec!["restricted_capabilities"]),
        ),
        (
            pod(
                "",
                "",
                "",
                "allowPrivilegeEscalation: false, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}, capabilities: {drop: [ALL], add: [SYS_TIME]}",
            ),
            (vec!["baseline_capabilities"], vec!["restricted_capabilities"]),
        ),
        (pod("", "os: {name: windows},", "", "runAsNonRoot: true"), (vec![], vec![])),
        (
            pod("", "nodeSelector: {kubernetes.io/os: windows},", "", "runAsNonRoot: true"),
            (vec![], vec!["windows_os_name"]),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (text, (baseline, restricted)) in cases {
        write(folder.path(), "pod.yaml", &text);
        let path = folder.path().join("pod.yaml");
        let owned = |ids: Vec<&str>| ids.into_iter().map(str::to_owned).collect::<BTreeSet<String>>();
        assert_eq!(found("pss-baseline", &path), owned(baseline), "baseline\n{text}");
        assert_eq!(found("pss-restricted", &path), owned(restricted), "restricted\n{text}");
    }
}

#[test]
fn roles_are_judged_by_their_own_profile() {
    let fixtures = root().join("data/fixtures/policies");
    for id in ["escalation_verbs", "access_to_exec", "access_to_create_volumes", "anonymous_binding"] {
        let path = fixtures.join(id).join("bad.yaml");
        assert_eq!(found("rbac", &path), BTreeSet::from([id.to_owned()]));
        assert!(found("pss-restricted", &path).is_empty(), "{id}: no pod");
    }
    assert!(found("rbac", &fixtures.join("no_privileged/bad.yaml")).is_empty(), "no role");
}
