//! In-process workers over gRPC, and the corpus readers. The only file that imports `worker`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use domain::config::{Documents, RunConfig, ScannersConfig};
use domain::ids::{AnswerKey, WorkerName};
use llm::providers::{Destination, Providers};
use proto::channel::CoordinatorAddress;
use worker::preview::estimate::Estimator;
use worker::preview::questions::FirstQuestions;
use worker::server_judge::{Definitions, definitions};
use worker::session::{self, Options, SessionError, Stage, Summary};

use crate::client::Reader;

pub use worker::preview::NOT_RECORDED;
pub use worker::preview::estimate::Estimate;
pub use worker::preview::questions::FirstQuestion;
pub use worker::preview::secrets::holds_secrets;
pub use worker::programs::{self, Proposers};
pub use worker::server_judge::{JudgeServer, ServerArgs, ServerJudge, Unreachable};
pub use worker::session::Tool;

/// What the workers of this process may use.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Where models are asked.
    pub providers: Providers,
    /// Programs that propose.
    pub programs: Arc<Proposers>,
    /// The API server that is asked.
    pub server: Option<Arc<ServerJudge>>,
    /// Scanners that judge what the repairs made.
    pub scanners: Vec<Tool>,
}

/// Workers in this process.
#[derive(Debug)]
pub struct Workers {
    stage: watch::Sender<Stage>,
    sessions: JoinSet<Result<Summary, SessionError>>,
}

impl Workers {
    /// No workers, until some are started.
    pub fn none() -> Self {
        Self { stage: watch::Sender::new(Stage::Work), sessions: JoinSet::new() }
    }

    /// Starts `count` workers of one slot each for the coordinator at `address`, with what this machine has.
    pub fn start(
        &mut self,
        address: &CoordinatorAddress,
        count: NonZeroUsize,
        machine: &Machine,
    ) -> anyhow::Result<()> {
        for number in 1..=count.get() {
            let name = WorkerName::new(format!("local-{number}"))?;
            let (coordinator, slots, questions) = (address.clone(), NonZeroUsize::MIN, session::QUESTIONS);
            let Machine { providers, programs, server, scanners } = machine.clone();
            let options =
                Options { coordinator, name, slots, questions, providers, programs, server, scanners };
            self.sessions.spawn(session::serve(options, self.stage.subscribe()));
        }
        Ok(())
    }

    /// The result of `task`, or the fault of a worker that has ended before.
    pub async fn while_working<T>(
        &mut self,
        task: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            done = task => done,
            error = self.failed() => Err(error),
        }
    }

    /// Waits until a worker has ended by itself, which happens only after a fault.
    async fn failed(&mut self) -> anyhow::Error {
        match self.sessions.join_next().await {
            Some(Ok(Ok(_))) => anyhow::anyhow!("a worker ended early"),
            Some(Ok(Err(error))) => error.into(),
            Some(Err(error)) => anyhow::anyhow!("a worker crashed: {error}"),
            None => std::future::pending().await,
        }
    }

    /// Drains the workers: they finish the records that have begun and release the rest.
    pub async fn drain(mut self) {
        self.stage.send_replace(Stage::Drain);
        while self.sessions.join_next().await.is_some() {}
    }
}

/// Finds the scanners that a run asks besides the built-in one, and asks their versions.
pub async fn open_scanners(config: &RunConfig, scanners: ScannersConfig) -> anyhow::Result<Vec<Tool>> {
    let wanted = config.verifier.rescan.clone();
    Ok(tokio::task::spawn_blocking(move || Tool::open_all(wanted.tools(), &scanners)).await??)
}

/// Connects to the API server that judges the documents of a run; `None` where its configuration needs none. A throw-away one
/// is given the custom resource definitions of the corpus first, unless that is read from standard input.
pub async fn connect_server(
    args: &ServerArgs,
    corpus: &CorpusArgs,
    config: &RunConfig,
) -> anyhow::Result<Option<Arc<ServerJudge>>> {
    if !config.verifier.depth.needs_server() {
        anyhow::ensure!(
            !args.is_given(),
            "--kubeconfig and --control-plane are for --depth server or both: the embedded rules judge this run"
        );
        return Ok(None);
    }
    let definitions = if args.is_control_plane() && corpus.corpus.as_os_str() != "-" {
        let (source, config) = (corpus.source(), config.clone());
        tokio::task::spawn_blocking(move || definitions(&source, &config)).await??
    } else {
        Definitions::default()
    };
    Ok(Some(Arc::new(args.connect(definitions.texts()).await?)))
}

/// Where this process was started as the supervisor of a control plane or of a program: runs as that. Called first in `main`.
pub fn supervise() -> Option<ExitCode> {
    worker::server_judge::supervise()
}

/// Source of a corpus.
#[derive(Debug, Clone, clap::Args)]
pub struct CorpusArgs {
    /// Folder or archive (tar, zip) of YAML and JSON manifests; detections as JSON, JSON lines or Parquet, JSON also packed
    /// (gz, zst, xz, zip); or - for detections on standard input
    #[arg(long, value_name = "PATH")]
    pub corpus: PathBuf,
    /// Folder or archive of the manifests that published records were found in, for --documents manifest
    #[arg(long, value_name = "DIR|ARCHIVE")]
    pub manifests: Option<PathBuf>,
}

impl CorpusArgs {
    /// Name of the corpus, for display.
    pub fn name(&self) -> String {
        self.corpus.display().to_string()
    }

    fn source(&self) -> corpus::Source {
        corpus::Source { corpus: self.corpus.clone(), manifests: self.manifests.clone() }
    }
}

/// Summary of a corpus that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake {
    /// Which document each record carries.
    pub documents: Documents,
    /// Number of records.
    pub records: u64,
}

/// A reader of the corpus.
pub fn reader(args: &CorpusArgs, config: &RunConfig) -> Reader<Intake> {
    let (source, config) = (args.source(), config.clone());
    Box::new(move |each| {
        let summary = corpus::read(&source, &config, each)?;
        Ok(Intake { documents: summary.documents, records: summary.records })
    })
}

/// Passes the first question about each record of the corpus to `each`; equal ones come as often as records have them.
pub fn first_questions<E: From<corpus::CorpusError>>(
    args: &CorpusArgs,
    config: &RunConfig,
    destination: Destination,
    each: &mut dyn FnMut(FirstQuestion) -> Result<(), E>,
) -> Result<(), E> {
    let mut questions = FirstQuestions::new(config.clone(), destination);
    corpus::read::<E>(&args.source(), config, &mut |record, document| {
        questions.add(record, document).into_iter().try_for_each(&mut *each)
    })?;
    questions.flush().into_iter().try_for_each(each)
}

/// Estimates the LLM calls to `destination` that the corpus needs under `config`, without those that `is_known` finds in the response
/// cache. Calls `seen` with the number of records read so far.
pub fn estimate(
    args: &CorpusArgs,
    config: &RunConfig,
    destination: Destination,
    is_known: impl FnMut(&AnswerKey) -> bool,
    mut seen: impl FnMut(u64),
) -> anyhow::Result<Estimate> {
    let source = corpus::Source { corpus: args.corpus.clone(), manifests: args.manifests.clone() };
    let mut estimator = Estimator::new(config.clone(), destination, is_known);
    let mut records = 0;
    corpus::read::<anyhow::Error>(&source, config, &mut |record, document| {
        estimator.add(record, document);
        records += 1;
        seen(records);
        Ok(())
    })?;
    Ok(estimator.finish())
}
