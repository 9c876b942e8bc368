//! What is killed leaves nothing behind.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::live::{kill, processes, source};

/// A user of a control plane, in a process of its own.
struct User {
    process: Child,
    folder: PathBuf,
}

fn start() -> User {
    let mut process = Command::new(env!("CARGO_BIN_EXE_control-plane"))
        .arg("1.37")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let folder = Path::new(line.trim()).parent().unwrap().to_owned();
    assert_eq!(processes(&folder).len(), 2);
    User { process, folder }
}

fn await_nothing(folder: &Path) {
    let start = Instant::now();
    while folder.exists() || !processes(folder).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", processes(folder));
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn supervisor_of(user: &User) -> i32 {
    let (pid, _) = processes(&user.folder)[0];
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn a_user_that_is_killed_leaves_nothing() {
    if source().is_none() {
        return;
    }
    let mut user = start();
    user.process.kill().unwrap();
    user.process.wait().unwrap();
    await_nothing(&user.folder);
}

#[test]
fn a_user_that_ends_leaves_nothing() {
    if source().is_none() {
        return;
    }
    let mut user = start();
    drop(user.process.stdin.take());
    assert!(user.process.wait().unwrap().success());
    assert!(!user.folder.exists() && processes(&user.folder).is_empty());
}

#[test]
fn a_supervisor_that_is_killed_takes_its_programs_along() {
    if source().is_none() {
        return;
    }
    let mut user = start();
    kill(supervisor_of(&user));
    let begin = Instant::now();
    while !processes(&user.folder).is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", processes(&user.folder));
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(user.process.stdin.take());
    user.process.wait().unwrap();
    assert!(!user.folder.exists());
}

#[test]
fn user_and_supervisor_killed_at_once_leave_no_process() {
    if source().is_none() {
        return;
    }
    let mut user = start();
    let supervisor = supervisor_of(&user);
    kill(supervisor);
    user.process.kill().unwrap();
    user.process.wait().unwrap();
    let begin = Instant::now();
    while !processes(&user.folder).is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", processes(&user.folder));
        std::thread::sleep(Duration::from_millis(10));
    }
    // Its folder is what the next start finds; it is too young for that here.
    let _ = std::fs::remove_dir_all(&user.folder);
}
