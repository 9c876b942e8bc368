//! Shared by `liveness_port`, `readiness_port` and `startup_port`: the port that a probe connects to must be exposed,
//! that is, declared as a TCP port under the container's `ports`.
//!
//! As in kube-linter, only regular containers are checked, and only the first handler of a probe with an unexposed port
//! is reported.
//!
//! # Repair
//! A port given by number is declared; a name that is written as a number becomes that number. A number out of range,
//! and the port of SSH, need review. For a name that the container does not declare, the first of these that applies is
//! the repair, and otherwise the document needs review:
//! 1. the name of a declared port differs in upper and lower case only, or a sibling probe with the same path has an
//!    exposed port: the probe gets that port;
//! 2. the container declares no port and the name is well known (`http`, `https`, `grpc`, `metrics`): a port with the
//!    name and its usual number is declared;
//! 3. the container declares one TCP port, which has no name: that port gets the name.

use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Map, Value, json};

use super::contract::{Check, Finding, Fix};
use super::message::quoted;
use super::scope::Site;
use crate::edit::Editor;
use crate::k8s::{Container, ContainerKind, View, names};

/// One of the three probes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    pub(super) policy: PolicyId,
    pub(super) check: Check,
    /// Key of the probe in the container.
    pub(super) key: &'static str,
}

const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

/// The handlers that have a port, and kube-linter's words for them in a message.
const HANDLERS: [(&str, &str); 3] =
    [("httpGet", "HTTPGet"), ("tcpSocket", "TCPSocket"), ("grpc", "GRPC check")];

/// The usual numbers of port names (IANA service names; the conventions of gRPC and Prometheus).
const WELL_KNOWN: [(&str, i64); 4] = [("http", 80), ("https", 443), ("grpc", 9090), ("metrics", 9090)];

/// The port of SSH, which the policy `ssh_port` forbids to expose.
const SSH: i64 = 22;

/// A port that a probe connects to.
#[derive(Debug, Clone, PartialEq)]
struct Target<'a> {
    handler: &'static str,
    /// kube-linter's words for the handler.
    words: &'static str,
    port: &'a Value,
}

/// The ports of a probe, one for each handler that has a port.
fn targets<'a>(container: &Container<'a>, probe: &str) -> Vec<Target<'a>> {
    let Some(probe) = container.fields.get(probe).and_then(Value::as_object) else { return Vec::new() };
    let target = |(handler, words)| {
        let port = probe.get(handler)?.as_object()?.get("port")?;
        (port.is_string() || port.is_i64()).then_some(Target { handler, words, port })
    };
    HANDLERS.into_iter().filter_map(target).collect()
}

fn is_tcp(port: &Map<String, Value>) -> bool {
    matches!(port.get("protocol"), None | Some(Value::Null)) || matches!(text(port, "protocol"), "" | "TCP")
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn exposes<'a>(mut ports: impl Iterator<Item = &'a Map<String, Value>>, target: &Target<'_>) -> bool {
    ports.any(|port| {
        // A text matches by name only, even if it is written as a number; `grpc` has no named ports.
        let name = target.port.as_str().filter(|name| target.handler != "grpc" && !name.is_empty());
        let by_name = name.is_some_and(|name| text(port, "name") == name);
        is_tcp(port) && (by_name || (target.port.is_i64() && port.get("containerPort") == Some(target.port)))
    })
}

/// The ports of a probe that the container does not expose.
fn unexposed<'a>(container: &Container<'a>, probe: &str) -> Vec<Target<'a>> {
    let ports: Vec<_> = container.maps("ports").map(|(_, port)| port).collect();
    let targets = targets(container, probe).into_iter();
    targets.filter(|target| !exposes(ports.iter().copied(), target)).collect()
}

fn regular<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = &'v Container<'a>> {
    view.containers.iter().filter(|container| container.kind == ContainerKind::Regular)
}

/// The findings of a probe's policy.
pub(super) fn detect(probe: Probe, view: &View<'_>) -> Vec<Finding> {
    let found = regular(view).filter_map(|container| {
        let target = unexposed(container, probe.key).into_iter().next()?;
        let port = target.port.as_str().map_or_else(|| target.port.to_string(), str::to_owned);
        let name = quoted(container.name);
        Some(Finding {
            policy: probe.policy,
            check: probe.check.id,
            message: format!("container {name} does not expose port {port} for the {}", target.words),
            pointer: container.pointer.join(&[probe.key, target.handler, "port"]),
        })
    });
    found.collect()
}

/// Whether a repair of the probe's policy may change the container.
pub(super) fn is_unexposed(probe: Probe, container: &Container<'_>) -> bool {
    container.kind == ContainerKind::Regular && !unexposed(container, probe.key).is_empty()
}

