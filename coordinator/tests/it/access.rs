//! Who may do what: every way in without a right to it is refused, with a reason.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use bytes::Bytes;
use domain::testing::skipped;
use proto::channel::{Access, CoordinatorAddress, connect, fleet_client, runs_client};
use proto::convert::LeaseKey;
use proto::secret::SharedSecret;
use proto::status::ErrorReason;
use proto::v1;
use proto::v1::llm_calls_request::Message as ToGateway;
use proto::v1::work_request::Message as ToCoordinator;
use tonic::{Code, Request, Status};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

use crate::fleet::{TestWorker, serve_a_run_leased};
use crate::process::{Process, serve, worker_binary};
use crate::support::{Served, address, connection, coordinator, detections, run};

/// The options of a program with the token of `role` in the state folder.
fn with_token(state: &Path, role: &str) -> Access {
    Access { token_file: Some(state.join(format!("access/{role}.token"))), ..Access::default() }
}

fn join() -> v1::JoinRequest {
    v1::JoinRequest {
        protocol_version: proto::PROTOCOL_VERSION,
        version: String::new(),
        worker: "w".to_owned(),
        slots: 1,
    }
}

/// How a program with these options ends when it reads, acts as an operator, joins as a worker, and asks for reflection.
async fn attempts(url: &str, access: &Access) -> [Result<(), Status>; 4] {
    let connection = connect(&CoordinatorAddress::parse(url, access).unwrap());
    let mut runs = runs_client(connection.clone());
    let list = runs.list(v1::ListRequest {}).await.map(drop);
    let cancel = runs.cancel(v1::CancelRequest { run_id: "none".to_owned() }).await.map(drop);
    // With the role the call is admitted: the error is that the run does not exist.
    let cancel = match cancel {
        Err(status) if ErrorReason::of(&status) == Some(ErrorReason::UnknownRun) => Ok(()),
        other => other,
    };
    let joined = fleet_client(connection.clone()).join(join()).await.map(drop);
    let request = tokio_stream::iter([ServerReflectionRequest::default()]);
    let reflected = ServerReflectionClient::new(connection).server_reflection_info(request).await.map(drop);
    [list, cancel, joined, reflected]
}

