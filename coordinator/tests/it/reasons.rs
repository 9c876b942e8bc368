//! Why a coordinator cannot be reached: one message and one remedy for each cause, for workers and clients alike.

use std::path::{Path, PathBuf};

use crate::access::{certificates, expire, tls_options};
use crate::process::{Process, serve, worker_binary};
use crate::support::coordinator;

/// Folders of certificates, the expired one of a coordinator, and the worker's program.
struct Scene {
    folder: tempfile::TempDir,
    worker: PathBuf,
}

impl Scene {
    #[track_caller]
    fn new() -> Option<Self> {
        let (folder, worker) = (tempfile::tempdir().unwrap(), worker_binary()?);
        let scene = Self { folder, worker };
        certificates(&scene.certs()).and(certificates(&scene.foreign()))?;
        Some(scene)
    }

    fn certs(&self) -> PathBuf {
        self.folder.path().join("certs")
    }

    fn foreign(&self) -> PathBuf {
        self.folder.path().join("foreign")
    }

    /// A coordinator that serves TLS with the certificate `name`, and its port.
    fn serve_tls(&self, name: &str, more: &[&str]) -> (Process, String) {
        let path = |end: &str| self.certs().join(format!("{name}{end}")).to_str().unwrap().to_owned();
        let state = self.folder.path().join(format!("state-{name}"));
        let (cert, key) = (path(".pem"), path(".key"));
        let mut arguments = vec!["serve", "--listen", "0.0.0.0:0", "--state", state.to_str().unwrap()];
        arguments.extend(["--tls-cert", &cert, "--tls-key", &key]);
        arguments.extend(more);
        let mut process = Process::coordinator(&arguments);
        let line = process.wait_for("serving https://");
        let url = line.split_whitespace().find(|word| word.starts_with("https://")).unwrap();
        (process, url.trim_end_matches(',').rsplit(':').next().unwrap().to_owned())
    }

    /// Checks that client and worker end with this message and this remedy. `role`: stands for `ROLE` in the remedy.
    fn both_end(&self, url: &str, options: &[String], message: &str, remedy: &str) {
        let client = ["status", "--from", url].into_iter().map(str::to_owned);
        let client = coordinator(&client.chain(options.iter().cloned()).collect::<Vec<_>>());
        let text = String::from_utf8_lossy(&client.stderr).into_owned();
        check(
            "coordinator",
            client.status.code(),
            &text,
            message,
            &remedy.replace("ROLE", "operator or viewer"),
        );
        let arguments = ["serve", "--coordinator", url].into_iter().map(str::to_owned);
        let arguments: Vec<String> = arguments.chain(options.iter().cloned()).collect();
        let worker = Process::start(&self.worker, &arguments).end();
        check("worker", worker.status.code(), &worker.stderr, message, &remedy.replace("ROLE", "worker"));
    }
}

#[track_caller]
fn check(program: &str, code: Option<i32>, text: &str, message: &str, remedy: &str) {
    assert_eq!(code, Some(2), "{text}");
    let line =
        text.lines().find(|line| line.starts_with(&format!("{program}: cannot reach the coordinator at ")));
    assert!(line.is_some_and(|line| line.contains(message)), "{message:?}: {text}");
    let hints: Vec<&str> = text.lines().filter(|line| line.starts_with("hint: ")).collect();
    assert!(hints.len() == 1 && hints[0].contains(remedy), "{remedy:?}: {text}");
}

#[test]
fn a_certificate_of_another_authority_or_name_and_no_own_certificate() {
    let Some(scene) = Scene::new() else { return };
    let (certs, foreign) = (scene.certs(), scene.foreign());
    let client_ca = certs.join("ca.pem");
    let (_process, port) = scene.serve_tls("coordinator", &["--client-ca", client_ca.to_str().unwrap()]);
    let url = format!("https://127.0.0.1:{port}");
    let not_signed = "its certificate is not signed by an authority of --tls-ca";
    scene.both_end(&url, &tls_options(&foreign, None), not_signed, "with --tls-ca");
    let other_name = format!("https://127.0.0.2:{port}");
    let not_for_it = "its certificate is not for the name of this address";
    scene.both_end(&other_name, &tls_options(&certs, None), not_for_it, "a name that is in the certificate");
    let none = "it asks for a certificate of this program, and none is given";
    scene.both_end(&url, &tls_options(&certs, None), none, "a certificate of the role ROLE");
    let refused = "it refuses the certificate of this program";
    let options = tls_options(&certs, Some((&foreign, "worker")));
    scene.both_end(&url, &options, refused, "a valid certificate of the role ROLE");
    let plain = "it speaks TLS, and the address is for plain text";
    scene.both_end(
        &url.replace("https", "http"),
        &["--insecure".to_owned()],
        plain,
        "use https:// with --tls-ca",
    );
}

#[test]
fn an_expired_certificate_and_a_port_without_tls() {
    let Some(scene) = Scene::new() else { return };
    expire(&scene.certs(), "coordinator", "IP:127.0.0.1");
    let (_late, port) = scene.serve_tls("late", &[]);
    let options = tls_options(&scene.certs(), None);
    let url = format!("https://127.0.0.1:{port}");
    scene.both_end(&url, &options, "its certificate has expired", "a new certificate");

    let (_plain, url) = serve(&scene.folder.path().join("plain"), &[]);
    scene.both_end(&url.replace("http", "https"), &options, "it does not speak TLS", "--insecure");
}

#[test]
fn a_worker_waits_for_a_coordinator_that_is_not_there_and_says_the_remedy() {
    let Some(worker) = worker_binary() else { return };
    let output = coordinator(&["status", "--from", "http://127.0.0.1:9", "--insecure"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    check("coordinator", output.status.code(), &text, "Connection refused", "is it running?");
    let mut worker = Process::start(&worker, &["serve", "--coordinator", "http://127.0.0.1:9", "--insecure"]);
    let line = worker.wait_for("cannot join the coordinator; retrying");
    assert!(line.contains("Connection refused") && line.contains("is it running?"), "{line}");
    worker.assert_alive();
}

/// The token of `role` of a coordinator with its state in `state`.
fn token(state: &Path, role: &str) -> Vec<String> {
    let file = state.join(format!("access/{role}.token"));
    vec!["--token-file".to_owned(), file.to_str().unwrap().to_owned()]
}

#[test]
fn a_worker_with_the_token_of_a_viewer_ends_and_names_the_role_that_it_needs() {
    let Some(scene) = Scene::new() else { return };
    let client_ca = scene.certs().join("ca.pem");
    let (_process, port) = scene.serve_tls("coordinator", &["--client-ca", client_ca.to_str().unwrap()]);
    let state = scene.folder.path().join("state-coordinator");
    let ends = |url: &str, options: Vec<String>, needed: [&str; 2]| {
        let arguments = ["serve", "--coordinator", url].into_iter().map(str::to_owned);
        let arguments: Vec<String> = arguments.chain(options).chain(token(&state, "viewer")).collect();
        let ended = Process::start(&scene.worker, &arguments).end();
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(needed.iter().all(|text| ended.stderr.contains(text)), "{needed:?}: {}", ended.stderr);
    };
    // The coordinator asks for a certificate first: here the worker tried again without end.
    let url = format!("https://127.0.0.1:{port}");
    let certificate = ["asks for a certificate of this program", "of the role worker"];
    ends(&url, tls_options(&scene.certs(), None), certificate);
    let role = ["needs the role worker; the caller has: viewer", "a proof of the role worker"];
    ends(&url, tls_options(&scene.certs(), Some((&scene.certs(), "worker"))), role);
}
