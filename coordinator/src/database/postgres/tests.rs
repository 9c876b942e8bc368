//! Sessions over the network: TLS and passwords, on a real server.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::time::Instant;

use super::testing::{TestServer, is_here};
use super::{Engine, EngineAddress, Trust};
use crate::database::Trouble;

/// A server that takes TCP with TLS, and the folder of its certificates.
async fn server_with_tls() -> (TestServer, u16, PathBuf) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = TestServer::start(&["listen_addresses=127.0.0.1", &format!("port={port}")]);
    let certs = server.folder().join("certs");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/certs");
    assert!(Command::new(script).arg(&certs).output().unwrap().status.success());
    let owner = server.folder().metadata().unwrap();
    std::fs::set_permissions(&certs, std::fs::Permissions::from_mode(0o755)).unwrap();
    for file in ["coordinator.pem", "coordinator.key"] {
        chown(certs.join(file), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let socket = format!("{}&port={port}", server.url());
    let admin = Engine::new(EngineAddress::of_url(&socket, None).unwrap(), Trust::in_memory(false));
    let admin = admin.open(Instant::now()).await.unwrap();
    for statement in [
        "ALTER ROLE k8s_auto_fix PASSWORD 'geheim'",
        &format!("ALTER SYSTEM SET ssl_cert_file = '{}/coordinator.pem'", certs.display()),
        &format!("ALTER SYSTEM SET ssl_key_file = '{}/coordinator.key'", certs.display()),
        "ALTER SYSTEM SET ssl = on",
        "SELECT pg_reload_conf()",
    ] {
        admin.client.batch_execute(statement).await.unwrap();
    }
    (server, port, certs)
}

#[tokio::test]
async fn tls_is_checked_and_a_password_is_never_told() {
    if !is_here() {
        return;
    }
    let (server, port, certs) = server_with_tls().await;
    let engine = |password: &str, ca: &str| {
        let file = server.folder().join("uri");
        std::fs::write(&file, format!("postgres://k8s_auto_fix:{password}@127.0.0.1:{port}/postgres"))
            .unwrap();
        let address = EngineAddress::of_file(&file, Some(&certs.join(ca))).unwrap();
        Engine::new(address, Trust::in_memory(false))
    };
    // The server takes the new configuration in a moment.
    let session =
        engine("geheim", "ca.pem").open(Instant::now() + std::time::Duration::from_secs(10)).await.unwrap();
    let query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert!(session.client.query_one(query, &[]).await.unwrap().get::<_, bool>(0), "it is not encrypted");

    let wrong = engine("falsch", "ca.pem").open(Instant::now()).await.unwrap_err();
    let Trouble::Unusable(reason) = wrong else { panic!("{wrong:?}") };
    assert!(reason.contains("password") && !reason.contains("falsch"), "{reason}");

    let stranger = engine("geheim", "worker.pem").open(Instant::now()).await.unwrap_err();
    assert!(format!("{stranger:?}").contains("certificate"), "{stranger:?}");
}