fn codes(attempts: &[Result<(), Status>; 4]) -> [Code; 4] {
    attempts.each_ref().map(|attempt| attempt.as_ref().map_or_else(Status::code, |()| Code::Ok))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_may_do_its_own_and_is_told_the_needed_one() {
    use Code::{Ok as Yes, PermissionDenied as No};

    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (process, url) = serve(&state, &[]);
    for (role, expected) in
        [("viewer", [Yes, No, No, No]), ("operator", [Yes, Yes, No, Yes]), ("worker", [No, No, Yes, No])]
    {
        let attempts = attempts(&url, &with_token(&state, role)).await;
        assert_eq!(codes(&attempts), expected, "{role}: {attempts:?}");
        for (attempt, needed) in attempts.iter().zip(["viewer", "operator", "worker", "operator"]) {
            let Err(status) = attempt else { continue };
            assert_eq!(ErrorReason::of(status), Some(ErrorReason::PermissionDenied));
            let text = format!("needs the role {needed}; the caller has: {role}");
            assert!(status.message().contains(&text), "{status}");
        }
    }
    // The same user needs no token.
    assert_eq!(codes(&attempts(&url, &Access::default()).await), [Yes; 4]);

    // Whoever comes to the port has proved nothing.
    let plain = Access { insecure: true, ..Access::default() };
    let refused = attempts(&url, &plain).await;
    assert_eq!(codes(&refused), [Code::Unauthenticated; 4]);
    let text = refused[0].as_ref().unwrap_err().message();
    assert!(text.contains("no proof was sent") && text.contains("--token-file"), "{text}");
    let mut health = tonic_health::pb::health_client::HealthClient::new(connect(
        &CoordinatorAddress::parse(&url, &plain).unwrap(),
    ));
    assert!(health.check(tonic_health::pb::HealthCheckRequest::default()).await.is_ok());
    let token = Access { insecure: true, ..with_token(&state, "operator") };
    assert_eq!(codes(&attempts(&url, &token).await), [Yes, Yes, No, Yes]);

    let unknown = folder.path().join("unknown");
    std::fs::write(&unknown, "operator 0123456789abcdef\n").unwrap();
    let unknown = Access { token_file: Some(unknown), ..Access::default() };
    let refused = attempts(&url, &unknown).await;
    assert_eq!(codes(&refused), [Code::Unauthenticated; 4], "not even the same user, with a wrong token");
    let text = refused[1].as_ref().unwrap_err().message();
    assert!(text.contains("the token is not known") && !text.contains("0123456789"), "{text}");

    process.signal("INT");
    let ended = process.end();
    assert!(ended.stderr.contains("refused a peer"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("0123456789abcdef"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_sends_no_version_is_told_to_install_the_same_release() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(folder.path(), "r").await;
    let channel = tonic::transport::Endpoint::from_shared(served.url.clone()).unwrap().connect_lazy();
    let refused = v1::fleet_client::FleetClient::new(channel).join(join()).await.unwrap_err();
    assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::VersionMismatch));
    let text = refused.message();
    assert!(
        text.contains("protocol 4 or older") && text.contains("protocol 5") && text.contains("same release"),
        "{text}"
    );
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_cannot_act_for_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let limits = coordinator::server::stream_limits::StreamLimits::default();
    let (served, mut client, run_id) = serve_a_run_leased(folder.path(), limits, 300).await;
    let mut victim = TestWorker::join(&served.url, "victim").await;
    let held = victim.lease().await;
    assert_eq!(client.status(&run_id).await.unwrap().leased, 1);

    // Run, shard and fencing token are easy to guess; the lease's secret is not.
    let guesses =
        [LeaseKey::from(&held.lease), LeaseKey { secret: SharedSecret::new([7; 16]), ..held.key.clone() }];
    for guess in guesses {
        for failed in [true, false] {
            let mut attacker = TestWorker::join(&served.url, "attacker").await;
            let release = v1::ReleaseLeases { leases: vec![guess.clone().into()], failed };
            attacker.send(ToCoordinator::ReleaseLeases(release)).await;
            let refused = attacker.end().await;
            assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::PermissionDenied), "{refused}");
        }
        let mut attacker = TestWorker::join(&served.url, "attacker").await;
        let mut forged = held.clone();
        (forged.key, forged.session) = (guess, attacker.session.clone());
        assert_eq!(attacker.renew(&forged).await.lost.len(), 1);
        let name = attacker.name.clone();
        forged.lease.worker = domain::ids::WorkerName::new(name).unwrap();
        let refused = attacker.commit_bytes(&forged, Bytes::from_static(b"the part")).await.unwrap_err();
        assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::PermissionDenied), "{refused}");
    }

    // Another worker's name with an own session, an old one, or none.
    let attacker = TestWorker::join(&served.url, "attacker").await;
    for session in [attacker.session.clone(), vec![0; 16], Vec::new()] {
        let open =
            v1::LlmCallsOpen { worker: "victim".to_owned(), session: session.clone(), resume: Vec::new() };
        let open = v1::LlmCallsRequest { message: Some(ToGateway::Open(open)) };
        let mut fleet = fleet_client(connection(&served.url));
        let mut calls = fleet.llm_calls(tokio_stream::iter([open])).await.unwrap().into_inner();
        let refused = calls.message().await.unwrap_err();
        assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::UnknownSession), "{refused}");

        let open = v1::Open {
            worker: "victim".to_owned(),
            slots: 1,
            session: session.clone(),
            ..v1::Open::default()
        };
        let open = v1::WorkRequest { message: Some(ToCoordinator::Open(open)) };
        let mut work = fleet.work(tokio_stream::iter([open])).await.unwrap().into_inner();
        let refused = work.message().await.unwrap_err();
        assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::UnknownSession), "{refused}");

        let mut foreign = held.clone();
        foreign.session = session;
        let refused = attacker.commit_bytes(&foreign, Bytes::from_static(b"the part")).await.unwrap_err();
        assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::UnknownSession), "{refused}");
    }

    assert_eq!(victim.renew(&held).await.renewed.len(), 1, "the lease is where it was");
    let status = client.status(&run_id).await.unwrap();
    assert_eq!((status.leased, status.committed), (1, 0));
    assert!(!victim.commit(&held).await.unwrap());
    served.stop().await;
}

