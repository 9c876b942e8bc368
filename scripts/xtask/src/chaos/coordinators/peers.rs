//! Several coordinators and their workers as processes. Killed when dropped.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::chaos::fleet::{Binaries, drain, end, freeze, spawn};
use crate::chaos::link::{Bucket, Link};

/// The token of the workers.
const TOKEN: &str = "worker 0123456789abcdef0123456789abcdef\n";

/// The processes.
#[derive(Debug)]
pub(super) struct Peers {
    binaries: Binaries,
    scratch: PathBuf,
    engine_url: String,
    more: Vec<String>,
    coordinators: Vec<Peer>,
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    child: Option<Child>,
    /// It stands still, or was told to end: it is not the owner that is waited for.
    is_out: bool,
}

#[derive(Debug)]
struct Worker {
    /// One to each coordinator.
    links: Vec<Link>,
    child: Option<Child>,
    /// What it is started with besides.
    settings: Vec<String>,
}

impl Peers {
    /// Starts the coordinators. `more`: further arguments of each.
    pub(super) fn start(
        binaries: &Binaries,
        scratch: &Path,
        engine_url: String,
        more: &[&str],
        (coordinators, workers): (usize, usize),
        bucket: &Arc<Bucket>,
    ) -> Result<Self> {
        std::fs::create_dir_all(scratch.join("logs")).context("the folder of the logs cannot be made")?;
        std::fs::write(scratch.join("token"), TOKEN)?;
        // Freed at once: the system does not assign the port to another process this soon.
        let addresses = (0..coordinators)
            .map(|_| Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?))
            .collect::<Result<Vec<_>>>()?;
        let links =
            || addresses.iter().map(|address| Link::open(*address, bucket)).collect::<Result<Vec<_>>>();
        let workers = (0..workers)
            .map(|_| Ok(Worker { links: links()?, child: None, settings: Vec::new() }))
            .collect::<Result<_>>()?;
        let coordinators =
            addresses.iter().map(|address| Peer { address: *address, child: None, is_out: false }).collect();
        let mut peers = Self {
            binaries: binaries.clone(),
            scratch: scratch.to_owned(),
            engine_url,
            more: more.iter().map(|text| (*text).to_owned()).collect(),
            coordinators,
            workers,
        };
        (0..peers.coordinators.len()).try_for_each(|peer| peers.start_coordinator(peer))?;
        Ok(peers)
    }

    /// The addresses of all coordinators, as clients are given them.
    pub(super) fn url(&self) -> String {
        let urls: Vec<String> =
            self.coordinators.iter().map(|peer| format!("http://{}", peer.address)).collect();
        urls.join(",")
    }

    /// Where the results are.
    pub(super) fn results(&self) -> PathBuf {
        self.scratch.join("results")
    }

    /// Workers that are started from now on call the provider `vllm` at `endpoint`.
    pub(super) fn call(&mut self, endpoint: &str) {
        for worker in &mut self.workers {
            worker.settings = vec!["--set".to_owned(), format!("vllm.endpoint={endpoint}")];
        }
    }

    pub(super) fn size(&self) -> (usize, usize) {
        (self.coordinators.len(), self.workers.len())
    }

    /// The coordinator that listens, among those that count; `None`: there is none at the moment.
    pub(super) fn owner(&self) -> Option<usize> {
        let limit = Duration::from_millis(200);
        let listens = |peer: &Peer| {
            peer.child.is_some() && !peer.is_out && TcpStream::connect_timeout(&peer.address, limit).is_ok()
        };
        self.coordinators.iter().position(listens)
    }

    /// Waits for an owner; gives how long that took.
    pub(super) fn wait_for_owner(&self, patience: Duration) -> Result<(usize, Duration)> {
        let begun = Instant::now();
        loop {
            if let Some(owner) = self.owner() {
                return Ok((owner, begun.elapsed()));
            }
            anyhow::ensure!(
                begun.elapsed() < patience,
                "no coordinator serves after {} s",
                patience.as_secs()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts a coordinator unless it runs.
    pub(super) fn start_coordinator(&mut self, number: usize) -> Result<()> {
        let (state, log) =
            (self.scratch.join(format!("state-{number}")), self.log(&format!("coordinator-{number}")));
        let (results, token) = (self.results(), self.scratch.join("token"));
        let Some(peer) = self.coordinators.get_mut(number).filter(|peer| peer.child.is_none()) else {
            return Ok(());
        };
        let mut command = self.binaries.command("coordinator");
        command.args([
            "serve",
            "--listen",
            &peer.address.to_string(),
            "--ledger",
            &self.engine_url,
            "--state",
        ]);
        command.arg(state).arg("--out").arg(results).arg("--token-file").arg(token).args(&self.more);
        command.env("RUST_LOG", "info");
        peer.child = Some(spawn(command, &log)?);
        peer.is_out = false;
        Ok(())
    }

    /// Starts a worker unless it runs.
    pub(super) fn start_worker(&mut self, number: usize) -> Result<()> {
        let (log, token) = (self.log(&format!("worker-{number}")), self.scratch.join("token"));
        let Some(worker) = self.workers.get_mut(number).filter(|worker| worker.child.is_none()) else {
            return Ok(());
        };
        let urls: Vec<String> = worker.links.iter().map(Link::url).collect();
        let mut command = self.binaries.command("worker");
        command.args([
            "serve",
            "--slots",
            "1",
            "--name",
            &format!("chaos-{number}"),
            "--coordinator",
            &urls.join(","),
        ]);
        // The links are proxies, which can prove nothing: the worker has to accept that, and sends a token.
        command.args(&worker.settings).args(["--insecure", "--token-file"]).arg(token);
        // It says what it was told of its commits.
        command.env("RUST_LOG", "info");
        worker.child = Some(spawn(command, &log)?);
        Ok(())
    }

    /// SIGKILL.
    pub(super) fn kill_coordinator(&mut self, number: usize) {
        if let Some(peer) = self.coordinators.get_mut(number) {
            end(&mut peer.child);
        }
    }

    /// SIGTERM.
    pub(super) fn drain_coordinator(&mut self, number: usize) -> Result<()> {
        let Some(peer) = self.coordinators.get_mut(number) else { return Ok(()) };
        peer.is_out = true;
        peer.child.as_ref().map_or(Ok(()), drain)
    }

    /// Waits until a drained coordinator has ended, so that it can be started again.
    pub(super) fn wait_for_end(&mut self, number: usize) -> Result<()> {
        let child = self.coordinators.get_mut(number).and_then(|peer| peer.child.take());
        child.map_or(Ok(()), |mut child| child.wait().map(drop).context("a coordinator cannot be waited for"))
    }

    pub(super) fn freeze_coordinator(&mut self, number: usize, frozen: bool) -> Result<()> {
        let Some(peer) = self.coordinators.get_mut(number) else { return Ok(()) };
        peer.is_out = frozen;
        peer.child.as_ref().map_or(Ok(()), |child| freeze(child, frozen))
    }

    pub(super) fn kill_worker(&mut self, number: usize) {
        if let Some(worker) = self.workers.get_mut(number) {
            end(&mut worker.child);
        }
    }

    pub(super) fn freeze_worker(&mut self, number: usize, frozen: bool) -> Result<()> {
        let child = self.workers.get(number).and_then(|worker| worker.child.as_ref());
        child.map_or(Ok(()), |child| freeze(child, frozen))
    }

    /// Processes that ended by themselves, with how.
    pub(super) fn ended(&mut self) -> Vec<String> {
        let coordinators = self.coordinators.iter_mut().enumerate();
        let coordinators =
            coordinators.map(|(number, peer)| (format!("coordinator {number}"), &mut peer.child));
        let workers = self.workers.iter_mut().enumerate();
        let workers = workers.map(|(number, worker)| (format!("worker {number}"), &mut worker.child));
        let mut ended = Vec::new();
        for (name, child) in coordinators.chain(workers) {
            if let Some(Ok(Some(status))) = child.as_mut().map(Child::try_wait) {
                ended.push(format!("{name} ended by itself: {status}"));
                *child = None;
            }
        }
        ended
    }

    /// What the workers have logged so far.
    pub(super) fn worker_logs(&self) -> Vec<PathBuf> {
        (0..self.workers.len()).map(|number| self.log(&format!("worker-{number}"))).collect()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.scratch.join("logs").join(format!("{name}.log"))
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.workers.iter_mut().for_each(|worker| end(&mut worker.child));
        self.coordinators.iter_mut().for_each(|peer| end(&mut peer.child));
    }
}
