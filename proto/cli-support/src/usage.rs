//! CPU time and peak memory of this process, from `/proc` (Linux; unknown elsewhere).

use std::sync::atomic::{AtomicU64, Ordering};

/// Clock ticks of `/proc/self/stat` in a second: `USER_HZ`, which Linux fixes at 100 for user space (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// Highest `VmHWM` that was read, in KiB. The kernel computes the mark when it is read and stores it only now and then
/// (`proc_pid_status(5)` calls it inaccurate), so a later reading can be lower than an earlier one.
static PEAK_KIB: AtomicU64 = AtomicU64::new(0);

/// CPU and memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// User and system time of all threads so far, in seconds.
    pub cpu_s: f64,
    /// Memory that is held now, in MB (10⁶ bytes).
    pub rss_mb: f64,
    /// Most memory held at a time, in MB.
    pub peak_rss_mb: f64,
}

impl Usage {
    /// Of the process that asks.
    pub fn of_this_process() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        Some(Self {
            cpu_s: cpu_seconds(&stat)?,
            rss_mb: megabytes(kib(&status, "VmRSS:")?),
            peak_rss_mb: megabytes(highest(&PEAK_KIB, kib(&status, "VmHWM:")?)),
        })
    }

    /// Of the process that asks, without the CPU time that it had spent before.
    pub fn since(before: Option<Self>) -> Option<Self> {
        let now = Self::of_this_process()?;
        Some(Self { cpu_s: now.cpu_s - before?.cpu_s, ..now })
    }
}

/// Fields 14 and 15 (utime, stime); the name in field 2 may hold blanks and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// The larger of `reading` and every reading before.
fn highest(peak: &AtomicU64, reading: u64) -> u64 {
    peak.fetch_max(reading, Ordering::Relaxed).max(reading)
}

/// The KiB of a line such as `VmHWM: … kB`.
fn kib(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn megabytes(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let stat = "42 (a) b) (c) R 1 42 42 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 4 0 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(kib("VmPeak:\t 9 kB\nVmHWM:\t  100000 kB\n", "VmHWM:").map(megabytes), Some(102.4));
        assert_eq!(cpu_seconds("nonsense"), None);
    }

    #[test]
    fn a_peak_never_falls() {
        let peak = AtomicU64::new(0);
        assert_eq!([5, 9, 7, 10].map(|reading| highest(&peak, reading)), [5, 9, 9, 10]);
    }

    #[test]
    fn this_process_uses_something() {
        if cfg!(target_os = "linux") {
            let usage = Usage::of_this_process().unwrap();
            assert!(usage.peak_rss_mb > 1.0, "{usage:?}");
        }
    }
}
