//! The limit of open files and connections of this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::WithHint as _;

/// Files that a program has open beside its connections: ledger, caches, corpus, parts, the runtime's own.
pub const FILES: u64 = 48;

/// Raises the limit of this process to what it is allowed, and returns how many files and connections it may open.
///
/// # Errors
/// Where that is fewer than `needed`.
pub fn ensure(needed: u64) -> anyhow::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    // Refused where a sandbox forbids it; then the limit stays what it was.
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    check(current.unwrap_or(u64::MAX), needed)
}

fn check(allowed: u64, needed: u64) -> anyhow::Result<u64> {
    if allowed >= needed {
        return Ok(allowed);
    }
    let refused: anyhow::Result<u64> = Err(anyhow::anyhow!(
        "this process may open {allowed} files and connections at a time and needs at least {needed}"
    ));
    refused.hint(format!("raise the limit, e.g. `ulimit -n {}`", needed.max(1024)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_are_refused_with_the_remedy() {
        assert_eq!(check(100, 100).unwrap(), 100);
        let error = format!("{:?}", check(24, 64).unwrap_err());
        assert!(error.contains("may open 24 files") && error.contains("at least 64"), "{error}");
        assert!(ensure(8).unwrap() >= 8);
    }
}