/// A copy of the coordinator's program that any user can run.
fn program_for_all(folder: &Path) -> PathBuf {
    let program = folder.join("coordinator");
    std::fs::copy(assert_cmd::cargo::cargo_bin!("coordinator"), &program).unwrap();
    for path in [folder, &program] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    program
}

#[test]
fn another_user_gets_in_neither_by_the_socket_nor_by_the_port() {
    const OTHER: u32 = 65534;

    if proto::channel::local_socket::own_uid() != 0 {
        skipped("only root can start a program as another user");
        return;
    }
    let (folder, open) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = program_for_all(open.path());
    let state = folder.path().join("state");
    // The folder of the state can be entered: what protects the tokens is their own folder.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (_process, url) = serve(&state, &[]);
    let as_other = |more: &[&str]| -> Output {
        let mut command = Command::new(&program);
        command.args(["cancel", "r", "--from", &url]).args(more).uid(OTHER).gid(OTHER).current_dir("/");
        command.output().unwrap()
    };
    let token = state.join("access/operator.token");
    for (more, needed) in [
        (&[] as &[&str], "no coordinator of this user"),
        (&["--insecure"], "no proof was sent"),
        (&["--insecure", "--token-file", token.to_str().unwrap()], "cannot read the token file"),
    ] {
        let output = as_other(more);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        // Root's runtime folder belongs to root, so a user that is pointed there is refused by name.
        let refused = text.contains(needed) || (more.is_empty() && text.contains("ermission denied"));
        assert!(output.status.code() == Some(2) && refused, "{more:?}: {text}");
    }
    let own = coordinator(&["status", "--from", &url]);
    assert!(own.status.success(), "{}", String::from_utf8_lossy(&own.stderr));
}

#[test]
fn whoever_takes_the_port_of_an_ended_coordinator_hears_nothing_of_its_workers() {
    let Some(worker) = worker_binary() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (process, url) = serve(&folder.path().join("state"), &[]);
    let mut worker = Process::start(&worker, &["serve", "--coordinator", &url, "-v"]);
    worker.wait_for("joined");
    process.signal("KILL");
    drop(process);
    let taken = std::net::TcpListener::bind(url.trim_start_matches("http://")).unwrap();
    taken.set_nonblocking(true).unwrap();
    worker.wait_for("cannot join the coordinator");
    std::thread::sleep(Duration::from_secs(3));
    assert!(taken.accept().is_err(), "the worker came to the port");
    worker.assert_alive();
}

#[test]
fn a_run_of_one_process_listens_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let (corpus, out) = (folder.path().join("detections.json"), folder.path().join("out"));
    detections(&corpus, 20_000);
    let arguments =
        ["run", "--corpus", corpus.to_str().unwrap(), "--out", out.to_str().unwrap(), "--run-id", "r", "-v"];
    let mut process = Process::coordinator(&arguments);
    process.wait_for("a worker joined");
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{}/fd", process.id()))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
        .collect();
    let mut listening = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6", "/proc/net/unix"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            // The state LISTEN of TCP, or the flag of a listening Unix socket; the inode of the socket.
            let inode = match table {
                "/proc/net/unix" => words.get(6).filter(|_| words.get(3) == Some(&"00010000")),
                _ => words.get(9).filter(|_| words.get(3) == Some(&"0A")),
            };
            listening.extend(
                inode.filter(|inode| sockets.iter().any(|own| own == *inode)).map(|_| line.to_owned()),
            );
        }
    }
    assert!(listening.is_empty(), "{listening:?}");
    process.assert_alive();
}

