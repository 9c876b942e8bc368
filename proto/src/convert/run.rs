//! Status of a run, and its conversion to and from the wire message.

use domain::budget::Usage;
use domain::ids::{ConfigHash, CorpusHash, RunId};
use domain::run::RunState;
use domain::tally::Tally;

use super::BadMessage;
use super::judge::JudgeStatus;
use crate::v1;

/// Status of a run, as shown to clients.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStatus {
    /// The run.
    pub run_id: RunId,
    /// State in its life cycle.
    pub state: RunState,
    /// Records of the corpus.
    pub records: u64,
    /// Records of a shard.
    pub shard_size: u32,
    /// Shards in all.
    pub shards: u32,
    /// Committed shards.
    pub committed: u32,
    /// Shards under lease.
    pub leased: u32,
    /// Counts over the committed rows.
    pub tally: Tally,
    /// Connected workers, over all runs.
    pub workers: u32,
    /// Time of submission, in ms since the Unix epoch.
    pub created_at_ms: u64,
    /// Path or URL of the results.
    pub results: String,
    /// Fingerprint of the results; `None` until the run has finished.
    pub fingerprint: Option<String>,
    /// BLAKE3 hash of the corpus.
    pub corpus_hash: CorpusHash,
    /// BLAKE3 hash of the configuration.
    pub config_hash: ConfigHash,
    /// Why the run cannot proceed; `None` when it can.
    pub trouble: Option<String>,
    /// Records committed a second over the last minute.
    pub records_per_s: f64,
    /// LLM calls of the run; `None` when it made none.
    pub model: Option<LlmStatus>,
    /// What judges the schema of its documents; `None` where the embedded rules alone do.
    pub judge: Option<JudgeStatus>,
}

/// Reasons of failed calls in a status at most; the rest is one more.
pub const FAILURE_REASONS: usize = 20;

/// Characters of the text of what a run waits for, and of a reason.
const TEXT_CHARS: usize = 1000;

/// LLM calls of a run, over all processes that worked on it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LlmStatus {
    /// Calls sent, with any outcome.
    pub calls: u64,
    /// Calls that failed for another reason than a rate limit.
    pub failed: u64,
    /// Calls that the provider refused because of a rate limit.
    pub throttled: u64,
    /// Requests served from the response cache.
    pub reused: u64,
    /// Requests that wait for a permit, for an identical call in flight, or for the response cache.
    pub waiting: u64,
    /// Calls in progress.
    pub under_way: u64,
    /// Calls completed in the last minute, throttled ones excluded.
    pub calls_per_min: f64,
    /// Limit of calls a minute of the account, shared by all its runs; `None` (0 on the wire) when it is not known.
    pub limit_per_min: Option<f64>,
    /// Whether the limit was learnt from throttling; false: configured, or advertised by the provider.
    pub limit_learnt: bool,
    /// Billed tokens.
    pub usage: Usage,
    /// Cost of the billed tokens, in US dollars, without that of the calls in `unpriced`.
    pub cost_usd: f64,
    /// Billed calls whose cost is not known, because the model has no price.
    pub unpriced: u64,
    /// Until when no call starts because the provider asked to wait, in ms since the Unix epoch.
    pub paused_until_ms: Option<u64>,
    /// What the run waits for, in the provider's words; `None` while calls are answered.
    pub waits_for: Option<String>,
    /// Failed calls by reason with their counts, the most frequent first.
    pub failures: Vec<(String, u64)>,
}

impl LlmStatus {
    /// Cost of all billed tokens, in US dollars; `None` where that of some call is not known.
    pub fn whole_cost_usd(&self) -> Option<f64> {
        (self.unpriced == 0).then_some(self.cost_usd)
    }
}

impl From<LlmStatus> for v1::LlmStatus {
    fn from(status: LlmStatus) -> Self {
        Self {
            calls: status.calls,
            failed: status.failed,
            throttled: status.throttled,
            reused: status.reused,
            waiting: status.waiting,
            under_way: status.under_way,
            calls_per_min: status.calls_per_min,
            limit_per_min: status.limit_per_min.unwrap_or(0.0),
            limit_learnt: status.limit_learnt,
            usage: Some(status.usage.into()),
            cost_usd: status.cost_usd,
            unpriced: status.unpriced,
            paused_until_ms: status.paused_until_ms.unwrap_or(0),
            waits_for: status.waits_for.unwrap_or_default(),
            failures: status
                .failures
                .into_iter()
                .map(|(reason, count)| v1::FailureCount { reason, count })
                .collect(),
        }
    }
}

impl From<v1::LlmStatus> for LlmStatus {
    fn from(status: v1::LlmStatus) -> Self {
        let limit = rate(status.limit_per_min);
        Self {
            calls: status.calls,
            failed: status.failed,
            throttled: status.throttled,
            reused: status.reused,
            waiting: status.waiting,
            under_way: status.under_way,
            calls_per_min: rate(status.calls_per_min),
            limit_per_min: (limit > 0.0).then_some(limit),
            limit_learnt: status.limit_learnt,
            usage: total(status.usage.unwrap_or_default().into()),
            cost_usd: rate(status.cost_usd),
            unpriced: status.unpriced,
            paused_until_ms: (status.paused_until_ms > 0).then_some(status.paused_until_ms),
            waits_for: (!status.waits_for.is_empty()).then(|| short(&status.waits_for)),
            failures: status
                .failures
                .into_iter()
                .take(FAILURE_REASONS + 1)
                .map(|failure| (short(&failure.reason), failure.count))
                .collect(),
        }
    }
}

