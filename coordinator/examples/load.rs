//! Load test of the coordinator: leases and commits a second with simulated workers over gRPC that compute nothing.
//!
//! `cargo run --release -p coordinator --example load -- --workers 1000 --seconds 20`. Parts are small, and of the right form;
//! store and ledger are real, so `--out` selects the disk that is measured.
//! `--records 10000000 --shard-size 10 --seconds 3600` shows the memory with a large ledger.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use coordinator::client::{Client, Request};
use coordinator::ledger::state_folder::StateFolder;
use coordinator::run::{Coordinator, OwnerDeadline, Parts, Recovery};
use coordinator::server::identity::LeaseSecrets;
use coordinator::server::listen::Listener;
use coordinator::server::{self, Endpoints};
use domain::config::RunConfig;
use domain::ids::{PartHash, RecordId, RunId};
use domain::record::{Neighbours, Record, SourceDocument};
use domain::run::Lease;
use domain::tally::Tally;
use proto::channel::{Access, Connection, CoordinatorAddress, connect, fleet_client};
use proto::convert::{Assembly, LeaseKey, PartHeader};
use proto::v1;
use proto::v1::commit_shard_request::Message as Commit;
use proto::v1::work_request::Message as ToCoordinator;
use proto::v1::work_response::Message as FromCoordinator;
use results::part::write_part;
use results::store::Store;

/// Measures the coordinator alone.
#[derive(Debug, Clone, Parser)]
struct Args {
    /// Simulated workers, each with its own stream
    #[arg(long, default_value_t = 1000)]
    workers: usize,
    /// Connections that they share
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// Shards that a worker requests and commits at the same time. It does not renew leases, so all of them together have to
    /// be committed within the time to live of a lease
    #[arg(long, default_value_t = 4)]
    slots: u32,
    /// Records of the run
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Records of a shard
    #[arg(long, default_value_t = 1)]
    shard_size: u32,
    /// How long to measure, at most
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Folder for ledger and parts; it is not cleaned up
    #[arg(long)]
    out: PathBuf,
}

/// Interval of progress messages.
const PROGRESS: Duration = Duration::from_secs(10);

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(args))
}

#[expect(clippy::print_stdout, reason = "the result")]
async fn measure(args: Args) -> anyhow::Result<()> {
    let state = StateFolder::open(&args.out.join("state"))?;
    let answers = Arc::new(coordinator::llm_gateway::response_cache::ResponseCache::in_memory()?);
    let coordinator = Coordinator::open(Parts {
        ledger: Arc::new(state.ledger()?),
        store: Store::local(&args.out.join("results"))?,
        scratch: state.join(""),
        recovery: Recovery::Forfeit,
        owner: OwnerDeadline::unlimited(),
    })
    .await?;
    let socket = args.out.join("load.sock");
    let listener = Listener::unix(&socket)?;
    let address = CoordinatorAddress::parse(&format!("unix:{}", socket.display()), &Access::default())?;
    let endpoints =
        Endpoints { listeners: vec![listener], access: Arc::default(), leases: LeaseSecrets::of_process()? };
    let serving = tokio::spawn(server::run(endpoints, coordinator, answers, std::future::pending()));
    submit(address.clone(), args.records, args.shard_size).await?;
    let committed = Arc::new(AtomicU64::new(0));
    let mut connections = Vec::new();
    for _ in 0..args.connections.max(1) {
        connections.push(connect(&address));
    }
    let mut workers = tokio::task::JoinSet::new();
    for (number, connection) in connections.iter().cycle().take(args.workers).enumerate() {
        workers.spawn(work(connection.clone(), number, args.slots, Arc::clone(&committed)));
    }
    // Workers join during the first seconds.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (before, begun) = (committed.load(Ordering::Relaxed), Instant::now());
    let shards = args.records.div_ceil(args.shard_size.into());
    let mut printed = Instant::now();
    while begun.elapsed().as_secs() < args.seconds && committed.load(Ordering::Relaxed) < shards {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if printed.elapsed() > PROGRESS {
            printed = Instant::now();
            println!("{} of {shards} shards, {}", committed.load(Ordering::Relaxed), memory("VmRSS"));
        }
    }
    let pairs = committed.load(Ordering::Relaxed) - before;
    let rate = pairs as f64 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} lease+commit pairs a second, {}", memory("VmHWM"));
    serving.abort();
    workers.abort_all();
    Ok(())
}

