//! Good manifests damaged: bytes, lines, scalars and nodes changed, moved, doubled, taken away.

use std::path::PathBuf;
use std::sync::LazyLock;

use domain::config::Limits;
use engine::document::Document;
use serde_json::Value;

use super::dice::Dice;

/// The hand-written manifests of the policies and a few of our own kinds that they leave out.
pub(crate) static MANIFESTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../data/fixtures/policies");
    let mut policies: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    policies.sort();
    assert!(policies.len() > 10);
    #[expect(clippy::disallowed_methods, reason = "fixtures lie in files")]
    let read = |policy: PathBuf| std::fs::read_to_string(policy.join("bad.yaml")).unwrap();
    policies.into_iter().map(read).chain(KINDS.map(str::to_owned)).collect()
});

const KINDS: [&str; 4] = [
    "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: sweep, namespace: ops}\nspec:\n  schedule: '*/5 * * * *'\n  jobTemplate:\n    spec:\n      template:\n        spec:\n          restartPolicy: Never\n          containers:\n          - name: sweep\n            image: registry.example.com/sweep\n            env:\n            - {name: DB_PASSWORD, value: hunter2}\n            - {name: A, value: '1'}\n            - {name: A, value: '2'}\n            livenessProbe:\n              httpGet: {path: /, port: web}\n            ports:\n            - {containerPort: 22, hostPort: 22}\n",
    "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: web, namespace: shop}\n  spec:\n    selector: {app: web}\n    ports:\n    - {name: http, port: 80, targetPort: a_bad_name}\n- apiVersion: policy/v1\n  kind: PodDisruptionBudget\n  metadata: {name: web}\n  spec:\n    minAvailable: 1\n    selector: {matchLabels: {app: web}}\n",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: &meta\n  name: web\n  labels: &labels {app: web}\nspec:\n  replicas: 3\n  selector:\n    matchLabels: {app: other}\n  template:\n    metadata:\n      labels:\n        <<: *labels\n        tier: front\n    spec:\n      serviceAccount: runner\n      containers:\n      - &base\n        name: web\n        image: nginx:latest\n        readinessProbe: {tcpSocket: {port: 8080}}\n        securityContext: {privileged: true, runAsUser: 0}\n      - <<: *base\n        name: side\n",
    "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"p\"}, \"spec\": {\"hostPID\": true, \"containers\": [{\"name\": \"a\", \"image\": \"x\", \"startupProbe\": {\"grpc\": {\"port\": 9}}}]}}\n",
];

const SCALARS: [&str; 24] = [
    "null",
    "~",
    "5",
    "-1",
    "0",
    "true",
    "yes",
    "''",
    "' '",
    "[]",
    "{}",
    "[1, null]",
    "{a: b}",
    "1e400",
    "0x1F",
    "9223372036854775808",
    ".inf",
    "2001-01-01",
    "${X}",
    "\"a\\u0000b\"",
    "!!str 5",
    "&a [*a]",
    "|\n",
    "- - x",
];

const TOKENS: [&str; 40] = [
    "\n",
    " ",
    "  ",
    "- ",
    ": ",
    ":",
    "? ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!int ",
    "! ",
    "|\n",
    ">-\n",
    "'",
    "\"",
    "\\",
    "#",
    " #",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "\t",
    "\r\n",
    "\u{feff}",
    "\u{85}",
    "a",
    "kind: Pod\n",
    "spec:\n",
    "containers:\n",
    "0",
    "~",
    "null",
    "é",
    "\u{0}",
];

/// Words of YAML in any order.
pub(crate) fn soup(dice: &mut Dice) -> String {
    let length = dice.below(60);
    (0..length).map(|_| *dice.pick(&TOKENS)).collect()
}

/// The text of a manifest with up to eight mutations.
pub(crate) fn text(dice: &mut Dice) -> String {
    let mut lines: Vec<String> = dice.pick(&MANIFESTS).lines().map(|line| format!("{line}\n")).collect();
    for _ in 0..dice.below(9) {
        let at = dice.below(lines.len().max(1));
        match dice.below(9) {
            0 => drop((at < lines.len()).then(|| lines.remove(at))),
            1 => lines.insert(at, lines.get(at).cloned().unwrap_or_default()),
            2 => {
                let other = dice.pick(&MANIFESTS).lines().collect::<Vec<_>>();
                lines.insert(at, format!("{}\n", dice.pick(&other)));
            }
            3 | 4 => with(&mut lines, at, |line| {
                let key = line.find(": ").map_or(line.trim_end().len(), |colon| colon + 1);
                format!("{} {}\n", &line[..key], dice.pick(&SCALARS))
            }),
            5 => with(&mut lines, at, |line| format!("{}{line}", " ".repeat(1 + dice.below(4)))),
            6 => with(&mut lines, at, |line| line.trim_start().to_owned()),
            7 => with(&mut lines, at, |line| byte_changed(line, dice)),
            _ => {
                let to = dice.below(lines.len().max(1));
                if to < lines.len() {
                    lines.swap(at, to);
                }
            }
        }
    }
    lines.concat()
}

fn with(lines: &mut [String], at: usize, change: impl FnOnce(&str) -> String) {
    if let Some(line) = lines.get_mut(at) {
        *line = change(line);
    }
}

fn byte_changed(line: &str, dice: &mut Dice) -> String {
    let mut bytes = line.as_bytes().to_vec();
    let at = dice.below(bytes.len().max(1));
    match dice.below(3) {
        0 if at < bytes.len() => bytes[at] = dice.byte(),
        1 if at < bytes.len() => drop(bytes.remove(at)),
        _ => bytes.insert(at.min(bytes.len()), dice.byte()),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The value of a manifest with up to six of its nodes changed.
pub(crate) fn value(dice: &mut Dice) -> Value {
    let text = dice.pick(&MANIFESTS).clone();
    let mut value = Document::parse(&text, &Limits::default()).unwrap().value;
    for _ in 0..dice.below(7) {
        let nodes = count(&value);
        let donor = nth(&mut value, &mut dice.below(nodes)).map(|node| node.clone()).unwrap_or_default();
        let Some(node) = nth(&mut value, &mut dice.below(nodes)) else { continue };
        *node = match dice.below(6) {
            0 | 1 => dice.odd(),
            2 => donor,
            3 => Value::from(vec![node.take()]),
            4 => match node.take() {
                Value::Array(mut entries) => {
                    entries.pop();
                    entries.into_iter().rev().collect()
                }
                Value::Object(mut map) => {
                    let last = map.keys().next_back().cloned().unwrap_or_default();
                    map.shift_remove(&last);
                    Value::Object(map)
                }
                other => Value::from(other.to_string()),
            },
            _ => match node.take() {
                Value::Array(mut entries) => {
                    entries.extend(entries.clone());
                    Value::from(entries)
                }
                Value::Object(mut map) => {
                    map.insert(
                        (*dice.pick(&["name", "securityContext", "~/", "", "hostPort"])).to_owned(),
                        donor,
                    );
                    Value::Object(map)
                }
                other => other,
            },
        };
    }
    value
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(entries) => entries.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// The node that comes after `left` others.
fn nth<'v>(value: &'v mut Value, left: &mut usize) -> Option<&'v mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(entries) => entries.iter_mut().find_map(|entry| nth(entry, left)),
        Value::Object(map) => map.values_mut().find_map(|entry| nth(entry, left)),
        _ => None,
    }
}
