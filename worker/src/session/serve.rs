//! Starts the tasks of a session and awaits their end.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use domain::ids::WorkerName;
use domain::scanner::ScannerVersions;
use llm::providers::Providers;
use proposers::Proposers;
use proto::channel::CoordinatorAddress;
use scanners::Tool;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::dispatcher::Dispatcher;
use super::lease_table::LeaseTable;
use super::outcome::{SessionError, Stage, Summary};
use super::services::Services;
use crate::cpu_pool::CpuPool;
use crate::gateway_client::GatewayClient;
use crate::remote::{Abilities, Remote};
use crate::server_judge::ServerJudge;

/// Which coordinator to work for, and how much at a time.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address of the coordinator, and what proves this worker to it.
    pub coordinator: CoordinatorAddress,
    /// The worker's name; the coordinator may make it unique.
    pub name: WorkerName,
    /// How many shards are processed at the same time.
    pub slots: NonZeroUsize,
    /// About how many records may wait for LLM calls at the same time.
    pub questions: NonZeroUsize,
    /// The providers that runs may name.
    pub providers: Providers,
    /// The programs that runs may name; this worker is leased no shard of a run that names another.
    pub programs: Arc<Proposers>,
    /// The API server that judges the documents of runs that need one; `None`: this worker is leased none of them.
    pub server: Option<Arc<ServerJudge>>,
    /// The scanners that can be started for runs that ask them.
    pub scanners: Vec<Tool>,
}

/// Default of [`Options::questions`]: two workers keep 2,000 calls in flight, and as many requests queued as the rate
/// limit admits within a moment. Each takes about 100 kB.
pub const QUESTIONS: NonZeroUsize = NonZeroUsize::new(1200).unwrap();

/// How long the last messages may take to be sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Events of the connection that may queue for the dispatcher.
const INBOX: usize = 16;

/// Works until `stage` becomes [`Stage::Drain`] (or its sender is dropped), or the coordinator refuses for good.
pub async fn serve(options: Options, stage: watch::Receiver<Stage>) -> Result<Summary, SessionError> {
    let slots = u32::try_from(options.slots.get()).unwrap_or(u32::MAX);
    let server = options.server.as_ref().map(|server| server.identity().clone());
    let mut scanners = ScannerVersions::default();
    for tool in &options.scanners {
        scanners.add(tool.scanner(), tool.version()).map_err(SessionError::Scanner)?;
    }
    let abilities = Abilities { server, programs: options.programs.names(), scanners };
    let remote = Remote::new(options.coordinator, options.name.clone(), slots, abilities);
    let (joined, identity) = watch::channel(None);
    let (gateway, gateway_task) = GatewayClient::start(remote.connection(), identity);
    let leases = LeaseTable::new(options.slots.get(), options.questions.get(), Instant::now());
    let pool = CpuPool::new(options.slots.get());
    let dispatcher = Dispatcher::new(
        options.name,
        leases,
        pool,
        remote.connection(),
        gateway.clone(),
        Services {
            providers: options.providers,
            programs: options.programs,
            server: options.server,
            scanners: options.scanners,
        },
        joined,
    );
    let (events, inbox) = mpsc::channel(INBOX);
    let connection = tokio::spawn(remote.keep_open(events));
    let ended = dispatcher.run(inbox, stage).await;
    // The inbox is closed now, which ends the connection's task; give its last messages time to be sent.
    let _ = timeout(FLUSH_TIMEOUT, connection).await;
    gateway.wait_for_calls().await;
    drop(gateway);
    let _ = timeout(FLUSH_TIMEOUT, gateway_task).await;
    ended
}
