//! Manifests of every kind the policies know, each field in place or of a wrong type, names shared and names missing.

use std::collections::BTreeMap;

use domain::record::{Neighbour, Neighbours};
use serde_json::{Value, json};

use super::dice::{Dice, Make};

const NAMES: [&str; 5] = ["web", "db", "app", "ssh", "web"];
const KINDS: [&str; 9] = [
    "Deployment",
    "Pod",
    "StatefulSet",
    "DaemonSet",
    "CronJob",
    "Job",
    "ReplicaSet",
    "ReplicationController",
    "DeploymentConfig",
];

pub(crate) fn manifest(dice: &mut Dice) -> Value {
    match dice.below(16) {
        0..=8 => workload(dice),
        9..=11 => service(dice),
        12 => disruption_budget(dice),
        13 => list(dice),
        14 => {
            json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": metadata(dice), "template": template(dice)})
        }
        _ => other(dice),
    }
}

/// What stands around a document: nothing that is known, or objects with the names that documents use here.
pub(crate) fn neighbours(dice: &mut Dice) -> Neighbours {
    if dice.below(2) == 0 {
        return Neighbours::Unknown;
    }
    let length = dice.below(4);
    let objects = (0..length).map(|_| {
        let namespace = (*dice.pick(&["", "default", "prod"])).to_owned();
        let name = (*dice.pick(&NAMES)).to_owned();
        if dice.one_in(3) {
            return Neighbour::ServiceAccount { namespace, name };
        }
        let kind = (*dice.pick(&["Deployment", "Pod", "Job", "Endpoints", ""])).to_owned();
        let pod_labels: BTreeMap<String, String> = match labels(dice) {
            Value::Object(map) => {
                map.into_iter().filter_map(|(key, value)| Some((key, value.as_str()?.to_owned()))).collect()
            }
            _ => BTreeMap::new(),
        };
        Neighbour::Workload { kind, namespace, name, pod_labels }
    });
    Neighbours::Known(objects.collect())
}

fn workload(dice: &mut Dice) -> Value {
    let kind = *dice.pick(&KINDS);
    let (version, spec) = match kind {
        "Pod" => ("v1", pod_spec(dice)),
        "CronJob" => ("batch/v1", cron_job(dice)),
        "Job" => ("batch/v1", job(dice)),
        "ReplicationController" => ("v1", controller(dice)),
        _ => ("apps/v1", controller(dice)),
    };
    let mut value = object(dice, version, kind, &spec);
    if dice.one_in(40) {
        value["spec"] = dice.odd();
    }
    value
}

fn object(dice: &mut Dice, version: &str, kind: &str, spec: &Value) -> Value {
    let metadata = if dice.one_in(40) { dice.odd() } else { metadata(dice) };
    json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
}

