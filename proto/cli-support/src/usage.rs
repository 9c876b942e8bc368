//! CPU time and peak memory of this process, from `/proc` (Linux; unknown elsewhere).

/// Clock ticks of `/proc/self/stat` in a second: `USER_HZ`, which Linux fixes at 100 for user space (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

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
            rss_mb: memory_mb(&status, "VmRSS:")?,
            peak_rss_mb: memory_mb(&status, "VmHWM:")?,
        })
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

/// A line such as `VmHWM: … kB`.
fn memory_mb(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let stat = "42 (a) b) (c) R 1 42 42 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 4 0 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(memory_mb("VmPeak:\t 9 kB\nVmHWM:\t  100000 kB\n", "VmHWM:"), Some(102.4));
        assert_eq!(cpu_seconds("nonsense"), None);
    }

    #[test]
    fn this_process_uses_something() {
        if cfg!(target_os = "linux") {
            let usage = Usage::of_this_process().unwrap();
            assert!(usage.peak_rss_mb > 1.0, "{usage:?}");
        }
    }
}