/// Whether a handler whose port was not exposed now asks for one that the container declared before, or for the number
/// that its text spells.
pub(super) fn asks_declared_port(probe: Probe, site: &Site<'_, '_>) -> bool {
    let (Some([before, _]), Some(handler), Some(port)) =
        (site.containers, site.container_key(1), site.change.is)
    else {
        return false;
    };
    let Some(was) = unexposed(before, probe.key).into_iter().find(|target| target.handler == handler) else {
        return false;
    };
    let spelled = was.port.as_str().and_then(|text| text.parse::<i64>().ok());
    let is = Target { port, ..was };
    (spelled.is_some() && spelled == port.as_i64())
        || exposes(before.maps("ports").map(|(_, port)| port), &is)
}

/// Whether the change is part of a new port entry that the probe asks for.
pub(super) fn is_new_port(probe: Probe, site: &Site<'_, '_>) -> bool {
    let (Some([_, after]), Some(entry)) = (site.containers, site.entry_after()) else { return false };
    let is_asked = |target: &Target<'_>| exposes(std::iter::once(entry), target);
    site.change.entry.was.is_none() && targets(after, probe.key).iter().any(is_asked)
}

/// Whether a port without a name gets the one that the probe asked for.
pub(super) fn is_asked_name(probe: Probe, site: &Site<'_, '_>) -> bool {
    let Some([before, _]) = site.containers else { return false };
    let had_none = site.change.was.is_none_or(|was| was.as_str().unwrap_or_default().is_empty());
    had_none && unexposed(before, probe.key).iter().any(|target| Some(target.port) == site.change.is)
}

/// The scope of a probe's policy. A macro, because places are texts and functions without captures.
macro_rules! probe_scope {
    ($probe:expr, $key:literal) => {
        Scope {
            containers: |_, container, _| probe_ports::is_unexposed($probe, container),
            may: &[
                may(
                    concat!("{container}/", $key, "/*/port"),
                    &[To::If(
                        "a port that the container declares, or the number that the text spells",
                        |site| probe_ports::asks_declared_port($probe, site),
                    )],
                ),
                may("{container}/ports/*/containerPort", &[NEW_PORT]),
                may("{container}/ports/*/protocol", &[NEW_PORT]),
                may(
                    "{container}/ports/*/name",
                    &[
                        NEW_PORT,
                        To::If("the name that the probe asks for, where the port had none", |site| {
                            probe_ports::is_asked_name($probe, site)
                        }),
                    ],
                ),
            ],
            companion: None,
        }
    };
}
pub(super) use probe_scope;

/// The repair of a probe's policy.
pub(super) fn fix(probe: Probe, view: &View<'_>) -> Fix {
    let mut editor = Editor::new(view.value);
    let mut cautions = Vec::new();
    for container in regular(view) {
        for target in unexposed(container, probe.key) {
            let repair = Repair { container, probe: probe.key, target: &target };
            match repair.apply(&mut editor) {
                Ok(caution) => cautions.extend(caution),
                Err(reason) => return Fix::NeedsReview { reason },
            }
        }
    }
    // The violation remains if `ports` is not a list, which the editor leaves as it is. A document without any edit is
    // left to the caller, which asks for review because the policy does not hold.
    let left = detect(probe, &View::of(editor.document(), view.identity, view.neighbours)).into_iter().next();
    match left {
        Some(left) if editor.document() != view.value => Fix::NeedsReview {
            reason: format!(
                "{}, and its ports have a type that Kubernetes does not know; correct it by hand",
                left.message
            ),
        },
        _ => Fix::of(editor, cautions),
    }
}

/// Whether a container of a pod on the host's network declares a TCP port of the host's, on all of its addresses.
fn takes_host_port(container: &Map<String, Value>, number: i64) -> bool {
    let ports = container.get("ports").and_then(Value::as_array).into_iter().flatten();
    ports.filter_map(Value::as_object).any(|port| {
        let given = ["hostPort", "containerPort"].into_iter().filter_map(|key| port.get(key)?.as_i64());
        is_tcp(port)
            && text(port, "hostIP").is_empty()
            && given.into_iter().find(|port| *port != 0) == Some(number)
    })
}

/// The repair of one unexposed port.
struct Repair<'r, 'a> {
    container: &'r Container<'a>,
    probe: &'static str,
    target: &'r Target<'a>,
}

impl Repair<'_, '_> {
    fn apply(&self, editor: &mut Editor) -> Result<Option<Caution>, String> {
        match self.target.port {
            Value::String(name) => match name.parse::<i64>() {
                Ok(number) => {
                    self.expose(editor, number)?;
                    self.set_probe_port(editor, json!(number));
                    Ok(None)
                }
                Err(_) => self.apply_name(editor, name),
            },
            number => {
                self.expose(editor, number.as_i64().unwrap_or_default())?;
                Ok(None)
            }
        }
    }

