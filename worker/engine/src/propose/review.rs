//! Repairs that a person must decide on because of what stands around the document: the node of its pods, the object that
//! exists in a cluster, the neighbours that depend on it.

use std::path::Path;

use domain::outcome::Caution;
use domain::patch::{Op, Patch};
use serde_json::Value;

use crate::document::Document;
use crate::k8s::{Container, View, dependants, immutable, node_agent};
use crate::verify::apply;

/// What a repair is beyond its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// It may be proposed, with these cautions.
    Fine(Vec<Caution>),
    /// A person must decide on it.
    NeedsReview(String),
}

/// Judges a repair of the rules by its surroundings.
pub(super) fn effect(view: &View<'_>, patch: &Patch, mut cautions: Vec<Caution>) -> Effect {
    if let Some(reason) = of_node_agent(view, &cautions) {
        return Effect::NeedsReview(reason);
    }
    if let Some(reason) = of_socket(view, patch) {
        return Effect::NeedsReview(reason);
    }
    // Most patches touch nothing that the rest looks at, and are not applied here.
    if !immutable::may_change(view, patch) && view.neighbours_here().next().is_none() {
        return Effect::Fine(cautions);
    }
    let patched = apply(view.value, patch).ok().and_then(|value| Document::from_value(value).ok());
    let Some(patched) = patched else { return Effect::Fine(cautions) };
    let after = View::of(&patched.value, view.identity, view.neighbours);
    let fixed = immutable::changed(view, &after);
    if let Some(field) = fixed.first().filter(|_| immutable::is_live(view)) {
        return Effect::NeedsReview(format!(
            "the object was read from a cluster, and the API server refuses to change {field} of an existing {}: \
             repair the manifest that it is made of, then delete the object and create it anew",
            view.kind()
        ));
    }
    // A repair changes a selector only where no server accepts it: no object with it exists.
    if fixed.iter().any(|field| *field != "/spec/selector") {
        cautions.push(Caution::MustBeRecreated);
        cautions.sort_unstable();
    }
    match dependants::left_behind(view, &after).into_iter().next() {
        Some(lost) => Effect::NeedsReview(format!("{lost}: change both together")),
        None => Effect::Fine(cautions),
    }
}

/// Why a repair would take from an agent of a node what it is for.
fn of_node_agent(view: &View<'_>, cautions: &[Caution]) -> Option<String> {
    let (caution, taken) = cautions.iter().find_map(|caution| Some((*caution, taken(*caution)?)))?;
    let why = node_agent::purpose(view)?;
    let allow = if caution == Caution::LosesHostAccess {
        ", or allow the paths in rules.host_path_allowlist"
    } else {
        ""
    };
    Some(format!(
        "the {} is an agent of its node, because it {why}, and may do nothing without {taken}; where it needs that, except \
         the finding with an annotation of the object{allow}",
        view.kind()
    ))
}

/// Why a repair would take the socket from a program that speaks to a service of its node, such as the container runtime: an
/// empty directory in its place is nothing that the program can work with.
fn of_socket(view: &View<'_>, patch: &Patch) -> Option<String> {
    patch.0.iter().find_map(|op| {
        let Op::Remove { path } = op else { return None };
        let (volume, _) = path.split_last().filter(|(_, key)| key == "hostPath")?;
        let host = path.resolve(view.value)?;
        let socket = host.get("path")?.as_str()?.trim();
        let is_socket = host.get("type").and_then(Value::as_str) == Some("Socket");
        let name = volume.resolve(view.value)?.get("name")?.as_str()?;
        let mounts = |container: &Container<'_>| {
            container
                .maps("volumeMounts")
                .any(|(_, mount)| mount.get("name").and_then(Value::as_str) == Some(name))
        };
        let container = view.containers.iter().find(|container| mounts(container))?;
        let is_named = Path::new(socket).extension().is_some_and(|end| end == "sock");
        (is_socket || is_named).then(|| {
            format!(
                "container {:?} speaks to a service of its node by the socket {socket:?}, and does nothing without it: give \
                 it another way to that service, or allow the path in rules.host_path_allowlist",
                container.name
            )
        })
    })
}