/// A received text, cut to a readable length.
fn short(text: &str) -> String {
    text.chars().take(TEXT_CHARS).collect()
}

/// Bounds received totals: what reads them may add them up.
fn total(received: Usage) -> Usage {
    let bounded = |count: u64| count.min(1 << 53);
    let Usage { prompt, completion, reasoning, cached, total, estimated } = received;
    Usage {
        prompt: bounded(prompt),
        completion: bounded(completion),
        reasoning: bounded(reasoning),
        cached: bounded(cached),
        total: bounded(total),
        estimated: bounded(estimated),
    }
}

/// Replaces a received rate or cost that is negative or not finite by 0.
pub(super) fn rate(received: f64) -> f64 {
    if received.is_finite() { received.max(0.0) } else { 0.0 }
}

/// Encodes the counts as JSON, for the field `tally_json`.
pub fn tally_to_wire(tally: &Tally) -> String {
    // Does not fail: a tally has only numbers, and maps with string keys.
    serde_json::to_string(tally).unwrap_or_default()
}

/// Parses the counts in the field `tally_json`.
pub fn tally_from_wire(json: &str) -> Result<Tally, BadMessage> {
    serde_json::from_str(json).map_err(|error| BadMessage::new("tally_json", error))
}

impl From<RunStatus> for v1::RunStatus {
    fn from(status: RunStatus) -> Self {
        Self {
            tally_json: tally_to_wire(&status.tally),
            run_id: status.run_id.into(),
            state: status.state.as_str().to_owned(),
            records: status.records,
            shard_size: status.shard_size,
            shards: status.shards,
            committed: status.committed,
            leased: status.leased,
            workers: status.workers,
            created_at_ms: status.created_at_ms,
            results: status.results,
            fingerprint: status.fingerprint.unwrap_or_default(),
            corpus_hash: status.corpus_hash.to_string(),
            config_hash: status.config_hash.to_string(),
            trouble: status.trouble.unwrap_or_default(),
            records_per_s: status.records_per_s,
            model: status.model.map(Into::into),
            judge: status.judge.map(Into::into),
        }
    }
}

impl TryFrom<v1::RunStatus> for RunStatus {
    type Error = BadMessage;

    fn try_from(status: v1::RunStatus) -> Result<Self, BadMessage> {
        // The wire has an empty text for `None`.
        let non_empty = |text: String| (!text.is_empty()).then_some(text);
        Ok(Self {
            run_id: RunId::new(status.run_id).map_err(|error| BadMessage::new("run_id", error))?,
            state: RunState::parse(&status.state)
                .ok_or_else(|| BadMessage::new("state", format!("{:?} is not known", status.state)))?,
            records: status.records,
            shard_size: status.shard_size,
            shards: status.shards,
            committed: status.committed,
            leased: status.leased,
            tally: tally_from_wire(&status.tally_json)?,
            workers: status.workers,
            created_at_ms: status.created_at_ms,
            results: status.results,
            fingerprint: non_empty(status.fingerprint),
            corpus_hash: CorpusHash::try_from(status.corpus_hash)
                .map_err(|error| BadMessage::new("corpus_hash", error))?,
            config_hash: ConfigHash::try_from(status.config_hash)
                .map_err(|error| BadMessage::new("config_hash", error))?,
            trouble: non_empty(status.trouble),
            records_per_s: rate(status.records_per_s),
            model: status.model.map(Into::into),
            judge: status.judge.map(TryInto::try_into).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use domain::api_server::SchemaDepth;

    use super::*;

    #[test]
    fn a_status_round_trips() {
        let status = RunStatus {
            run_id: RunId::new("r1").unwrap(),
            state: RunState::Finishing,
            records: 10,
            shard_size: 3,
            shards: 4,
            committed: 4,
            leased: 0,
            tally: Tally { records: 10, accepted: 9, rejected: 1, ..Tally::default() },
            workers: 2,
            created_at_ms: 5,
            results: "results/r1".to_owned(),
            fingerprint: None,
            corpus_hash: CorpusHash::of(b"a"),
            config_hash: ConfigHash::of(b"b"),
            trouble: Some("disk full".to_owned()),
            records_per_s: 1.5,
            model: Some(LlmStatus {
                calls: 9,
                failed: 1,
                throttled: 2,
                reused: 30,
                waiting: 4,
                under_way: 5,
                calls_per_min: 470.5,
                limit_per_min: Some(480.0),
                limit_learnt: true,
                usage: Usage { prompt: 1, completion: 2, reasoning: 3, cached: 4, total: 6, estimated: 5 },
                cost_usd: 0.25,
                unpriced: 3,
                paused_until_ms: Some(1_764_000_000_000),
                waits_for: Some("the provider answered 503".to_owned()),
                failures: vec![("the provider answered 503".to_owned(), 7)],
            }),
            judge: Some(JudgeStatus {
                depth: SchemaDepth::Server,
                server: None,
                waits_for: Some("no worker can ask an API server".to_owned()),
            }),
        };
        assert_eq!(RunStatus::try_from(v1::RunStatus::from(status.clone())).unwrap(), status);
    }
}
