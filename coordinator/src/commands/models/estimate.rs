//! `coordinator estimate`: estimates the cost of a run with an LLM proposer.

use std::path::{Path, PathBuf};

use cli_support::failure::WithHint as _;
use cli_support::progress::{Progress, Standing, duration};
use cli_support::{Exit, output};
use domain::budget::{Price, Tier, Usage, Usd};
use domain::config::RunConfig;
use domain::ids::AnswerKey;
use llm::price::List;
use serde_json::{Value, json};

use super::model_check::ModelCheck;
use crate::commands::run::Output;
use crate::embedded::{CorpusArgs, Estimate, estimate};
use crate::llm_gateway::response_cache::{ANSWERS_FILE, Answers as _, ResponseCache};
use crate::settings::{ConfigArgs, run_checked};

/// Estimates how many calls, tokens, US dollars and minutes a run will take, and spends nothing.
///
/// Reads the corpus and builds every prompt that would be sent. Each counts once, however many records share it. The
/// estimate counts one answer to each prompt: after an answer that a gate rejects the model is asked again, up to
/// `max_attempts` times.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    corpus: CorpusArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// File of cached answers, which cost nothing [default: results/.answers.sqlite, where it exists]
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Prints the estimate.
pub(crate) fn run(args: &Args, quiet: bool) -> anyhow::Result<Exit> {
    let resolved = args.config.resolve()?;
    let settings = run_checked(&resolved)?;
    let config = settings.run.clone();
    if config.model().is_none() {
        let refused: anyhow::Result<Exit> =
            Err(anyhow::anyhow!("proposer.mode is rules: the run calls no model and costs nothing"));
        return refused.hint("choose a model: --config configs/grok.yaml, or --set proposer.mode=grok");
    }
    let progress = if quiet { Progress::silent() } else { Progress::start("records", None, 0) };
    let answers = answers(args)?;
    // A damaged cached answer is paid for again.
    let is_known = |key: &AnswerKey| {
        let found = answers.as_ref().and_then(|answers| answers.look_up(&[*key]).ok());
        found.is_some_and(|found| found.iter().any(|(_, stored)| stored.is_some()))
    };
    let destination = settings.providers.destination(config.proposer.mode);
    let counted = estimate(&args.corpus, &config, destination, is_known, |records| {
        progress.update(&Standing { done: records, ..Standing::default() });
    })?;
    drop(progress);
    let bill = Bill::of(&counted, &config);
    let model = ModelCheck::ask(&settings, &List::of(&resolved.value)?)?;
    match args.output {
        Output::Text => {
            let lines = model.iter().flat_map(ModelCheck::lines);
            let lines = lines.map(|line| format!("  model: {line}\n"));
            output::print(&(bill.text(&counted, &config) + &lines.collect::<Vec<_>>().concat()))?;
        }
        Output::Json => {
            let mut json = bill.json(&counted);
            json["model"] = model.as_ref().map_or(Value::Null, ModelCheck::json);
            output::print(&output::json_line(&json))?;
        }
    }
    Ok(Exit::Fine)
}

fn answers(args: &Args) -> anyhow::Result<Option<ResponseCache>> {
    let beside = || Path::new("results").join(format!(".{ANSWERS_FILE}"));
    let path = args.answers.clone().or_else(|| Some(beside()).filter(|path| path.is_file()));
    Ok(path.map(|path| ResponseCache::open(&path)).transpose()?)
}

/// Totals of an estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bill {
    calls: u64,
    tokens: u64,
    /// `None`: the model has no price.
    cost_usd: Option<f64>,
    /// Cost if every prompt took every attempt.
    worst_cost_usd: Option<f64>,
    /// Least time at the known limits; `None` where no limit is known.
    seconds: Option<f64>,
    /// The same by batches; `None`: what they cost is not known.
    batch_cost_usd: Option<f64>,
    /// The files of questions that batches would need.
    batch_files: u64,
    /// The longest time of a batch.
    batch_hours: u32,
}

impl Bill {
    fn of(counted: &Estimate, config: &RunConfig) -> Self {
        let calls = counted.questions - counted.known;
        let tokens = counted.prompt_tokens + counted.answer_tokens;
        let by = |tier| config.model().and_then(|model| cost(&model.price, counted, tier));
        let (cost_usd, batch_cost_usd) = (by(Tier::Standard), by(Tier::Batch));
        let limits = config.limits.budget();
        let by_requests = limits.requests_a_second().map(|limit| calls as f64 / limit);
        let by_tokens = limits.tokens_per_minute.known().map(|limit| tokens as f64 / limit as f64 * 60.0);
        let seconds = by_requests.into_iter().chain(by_tokens).reduce(f64::max);
        let worst_cost_usd = cost_usd.map(|cost| cost * f64::from(config.max_attempts));
        let (batch_files, batch_hours) =
            (calls.div_ceil(config.batch.file_lines.max(1).into()), config.batch.window_hours);
        Self { calls, tokens, cost_usd, worst_cost_usd, seconds, batch_cost_usd, batch_files, batch_hours }
    }

