//! How etcd and kube-apiserver are started.

use std::path::Path;

/// The flags of kube-apiserver that decide verdicts: those of the recorded verdicts.
pub const FLAGS: [&str; 4] = [
    "--allow-privileged=true",
    "--disable-admission-plugins=ServiceAccount",
    "--authorization-mode=RBAC",
    "--service-cluster-ip-range=10.96.0.0/12,fd00::/108",
];

/// The arguments of etcd. It listens on sockets in our folder alone: it asks nobody for a password.
pub(super) fn etcd(folder: &Path) -> Vec<String> {
    let folder = folder.display();
    let (client, peer) = (format!("unix://{folder}/etcd.sock"), format!("unix://{folder}/peer.sock"));
    vec![
        "--name=default".to_owned(),
        format!("--data-dir={folder}/etcd"),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // A control plane that dies is started anew, not recovered.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}

/// The arguments of kube-apiserver.
pub(super) fn apiserver(folder: &Path, port: u16) -> Vec<String> {
    let folder = folder.display();
    let mut arguments: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
    arguments.extend([
        format!("--etcd-servers=unix://{folder}/etcd.sock"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        // Otherwise it looks for an address of a network card, and ends where there is none.
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--cert-dir={folder}/certs"),
        format!("--token-auth-file={folder}/tokens.csv"),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={folder}/service-accounts.pub"),
        format!("--service-account-signing-key-file={folder}/service-accounts.key"),
        "--profiling=false".to_owned(),
    ]);
    arguments
}