/// A line of `/proc/self/status`: workers and coordinator together.
fn memory(which: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(which)).unwrap_or(which);
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Submits a run of small records.
async fn submit(address: CoordinatorAddress, records: u64, shard_size: u32) -> anyhow::Result<()> {
    let mut config = RunConfig::default();
    config.fleet.shard_size = shard_size;
    let request = Request { run_id: RunId::new("load")?, config, source: "load".to_owned() };
    let read = move |each: &mut dyn FnMut(Record, SourceDocument) -> anyhow::Result<()>| {
        let document = SourceDocument::new("kind: Pod\n".to_owned(), Neighbours::Unknown);
        (0..records).try_for_each(|position| {
            let record = Record {
                id: RecordId::new(format!("{position}"))?,
                position,
                manifest_path: String::new(),
                document: document.hash,
                raw_policy_id: "latest-tag".to_owned(),
                violation_text: String::new(),
                problem: None,
            };
            each(record, document.clone())
        })
    };
    Client::new(address).submit(request, Box::new(read)).await?;
    Ok(())
}

/// A worker that commits every shard without processing it.
async fn work(
    connection: Connection,
    number: usize,
    slots: u32,
    committed: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let mut client = fleet_client(connection.clone());
    let join = v1::JoinRequest {
        protocol_version: proto::PROTOCOL_VERSION,
        version: String::new(),
        worker: format!("load-{number}"),
        slots,
    };
    let v1::JoinResponse { worker, session, .. } = client.join(join).await?.into_inner();
    let (requests, outbox) = mpsc::channel(64);
    let request = |message| v1::WorkRequest { message: Some(message) };
    let open = v1::Open { worker, slots, session: session.clone(), ..v1::Open::default() };
    requests.send(request(ToCoordinator::Open(open))).await?;
    requests.send(request(ToCoordinator::RequestShards(v1::RequestShards { shards: slots }))).await?;
    let mut responses = client.work(ReceiverStream::new(outbox)).await?.into_inner();
    let mut commits = tokio::task::JoinSet::new();
    let mut lease: Option<(LeaseKey, Lease)> = None;
    let mut slice = Assembly::default();
    while let Some(response) = responses.next().await {
        match response?.message {
            Some(FromCoordinator::Grant(granted)) => {
                let key = LeaseKey::try_from(granted.key.clone().unwrap_or_default())?;
                lease = Some((key, Lease::try_from(granted)?));
            }
            Some(FromCoordinator::Slice(piece)) => {
                slice.push(piece.slice.unwrap_or_default())?;
                if !piece.last {
                    continue;
                }
                let (key, lease) = lease.take().context("a slice without a lease")?;
                let records = std::mem::take(&mut slice).finish().records;
                let rows: Vec<_> = records
                    .iter()
                    .map(|record| domain::testing::outcome(record, lease.shard.index))
                    .collect();
                let part = write_part(&lease.run_id, &rows)?;
                let (connection, requests) = (connection.clone(), requests.clone());
                let (committed, session) = (Arc::clone(&committed), session.clone());
                while commits.try_join_next().is_some() {}
                commits.spawn(async move {
                    let header = PartHeader {
                        key,
                        worker: lease.worker,
                        bytes: part.len() as u64,
                        hash: PartHash::of(&part),
                        tally: Tally::of(&rows),
                    };
                    let mut header = v1::CommitHeader::from(&header);
                    header.session = session;
                    let messages = [Commit::Header(header), Commit::Chunk(part)]
                        .map(|message| v1::CommitShardRequest { message: Some(message) });
                    if fleet_client(connection).commit_shard(tokio_stream::iter(messages)).await.is_ok() {
                        committed.fetch_add(1, Ordering::Relaxed);
                    }
                    let next = ToCoordinator::RequestShards(v1::RequestShards { shards: 1 });
                    let _ = requests.send(v1::WorkRequest { message: Some(next) }).await;
                });
            }
            _ => {}
        }
    }
    Ok(())
}
