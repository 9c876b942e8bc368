//! The part of `coordinator run` before the run: its first questions go through batches.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use cli_support::failure::{Interrupted, WithHint as _};
use cli_support::interrupt::Interrupts;
use cli_support::progress::duration;
use cli_support::{env, output};
use domain::config::{self, RunConfig};
use domain::ids::RunId;
use llm::providers::Providers;

use crate::batches::{Delivery, Event, Target, deliver};
use crate::embedded::CorpusArgs;
use crate::llm_gateway::response_cache::ResponseCache;

/// What a delivery needs of the command.
pub(crate) struct ByBatches<'a> {
    pub(crate) corpus: &'a CorpusArgs,
    pub(crate) run_id: &'a RunId,
    pub(crate) config: &'a RunConfig,
    pub(crate) providers: &'a Providers,
    pub(crate) quiet: bool,
}

impl ByBatches<'_> {
    /// Delivers the first questions where the run asks for it; an interruption leaves the batches at the provider.
    pub(crate) async fn deliver(
        &self,
        answers: &Arc<ResponseCache>,
        path: Option<PathBuf>,
        interrupts: &mut Interrupts,
    ) -> anyhow::Result<()> {
        if self.config.proposer.delivery == config::Delivery::Live {
            return Ok(());
        }
        if self.corpus.corpus.as_os_str() == "-" {
            let refused: anyhow::Result<()> =
                Err(anyhow::anyhow!("proposer.delivery: batch reads the corpus twice"));
            return refused.hint("give --corpus a file in place of -, or set proposer.delivery to live");
        }
        let path = path.context("batches need a file of answers (--answers)")?;
        let mode = self.config.proposer.mode;
        let provider = self
            .providers
            .open(mode, env::process)
            .hint("batches are submitted by this command, so it needs the key of the provider")?;
        let delivery = Delivery {
            run_id: self.run_id.clone(),
            config: self.config.clone(),
            corpus: self.corpus.clone(),
            cache: Arc::clone(answers),
            destination: self.providers.destination(mode),
            target: Target {
                provider: mode.as_str().to_owned(),
                endpoint: self.providers.url(mode),
                model: self.config.model().map(|model| model.model.clone()).unwrap_or_default(),
            },
            provider,
            lock: Delivery::lock(&path)?,
        };
        let mut talk = Talk { quiet: self.quiet, begun: Instant::now() };
        let mut say = |event: Event<'_>| talk.say(&event);
        let ended = tokio::select! {
            ended = deliver(&delivery, &mut say) => ended,
            () = interrupts.next() => return self.interrupted(answers),
        };
        let again = format!(
            "nothing is lost: once that is mended, the same command with --run-id {} goes on",
            self.run_id
        );
        let collected = ended.map_err(anyhow::Error::from).hint(again)?;
        if !self.quiet && collected.answered + collected.failed + collected.again > 0 {
            output::say(&format!(
                "batches: {} questions answered, {} failed for good; what is left is asked live",
                collected.answered, collected.failed
            ));
        }
        Ok(())
    }

    fn interrupted(&self, answers: &ResponseCache) -> anyhow::Result<()> {
        let open = answers.batches()?.into_iter().filter(|batch| batch.phase.remote().is_some());
        let ids: Vec<String> =
            open.filter_map(|batch| batch.phase.remote().map(ToString::to_string)).collect();
        if !ids.is_empty() {
            let stays = match ids.len() {
                1 => "1 batch stays at the provider and is worked on".to_owned(),
                count => format!("{count} batches stay at the provider and are worked on"),
            };
            output::say(&format!("{stays}: {} (`coordinator batches cancel` ends one)", ids.join(", ")));
        }
        Err(Interrupted).hint(format!("the same command with --run-id {} picks them up", self.run_id))
    }
}

/// Messages about batches.
struct Talk {
    quiet: bool,
    begun: Instant,
}

impl Talk {
    fn say(&mut self, event: &Event<'_>) {
        if self.quiet {
            return;
        }
        let remote = |batch: &crate::batches::record::BatchRecord| {
            batch.phase.remote().map_or_else(|| batch.mark.to_string(), ToString::to_string)
        };
        output::say(&match event {
            Event::Submitted(batch) => {
                format!("batch {}: {} questions were submitted", remote(batch), batch.lines)
            }
            Event::FoundAgain(batch) => {
                format!("batch {}: found at the provider, {} questions", remote(batch), batch.lines)
            }
            Event::Progress(batch, counts) => {
                let done = counts.completed + counts.failed;
                let spent = self.begun.elapsed().as_secs_f64();
                let left = match done {
                    0 => String::new(),
                    _ if done >= batch.lines => String::new(),
                    _ => format!(
                        ", about {} left",
                        duration(spent * (batch.lines - done) as f64 / done as f64)
                    ),
                };
                format!("batch {}: {done} of {} questions{left}", remote(batch), batch.lines)
            }
            Event::Collected(batch, collected) => format!(
                "batch {}: {} answered, {} failed for good, {} to be asked again, {} lines too many",
                remote(batch),
                collected.answered,
                collected.failed,
                batch.lines.saturating_sub(collected.answered + collected.failed),
                collected.surplus
            ),
            Event::Trouble(batch, failure) => {
                format!("batch {}: {failure}; it is tried again", remote(batch))
            }
            Event::Elsewhere(count) => {
                format!("waiting for {count} batches of another process with questions of this run")
            }
        });
    }
}