/// What a repair takes away that an agent of a node needs.
const fn taken(caution: Caution) -> Option<&'static str> {
    match caution {
        Caution::LosesHostAccess => Some("the files of its node"),
        Caution::LosesHostNamespace => Some("the namespaces of its node"),
        Caution::LosesPrivilege => Some("privileged mode"),
        Caution::LosesCapability => Some("the capabilities that it asks for"),
        Caution::LosesHostPort => Some("its ports on the node"),
        Caution::ImageUserUnknown | Caution::UserGuessed => {
            Some("the user that the files of its node belong to")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use domain::config::RulesConfig;
    use domain::policy::{PolicyId, PolicyName};
    use domain::record::Neighbours;

    use super::super::{Decision, rules};
    use super::*;
    use crate::k8s::neighbours::{Index, offer};
    use crate::testing::document;

    fn decide(document: &Document, neighbours: &Neighbours, policy: PolicyId) -> Decision {
        let view = View::new(document, neighbours);
        rules::propose(&view, &PolicyName::Known(policy), &RulesConfig::default())
    }

    fn review(document: &Document, neighbours: &Neighbours, policy: PolicyId) -> String {
        match decide(document, neighbours, policy) {
            Decision::NeedsReview { reason } => reason,
            other => panic!("{policy}: {other:?}"),
        }
    }

    fn cautions(document: &Document, policy: PolicyId) -> Vec<Caution> {
        match decide(document, &Neighbours::Unknown, policy) {
            Decision::Repair(proposal) => proposal.cautions,
            other => panic!("{policy}: {other:?}"),
        }
    }

    const COLLECTOR: &str = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: shipper, namespace: logging}\nspec:\n  selector: {matchLabels: {app: shipper}}\n  template:\n    metadata: {labels: {app: shipper}}\n    spec:\n      hostNetwork: true\n      hostPID: true\n      hostIPC: true\n      containers:\n      - name: shipper\n        image: registry.example.com/shipper\n        ports: [{containerPort: 80, hostPort: 80}]\n        securityContext: {privileged: true, capabilities: {add: [SYS_ADMIN]}}\n        volumeMounts: [{name: logs, mountPath: /logs}]\n      volumes: [{name: logs, hostPath: {path: /var/log}}]\n";

    #[test]
    fn an_agent_of_a_node_is_not_emptied() {
        let agent = document(COLLECTOR);
        let policies = [
            PolicyId::NoPrivileged,
            PolicyId::DropCapabilities,
            PolicyId::DropCapSysAdmin,
            PolicyId::NoAllowPrivilegeEscalation,
            PolicyId::RunAsNonRoot,
            PolicyId::RunAsUser,
            PolicyId::NoHostPath,
            PolicyId::NoHostNetwork,
            PolicyId::NoHostPid,
            PolicyId::NoHostIpc,
        ];
        for policy in policies {
            let reason = review(&agent, &Neighbours::Unknown, policy);
            assert!(reason.contains("agent of its node, because it works on /var/log"), "{policy}: {reason}");
            let application = document(&COLLECTOR.replace("DaemonSet", "Deployment"));
            assert!(
                matches!(decide(&application, &Neighbours::Unknown, policy), Decision::Repair(_)),
                "{policy}"
            );
        }
        // What takes nothing from it is repaired.
        for policy in [PolicyId::NoLatestTag, PolicyId::ReadOnlyRootFs, PolicyId::SetRequestsLimits] {
            let decision = decide(&agent, &Neighbours::Unknown, policy);
            assert!(matches!(decision, Decision::Repair(_)), "{policy}: {decision:?}");
        }
    }

    #[test]
    fn a_socket_of_the_node_is_not_emptied() {
        let pod = |kind: &str, mount: &str, host: &str| {
            let pod = format!(
                "{{containers: [{{name: a, image: 'a:1', volumeMounts: [{{name: {mount}, mountPath: /s}}]}}], volumes: [{{name: v, hostPath: {host}}}]}}"
            );
            let spec = if kind == "Pod" { pod } else { format!("{{template: {{spec: {pod}}}}}") };
            document(&format!("kind: {kind}\nmetadata: {{name: a}}\nspec: {spec}"))
        };
        for kind in ["Pod", "Deployment", "StatefulSet"] {
            for host in [
                "{path: /var/run/docker.sock}",
                "{path: /run/containerd/containerd.sock, type: Socket}",
                "{path: /run/k3s/containerd/containerd.sock}",
                "{path: /var/run/crio/crio.sock/}",
                "{path: /run/podman/podman.sock}",
                "{path: /run/agent/api, type: Socket}",
            ] {
                let reason = review(&pod(kind, "v", host), &Neighbours::Unknown, PolicyId::NoHostPath);
                assert!(reason.contains("speaks to a service of its node"), "{kind} {host}: {reason}");
            }
            // Nothing is lost by a socket that no container mounts, or by a folder.
            for (mount, host) in [
                ("w", "{path: /var/run/docker.sock}"),
                ("v", "{path: /var/lib/x}"),
                ("v", "{path: /x.sock.d}"),
            ] {
                let decision = decide(&pod(kind, mount, host), &Neighbours::Unknown, PolicyId::NoHostPath);
                assert!(matches!(decision, Decision::Repair(_)), "{kind} {host}: {decision:?}");
            }
        }
    }

    #[test]
    fn a_change_that_an_existing_object_refuses_is_said() {
        let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: a, EXTRA}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}";
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, EXTRA}\nspec: {containers: [{name: a, image: a}]}";
        let (file, live) = ("labels: {a: b}", "uid: 4f53cda1-8c2b-aa0c-0354-bb5f9a3ecbe5");
        for policy in [PolicyId::ReadOnlyRootFs, PolicyId::SetRequestsLimits, PolicyId::RunAsUser] {
            for text in [job, pod] {
                let said = cautions(&document(&text.replace("EXTRA", file)), policy);
                assert!(said.contains(&Caution::MustBeRecreated), "{policy}: {said:?}");
                let reason = review(&document(&text.replace("EXTRA", live)), &Neighbours::Unknown, policy);
                assert!(reason.contains("the API server refuses to change /spec"), "{policy}: {reason}");
            }
            let deployment =
                COLLECTOR.replace("DaemonSet", "Deployment").replace("name: shipper, n", "uid: x, n");
            assert!(matches!(
                decide(&document(&deployment), &Neighbours::Unknown, policy),
                Decision::Repair(_)
            ));
        }
        // An image, and when a Job is removed, may change.
        assert!(
            !cautions(&document(&pod.replace("EXTRA", live)), PolicyId::NoLatestTag)
                .contains(&Caution::MustBeRecreated)
        );
        assert!(
            !cautions(&document(&job.replace("EXTRA", live)), PolicyId::JobTtlAfterFinished)
                .contains(&Caution::MustBeRecreated)
        );
    }

    #[test]
    fn a_neighbour_that_would_lose_the_pods_is_named() {
        let workload = document(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: m}\nspec: {selector: {matchLabels: {app: m, tier: web}}, template: {metadata: {labels: {app: m, tier: front}}, spec: {containers: [{name: a, image: 'a:1'}]}}}",
        );
        let selecting = [
            "kind: Service\nmetadata: {name: s}\nspec: {selector: {app: m, tier: front}, ports: [{port: 80}]}",
            "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: s}\nspec: {selector: {matchLabels: {tier: front}}}",
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: s}\nspec: {podSelector: {matchLabels: {tier: front}}}",
        ];
        for text in selecting {
            let neighbours = Index::new(offer(&document(text))).related(&workload);
            let reason = review(&workload, &neighbours, PolicyId::MismatchingSelector);
            assert!(reason.contains(" s selects these pods by") && reason.contains("tier=front"), "{reason}");
        }
        let wide = "kind: Service\nmetadata: {name: s}\nspec: {selector: {app: m}, ports: [{port: 80}]}";
        let neighbours = Index::new(offer(&document(wide))).related(&workload);
        let decision = decide(&workload, &neighbours, PolicyId::MismatchingSelector);
        assert!(matches!(decision, Decision::Repair(_)), "{decision:?}");
    }
}
