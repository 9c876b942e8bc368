//! Realistic manifests with misconfigurations: every policy is violated by some of them.

use std::fmt::Write;

use super::random::Random;

/// Builder of indented lines of YAML.
struct Lines(String);

impl Lines {
    const fn new() -> Self {
        Self(String::new())
    }

    fn add(&mut self, indent: usize, text: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{:indent$}{text}", "");
    }

    fn block(&mut self, indent: usize, block: &Self) {
        for line in block.0.lines() {
            self.add(indent, line);
        }
    }
}

const WORDS: [&str; 16] = [
    "api", "billing", "cache", "checkout", "frontend", "gateway", "ingest", "ledger", "mailer", "metrics",
    "orders", "payments", "queue", "search", "session", "worker",
];

const IMAGES: [&str; 10] = [
    "nginx",
    "redis",
    "postgres",
    "registry.example.com:5000/team/api",
    "ghcr.io/example/worker",
    "busybox",
    "quay.io/example/agent",
    "registry.example.com/mailer",
    "memcached",
    "example/batch",
];

/// A manifest: its file name and text.
pub(super) fn document(random: &mut Random, number: u64) -> (String, String) {
    let kind = random.weighted(&[
        (45, "Deployment"),
        (18, "Pod"),
        (10, "DaemonSet"),
        (8, "Job"),
        (8, "Service"),
        (5, "CronJob"),
        (4, "StatefulSet"),
        (2, "ReplicationController"),
        (1, "ReplicaSet"),
        (1, "PodDisruptionBudget"),
    ]);
    let name = format!("{}-{}-{number}", random.pick(&WORDS), random.pick(&WORDS));
    let text = match kind {
        "Service" => service(random, &name),
        "PodDisruptionBudget" => budget(random, &name),
        "Pod" => pod(random, &name),
        "Job" => job(random, &name),
        "CronJob" => cron_job(random, &name),
        kind => controller(random, kind, &name),
    };
    (format!("manifests/{:03}/{name}.yaml", number / 100), text)
}

fn head(random: &mut Random, api_version: &str, kind: &str, name: &str) -> Lines {
    let mut lines = Lines::new();
    if random.chance(20) {
        lines.add(0, format_args!("# {kind} of the {} team", random.pick(&WORDS)));
    }
    lines.add(0, format_args!("apiVersion: {api_version}"));
    lines.add(0, format_args!("kind: {kind}"));
    lines.add(0, "metadata:");
    lines.add(2, format_args!("name: {name}"));
    if random.chance(40) {
        lines.add(2, format_args!("namespace: {}", random.pick(&["default", "prod", "staging", "tools"])));
    }
    lines.add(2, "labels:");
    lines.add(4, format_args!("app.kubernetes.io/name: {name}"));
    if random.chance(30) {
        lines.add(2, "annotations:");
        lines.add(4, "example.com/owner: \"team@example.com\"  # on call");
    }
    lines
}

fn service(random: &mut Random, name: &str) -> String {
    let mut lines = head(random, "v1", "Service", name);
    lines.add(0, "spec:");
    if random.chance(70) {
        lines.add(2, "selector:");
        lines.add(4, format_args!("app: {name}"));
    }
    lines.add(2, "ports:");
    lines.add(2, "- port: 80");
    let target =
        random.weighted(&[(6, "8080"), (2, "http"), (1, "\"8080\""), (1, "\"Bad_Port_Name_Too_Long\"")]);
    lines.add(4, format_args!("targetPort: {target}"));
    lines.0
}

fn budget(random: &mut Random, name: &str) -> String {
    let mut lines = head(random, "policy/v1", "PodDisruptionBudget", name);
    lines.add(0, "spec:");
    lines.add(2, "minAvailable: 1");
    lines.add(2, "selector:");
    lines.add(4, "matchLabels:");
    lines.add(6, format_args!("app: {name}"));
    lines.0
}

fn pod(random: &mut Random, name: &str) -> String {
    let mut lines = head(random, "v1", "Pod", name);
    lines.add(0, "spec:");
    lines.block(2, &pod_spec(random, None));
    lines.0
}