    /// Repairs a port given by name, in the order of the module's documentation.
    fn apply_name(&self, editor: &mut Editor, name: &str) -> Result<Option<Caution>, String> {
        let ports = self.ports(editor);
        if name.is_empty() {
            return Err(self.unknown_name(name, &ports));
        }
        if ports.iter().any(|port| is_tcp(port) && text(port, "name") == name) {
            return Ok(None);
        }
        if let Some(same) =
            ports.iter().find(|port| is_tcp(port) && text(port, "name").eq_ignore_ascii_case(name))
        {
            self.set_probe_port(editor, same.get("name").cloned().unwrap_or_default());
            return Ok(None);
        }
        if let Some(port) = self.sibling_port() {
            self.set_probe_port(editor, port);
            return Ok(None);
        }
        let is_new = names::is_port_name(name) && ports.iter().all(|port| text(port, "name") != name);
        if is_new && ports.is_empty() {
            let known = WELL_KNOWN.iter().find(|(known, _)| *known == name);
            if let Some((_, number)) = known {
                self.check_host(editor, *number)?;
                editor.append(&self.ports_pointer(), json!({"name": name, "containerPort": number}));
                return Ok(Some(Caution::PortGuessed));
            }
        }
        let mut tcp = ports.iter().enumerate().filter(|(_, port)| is_tcp(port));
        if let (true, Some((index, port)), None) = (is_new, tcp.next(), tcp.next())
            && text(port, "name").is_empty()
        {
            editor.set(&self.ports_pointer().index(index).child("name"), json!(name));
            return Ok(None);
        }
        Err(self.unknown_name(name, &ports))
    }

    fn unknown_name(&self, name: &str, ports: &[Map<String, Value>]) -> String {
        let declared: Vec<&str> =
            ports.iter().map(|port| text(port, "name")).filter(|name| !name.is_empty()).collect();
        let declared = if declared.is_empty() { "none".to_owned() } else { declared.join(", ") };
        format!(
            "the {} of container {} asks port {name:?}, which the container does not declare (declared names: {declared}); name a declared port or add the port with its number",
            self.probe,
            quoted(self.container.name)
        )
    }

    /// The exposed port of another probe of the container with the same handler and path.
    fn sibling_port(&self) -> Option<Value> {
        let path =
            |probe: &str| self.container.fields.get(probe)?.get(self.target.handler)?.get("path")?.as_str();
        let own = path(self.probe).filter(|path| *path != "/")?;
        let siblings = PROBES.into_iter().filter(|probe| *probe != self.probe && path(probe) == Some(own));
        let exposed = siblings.flat_map(|probe| {
            let missing = unexposed(self.container, probe);
            targets(self.container, probe).into_iter().filter(move |target| !missing.contains(target))
        });
        exposed
            .filter(|target| target.handler == self.target.handler)
            .map(|target| target.port.clone())
            .next()
    }

    fn ports_pointer(&self) -> Pointer {
        self.container.pointer.child("ports")
    }

    /// The container's ports as they are now; entries that are not maps count as empty ones.
    fn ports(&self, editor: &Editor) -> Vec<Map<String, Value>> {
        let list = editor.value(&self.ports_pointer()).and_then(Value::as_array);
        list.into_iter().flatten().map(|port| port.as_object().cloned().unwrap_or_default()).collect()
    }

    /// Declares a port as a TCP port, unless it is declared already.
    fn expose(&self, editor: &mut Editor, number: i64) -> Result<(), String> {
        let asks =
            || format!("the {} of container {} asks port {number}", self.probe, quoted(self.container.name));
        if !(1..=65535).contains(&number) {
            return Err(format!(
                "{}, which is no port number (1 to 65535); name the port it listens on",
                asks()
            ));
        }
        if number == SSH {
            return Err(format!("{}: SSH must not be exposed; probe another port", asks()));
        }
        let ports = self.ports(editor);
        let same_number = |port: &&Map<String, Value>| port.get("containerPort") == Some(&json!(number));
        if ports.iter().filter(same_number).any(is_tcp) {
            return Ok(());
        }
        self.check_host(editor, number)?;
        let port = if ports.iter().any(|port| same_number(&port)) {
            json!({"containerPort": number, "protocol": "TCP"})
        } else {
            json!({"containerPort": number})
        };
        editor.append(&self.ports_pointer(), port);
        Ok(())
    }

    /// On the host's network a declared port is one of the host's, and each of these is one container's.
    fn check_host(&self, editor: &Editor, number: i64) -> Result<(), String> {
        let pod = self.container.pointer.split_last().and_then(|(list, _)| list.split_last());
        let Some(pod) = pod.and_then(|(pod, _)| editor.value(&pod)?.as_object()) else { return Ok(()) };
        if pod.get("hostNetwork") != Some(&json!(true)) {
            return Ok(());
        }
        let containers = pod.get("containers").and_then(Value::as_array).into_iter().flatten();
        let Some(other) = containers.filter_map(Value::as_object).find(|it| takes_host_port(it, number))
        else {
            return Ok(());
        };
        Err(format!(
            "the {} of container {} asks port {number} of the host's network, which container {} takes; probe a port of its own",
            self.probe,
            quoted(self.container.name),
            quoted(text(other, "name"))
        ))
    }

    /// Sets the port of the probe.
    fn set_probe_port(&self, editor: &mut Editor, port: Value) {
        editor.set(&self.container.pointer.join(&[self.probe, self.target.handler, "port"]), port);
    }
}
