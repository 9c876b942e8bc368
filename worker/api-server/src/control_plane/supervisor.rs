//! The process that starts etcd and kube-apiserver, and outlives us just long enough to end them.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::log_tail::LogTail;
use super::scratch::Scratch;
use super::{flags, keys};

/// First argument of a supervisor.
pub(super) const SUPERVISOR: &str = "__control-plane-supervisor";
/// First argument of a process that is about to become etcd or kube-apiserver.
const CHILD: &str = "__control-plane-child";
/// Between two looks at the children.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of a job.
const JOB_BYTES: u64 = 64 << 10;

/// What a supervisor is told on its standard input, in one line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) kube_apiserver: PathBuf,
    pub(super) etcd: PathBuf,
}

/// What it says on its standard output, one a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// Both programs run. `folder` has the file `kubeconfig`.
    Started { folder: PathBuf },
    /// It ends, and what it started has ended.
    Ended { why: String },
}

/// Runs this process as a part of a control plane if its arguments say so, and gives its exit code. Call it first in the
/// `main` of a program that uses [`super::ControlPlane`]: that starts the program anew for it.
pub fn supervise() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    if first == SUPERVISOR {
        Some(run())
    } else if first == CHILD {
        Some(become_child(arguments))
    } else {
        None
    }
}

fn run() -> ExitCode {
    // Ctrl-C of a terminal is for who uses the control plane: it ends us when it is done.
    let _ = rustix::process::setsid();
    let why = match start() {
        Ok(why) => why,
        Err(error) => error.to_string(),
    };
    say(&Event::Ended { why });
    ExitCode::SUCCESS
}

/// Whoever listened may be gone.
fn say(event: &Event) {
    if let Ok(line) = serde_json::to_string(event) {
        let _ = writeln!(io::stdout(), "{line}");
        let _ = io::stdout().flush();
    }
}

/// Starts both, until one ends or our standard input is closed. Returns what happened when both have ended.
fn start() -> io::Result<String> {
    let mut line = String::new();
    let mut input = BufReader::new(io::stdin());
    input.by_ref().take(JOB_BYTES).read_line(&mut line)?;
    let job: Job = serde_json::from_str(&line).map_err(io::Error::other)?;
    let scratch = Scratch::make().map_err(|error| named("cannot make a folder", &error))?;
    let port = free_port()?;
    write_secrets(&scratch, port).map_err(|error| named("cannot write the keys", &error))?;
    let mut pair = Pair::default();
    pair.etcd = Some(Program::start("etcd", &job.etcd, &flags::etcd(scratch.path()))?);
    let arguments = flags::apiserver(scratch.path(), port);
    pair.apiserver = Some(Program::start("kube-apiserver", &job.kube_apiserver, &arguments)?);
    let (closed, close) = channel::<()>();
    thread::spawn(move || {
        // Nothing more is said to us; the end is all that counts.
        let _ = io::copy(&mut input, &mut io::sink());
        drop(closed);
    });
    say(&Event::Started { folder: scratch.path().to_owned() });
    let why = pair.watch(&close);
    pair.end();
    drop(scratch);
    Ok(why)
}

fn named(what: &str, error: &io::Error) -> io::Error {
    io::Error::other(format!("{what}: {error}"))
}

/// A port that is free now. kube-apiserver binds it a moment later, and says so where another process was faster.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn write_secrets(scratch: &Scratch, port: u16) -> io::Result<()> {
    let token = keys::token()?;
    let (private, public) = keys::signing_keys()?;
    scratch.write("service-accounts.key", &private)?;
    scratch.write("service-accounts.pub", &public)?;
    scratch.write("tokens.csv", &format!("{token},k8s-auto-fix,k8s-auto-fix,\"system:masters\"\n"))?;
    // JSON is YAML.
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "throw-away",
        "clusters": [{"name": "throw-away", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": scratch.path().join("certs/apiserver.crt"),
        }}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "throw-away", "context": {"cluster": "throw-away", "user": "admin"}}],
    });
    scratch.write("kubeconfig", &kubeconfig.to_string())
}

/// Both programs. *Invariant*: dropping it ends them, the server before its database.
#[derive(Default)]
struct Pair {
    apiserver: Option<Program>,
    etcd: Option<Program>,
}

impl Pair {
    /// Waits until one of them ends, or `close` is closed.
    fn watch(&mut self, close: &Receiver<()>) -> String {
        loop {
            match close.recv_timeout(LOOK) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return self.told_to_end(),
            }
            // The server ends when its database does: the database first, for the cause.
            for program in [&mut self.etcd, &mut self.apiserver].into_iter().flatten() {
                if let Some(why) = program.ended() {
                    return why;
                }
            }
        }
    }

    fn told_to_end(&self) -> String {
        let log = self.apiserver.as_ref().map(Program::log).unwrap_or_default();
        format!("it was told to end{log}")
    }

    fn end(&mut self) {
        self.apiserver = None;
        self.etcd = None;
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.end();
    }
}

struct Program {
    name: &'static str,
    child: Child,
    tail: LogTail,
}

impl Program {
    /// Starts a program by way of this one: it asks the kernel to be killed with us before it becomes `path`.
    fn start(name: &'static str, path: &Path, arguments: &[String]) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(CHILD)
            .arg(std::process::id().to_string())
            .arg(path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| named(&format!("cannot start {name}"), &error))?;
        let tail = LogTail::default();
        if let Some(output) = child.stdout.take() {
            tail.follow(output);
        }
        if let Some(output) = child.stderr.take() {
            tail.follow(output);
        }
        Ok(Self { name, child, tail })
    }

    /// How it ended, with its last words.
    fn ended(&mut self) -> Option<String> {
        let how = match self.child.try_wait() {
            Ok(None) => return None,
            Ok(Some(status)) => words(status),
            Err(error) => error.to_string(),
        };
        // Its last lines may be on their way.
        thread::sleep(LOOK);
        Some(format!("{} ended ({how}){}", self.name, self.log()))
    }

    /// Its last lines, as a text to add to a message.
    fn log(&self) -> String {
        let lines = self.tail.lines();
        if lines.is_empty() {
            String::new()
        } else {
            format!("; {}'s last lines:\n{}", self.name, lines.join("\n"))
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

/// Becomes another program that is killed when our parent is. Returns where it cannot.
fn become_child(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parent = arguments.next().and_then(|number| number.to_str()?.parse::<i32>().ok());
    let Some(program) = arguments.next() else { return ExitCode::from(2) };
    die_with_parent();
    // It may have been killed before the kernel was asked.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if now != parent {
        return ExitCode::from(2);
    }
    let error = Command::new(&program).args(arguments).exec();
    let _ = writeln!(io::stderr(), "cannot run {}: {error}", program.display());
    ExitCode::from(2)
}

/// Elsewhere the supervisor alone ends its children, unless it is killed.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn die_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn die_with_parent() {}