fn list(dice: &mut Dice) -> Value {
    let items = dice.list(3, manifest);
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn other(dice: &mut Dice) -> Value {
    let kind = *dice.pick(&["ConfigMap", "ServiceAccount", "Secret", "Custom", "", "ServiceList"]);
    let mut value = json!({"apiVersion": "v1", "kind": kind, "metadata": metadata(dice)});
    value["data"] = dice.odd();
    value
}

fn metadata(dice: &mut Dice) -> Value {
    let annotations: Make = |d| json!({"note": d.text(&["", "x", "{{ y }}"])});
    dice.map(&[("name", name)], &[("labels", labels), ("namespace", namespace), ("annotations", annotations)])
}

fn name(dice: &mut Dice) -> Value {
    dice.text(&NAMES)
}

fn namespace(dice: &mut Dice) -> Value {
    dice.text(&["default", "prod", ""])
}

fn labels(dice: &mut Dice) -> Value {
    dice.map(&[("app", name)], &[("app.kubernetes.io/name", name), ("tier", name), ("name", name)])
}

fn selector(dice: &mut Dice) -> Value {
    let expression: Make = |d| json!({"key": d.text(&["app", "tier"]), "operator": d.text(&["In", "Exists", "NotIn", "x"]), "values": d.list(2, name)});
    let key: [(&str, Make); 1] = [("matchLabels", labels)];
    let rare: [(&str, Make); 1] = [("matchExpressions", |d| d.list(2, |d| d.map(&[], &[("key", name)])))];
    let mut value = dice.map(&key, &rare);
    if dice.one_in(8) && value.is_object() {
        value["matchExpressions"] = json!([expression(dice)]);
    }
    value
}

fn template(dice: &mut Dice) -> Value {
    dice.map(&[("metadata", metadata), ("spec", pod_spec)], &[])
}

fn controller(dice: &mut Dice) -> Value {
    let claims: Make = |d| d.list(2, |d| json!({"metadata": {"name": d.text(&["data", "tmp"])}, "spec": {}}));
    dice.map(
        &[("selector", selector), ("template", template)],
        &[("replicas", number), ("serviceName", name), ("volumeClaimTemplates", claims)],
    )
}

fn job(dice: &mut Dice) -> Value {
    dice.map(
        &[("template", template)],
        &[("ttlSecondsAfterFinished", number), ("backoffLimit", number), ("selector", selector)],
    )
}

fn cron_job(dice: &mut Dice) -> Value {
    let schedule: Make = |d| d.text(&["* * * * *", "@daily", "x"]);
    let inner: Make = |d| {
        if d.one_in(12) {
            d.map(&[("template", template)], &[("spec", job)])
        } else {
            json!({"spec": job(d)})
        }
    };
    dice.map(&[("schedule", schedule), ("jobTemplate", inner)], &[("suspend", flag)])
}

fn service(dice: &mut Dice) -> Value {
    let port: Make = |d| {
        d.map(&[("port", port_number)], &[("targetPort", port_name), ("name", name), ("nodePort", number)])
    };
    let ports: Make =
        |d| d.list(3, |d| d.map(&[("port", port_number)], &[("targetPort", port_name), ("name", name)]));
    let kind: Make = |d| d.text(&["ClusterIP", "ExternalName", "NodePort", "LoadBalancer"]);
    let spec = dice.map(
        &[("selector", labels), ("ports", ports)],
        &[
            ("type", kind),
            ("clusterIP", |d| d.text(&["None", "10.0.0.1", ""])),
            ("externalName", |d| d.text(&["x.example.com", ""])),
        ],
    );
    let mut value = object(dice, "v1", "Service", &spec);
    if dice.one_in(12) {
        value["spec"]["ports"] = port(dice);
    }
    value
}

fn disruption_budget(dice: &mut Dice) -> Value {
    let policy: Make = |d| d.text(&["AlwaysAllow", "IfHealthyBudget", "x"]);
    let spec = dice.map(
        &[("selector", selector)],
        &[("unhealthyPodEvictionPolicy", policy), ("minAvailable", number), ("maxUnavailable", number)],
    );
    let version = *dice.pick(&["policy/v1", "policy/v1beta1"]);
    object(dice, version, "PodDisruptionBudget", &spec)
}

fn flag(dice: &mut Dice) -> Value {
    json!(dice.below(2) == 1)
}

fn number(dice: &mut Dice) -> Value {
    json!(dice.pick(&[1_i64, 0, 1000, 3600, -1, 65_535, 4_294_967_296]))
}

fn port_number(dice: &mut Dice) -> Value {
    json!(dice.pick(&[80_i64, 22, 8080, 443, 0, 70_000, -22]))
}

fn port_name(dice: &mut Dice) -> Value {
    match dice.below(3) {
        0 => port_number(dice),
        1 => dice.text(&[
            "http",
            "ssh",
            "web",
            "80",
            "22",
            "no_good",
            "a-name-that-is-longer-than-it-may-be",
            "",
        ]),
        _ => name(dice),
    }
}

fn pod_spec(dice: &mut Dice) -> Value {
    let os: Make = |d| json!({"name": d.text(&["linux", "windows"])});
    let node: Make = |d| json!({"kubernetes.io/os": d.text(&["linux", "windows"])});
    let rare: [(&str, Make); 18] = [
        ("initContainers", |d| d.list(2, container)),
        ("ephemeralContainers", |d| d.list(1, container)),
        ("volumes", |d| d.list(3, volume)),
        ("hostNetwork", flag),
        ("hostPID", flag),
        ("hostIPC", flag),
        ("serviceAccountName", name),
        ("serviceAccount", name),
        ("automountServiceAccountToken", flag),
        ("securityContext", pod_security),
        ("affinity", affinity),
        ("topologySpreadConstraints", |d| {
            d.list(1, |d| json!({"topologyKey": name(d), "labelSelector": selector(d)}))
        }),
        ("os", os),
        ("nodeSelector", node),
        ("restartPolicy", |d| d.text(&["Always", "Never", "OnFailure"])),
        ("dnsPolicy", |d| d.text(&["ClusterFirst", "ClusterFirstWithHostNet"])),
        ("hostUsers", flag),
        ("imagePullSecrets", |d| json!([{"name": name(d)}])),
    ];
    dice.map(&[("containers", |d| d.list(3, container))], &rare)
}

fn affinity(dice: &mut Dice) -> Value {
    let term: Make = |d| {
        d.map(
            &[
                ("labelSelector", selector),
                ("topologyKey", |d| d.text(&["kubernetes.io/hostname", "", "zone"])),
            ],
            &[],
        )
    };
    let weighted: Make = |d| {
        d.map(
            &[
                ("weight", number),
                ("podAffinityTerm", |d| d.map(&[("labelSelector", selector), ("topologyKey", name)], &[])),
            ],
            &[],
        )
    };
    let kind = *dice.pick(&["podAntiAffinity", "podAffinity", "nodeAffinity"]);
    let list = if dice.below(2) == 0 {
        json!({"requiredDuringSchedulingIgnoredDuringExecution": [term(dice)]})
    } else {
        json!({"preferredDuringSchedulingIgnoredDuringExecution": [weighted(dice)]})
    };
    json!({ kind: list })
}

fn pod_security(dice: &mut Dice) -> Value {
    let sysctl: Make = |d| json!({"name": d.text(&["kernel.shm_rmid_forced", "kernel.msgmax", "net.core.somaxconn", ""]), "value": "1"});
    let sysctls: Make = |d| {
        d.list(3, |d| {
            d.map(
                &[("name", |d| d.text(&["kernel.msgmax", "net.ipv4.tcp_syncookies"]))],
                &[("value", number)],
            )
        })
    };
    let mut value = dice.map(
        &[],
        &[
            ("runAsNonRoot", flag),
            ("runAsUser", number),
            ("runAsGroup", number),
            ("fsGroup", number),
            ("seccompProfile", seccomp),
            ("sysctls", sysctls),
            ("windowsOptions", |d| json!({"hostProcess": flag(d)})),
        ],
    );
    if dice.one_in(8) {
        value["sysctls"] = json!([sysctl(dice), sysctl(dice)]);
    }
    value
}

fn seccomp(dice: &mut Dice) -> Value {
    dice.map(
        &[("type", |d| d.text(&["RuntimeDefault", "Unconfined", "Localhost", "x"]))],
        &[("localhostProfile", name)],
    )
}

fn volume(dice: &mut Dice) -> Value {
    let path: Make = |d| {
        d.map(
            &[("path", |d| d.text(&["/", "/etc/ssl/certs", "/var/run/docker.sock", "relative", ""]))],
            &[("type", |d| d.text(&["Socket", "", "File", "Directory"]))],
        )
    };
    dice.map(
        &[("name", |d| d.text(&["data", "tmp", "data", "host"]))],
        &[
            ("hostPath", path),
            ("emptyDir", |_| json!({})),
            ("configMap", |d| json!({"name": name(d)})),
            ("persistentVolumeClaim", |d| json!({"claimName": name(d)})),
        ],
    )
}

fn container(dice: &mut Dice) -> Value {
    let image: Make = |d| {
        d.text(&[
            "nginx",
            "nginx:latest",
            "reg.example.com:5000/a/b",
            "a/b:1.2.3",
            "a@sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
            "",
            ":",
            "a:b:latest",
            "nginx:LATEST",
            "nginx:",
            "/",
        ])
    };
    let usual: [(&str, Make); 2] = [("name", name), ("image", image)];
    let rare: [(&str, Make); 14] = [
        ("securityContext", security_context),
        ("ports", |d| d.list(3, port)),
        ("env", |d| d.list(4, env)),
        ("envFrom", |d| json!([{"secretRef": {"name": name(d)}}])),
        ("resources", resources),
        ("livenessProbe", probe),
        ("readinessProbe", probe),
        ("startupProbe", probe),
        ("volumeMounts", |d| d.list(3, mount)),
        ("volumeDevices", |d| json!([{"name": name(d), "devicePath": "/dev/x"}])),
        ("command", |d| d.text(&["sh", "-c"])),
        ("args", |d| d.list(2, name)),
        ("restartPolicy", |d| d.text(&["Always"])),
        ("imagePullPolicy", |d| d.text(&["Always", "IfNotPresent"])),
    ];
    dice.map(&usual, &rare)
}

fn security_context(dice: &mut Dice) -> Value {
    let names: Make = |d| {
        d.list(3, |d| {
            d.text(&[
                "ALL",
                "SYS_ADMIN",
                "CAP_SYS_ADMIN",
                "NET_RAW",
                "all",
                "sys_admin",
                "CHOWN",
                "NET_BIND_SERVICE",
                "",
            ])
        })
    };
    let capabilities: Make = |d| {
        let names: Make = |d| {
            d.list(3, |d| {
                d.text(&["ALL", "SYS_ADMIN", "CAP_SYS_ADMIN", "NET_RAW", "all", "CHOWN", "NET_BIND_SERVICE"])
            })
        };
        d.map(&[], &[("add", names), ("drop", names)])
    };
    let rare: [(&str, Make); 10] = [
        ("privileged", flag),
        ("allowPrivilegeEscalation", flag),
        ("readOnlyRootFilesystem", flag),
        ("runAsNonRoot", flag),
        ("runAsUser", number),
        ("runAsGroup", number),
        ("procMount", |d| d.text(&["Default", "Unmasked"])),
        ("seccompProfile", seccomp),
        ("capabilities", capabilities),
        ("windowsOptions", |d| json!({"hostProcess": flag(d)})),
    ];
    let mut value = dice.map(&[], &rare);
    if dice.one_in(10) {
        value["capabilities"] = json!({"add": names(dice)});
    }
    value
}

fn port(dice: &mut Dice) -> Value {
    dice.map(
        &[("containerPort", port_number)],
        &[
            ("name", port_name),
            ("hostPort", port_number),
            ("hostIP", |d| d.text(&["127.0.0.1", ""])),
            ("protocol", |d| d.text(&["TCP", "UDP", "tcp"])),
        ],
    )
}

fn env(dice: &mut Dice) -> Value {
    let from: Make = |d| match d.below(3) {
        0 => json!({"secretKeyRef": {"name": name(d), "key": name(d)}}),
        1 => json!({"fieldRef": {"fieldPath": "metadata.name"}}),
        _ => json!({}),
    };
    dice.map(
        &[("name", |d| d.text(&["A", "PASSWORD", "db-secret", "A", "API_TOKEN", "SECRET_NAME", ""]))],
        &[("value", |d| d.text(&["x", "", "$(A)", "p@ss\nword", "/run/secret", "x"])), ("valueFrom", from)],
    )
}

fn resources(dice: &mut Dice) -> Value {
    let amounts: Make = |d| {
        d.map(
            &[],
            &[
                ("cpu", |d| match d.below(2) {
                    0 => d.text(&["100m", "2", "1e3", "x", "0", "-1"]),
                    _ => number(d),
                }),
                ("memory", |d| d.text(&["128Mi", "1G", "64", "1.5Gi", "", "999999999999Ei"])),
                ("ephemeral-storage", |d| d.text(&["1Gi"])),
            ],
        )
    };
    dice.map(&[], &[("requests", amounts), ("limits", amounts), ("claims", |d| d.list(1, name))])
}

fn probe(dice: &mut Dice) -> Value {
    let http: Make =
        |d| d.map(&[("port", port_name)], &[("path", name), ("scheme", |d| d.text(&["HTTP", "HTTPS"]))]);
    dice.map(
        &[],
        &[
            ("httpGet", http),
            ("tcpSocket", |d| d.map(&[("port", port_name)], &[])),
            ("grpc", |d| d.map(&[("port", port_number)], &[])),
            ("exec", |d| json!({"command": [name(d)]})),
            ("periodSeconds", number),
        ],
    )
}

fn mount(dice: &mut Dice) -> Value {
    dice.map(
        &[
            ("name", |d| d.text(&["data", "tmp", "host"])),
            ("mountPath", |d| d.text(&["/data", "/tmp", "/data", "data", ""])),
        ],
        &[
            ("readOnly", flag),
            ("subPath", name),
            ("mountPropagation", |d| d.text(&["Bidirectional", "None", "HostToContainer"])),
        ],
    )
}
