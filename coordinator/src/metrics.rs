//! Prometheus metrics of the coordinator. `METRICS.md` lists them; a test compares the list with the program.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cli_support::openmetrics::{self, Process};
use domain::answer::CallOutcome;
use domain::ids::RunId;
use domain::outcome::Status;
use domain::tally::Tally;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use proto::convert::LlmStatus;
use proto::status::ApiError;

/// Prefix of all metric names.
const PREFIX: &str = "k8s_auto_fix_coordinator";

/// An event of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseEvent {
    /// A waiting shard was leased.
    Granted,
    /// A heartbeat renewed it.
    Renewed,
    /// Its deadline passed.
    Expired,
    /// Its worker released it.
    Released,
    /// A shard that is still leased was leased to a second worker.
    Speculative,
    /// Its shard was split.
    Split,
}

impl LeaseEvent {
    const ALL: [Self; 6] =
        [Self::Granted, Self::Renewed, Self::Expired, Self::Released, Self::Speculative, Self::Split];

    /// Value of the label `event`. It is part of the interface, so it may differ from the name of the variant.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Renewed => "renewed",
            Self::Expired => "expired",
            Self::Released => "handed_back",
            Self::Speculative => "hedged",
            Self::Split => "split",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Event {
    event: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictOf {
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusOf {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateOf {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeOf {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunOf {
    run: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Step {
    step: &'static str,
}

/// The outcome of a request for an LLM call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LlmEvent {
    /// The call succeeded.
    Answered,
    /// The provider throttled the call (429).
    Throttled,
    /// The call failed otherwise, or its response is not complete.
    Failed,
    /// A call with a permit was not made.
    Unsent,
    /// A cached response was used.
    Reused,
    /// The request was refused because its run is halted.
    Stopped,
    /// A result that had been counted before arrived again.
    Repeated,
    /// A result, or a call under way, that was not permitted.
    Refused,
}

impl LlmEvent {
    const ALL: [Self; 8] = [
        Self::Answered,
        Self::Throttled,
        Self::Failed,
        Self::Unsent,
        Self::Reused,
        Self::Stopped,
        Self::Repeated,
        Self::Refused,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Throttled => "throttled",
            Self::Failed => "failed",
            Self::Unsent => "unsent",
            Self::Reused => "reused",
            Self::Stopped => "stopped",
            Self::Repeated => "repeated",
            Self::Refused => "refused",
        }
    }
}

impl From<&CallOutcome> for LlmEvent {
    fn from(outcome: &CallOutcome) -> Self {
        match outcome {
            CallOutcome::Answered(answer) if answer.is_whole() => Self::Answered,
            CallOutcome::Throttled { .. } => Self::Throttled,
            CallOutcome::Answered(_) | CallOutcome::Failed { .. } => Self::Failed,
            CallOutcome::Unsent => Self::Unsent,
        }
    }
}

/// Gauges of the coordinator, taken when the metrics are read. `waiting` and `leased` count shards, `troubled` counts
/// the runs with a problem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Depths {
    pub(crate) runs: u64,
    pub(crate) troubled: u64,
    pub(crate) waiting: u64,
    pub(crate) leased: u64,
    pub(crate) uploads: u64,
    pub(crate) workers: u64,
}

/// All metrics of the coordinator.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    leases: Family<Event, Counter>,
    commits: Family<VerdictOf, Counter>,
    records: Family<StatusOf, Counter>,
    part_bytes: Counter,
    retries: Family<Step, Counter>,
    ledger_seconds: Family<Step, Histogram>,
    ledger_errors: Family<Step, Counter>,
    shards: Family<StateOf, Gauge>,
    runs: Family<StateOf, Gauge>,
    uploads: Gauge,
    workers: Gauge,
    llm_requests: Family<OutcomeOf, Counter>,
    tokens: Counter,
    persist_seconds: Histogram,
    pending_requests: Family<StateOf, Gauge>,
    rate_limit: Family<RunOf, Gauge<f64, AtomicU64>>,
    cost: Family<RunOf, Gauge<f64, AtomicU64>>,
    process: Process,
    /// Why the ledger's last step failed, if it did.
    trouble: Mutex<Option<String>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let process = Process::register(&mut registry);
        let prefixed = registry.sub_registry_with_prefix(PREFIX);
        let histogram = || Histogram::new(exponential_buckets(0.000_1, 2.5, 12));
        let metrics = Self {
            leases: Family::default(),
            commits: Family::default(),
            records: Family::default(),
            part_bytes: Counter::default(),
            retries: Family::default(),
            ledger_seconds: Family::new_with_constructor(histogram),
            ledger_errors: Family::default(),
            shards: Family::default(),
            runs: Family::default(),
            uploads: Gauge::default(),
            workers: Gauge::default(),
            llm_requests: Family::default(),
            tokens: Counter::default(),
            persist_seconds: histogram(),
            pending_requests: Family::default(),
            rate_limit: Family::default(),
            cost: Family::default(),
            process,
            registry: Mutex::default(),
            trouble: Mutex::default(),
        };
        prefixed.register("leases", "Lease events, by `event`", metrics.leases.clone());
        prefixed.register(
            "commits",
            "Uploaded parts, by `verdict`: committed, already, or the reason of the refusal",
            metrics.commits.clone(),
        );
        prefixed.register(
            "records",
            "Records committed by this process, by `status`",
            metrics.records.clone(),
        );
        prefixed.register_with_unit(
            "parts",
            "Bytes of committed parts",
            Unit::Bytes,
            metrics.part_bytes.clone(),
        );
        prefixed.register("retries", "Retries of failed work, by `step`", metrics.retries.clone());
        prefixed.register_with_unit(
            "ledger",
            "Latency of ledger steps, by `step`",
            Unit::Seconds,
            metrics.ledger_seconds.clone(),
        );
        prefixed.register("ledger_errors", "Failed ledger steps, by `step`", metrics.ledger_errors.clone());
        prefixed.register(
            "shards",
            "Shards of active runs, by `state`: waiting, leased",
            metrics.shards.clone(),
        );
        prefixed.register("runs", "Active runs, by `state`: well, troubled", metrics.runs.clone());
        prefixed.register("uploads", "Uploads of parts in progress", metrics.uploads.clone());
        prefixed.register("workers", "Connected workers", metrics.workers.clone());
        metrics.register_llm(prefixed);
        for event in LeaseEvent::ALL {
            drop(metrics.leases.get_or_create(&Event { event: event.as_str() }));
        }
        Self { registry: Mutex::new(registry), ..metrics }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    fn register_llm(&self, prefixed: &mut Registry) {
        prefixed.register(
            "questions",
            "Requests for LLM calls, by `outcome`: answered, throttled, failed, unsent, reused (cached response), stopped",
            self.llm_requests.clone(),
        );
        prefixed.register("model_tokens", "Billed tokens of LLM calls", self.tokens.clone());
        prefixed.register_with_unit(
            "answers",
            "Time until a batch of call results was durable",
            Unit::Seconds,
            self.persist_seconds.clone(),
        );
        prefixed.register(
            "open_questions",
            "Pending requests for LLM calls, by `state`: waiting, under_way",
            self.pending_requests.clone(),
        );
        prefixed.register(
            "model_limit_per_minute",
            "Known rate limit of the account of an active run in calls a minute, by `run`",
            self.rate_limit.clone(),
        );
        prefixed.register(
            "model_cost_usd",
            "US dollars that an active run has spent on LLM calls, by `run`; none for a model without a price",
            self.cost.clone(),
        );
        for event in LlmEvent::ALL {
            drop(self.llm_requests.get_or_create(&OutcomeOf { outcome: event.as_str() }));
        }
    }

    /// Counts the outcome of a request for an LLM call.
    pub(crate) fn question(&self, event: LlmEvent, tokens: u64) {
        self.llm_requests.get_or_create(&OutcomeOf { outcome: event.as_str() }).inc();
        self.tokens.inc_by(tokens);
    }

    /// Records how long a batch of call results took to become durable.
    pub(crate) fn answers_kept(&self, took: Duration) {
        self.persist_seconds.observe(took.as_secs_f64());
    }

    /// Sets the gauges of LLM calls from the status of each run.
    pub(crate) fn models(&self, statuses: &BTreeMap<RunId, LlmStatus>) {
        let sum = |count: fn(&LlmStatus) -> u64| {
            i64::try_from(statuses.values().map(count).sum::<u64>()).unwrap_or(i64::MAX)
        };
        self.pending_requests.get_or_create(&StateOf { state: "waiting" }).set(sum(|status| status.waiting));
        self.pending_requests
            .get_or_create(&StateOf { state: "under_way" })
            .set(sum(|status| status.under_way));
        self.rate_limit.clear();
        self.cost.clear();
        for (run_id, status) in statuses {
            let run = RunOf { run: run_id.to_string() };
            if let Some(limit) = status.limit_per_min {
                self.rate_limit.get_or_create(&run).set(limit);
            }
            // Half a cost would be read as the whole one.
            if let Some(cost) = status.whole_cost_usd() {
                self.cost.get_or_create(&run).set(cost);
            }
        }
    }

    /// Counts an event that occurred `times` times.
    pub(crate) fn lease(&self, event: LeaseEvent, times: usize) {
        self.leases.get_or_create(&Event { event: event.as_str() }).inc_by(times as u64);
    }

    /// Counts a committed part and its rows.
    pub(crate) fn committed(&self, bytes: u64, tally: &Tally) {
        self.commits.get_or_create(&VerdictOf { verdict: "committed" }).inc();
        self.part_bytes.inc_by(bytes);
        for (status, count) in tally.counts() {
            self.records.get_or_create(&StatusOf { status: Status::as_str(status) }).inc_by(count);
        }
    }

    /// Counts a repeated commit of a committed part.
    pub(crate) fn committed_before(&self) {
        self.commits.get_or_create(&VerdictOf { verdict: "already" }).inc();
    }

    /// Counts a refused part.
    pub(crate) fn refused(&self, error: &ApiError) {
        self.commits.get_or_create(&VerdictOf { verdict: error.reason.as_str() }).inc();
    }

    /// Counts a retry of failed work.
    pub(crate) fn retry(&self, step: &'static str) {
        self.retries.get_or_create(&Step { step }).inc();
    }

    /// Records a step of the ledger, its latency and its failure.
    pub(crate) fn ledger(&self, step: &'static str, took: Duration, error: Option<String>) {
        self.ledger_seconds.get_or_create(&Step { step }).observe(took.as_secs_f64());
        if error.is_some() {
            self.ledger_errors.get_or_create(&Step { step }).inc();
        }
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// Why the ledger's last step failed, if it did.
    pub(crate) fn ledger_trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All metrics in the `OpenMetrics` text format.
    pub(crate) fn text(&self, depths: Depths) -> String {
        let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.process.update();
        self.shards.get_or_create(&StateOf { state: "waiting" }).set(count(depths.waiting));
        self.shards.get_or_create(&StateOf { state: "leased" }).set(count(depths.leased));
        self.runs.get_or_create(&StateOf { state: "well" }).set(count(depths.runs - depths.troubled));
        self.runs.get_or_create(&StateOf { state: "troubled" }).set(count(depths.troubled));
        self.uploads.set(count(depths.uploads));
        self.workers.set(count(depths.workers));
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        openmetrics::text(&registry)
    }
}

#[cfg(test)]
mod tests {
    use proto::status::ErrorReason;

    use super::*;

    #[test]
    fn the_reference_lists_every_metric() {
        let metrics = Metrics::default();
        metrics.lease(LeaseEvent::Granted, 2);
        metrics.committed(10, &Tally { records: 3, accepted: 2, errors: 1, ..Tally::default() });
        metrics.committed_before();
        metrics.refused(&ApiError::new(ErrorReason::StaleToken, ""));
        metrics.retry("finish");
        metrics.ledger("lease", Duration::from_millis(2), Some("disk full".to_owned()));
        assert_eq!(metrics.ledger_trouble().as_deref(), Some("disk full"));
        metrics.question(LlmEvent::Throttled, 0);
        metrics.question(LlmEvent::Answered, 1900);
        let llm_status =
            LlmStatus { waiting: 3, limit_per_min: Some(480.0), cost_usd: 0.5, ..LlmStatus::default() };
        metrics.models(&[(RunId::new("r").unwrap(), llm_status)].into());
        let text = metrics.text(Depths { runs: 2, troubled: 1, waiting: 5, ..Depths::default() });
        for line in [
            "k8s_auto_fix_coordinator_leases_total{event=\"granted\"} 2",
            "k8s_auto_fix_coordinator_leases_total{event=\"split\"} 0",
            "k8s_auto_fix_coordinator_commits_total{verdict=\"stale_token\"} 1",
            "k8s_auto_fix_coordinator_records_total{status=\"accepted\"} 2",
            "k8s_auto_fix_coordinator_parts_bytes_total 10",
            "k8s_auto_fix_coordinator_shards{state=\"waiting\"} 5",
            "k8s_auto_fix_coordinator_runs{state=\"well\"} 1",
            "k8s_auto_fix_coordinator_ledger_seconds_count{step=\"lease\"} 1",
            "k8s_auto_fix_coordinator_questions_total{outcome=\"throttled\"} 1",
            "k8s_auto_fix_coordinator_questions_total{outcome=\"unsent\"} 0",
            "k8s_auto_fix_coordinator_model_tokens_total 1900",
            "k8s_auto_fix_coordinator_open_questions{state=\"waiting\"} 3",
            "k8s_auto_fix_coordinator_model_limit_per_minute{run=\"r\"} 480.0",
            "k8s_auto_fix_coordinator_model_cost_usd{run=\"r\"} 0.5",
        ] {
            assert!(text.lines().any(|known| known == line), "no {line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        let documented = include_str!("../METRICS.md");
        let table = openmetrics::reference(&text);
        assert!(documented.ends_with(&table), "METRICS.md should end with:\n{table}");
    }
}