    fn json(&self, counted: &Estimate) -> Value {
        json!({
            "records": counted.records,
            "unasked": counted.unasked,
            "shared": counted.shared,
            "questions": counted.questions,
            "known": counted.known,
            "calls": self.calls,
            "prompt_tokens": counted.prompt_tokens,
            "answer_tokens": counted.answer_tokens,
            "cost_usd": self.cost_usd,
            "worst_cost_usd": self.worst_cost_usd,
            "seconds": self.seconds,
            "batch": {"files": self.batch_files, "hours": self.batch_hours, "cost_usd": self.batch_cost_usd},
        })
    }

    fn text(&self, counted: &Estimate, config: &RunConfig) -> String {
        let time = match self.seconds {
            Some(seconds) => format!("at least {} at the limits of the configuration", duration(seconds)),
            None => {
                "not known: set limits.requests_per_minute, or find it with `coordinator probe`".to_owned()
            }
        };
        let model = config.model().map_or_else(String::new, |model| model.model.clone());
        let cost = match self.cost_usd.zip(self.worst_cost_usd) {
            Some((cost, worst)) => {
                let attempts = config.max_attempts;
                format!(
                    "about {cost:.2} USD, at most about {worst:.2} if every prompt takes {attempts} attempts"
                )
            }
            None => format!(
                "not known: no price of {model} is known for these prompts; set {}.price",
                config.proposer.mode.as_str()
            ),
        };
        let batch_cost = match self.batch_cost_usd {
            Some(cost) => format!("about {cost:.2} USD"),
            None => "at a price that is not known".to_owned(),
        };
        format!(
            "{} records for {model}: {} calls\n  {} prompts, {} of them answered already; {} records share the prompt \
             of another; {} need no model\n  about {} tokens ({} of prompts, {} of answers)\n  cost: {cost}\n  time: {time}\n  by \
             batches (proposer.delivery: batch): files of questions: {}, each within {} h, {batch_cost}; further attempts \
             live\n",
            counted.records,
            self.calls,
            counted.questions,
            counted.known,
            counted.shared,
            counted.unasked,
            self.tokens,
            counted.prompt_tokens,
            counted.answer_tokens,
            self.batch_files,
            self.batch_hours,
        )
    }
}

/// The cost of all calls, where the longest prompt is none that has another price; `None`: it is not known.
fn cost(price: &Price, counted: &Estimate, tier: Tier) -> Option<f64> {
    let flat = Price { long_from_tokens: None, long_factor: None, ..*price };
    if price.long_from_tokens.is_some_and(|from| counted.longest_prompt >= from) {
        return None;
    }
    let all = Usage {
        prompt: counted.prompt_tokens,
        completion: counted.answer_tokens,
        total: counted.prompt_tokens + counted.answer_tokens,
        ..Usage::default()
    };
    flat.by_table(&all, tier).map(Usd::as_f64)
}

#[cfg(test)]
mod tests {
    use domain::budget::Limit;

    use super::*;

    #[test]
    fn the_tighter_limit_decides_how_long_it_takes() {
        let counted = Estimate {
            records: 100,
            questions: 90,
            known: 30,
            prompt_tokens: 60_000,
            answer_tokens: 60_000,
            ..Estimate::default()
        };
        let mut config = RunConfig::default();
        config.proposer.mode = domain::config::ProposerMode::Grok;
        let unpriced = Bill::of(&counted, &config);
        assert_eq!((unpriced.cost_usd, unpriced.worst_cost_usd), (None, None), "not 0");
        assert!(unpriced.text(&counted, &config).contains("cost: not known: no price of grok-4.3"));
        config.grok.price = Price::flat(0.20, None, 0.50);
        assert_eq!(Bill::of(&counted, &config).seconds, None);
        config.limits.requests_per_minute = Limit::at(60);
        config.limits.tokens_per_minute = Limit::at(60_000);
        let bill = Bill::of(&counted, &config);
        assert_eq!((bill.calls, bill.tokens, bill.seconds), (60, 120_000, Some(120.0)));
        // 60,000 × 0.20 and 60,000 × 0.50 a million.
        let (cost, worst) = bill.cost_usd.zip(bill.worst_cost_usd).unwrap();
        assert!((cost - 0.042).abs() < 1e-9 && (worst - 0.126).abs() < 1e-9);
        assert_eq!(bill.batch_cost_usd, None, "no factor is known");
        config.grok.price.batch_factor = Some(0.5);
        let batch = Bill::of(&counted, &config);
        assert!((batch.batch_cost_usd.unwrap() - 0.021).abs() < 1e-9 && batch.cost_usd == bill.cost_usd);
        // All prompts together are long, none of them is.
        config.grok.price.long_from_tokens = Some(50_000);
        let known =
            |longest_prompt| Bill::of(&Estimate { longest_prompt, ..counted }, &config).cost_usd.is_some();
        assert!(known(49_999) && !known(50_000));
    }
}
