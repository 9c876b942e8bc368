//! The command line: global options and the subcommands.

use clap::{Parser, Subcommand};
use console::completions::Shell;
use console::telemetry::Logs;

use super::args::Runs;
use super::paper::{
    Baselines, Calibration, CrossVersion, DetectorEval, Fairness, MultiSeed, Paper, Throughput,
};
use super::queue::Queued;
use super::report::{Report, Sql};
use super::rollout::{Risk, Schedule, Simulate, Sweep};
use super::runs::{
    Ablation, Diff, Export, Failures, Fingerprint, Metrics, ProbeReport, Significance, Tokens,
};

/// Metrics, failures and published JSON of evaluation runs.
///
/// PATH is the folder of a run (results/RUN), a Parquet file, a glob such as 'results/*/part-*.parquet', or a
/// file:// URL; several may be given and are read as one. Results go to stdout, talk goes to stderr.
///
/// Exit code: 0 fine, 2 failure or wrong usage, 130 interrupted.
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
    /// How many repairs were accepted, by which gates others failed, how large and how fast
    ///
    /// JSON holds the published keys at top level, with their published meaning, and ours under "extended": counts
    /// by status, fault, gate and caution, acceptance with Wilson intervals at 95 %, the effective share, times.
    Metrics(Metrics),
    /// The same for each canonical policy
    ///
    /// JSON: policy → the published risk, probability, expected time (in seconds), wait, kev and explore, and ours
    /// under "extended".
    PolicyMetrics(Metrics),
    /// What was not accepted: by gate, policy, fault, kind and reason, each with an example record
    Failures(Failures),
    /// How many operations patches have: the published statistics, and a histogram
    PatchStats(Runs),
    /// How long proposing, waiting for a model, verifying and whole records took, with intervals
    Latency(Runs),
    /// Tokens of the patches that a model wrote, reasoning included, and what they cost
    Tokens(Tokens),
    /// Acceptance when a gate's verdict is ignored, and what would have escaped
    Ablation(Ablation),
    /// Precision and recall of detections against labels
    DetectorEval(DetectorEval),
    /// Intervals and tests: Wilson, by document (bootstrap), McNemar between runs of the same records, corrections
    Significance(Significance),
    /// Mean and deviation of acceptance over seeds
    MultiSeed(MultiSeed),
    /// How much risk runs closed, by the risk that a policy map gives each record
    Calibration(Calibration),
    /// Risk closed by version of the cluster, of runs that were really made
    CrossVersion(CrossVersion),
    /// The published risk throughput of a queue in two orders
    Throughput(Throughput),
    /// The published head-to-head of baselines: a table by policy
    Baselines(Baselines),
    /// Inequality and starvation in a log of assignments
    Fairness(Fairness),
    /// What probes of an endpoint found: latency by concurrency, rates
    ProbeReport(ProbeReport),
    /// Risk of each detection: base risk of its policy, image scans, EPSS, known exploits
    Risk(Risk),
    /// The order in which accepted repairs are rolled out, by score
    Schedule(Schedule),
    /// Four orders of one queue: ranks and waits of what has the highest risk
    Compare(Schedule),
    /// The same queue under a grid of weights
    Sweep(Sweep),
    /// The queue over time: arrivals, servers, retries, aging, and bandits that learn
    ///
    /// Times and shares of success are drawn from the measured records of runs. Rules: fifo, random, risk_only, told
    /// (the published score, with the true shares and mean times), thompson and ucb (the same, learnt on the way),
    /// oracle (knows what will happen: a bound). Bands of risk: top (85 and more), high (60 and more), rest.
    Simulate(Simulate),
    /// A durable queue of repairs to roll out, for several processes
    ///
    /// One SQLite file. A claim holds for a time and carries a token; whose claim ran out cannot answer any more.
    Queue(Queued),
    /// Everything about runs as one page, Markdown, LaTeX, CSV and figures
    ///
    /// Writes report.html (one page that needs no network), report.md, tables.tex, tables/*.csv, records.csv,
    /// figures/*.svg and manifest.json with the SHA-256 of each. With two runs over the same corpus, also which
    /// records changed their outcome. The report holds documents of failed records unless --examples is 0.
    Report(Report),
    /// Ask anything: SQL over the rows, which are the table outcomes
    ///
    /// For example: analysis sql "select policy_id, avg(accepted) from outcomes group by policy_id" results/RUN
    Sql(Sql),
    /// Two runs over the same records: whose outcome changed, and why
    ///
    /// Exit code 1 when fewer are accepted than before, or, with --fail-under, a smaller share than that.
    Diff(Diff),
    /// Compute every published file again from its inputs
    ///
    /// Exit code 1 when a file differs and nobody knows why.
    Parity(Paper),
    /// Published numbers that cannot be right, with the right ones
    Audit(Paper),
    /// The hash of the outcomes: equal for the same corpus, configuration and seed, however the run was cut
    ///
    /// Rows are sorted; columns that tell when, where and how fast a record was processed are left out.
    Fingerprint(Fingerprint),
    /// Write the published JSON files of a run: detections.json, patches.json, verified.json
    Export(Export),
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
