//! The command line: global options and the subcommands.

use clap::{Parser, Subcommand};
use cli_support::completions::Shell;
use cli_support::telemetry::Logs;

use super::args::Runs;
use super::head_to_head::{Agreement, Deceptive, Escapes, Power};
use super::paper::{
    Baselines, Calibration, CrossVersion, DetectorEval, Fairness, MultiSeed, Paper, Throughput,
};
use super::queue::Queued;
use super::report::Report;
use super::rollout::{Compare, Packet, Risk, Schedule, Simulate, Sweep};
use super::runs::{
    Ablation, Cite, Diff, Export, Failures, Fingerprint, Metrics, ProbeReport, Significance, Tokens,
};

/// Metrics, failures and JSON files of evaluation runs.
///
/// PATH is the folder of a run (results/RUN), a Parquet file, a glob such as 'results/*/part-*.parquet', or a
/// file:// URL; several may be given and are read as one. Results go to stdout, messages to stderr.
///
/// Results are plain Parquet. Other questions are for SQL and data frames, e.g.
/// duckdb -c "select status, count(*) from 'results/RUN/part-*.parquet' group by 1".
///
/// Exit code: 0 success; 1 findings: fewer accepted than before (diff), a file that differs (parity), nothing to claim
/// (queue next); 2 failure or wrong usage; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "analysis", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) logs: Logs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Acceptance, failures by gate, patch sizes and times
    ///
    /// JSON holds the paper's keys at top level, with the paper's meaning, and ours under "extended": counts by
    /// status, fault, gate and caution, acceptance with Wilson intervals at 95 %, the effective share, times.
    Metrics(Metrics),
    /// The same metrics for each canonical policy
    ///
    /// JSON: policy → the paper's risk, probability, expected time (in seconds), wait, kev and explore, and ours under
    /// "extended".
    PolicyMetrics(Metrics),
    /// Records that were not accepted, by gate, policy, fault, kind and reason, each with an example record
    Failures(Failures),
    /// Operations per patch: the paper's statistics, and a histogram
    PatchStats(Runs),
    /// Time to propose, to wait for a model, to verify and in total, with intervals
    Latency(Runs),
    /// Tokens and cost of the patches that a model wrote, reasoning included
    Tokens(Tokens),
    /// Acceptance when a gate's verdict is ignored, and the records that only that gate rejects
    Ablation(Ablation),
    /// Agreement of the built-in detector with other scanners and with labels, by policy
    ///
    /// Precision, recall and F1 take the other side for the truth; Cohen's kappa needs to know which manifests it
    /// evaluated. Ids are mapped to our policies; findings that map to none are counted, and policies for which a scanner
    /// has no finding at all are not compared. Disagreements are grouped by policy, kind and message.
    Agreement(Agreement),
    /// Escape matrix: what weaker sets of gates would let through of what all gates refuse
    ///
    /// Regimes, over the same repairs: emitted (no gate), policy only, admission style (policy and schema), and the full
    /// verifier. A rate is a share of the proposed repairs, i.e. of those on which at least one gate ran; records that
    /// need review, have nothing to fix or got no proposal are not among them. An escape is undecided if a gate of its
    /// regime did not run.
    Escapes(Escapes),
    /// Repairs that clear their target and break or hollow out something else, by proposer
    ///
    /// Ten detectors compare each document before and after the repair: a selector that no longer matches, a workload
    /// without container, a container removed, a workload stopped, a Service without backends, a volume replaced under
    /// its data, a command emptied, an object deleted, a finding moved to another container, a check disabled by an
    /// annotation. A rate is a share of the repairs that clear their target and whose document is in the run's copy of
    /// its corpus. What other objects of the input select is known only to runs that read them together.
    Deceptive(Deceptive),
    /// Runs of several proposers over the same records: acceptance, quality, price, by policy
    ///
    /// Each run is a proposer. Acceptance is given of all records and of those whose document was valid before, with
    /// Wilson intervals; each pair of runs is tested by McNemar's exact test over the records that both have, corrected
    /// by Holm. Time is the work of proposing, calls and verification; time and cost are of all records, divided by the
    /// accepted repairs. What was not measured is a dash, and null in JSON.
    CompareProposers(Runs),
    /// Records that a comparison needs, and the difference that runs could have shown
    ///
    /// For two runs over different records (unpaired), and for two over the same (paired, McNemar's test), which depends
    /// on the share of records that one run alone accepts. Records count as independent; where several are of one
    /// document, more are needed.
    Power(Power),
    /// Precision and recall of detections against labels
    DetectorEval(DetectorEval),
    /// Intervals and tests: Wilson, bootstrap by document, McNemar between runs of the same records, corrections
    Significance(Significance),
    /// Mean and standard deviation of acceptance over seeds
    MultiSeed(MultiSeed),
    /// Risk closed by runs, with the risk that a policy map gives each record
    Calibration(Calibration),
    /// One corpus judged by API servers of several versions: what each accepts, and what breaks from release to release
    ///
    /// Each run needs answers of a server (verifier.depth: server or both). Documents count once each, repairs by record;
    /// runs are compared, in the order of their versions, by the records that both have. With --risk: the paper's table
    /// of the risk closed by each run.
    CrossVersion(CrossVersion),
    /// The paper's risk throughput of a queue in two orders
    Throughput(Throughput),
    /// The paper's comparison of baselines: a table by policy
    Baselines(Baselines),
    /// Inequality and starvation in a log of assignments
    Fairness(Fairness),
    /// Results of endpoint probes: latency by concurrency, rates
    ProbeReport(ProbeReport),
    /// Risk of each detection: base risk of its policy, image scans, EPSS, known exploits
    Risk(Risk),
    /// Rollout order of the accepted repairs, by score
    ///
    /// The expected time of a repair is what its rollout takes (by kind, replicas and policy, from --rollout), plus the
    /// measured time to propose and verify. With --verified it is that of the paper's files.
    Schedule(Schedule),
    /// Four orders of one queue: ranks and waits of the records of highest risk
    Compare(Compare),
    /// The same queue under a grid of weights
    Sweep(Sweep),
    /// Simulation of the queue over time: arrivals, servers, retries, aging, learning bandits
    ///
    /// Service times (what the rollout takes, as for `schedule`, plus the measured time to propose and verify) and success
    /// rates are drawn from the judged records of runs. Rules: fifo, random, risk_only, told (the
    /// paper's score with the true rates and mean times), thompson and ucb (the same, with learnt rates and times),
    /// oracle (uses the future of each job: a bound). Bands of risk: top (85 and more), high (60 and more), rest.
    Simulate(Simulate),
    /// A durable queue of repairs to roll out, for several processes
    ///
    /// One SQLite file. A claim has a deadline and a token; an answer with an outdated token is refused.
    Queue(Queued),
    /// A packet for review: each accepted repair by document, with its rollout, and a plan for a repository
    ///
    /// Writes packet.md, packet.json, plan.txt and repairs/*.md: effect, verdicts, cautions, risk, companions, patch, and the
    /// patch that takes it back, which was tried. Documents are in the order of the rollout: the smallest blast radius first,
    /// then by score. The plan names the branches and commits that would be made; nothing is made or pushed. Secrets are masked.
    Packet(Packet),
    /// A full report of runs as one HTML page, Markdown, LaTeX, CSV and figures
    ///
    /// Writes report.html (one page that needs no network), report.md, tables.tex, tables/*.csv, records.csv,
    /// figures/*.svg (by --figures pdf also *.pdf) and manifest.json with the SHA-256 of each. With two runs over the same
    /// corpus, also which records changed their outcome. The report contains documents of failed records unless --examples
    /// is 0.
    Report(Report),
    /// What a paper must state about a run: n, dates, versions, model, prices, cost, tokens, hashes
    ///
    /// Cost and tokens are those of the answers that the records were given. What a run does not record, and what was not
    /// measured, is said to be so, and null in JSON. Prices have a date where they are those of this program's list.
    Cite(Cite),
    /// Two runs over the same records: whose outcome changed, and why
    ///
    /// Exit code 1 when fewer are accepted than before, or, with --fail-under, a smaller share than that.
    Diff(Diff),
    /// Compute every file of the paper again from its inputs
    ///
    /// Exit code 1 when a file differs without a known reason.
    Parity(Paper),
    /// Impossible numbers of the paper, with the corrected ones
    Audit(Paper),
    /// Hash of the outcomes: equal for the same corpus, configuration and seed, whatever the shards and workers
    ///
    /// Rows are sorted; columns about time, host and attempts are left out.
    Fingerprint(Fingerprint),
    /// Write the JSON files of a run in the paper's format: detections.json, patches.json, verified.json
    ///
    /// With --verdicts: the answers of an API server about the documents and repairs of the run, joined by the SHA-256 of
    /// their text.
    Export(Export),
    /// Older releases answered SQL: says what does it now
    #[command(hide = true)]
    Sql {
        /// The question
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Print a shell completion script
    ///
    /// For bash: source <(analysis completions bash)
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
