//! The binaries as processes, with signals.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use domain::testing::skipped;

/// Time limit of a step: longer than any takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A process; killed when dropped.
pub(crate) struct Process {
    child: Child,
    talk: Receiver<String>,
    /// Everything read from stderr so far.
    pub(crate) log: String,
}

/// How a process ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The `worker` binary beside the test; `None`, and the test is skipped, when it was not built.
#[track_caller]
pub(crate) fn worker_binary() -> Option<PathBuf> {
    let here = assert_cmd::cargo::cargo_bin!("coordinator");
    let path = here.with_file_name(format!("worker{}", std::env::consts::EXE_SUFFIX));
    if !path.is_file() {
        skipped(&format!("no {}; `cargo build -p worker` makes it", path.display()));
        return None;
    }
    Some(path)
}

impl Process {
    pub(crate) fn coordinator(arguments: &[impl AsRef<OsStr>]) -> Self {
        Self::start(assert_cmd::cargo::cargo_bin!("coordinator"), arguments)
    }

    pub(crate) fn start(binary: &Path, arguments: &[impl AsRef<OsStr>]) -> Self {
        Self::start_with(binary, arguments, &[])
    }

    /// Like [`Process::start`], with more environment variables.
    pub(crate) fn start_with(
        binary: &Path,
        arguments: &[impl AsRef<OsStr>],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(binary);
        for (name, _) in std::env::vars() {
            if name.starts_with("K8S_AUTO_FIX_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command.envs(environment.iter().copied());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (lines, talk) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, talk, log: String::new() }
    }

    /// Waits for a line on stderr with this text.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.talk.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.log.push_str(&line);
                    self.log.push('\n');
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("no {text:?} ({error}) after:\n{}", self.log),
            }
        }
    }

    /// Fails with the output of the process if it has ended by itself.
    pub(crate) fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            let rest: Vec<String> = self.talk.try_iter().collect();
            panic!("it ended with {status}; was it built with the rest?\n{}{}", self.log, rest.join("\n"));
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, e.g. `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let line = format!("kill -s {name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let mut stdout = String::new();
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "the process does not end; its output:\n{}", self.log);
            std::thread::sleep(Duration::from_millis(5));
        };
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        loop {
            match self.talk.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.log.push_str(&line);
                    self.log.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("stderr stays open"),
            }
        }
        Ended { status, stdout, stderr: std::mem::take(&mut self.log) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A serving coordinator with its state in `state`, and its address.
pub(crate) fn serve(state: &Path, more: &[&str]) -> (Process, String) {
    let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--state", state.to_str().unwrap()];
    arguments.extend(more);
    let mut process = Process::coordinator(&arguments);
    let line = process.wait_for("serving http://");
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    let url = url.trim_end_matches(',').to_owned();
    (process, url)
}
