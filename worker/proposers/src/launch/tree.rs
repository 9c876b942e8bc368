//! The descendants of a process, from `/proc`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};

/// Longest that descendants are killed for. A killed process is gone within milliseconds, unless the kernel holds it.
const KILLED_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at what is left.
const AGAIN: Duration = Duration::from_millis(2);

/// What the descendants of a process use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) processes: usize,
    pub(super) memory_bytes: u64,
}

/// What the descendants of this process use.
pub(super) fn descendants_use() -> Use {
    let found = descendants(&parents());
    let status = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/status")).ok();
    let memory_bytes = found.iter().filter_map(|pid| memory_of(&status(pid)?)).sum();
    Use { processes: found.len(), memory_bytes }
}

/// Reaps the children that ended, but for `child`, whose end another thread waits for.
pub(super) fn reap_orphans(child: i32) {
    let us = this();
    for (pid, parent) in parents() {
        if parent == us && pid != child {
            let _ = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
        }
    }
}

/// Kills every descendant of this process, also those that are started meanwhile. Whether none is left.
pub(super) fn kill_descendants() -> bool {
    let start = Instant::now();
    loop {
        let found = descendants(&parents());
        if found.is_empty() {
            return true;
        }
        for pid in found {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        reap_orphans(0);
        if start.elapsed() > KILLED_WITHIN {
            return false;
        }
        std::thread::sleep(AGAIN);
    }
}

fn this() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

fn descendants(parents: &BTreeMap<i32, i32>) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, parent) in parents {
        children.entry(*parent).or_default().push(*pid);
    }
    let mut found = BTreeSet::new();
    let mut open = vec![this()];
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if found.insert(*child) {
                open.push(*child);
            }
        }
    }
    found
}

/// Every process with its parent.
fn parents() -> BTreeMap<i32, i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let stat = |pid: i32| fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    pids.filter_map(|pid| Some((pid, parent_of(&stat(pid)?)?))).collect()
}

/// Reads a line of `/proc/PID/stat`: the name of the program, in parentheses, may hold anything.
fn parent_of(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Reads the resident memory in `/proc/PID/status`, which is in kB.
fn memory_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        for name in ["a", "a) S 1 (b", ") R 9"] {
            assert_eq!(parent_of(&format!("12 ({name}) S 7 1 1 0 -1 4194560")), Some(7), "{name}");
        }
        assert_eq!(parent_of("12 (a"), None);
        assert_eq!(memory_of("Name: a\nVmRSS:\t    1200 kB\n"), Some(1200 << 10));
        assert_eq!(memory_of("Name: a\n"), None, "one that has ended");
    }

    #[test]
    fn our_children_are_counted() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let used = descendants_use();
        assert!(used.processes >= 1 && used.memory_bytes > 0, "{used:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