#[test]
fn tokens_are_reloaded_on_sighup_and_a_broken_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    std::fs::write(&file, "viewer the-first-token-0001\n").unwrap();
    let (mut process, url) = serve(&folder.path().join("state"), &["--token-file", file.to_str().unwrap()]);
    let enters = |token: &str| {
        let sent = folder.path().join("sent");
        std::fs::write(&sent, format!("viewer {token}\n")).unwrap();
        let output = coordinator(&["status", "--from", &url, "--token-file", sent.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || text.contains("the token is not known"), "{text}");
        assert!(!text.contains(token), "{text}");
        output.status.success()
    };
    assert!(enters("the-first-token-0001") && !enters("the-second-token-002"));
    std::fs::write(&file, "viewer the-second-token-002\n").unwrap();
    process.signal("HUP");
    process.wait_for("were reloaded");
    assert!(!enters("the-first-token-0001") && enters("the-second-token-002"));
    std::fs::write(&file, "viewer\n").unwrap();
    process.signal("HUP");
    let line = process.wait_for("stay as they were");
    assert!(line.contains("tokens:1"), "{line}");
    assert!(enters("the-second-token-002"));
}

/// Certificates of a new authority; `None`, and the test is skipped, without the openssl command.
#[track_caller]
pub(crate) fn certificates(folder: &Path) -> Option<()> {
    if Command::new("openssl").arg("version").output().is_err() {
        skipped("no openssl command");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/certs");
    let output = Command::new(script).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

/// Makes an expired certificate `late` with the key of `of` and this alternative name.
pub(crate) fn expire(certs: &Path, of: &str, name: &str) {
    let script = format!(
        "openssl req -new -key {of}.key -subj /CN=late -out late.csr && printf 'subjectAltName={name}' > late.ext && \
         openssl x509 -req -in late.csr -CA ca.pem -CAkey ca.key -days -1 -extfile late.ext -out late.pem && \
         cp {of}.key late.key"
    );
    let output = Command::new("sh").args(["-c", &script]).current_dir(certs).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Options of a program with a certificate of `certs`, which trusts the authority of `trusted`.
pub(crate) fn tls_options(trusted: &Path, own: Option<(&Path, &str)>) -> Vec<String> {
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let mut options = vec!["--tls-ca".to_owned(), text(trusted.join("ca.pem"))];
    if let Some((certs, name)) = own {
        options.extend(["--tls-cert".to_owned(), text(certs.join(format!("{name}.pem")))]);
        options.extend(["--tls-key".to_owned(), text(certs.join(format!("{name}.key")))]);
    }
    options
}

#[test]
#[expect(clippy::too_many_lines, reason = "one fleet, and each peer that it refuses")]
fn a_fleet_with_mtls_gives_the_same_rows_and_refuses_others() {
    let Some(worker) = worker_binary() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (certs, foreign) = (folder.path().join("certs"), folder.path().join("foreign"));
    if certificates(&certs).and(certificates(&foreign)).is_none() {
        return;
    }
    expire(&certs, "worker", "URI:urn:k8s-auto-fix:role:worker");
    let corpus = folder.path().join("detections.json");
    detections(&corpus, 300);
    let expected = run(&corpus, &folder.path().join("out"), &["--run-id", "r"])["fingerprint"].clone();

    let path = |name: &str| certs.join(name).to_str().unwrap().to_owned();
    let state = folder.path().join("state");
    let arguments: Vec<String> = ["serve", "--listen", "127.0.0.1:0", "--state", state.to_str().unwrap()]
        .into_iter()
        .map(str::to_owned)
        .chain([
            "--tls-cert".to_owned(),
            path("coordinator.pem"),
            "--tls-key".to_owned(),
            path("coordinator.key"),
        ])
        .chain(["--client-ca".to_owned(), path("ca.pem")])
        .collect();
    let mut process = Process::coordinator(&arguments);
    let line = process.wait_for("serving https://");
    let url =
        line.split_whitespace().find(|word| word.starts_with("https://")).unwrap().trim_end_matches(',');

    let options = tls_options(&certs, Some((&certs, "worker")));
    let worker_arguments: Vec<String> =
        ["serve", "--coordinator", url].into_iter().map(str::to_owned).chain(options).collect();
    let _workers = [Process::start(&worker, &worker_arguments), Process::start(&worker, &worker_arguments)];
    let submit =
        ["submit", "--to", url, "--corpus", corpus.to_str().unwrap(), "--run-id", "r", "--shard-size", "7"];
    let options = tls_options(&certs, Some((&certs, "operator")));
    let submit: Vec<String> =
        submit.into_iter().chain(["--wait", "--output", "json"]).map(str::to_owned).chain(options).collect();
    let output = coordinator(&submit);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["fingerprint"], expected);

    // What the program says, and what the coordinator logs: of a refusal in the handshake a client may only see the end.
    for (options, said, logged) in [
        (tls_options(&certs, Some((&certs, "viewer"))), None, None),
        (
            tls_options(&certs, Some((&certs, "worker"))),
            Some("needs the role viewer; the caller has: worker"),
            None,
        ),
        (
            tls_options(&certs, None),
            Some("it asks for a certificate of this program"),
            Some("peer sent no certificates"),
        ),
        (
            tls_options(&certs, Some((&certs, "late"))),
            Some("it refuses the certificate of this program (CertificateExpired)"),
            Some("invalid peer certificate: Expired"),
        ),
        (
            tls_options(&certs, Some((&foreign, "viewer"))),
            Some("it refuses the certificate of this program"),
            Some("invalid peer certificate"),
        ),
        (tls_options(&foreign, Some((&certs, "viewer"))), Some("invalid peer certificate"), None),
    ] {
        // The log has a line a second.
        std::thread::sleep(Duration::from_millis(1100));
        let arguments: Vec<String> =
            ["status", "--from", url].into_iter().map(str::to_owned).chain(options).collect();
        let output = coordinator(&arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        match said {
            None => assert!(output.status.success(), "{text}"),
            Some(said) => {
                assert!(output.status.code() == Some(2) && text.contains(said), "{arguments:?}: {text}");
            }
        }
        if let Some(logged) = logged {
            process.wait_for(logged);
        }
    }
    // Plain text to a port with TLS.
    let plain = url.replace("https", "http");
    let output = coordinator(&["status", "--from", &plain, "--insecure"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("warning: "));
    let cut =
        Process::coordinator(&["serve", "--listen", "0.0.0.0:0", "--state", state.to_str().unwrap()]).end();
    assert!(cut.stderr.contains("--tls-cert") && cut.stderr.contains("--insecure"), "{}", cut.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_health_of_a_coordinator_is_open_and_nothing_else_is_without_a_proof() {
    let folder = tempfile::tempdir().unwrap();
    let (_process, url) = serve(&folder.path().join("state"), &[]);
    let channel = tonic::transport::Endpoint::from_shared(url).unwrap().connect_lazy();
    let mut runs = v1::runs_client::RunsClient::new(channel.clone());
    let refused = runs.list(v1::ListRequest {}).await.unwrap_err();
    assert_eq!(ErrorReason::of(&refused), Some(ErrorReason::Unauthenticated), "{refused}");
    // Other forms of the header are no proof, either.
    for value in ["Basic 0123456789abcdef", "Bearer ", "bearer x"] {
        let mut request = Request::new(v1::ListRequest {});
        request.metadata_mut().insert("authorization", value.parse().unwrap());
        assert_eq!(runs.list(request).await.unwrap_err().code(), Code::Unauthenticated, "{value}");
    }
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    assert!(health.check(tonic_health::pb::HealthCheckRequest::default()).await.is_ok());
}

#[test]
fn the_address_of_a_socket_is_the_same_coordinator() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("c.sock");
    let listen = format!("unix:{}", socket.display());
    let state = folder.path().join("state");
    let mut process =
        Process::coordinator(&["serve", "--listen", &listen, "--state", state.to_str().unwrap()]);
    process.wait_for("serving unix:");
    assert!(address(&listen).to_string().starts_with("unix:"));
    let output = coordinator(&["status", "--from", &listen]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    process.signal("INT");
    assert_eq!(process.end().status.code(), Some(130));
    assert!(!socket.exists(), "the socket is deleted at the end");
}