fn job(random: &mut Random, name: &str) -> String {
    let mut lines = head(random, "batch/v1", "Job", name);
    lines.add(0, "spec:");
    if random.chance(30) {
        lines.add(2, "ttlSecondsAfterFinished: 600");
    }
    lines.add(2, "template:");
    lines.add(4, "spec:");
    lines.block(6, &pod_spec(random, Some("Never")));
    lines.0
}

fn cron_job(random: &mut Random, name: &str) -> String {
    let mut lines = head(random, "batch/v1", "CronJob", name);
    lines.add(0, "spec:");
    lines.add(2, "schedule: \"*/15 * * * *\"");
    lines.add(2, "jobTemplate:");
    lines.add(4, "spec:");
    if random.chance(20) {
        lines.add(6, "ttlSecondsAfterFinished: 600");
    }
    lines.add(6, "template:");
    lines.add(8, "spec:");
    lines.block(10, &pod_spec(random, Some("OnFailure")));
    lines.0
}

fn controller(random: &mut Random, kind: &str, name: &str) -> String {
    let api_version = if kind == "ReplicationController" { "v1" } else { "apps/v1" };
    let mut lines = head(random, api_version, kind, name);
    lines.add(0, "spec:");
    if kind != "DaemonSet" {
        lines.add(2, format_args!("replicas: {}", random.weighted(&[(6, 1), (2, 2), (2, 3)])));
    }
    lines.add(2, "selector:");
    let deep = kind != "ReplicationController";
    if deep {
        lines.add(4, "matchLabels:");
    }
    lines.add(if deep { 6 } else { 4 }, format_args!("app: {name}"));
    if kind == "StatefulSet" {
        lines.add(2, format_args!("serviceName: {name}"));
    }
    lines.add(2, "template:");
    lines.add(4, "metadata:");
    lines.add(6, "labels:");
    let label = if random.chance(2) { "other" } else { name };
    lines.add(8, format_args!("app: {label}"));
    lines.add(4, "spec:");
    lines.block(6, &pod_spec(random, None));
    lines.0
}

fn pod_spec(random: &mut Random, restart_policy: Option<&str>) -> Lines {
    let mut lines = Lines::new();
    if let Some(policy) = restart_policy {
        lines.add(0, format_args!("restartPolicy: {policy}"));
    }
    for (percent, line) in [
        (6, "hostNetwork: true"),
        (2, "hostPID: true"),
        (2, "hostIPC: true"),
        (12, "serviceAccountName: robot"),
        (3, "serviceAccount: robot"),
    ] {
        if random.chance(percent) {
            lines.add(0, line);
        }
    }
    if random.chance(3) {
        lines.add(0, "securityContext:");
        lines.add(2, "sysctls:");
        lines.add(2, "- name: net.core.somaxconn");
        lines.add(4, "value: \"1024\"");
    }
    let volume = random.chance(25);
    if volume {
        lines.add(0, "volumes:");
        lines.add(0, "- name: data");
        if random.chance(30) {
            lines.add(2, "hostPath:");
            lines.add(
                4,
                format_args!("path: {}", random.pick(&["/etc", "/var/run/docker.sock", "/var/lib/data"])),
            );
        } else {
            lines.add(2, "emptyDir: {}");
        }
    }
    lines.add(0, "containers:");
    for index in 0..random.weighted(&[(60, 1), (25, 2), (10, 3), (4, 6), (1, 24)]) {
        lines.block(0, &container(random, index, volume));
    }
    if random.chance(12) {
        lines.add(0, "initContainers:");
        lines.block(0, &container(random, 100, volume));
    }
    lines
}

