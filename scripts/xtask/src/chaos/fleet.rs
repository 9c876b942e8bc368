//! Processes under test: one coordinator, some workers behind links. Killed when dropped.

use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::link::{Bucket, Link};

/// Longest wait for a coordinator to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// File of a worker's token in the coordinator's state folder.
const WORKER_TOKEN: &str = "access/worker.token";

#[derive(Debug, Clone)]
pub(super) struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Those in `folder`.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        for name in ["coordinator", "worker", "analysis"] {
            let path = folder.join(name);
            ensure!(path.is_file(), "no {}: build it first (cargo build -p {name})", path.display());
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// A command of one of them, without settings from outside.
    pub(super) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        for (variable, _) in std::env::vars_os() {
            let text = variable.to_string_lossy();
            if text.starts_with("K8S_AUTO_FIX_") || text == "RUST_LOG" {
                command.env_remove(&variable);
            }
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs one of them to its end and gives what it printed.
    pub(super) fn output(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let output =
            self.command(name).args(arguments).output().with_context(|| format!("{name} does not start"))?;
        if !output.status.success() {
            bail!("{name} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// One coordinator and its workers.
#[derive(Debug)]
pub(super) struct Fleet {
    binaries: Binaries,
    address: SocketAddr,
    state: PathBuf,
    logs: PathBuf,
    coordinator: Option<Child>,
    workers: Vec<Worker>,
    /// What workers are started with besides: where their provider is called.
    settings: Vec<String>,
}

/// A place for a worker: its link stays, its processes come and go.
#[derive(Debug)]
struct Worker {
    link: Link,
    child: Option<Child>,
    /// Stands still on purpose.
    frozen: bool,
}

impl Fleet {
    /// Starts a coordinator with its state in `state`, and `workers` workers; what they say goes to `logs`.
    pub(super) fn start(
        binaries: &Binaries,
        state: &Path,
        logs: &Path,
        workers: usize,
        bucket: &Arc<Bucket>,
    ) -> Result<Self> {
        std::fs::create_dir_all(logs).context("the folder of the logs cannot be made")?;
        // Freed at once: the system does not assign the port to another process this soon.
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let workers = (0..workers)
            .map(|_| Ok(Worker { link: Link::open(address, bucket)?, child: None, frozen: false }))
            .collect::<Result<_>>()?;
        let mut fleet = Self {
            binaries: binaries.clone(),
            address,
            state: state.to_owned(),
            logs: logs.to_owned(),
            coordinator: None,
            workers,
            settings: Vec::new(),
        };
        fleet.start_coordinator()?;
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            ensure!(Instant::now() < until, "the coordinator does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(fleet)
    }

    /// Where its coordinator listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Workers that are started from now on call the provider `vllm` at `endpoint`.
    pub(super) fn call(&mut self, endpoint: &str) {
        self.settings = vec!["--set".to_owned(), format!("vllm.endpoint={endpoint}")];
    }

    /// The token of a worker.
    pub(super) fn worker_token(&self) -> Result<String> {
        let line = std::fs::read_to_string(self.state.join(WORKER_TOKEN))?;
        line.split_whitespace().nth(1).map(str::to_owned).context("the token file has no token")
    }

    /// How many workers there are, dead ones included.
    pub(super) fn size(&self) -> usize {
        self.workers.len()
    }

    /// The link of a worker.
    pub(super) fn link(&self, worker: usize) -> Option<&Link> {
        self.workers.get(worker).map(|worker| &worker.link)
    }

    /// Starts the coordinator unless it runs.
    pub(super) fn start_coordinator(&mut self) -> Result<()> {
        if self.coordinator.is_none() {
            let listen = self.address.to_string();
            let mut command = self.binaries.command("coordinator");
            command.args(["serve", "--listen", &listen, "--state"]).arg(&self.state);
            // It says which late commits it refuses.
            command.env("RUST_LOG", "info");
            self.coordinator = Some(spawn(command, &self.logs.join("coordinator.log"))?);
        }
        Ok(())
    }

    /// Starts a worker unless it runs. The coordinator has been started before: it makes the token.
    pub(super) fn start_worker(&mut self, worker: usize) -> Result<()> {
        if let Some(place) = self.workers.get_mut(worker)
            && place.child.is_none()
        {
            let mut command = self.binaries.command("worker");
            let name = format!("chaos-{worker}");
            command.args(["serve", "--slots", "1", "--name", &name, "--coordinator", &place.link.url()]);
            command.args(&self.settings);
            // The link is a proxy, which can prove nothing: the worker has to accept that, and sends a token.
            command.args(["--insecure", "--token-file"]).arg(self.state.join(WORKER_TOKEN));
            place.child = Some(spawn(command, &self.logs.join(format!("{name}.log")))?);
        }
        Ok(())
    }

    /// SIGKILL for the coordinator.
    pub(super) fn kill_coordinator(&mut self) {
        end(&mut self.coordinator);
    }

    /// SIGKILL for a worker.
    pub(super) fn kill_worker(&mut self, worker: usize) {
        if let Some(place) = self.workers.get_mut(worker) {
            end(&mut place.child);
        }
    }

    /// Stops the coordinator in its tracks, or lets it go on.
    pub(super) fn freeze_coordinator(&self, frozen: bool) -> Result<()> {
        self.coordinator.as_ref().map_or(Ok(()), |child| freeze(child, frozen))
    }

    /// Stops a worker in its tracks, or lets it go on.
    pub(super) fn freeze_worker(&mut self, worker: usize, frozen: bool) -> Result<()> {
        let Some(place) = self.workers.get_mut(worker) else { return Ok(()) };
        place.frozen = frozen;
        place.child.as_ref().map_or(Ok(()), |child| freeze(child, frozen))
    }

    /// Whether a worker stands still on purpose.
    pub(super) fn is_frozen(&self, worker: usize) -> bool {
        self.workers.get(worker).is_some_and(|place| place.frozen)
    }

    /// Processes that ended by themselves, with how; they count as dead from now on.
    pub(super) fn ended(&mut self) -> Vec<String> {
        let mut ended = Vec::new();
        let names = (0..self.workers.len()).map(|number| format!("worker chaos-{number}"));
        let children = self.workers.iter_mut().map(|place| &mut place.child);
        let all = names.zip(children).chain([("coordinator".to_owned(), &mut self.coordinator)]);
        for (name, child) in all {
            if let Some(Ok(Some(status))) = child.as_mut().map(Child::try_wait) {
                ended.push(format!("the {name} ended by itself: {status}"));
                *child = None;
            }
        }
        ended
    }

    /// How often `text` stands in the coordinator's log.
    pub(super) fn count_in_log(&self, text: &str) -> usize {
        let log = std::fs::read(self.logs.join("coordinator.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().filter(|line| line.contains(text)).count()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        end(&mut self.coordinator);
        for worker in &mut self.workers {
            end(&mut worker.child);
        }
    }
}

pub(super) fn spawn(mut command: Command, log: &Path) -> Result<Child> {
    let log: File = OpenOptions::new().create(true).append(true).open(log)?;
    let child = command.stdout(Stdio::null()).stderr(log).spawn();
    child.with_context(|| format!("{} does not start", command.get_program().display()))
}

/// SIGKILL, which also ends what is stopped.
pub(super) fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

pub(super) fn freeze(child: &Child, frozen: bool) -> Result<()> {
    send(child, if frozen { Signal::STOP } else { Signal::CONT })
}

/// SIGTERM.
pub(super) fn drain(child: &Child) -> Result<()> {
    send(child, Signal::TERM)
}

fn send(child: &Child, signal: Signal) -> Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process without a number")?;
    kill_process(pid, signal).context("cannot signal a process")
}
