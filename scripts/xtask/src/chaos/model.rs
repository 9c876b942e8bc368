//! Simulated provider of a run in model mode: not killed, so that it counts all billed calls.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::fleet::Binaries;

/// Longest wait for what it says.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running `worker mock-llm`; ends when dropped.
#[derive(Debug)]
pub(super) struct Provider {
    child: Child,
    address: SocketAddr,
}

/// What the provider counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Paid {
    /// Calls that it took.
    pub(super) calls: u64,
    /// Different questions among them.
    pub(super) questions: u64,
    /// Calls that were under way at that moment.
    pub(super) in_flight: u64,
}

impl Provider {
    /// Starts one whose answers take `latency`, and are the rules' for the records of `corpus`.
    pub(super) fn start(binaries: &Binaries, logs: &Path, latency: &str, corpus: &Path) -> Result<Self> {
        std::fs::create_dir_all(logs).context("the folder of the logs cannot be made")?;
        let mut command = binaries.command("worker");
        command.args(["mock-llm", "--listen", "127.0.0.1:0", "--latency", latency]);
        command.arg("--corpus").arg(corpus);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.context("worker mock-llm does not start")?;
        let said = child.stderr.take().context("worker mock-llm says nothing")?;
        let mut said = BufReader::new(said);
        let mut line = String::new();
        said.read_line(&mut line)?;
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            let _ = child.kill();
            bail!("worker mock-llm does not say where it listens: {line}");
        };
        let mut log = File::create(logs.join("mock-llm.log"))?;
        // Ends with the provider.
        std::thread::spawn(move || std::io::copy(&mut said, &mut log));
        Ok(Self { child, address })
    }

    /// Where it is asked.
    pub(super) fn endpoint(&self) -> String {
        format!("http://{}/v1/chat/completions", self.address)
    }

    /// What it counted so far.
    pub(super) fn paid(&self) -> Result<Paid> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /stats HTTP/1.0\r\nHost: mock\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let stats: Value = serde_json::from_str(body).context("/stats of the provider is not valid JSON")?;
        let number = |key: &str| stats[key].as_u64().with_context(|| format!("/stats has no {key}"));
        Ok(Paid {
            calls: number("accepted")?,
            questions: number("distinct_prompts")?,
            in_flight: number("in_flight")?,
        })
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
