//! A PostgreSQL server for tests, unit tests and integration tests alike.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use domain::testing::skipped_optional;

/// A server; its processes end with it, or with this process.
#[derive(Debug)]
pub(crate) struct TestServer {
    folder: tempfile::TempDir,
    held: Child,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // The script stops the server when its input ends.
        drop(self.held.stdin.take());
        let _ = self.held.wait();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres")
}

/// Whether this machine has the programs; where not, the test says that it is skipped.
#[track_caller]
pub(crate) fn is_here() -> bool {
    let here = Command::new(script()).arg("path").output().is_ok_and(|found| found.status.success());
    if !here {
        skipped_optional("no PostgreSQL (scripts/postgres install)");
    }
    here
}

impl TestServer {
    /// Starts a server with these options (`NAME=VALUE`).
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::hold(tempfile::Builder::new().prefix("pg").tempdir().unwrap(), options)
    }

    /// Starts a standby of `primary`.
    #[allow(dead_code, reason = "not each of the two crates of tests needs it")]
    pub(crate) fn standby(primary: &Self) -> Self {
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let mut clone = Command::new(script());
        let ended = clone.arg("clone").args([folder.path(), primary.folder()]).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        Self::hold(folder, &[])
    }

    fn hold(folder: tempfile::TempDir, options: &[&str]) -> Self {
        let options = options.iter().flat_map(|option| ["-c", option]);
        let mut held = Command::new(script())
            .arg("hold")
            .arg(folder.path())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(held.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("postgres://"), "the server did not start");
        Self { folder, held }
    }

    /// Its URL on the socket in its folder.
    pub(crate) fn url(&self) -> String {
        format!("postgres://k8s_auto_fix@/postgres?host={}", self.folder.path().display())
    }

    /// Its folder.
    #[allow(dead_code, reason = "not each of the two crates of tests needs it")]
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills all its processes.
    pub(crate) fn crash(&self) {
        self.call("crash");
    }

    /// Starts it again.
    pub(crate) fn restart(&self) {
        self.call("start");
    }

    /// Makes a standby the primary.
    #[allow(dead_code, reason = "not each of the two crates of tests needs it")]
    pub(crate) fn promote(&self) {
        self.call("promote");
    }

    fn call(&self, command: &str) {
        let ended = Command::new(script()).arg(command).arg(self.folder.path()).output().unwrap();
        assert!(ended.status.success(), "{command}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}
