//! Repeats a run from what was recorded: no model, no API server and no program is asked.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use domain::api_server::{ServerClass, ServerIdentity, ServerVerdict};
use domain::config::{AnswerFormat, Delivery, RunConfig, SpendConfig};
use domain::run::RunState;
use domain::scanner::Scanners;
use futures::future::BoxFuture;
use llm::providers::{Destination, Providers};
use proto::convert::RunStatus;
use results::run_file::RunFile;
use results::store::Store;
use tokio::sync::oneshot;

use crate::client::{Client, Reader, Request};
use crate::embedded::{JudgeServer, Machine, ServerJudge, Unreachable, Workers};
use crate::ledger::MemoryLedger;
use crate::llm_gateway::response_cache::ResponseCache;
use crate::run::{Coordinator, OwnerDeadline, Parts, Recovery, Standstill};
use crate::server::{self, Endpoints};

/// What a replayed run says in place of a verdict that was not recorded.
pub(super) const NO_VERDICT: &str = "no verdict of the API server about this document was recorded";

/// A run to repeat.
#[derive(Debug)]
pub(crate) struct Rerun {
    /// The run as it was.
    pub(crate) run: RunFile,
    /// Where its model was asked.
    pub(crate) asked: Option<Destination>,
    /// The answers and verdicts that were recorded.
    pub(crate) answers: Arc<ResponseCache>,
    /// Folder for the results, without a run of that name.
    pub(crate) out: PathBuf,
    /// Workers in this process.
    pub(crate) workers: NonZeroUsize,
}

impl Rerun {
    /// Runs the corpus that `read` gives to its end; calls `each` with every status on the way.
    pub(crate) async fn run<S: Send + 'static>(
        self,
        read: Reader<S>,
        each: impl FnMut(&RunStatus),
    ) -> anyhow::Result<RunStatus> {
        let machine = self.machine();
        let (run_id, expected) = (self.run.run_id.clone(), self.run.corpus_hash);
        let coordinator = Coordinator::open(Parts {
            ledger: Arc::new(MemoryLedger::default()),
            store: Store::local(&self.out)?,
            scratch: self.out.clone(),
            recovery: Recovery::Forfeit,
            owner: OwnerDeadline::unlimited(),
        })
        .await?;
        let (endpoints, address) = Endpoints::of_this_process()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = server::run(endpoints, Arc::clone(&coordinator), self.answers, async move {
            // A dropped sender is a stop request, too.
            let _ = stopped.await;
        });
        let server = tokio::spawn(serving);
        let mut client = Client::new(address.clone());
        let mut workers = Workers::none();
        let request =
            Request { run_id: run_id.clone(), config: replayed(&self.run), source: self.run.corpus.clone() };
        let working = async {
            let (status, _, _) = client.submit(request, read).await?;
            anyhow::ensure!(
                status.corpus_hash == expected,
                "the corpus is not that of the run: it has the hash {}, the run had {expected}",
                status.corpus_hash
            );
            workers.start(&address, self.workers, &machine)?;
            workers.while_working(client.follow(&run_id, each)).await
        };
        let ended = tokio::select! {
            ended = working => ended,
            Standstill::Stalled(why) | Standstill::Halted(why) = coordinator.wait_for_standstill(&run_id) => {
                Err(anyhow::anyhow!("the replay stopped: {why}"))
            }
        };
        if ended.is_ok() {
            workers.drain().await;
        }
        drop(stop);
        server.await??;
        let status = ended?;
        let trouble = status.trouble.clone().unwrap_or_default();
        anyhow::ensure!(
            status.state == RunState::Finished,
            "the replay is {}: {trouble}",
            status.state.as_str()
        );
        Ok(status)
    }

    /// What its workers may use: nothing outside this process.
    fn machine(&self) -> Machine {
        let destination = self.asked.clone().unwrap_or_default();
        let server =
            self.run.judged_by.clone().map(|identity| Arc::new(ServerJudge::new(Recorded(identity))));
        Machine {
            providers: Providers::recorded(self.run.config.proposer.mode, &destination),
            server,
            ..Machine::default()
        }
    }
}

/// The configuration of a run without what decides no outcome: bounds, limits and the order of delivery; and without the
/// scanners that are programs of their own, whose verdicts stand in the outcomes.
fn replayed(run: &RunFile) -> RunConfig {
    let mut config = run.config.clone();
    let defaults = RunConfig::default();
    config.spend = SpendConfig::default();
    config.batch = defaults.batch;
    config.proposer.delivery = Delivery::default();
    config.proposer.max_failed_share = 1.0;
    let allowed = defaults.limits;
    config.limits.requests_per_minute = allowed.requests_per_minute;
    config.limits.requests_per_second = allowed.requests_per_second;
    config.limits.tokens_per_minute = allowed.tokens_per_minute;
    config.limits.concurrency = allowed.concurrency;
    config.verifier.rescan = Scanners::default();
    // Where the provider refused the strictest form, all of its answers are in a weaker one.
    let mut forms = run.models.answer_forms.keys();
    if let (AnswerFormat::Auto, Some(form), None) = (config.proposer.answer_form, forms.next(), forms.next())
    {
        let mut known = std::iter::successors(Some(AnswerFormat::Auto.first()), |form| form.weaker());
        let known = known.find(|known| known.as_str() == form);
        config.proposer.answer_form = known.unwrap_or_default();
    }
    config
}

/// The API server of a run that is over: it answers nothing that was not recorded.
struct Recorded(ServerIdentity);

impl JudgeServer for Recorded {
    fn identity(&self) -> &ServerIdentity {
        &self.0
    }

    fn judge<'a>(&'a self, _text: &'a str) -> BoxFuture<'a, Result<ServerVerdict, Unreachable>> {
        let verdict = ServerVerdict {
            class: ServerClass::Other,
            code: 0,
            causes: Vec::new(),
            message: Some(NO_VERDICT.to_owned()),
            warnings: Vec::new(),
        };
        Box::pin(std::future::ready(Ok(verdict)))
    }
}
