//! Roles of peers, and which role a call needs.

use std::fmt;
use std::sync::Arc;

use super::connections::PeerConnection;
use crate::run::commit::Sender;

/// What a peer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Join, lease shards, ask for LLM calls, commit parts: service `Fleet`.
    Worker,
    /// Submit, cancel and remove runs, drain workers, reflection; and all of a viewer.
    Operator,
    /// Read runs and workers, metrics and the status page.
    Viewer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Worker, Self::Operator, Self::Viewer];

    /// Its name, as in token files and certificates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    /// The role of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Worker => 1,
            Self::Operator => 2,
            Self::Viewer => 4,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of roles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// Every role: of the coordinator's own user.
    pub fn all() -> Self {
        Role::ALL.into_iter().collect()
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a peer with these roles may do what `needed` may. An operator may do what a viewer may.
    pub fn allow(self, needed: Role) -> bool {
        let operator = needed == Role::Viewer && self.0 & Role::Operator.bit() != 0;
        self.0 & needed.bit() != 0 || operator
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |bits, role| bits | role.bit()))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            Role::ALL.into_iter().filter(|role| self.0 & role.bit() != 0).map(Role::as_str).collect();
        f.write_str(&names.join(", "))
    }
}

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address, for logs.
    pub(super) address: Arc<str>,
    /// The roles that its certificate or its user id proves; none where it has to send a token.
    pub(super) roles: Roles,
    /// Whether it is another process.
    pub(super) sender: Sender,
    /// Its connection among those that the limits count; none within this process.
    pub(super) connection: Option<PeerConnection>,
}

/// Who sends a request, by its extensions. What comes from this process came over no socket.
pub(super) fn sender(extensions: &tonic::codegen::http::Extensions) -> Sender {
    extensions.get::<Peer>().map_or(Sender::Peer, |peer| peer.sender)
}

/// The connection of a request among those that the limits count, by its extensions; none within this process.
pub(super) fn connection(extensions: &tonic::codegen::http::Extensions) -> Option<&PeerConnection> {
    extensions.get::<Peer>().and_then(|peer| peer.connection.as_ref())
}

/// The role that a call of the gRPC method at `path` needs; `None`: everyone may, which is health alone. What is not listed
/// needs an operator.
pub(super) fn needed(path: &str) -> Option<Role> {
    let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
    match (service, method) {
        ("grpc.health.v1.Health", _) => None,
        ("k8s_auto_fix.v1.Fleet", _) => Some(Role::Worker),
        ("k8s_auto_fix.v1.Runs", "Get" | "List" | "Watch" | "ListWorkers" | "Inventory") => {
            Some(Role::Viewer)
        }
        _ => Some(Role::Operator),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_protocol_needs_a_role() {
        use prost::Message as _;

        let set = prost_types::FileDescriptorSet::decode(proto::DESCRIPTOR).unwrap();
        let services = set.file.iter().flat_map(|file| &file.service);
        let listed: Vec<String> = services
            .flat_map(|service| service.method.iter().map(move |method| (service.name(), method.name())))
            .map(|(service, method)| {
                let role = needed(&format!("/k8s_auto_fix.v1.{service}/{method}")).unwrap();
                format!("{service}.{method}: {role}")
            })
            .collect();
        let expected = [
            "Fleet.Join: worker",
            "Fleet.Work: worker",
            "Fleet.CommitShard: worker",
            "Fleet.LlmCalls: worker",
            "Fleet.GetVerdicts: worker",
            "Fleet.PutVerdicts: worker",
            "Runs.Submit: operator",
            "Runs.Get: viewer",
            "Runs.List: viewer",
            "Runs.Watch: viewer",
            "Runs.Cancel: operator",
            "Runs.ListWorkers: viewer",
            "Runs.DrainWorker: operator",
            "Runs.Inventory: viewer",
            "Runs.Remove: operator",
        ];
        assert_eq!(listed, expected, "a new method: decide who may call it");
        for path in [
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/x",
            "",
            "/k8s_auto_fix.v1.New/Get",
        ] {
            assert_eq!(needed(path), Some(Role::Operator), "{path}");
        }
    }

    #[test]
    fn an_operator_is_a_viewer_and_no_worker() {
        let of = |role| Roles::from_iter([role]);
        for (has, needs, may) in [
            (Role::Operator, Role::Viewer, true),
            (Role::Operator, Role::Worker, false),
            (Role::Viewer, Role::Operator, false),
            (Role::Worker, Role::Viewer, false),
            (Role::Worker, Role::Worker, true),
        ] {
            assert_eq!(of(has).allow(needs), may, "{has} {needs}");
        }
        assert!(Role::ALL.into_iter().all(|role| Roles::all().allow(role) && !Roles::default().allow(role)));
        assert_eq!(Roles::all().to_string(), "worker, operator, viewer");
    }
}