fn container(random: &mut Random, index: u64, volume: bool) -> Lines {
    let mut lines = Lines::new();
    lines.add(0, format_args!("- name: c{index}"));
    let tag = random.weighted(&[
        (6, ":1.27.3"),
        (2, ":latest"),
        (2, ""),
        (1, ":v2@sha256:4a1c4b21597c1b4415bdbecb28a3296c6b5e23ca4f9feeb599860a1dac6a0108"),
    ]);
    lines.add(2, format_args!("image: {}{tag}", random.pick(&IMAGES)));
    let regular = index < 100;
    if random.chance(35) {
        lines.add(2, "args:");
        for flag in 0..random.below(8) {
            lines.add(2, format_args!("- --option-{flag}={}", random.pick(&WORDS)));
        }
        lines.add(2, "- --verbose");
    }
    environment(random, &mut lines);
    if random.chance(50) {
        lines.add(2, "ports:");
        lines.add(2, "- containerPort: 8080");
        lines.add(4, format_args!("name: {}", random.weighted(&[(30, "http"), (1, "\"8080\"")])));
        if random.chance(5) {
            lines.add(4, "hostPort: 8080");
        }
        if random.chance(2) {
            lines.add(2, "- containerPort: 22");
        }
    }
    if regular {
        probes(random, &mut lines);
    }
    resources(random, &mut lines);
    security(random, &mut lines);
    if volume {
        lines.add(2, "volumeMounts:");
        lines.add(2, "- name: data");
        lines.add(4, "mountPath: /data");
    }
    lines
}

fn environment(random: &mut Random, lines: &mut Lines) {
    if !random.chance(30) {
        return;
    }
    lines.add(2, "env:");
    for index in 0..=random.below(6) {
        lines.add(2, format_args!("- name: OPTION_{index}"));
        lines.add(
            4,
            format_args!(
                "value: {}",
                random.pick(&["\"on\"", "fast", "\"0644\"", "https://example.com/x?y=1"])
            ),
        );
    }
    if random.chance(12) {
        lines.add(2, "- name: CLIENT_SECRET");
        lines.add(4, format_args!("value: not-a-real-secret-{}", random.below(1000)));
    }
    if random.chance(5) {
        lines.add(2, "- name: OPTION_0");
        lines.add(4, "value: again");
    }
}

fn probes(random: &mut Random, lines: &mut Lines) {
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if random.chance(15) {
            lines.add(2, format_args!("{probe}:"));
            lines.add(4, "httpGet:");
            lines.add(6, "path: /healthz");
            lines.add(
                6,
                format_args!("port: {}", random.weighted(&[(8, "8080"), (1, "9102"), (1, "metrics")])),
            );
        }
    }
}

fn resources(random: &mut Random, lines: &mut Lines) {
    match random.below(10) {
        0..6 => {}
        6 => {
            lines.add(2, "resources:");
            lines.add(4, "limits:");
            lines.add(6, "memory: 64Mi");
        }
        7 => {
            lines.add(2, "resources:");
            lines.add(4, "requests:");
            lines.add(6, "cpu: 2");
            lines.add(6, "memory: 4Gi");
        }
        _ => {
            lines.add(2, "resources:");
            lines.add(4, "requests: {cpu: 250m, memory: 256Mi}");
            lines.add(4, "limits: {cpu: \"1\", memory: 512Mi}");
        }
    }
}

fn security(random: &mut Random, lines: &mut Lines) {
    if !random.chance(40) {
        return;
    }
    lines.add(2, "securityContext:");
    let before = lines.0.len();
    for (percent, line) in [
        (8, "privileged: true"),
        (10, "allowPrivilegeEscalation: true"),
        (30, "runAsNonRoot: true"),
        (10, "runAsUser: 0"),
        (30, "readOnlyRootFilesystem: true"),
    ] {
        if random.chance(percent) {
            lines.add(4, line);
        }
    }
    if random.chance(20) {
        lines.add(4, "capabilities:");
        let list =
            random.pick(&["add: [NET_ADMIN]", "add: [SYS_ADMIN, CHOWN]", "drop: [ALL]", "drop: [net_raw]"]);
        lines.add(6, list);
    }
    if lines.0.len() == before {
        lines.add(4, "seccompProfile: {type: RuntimeDefault}");
    }
}
