//! The PostgreSQL servers of the coordinators: a primary and its standby, which take turns.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Two servers. Ended when dropped.
#[derive(Debug)]
pub(super) struct Engine {
    folders: [PathBuf; 2],
    held: [Option<Child>; 2],
    /// Which of the two is the primary.
    primary: usize,
    programs: PathBuf,
}

impl Engine {
    /// Starts a primary and a standby in a new folder below `/tmp`, whose path is short enough for their sockets.
    /// `synchronous`: the primary waits for the standby.
    pub(super) fn start(synchronous: bool) -> Result<Self> {
        let programs = PathBuf::from(script(&["path"])?.trim());
        let name = format!("k8s-auto-fix-chaos-{}", std::process::id());
        let around = std::env::temp_dir().join(name);
        let folders = ["a", "b"].map(|name| around.join(name));
        let mut engine = Self { folders, held: [None, None], primary: 0, programs };
        engine.hold(0)?;
        if synchronous {
            // Before the standby is made, which takes the setting over for the time when it is the primary.
            engine.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")?;
            engine.ask("SELECT pg_reload_conf()")?;
        }
        engine.attach(1)?;
        Ok(engine)
    }

    /// The URL with both servers.
    pub(super) fn url(&self) -> String {
        let [a, b] = &self.folders;
        format!("postgres://k8s_auto_fix@/postgres?host={}&host={}", a.display(), b.display())
    }

    /// The rows of a query at the primary, their columns separated by `|`.
    pub(super) fn ask(&self, query: &str) -> Result<Vec<String>> {
        let folder = self.folder(self.primary)?;
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "-h",
            folder,
            "-U",
            "k8s_auto_fix",
            "-d",
            "postgres",
            "-At",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            query,
        ]);
        let output = psql.output().context("psql does not start")?;
        ensure!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// The primary dies and the standby takes its place. `beside`: the primary lives on for so long, without knowing it.
    pub(super) fn fail_over(&mut self, beside: Duration) -> Result<()> {
        let (old, new) = (self.primary, 1 - self.primary);
        if beside.is_zero() {
            script(&["crash", self.folder(old)?])?;
        }
        script(&["promote", self.folder(new)?])?;
        if !beside.is_zero() {
            std::thread::sleep(beside);
            script(&["crash", self.folder(old)?])?;
        }
        self.primary = new;
        Ok(())
    }

    /// Makes the server that died the standby of the other one.
    pub(super) fn repair(&mut self) -> Result<()> {
        let gone = 1 - self.primary;
        if let Some(mut held) = self.held.get_mut(gone).and_then(Option::take) {
            drop(held.stdin.take());
            let _ = held.wait();
        }
        std::fs::remove_dir_all(self.folder(gone)?)
            .context("the folder of a dead server cannot be deleted")?;
        self.attach(gone)
    }

    fn attach(&mut self, standby: usize) -> Result<()> {
        script(&["clone", self.folder(standby)?, self.folder(1 - standby)?])?;
        self.hold(standby)
    }

    fn hold(&mut self, server: usize) -> Result<()> {
        let mut command = Command::new(path_of_script());
        let child =
            command.args(["hold", self.folder(server)?]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.context("scripts/postgres does not start")?;
        let mut line = String::new();
        let output = child.stdout.as_mut().context("scripts/postgres has no output")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line)?;
        if !line.starts_with("postgres://") {
            let _ = child.kill();
            bail!("a PostgreSQL server does not start");
        }
        if let Some(place) = self.held.get_mut(server) {
            *place = Some(child);
        }
        Ok(())
    }

    fn folder(&self, server: usize) -> Result<&str> {
        self.folders.get(server).and_then(|folder| folder.to_str()).context("there are two servers")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for held in self.held.iter_mut().filter_map(Option::as_mut) {
            drop(held.stdin.take());
            let _ = held.wait();
        }
        let around = self.folders.first().and_then(|folder| folder.parent());
        let _ = around.map(std::fs::remove_dir_all);
    }
}

fn path_of_script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../postgres")
}

fn script(arguments: &[&str]) -> Result<String> {
    let output =
        Command::new(path_of_script()).args(arguments).output().context("scripts/postgres does not start")?;
    ensure!(
        output.status.success(),
        "scripts/postgres {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
