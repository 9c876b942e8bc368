//! The commits that workers were told of, and those that the ledger has.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::engine::Engine;

/// A shard, and the token under which it was committed. A commit that was lost is done again under a larger token.
pub(super) type Commit = (u64, u64);

/// The commits of a run that the workers have logged.
pub(super) fn told(logs: &[PathBuf], run_id: &str) -> Result<BTreeSet<Commit>> {
    let mut told = BTreeSet::new();
    for log in logs {
        let text = std::fs::read(log).with_context(|| format!("no log of a worker: {}", log.display()))?;
        told.extend(String::from_utf8_lossy(&text).lines().filter_map(|line| commit(line, run_id)));
    }
    Ok(told)
}

fn commit(line: &str, run_id: &str) -> Option<Commit> {
    let fields = line.split_once(": committed ")?.1;
    let field =
        |name: &str| fields.split_whitespace().find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    if field("run")? != run_id {
        return None;
    }
    Some((field("shard")?.parse().ok()?, field("token")?.parse().ok()?))
}

/// The commits of a run in the ledger.
pub(super) fn recorded(engine: &Engine, run_id: &str) -> Result<BTreeSet<Commit>> {
    let rows = engine.ask(&format!(
        "SELECT s.shard, s.token FROM k8s_auto_fix.shards s JOIN k8s_auto_fix.runs r USING (run)
         WHERE r.run_id = '{run_id}' AND s.part_key IS NOT NULL"
    ))?;
    rows.iter()
        .map(|row| {
            let (shard, token) = row.split_once('|').context("a row of the ledger has two columns")?;
            Ok((shard.parse()?, token.parse()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_names_shard_and_token() {
        let line = "2026-12-01T10:00:00Z  INFO worker::session: committed run=chaos shard=40 token=2";
        assert_eq!(commit(line, "chaos"), Some((40, 2)));
        assert_eq!(commit(line, "other"), None);
        assert_eq!(commit("2026-12-01T10:00:00Z  INFO worker: joined", "chaos"), None);
    }
}
