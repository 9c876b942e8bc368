//! The server: both gRPC services, health, reflection and HTTP, behind one check of roles.

pub mod access;
pub mod connections;
mod fleet;
pub(crate) mod http;
pub mod identity;
pub mod listen;
mod live_page;
mod llm_stream;
pub mod roles;
mod runs;
mod secrets;
pub mod stream_limits;
pub mod tls;
pub mod tokens;
mod work_stream;

use std::sync::Arc;

use futures::stream;
use tokio::sync::{Semaphore, watch};

use proto::channel::{CoordinatorAddress, MAX_MESSAGE_BYTES, server};
use proto::status::ApiError;
use proto::v1::fleet_server::FleetServer;
use proto::v1::runs_server::RunsServer;

use crate::llm_gateway::GatewayHandle;
use crate::llm_gateway::response_cache::AnswerStore;
use crate::run::Coordinator;
use crate::server::connections::{LimitRequests, Limits, Peers};
use access::{AccessControl, AccessLayer};
use fleet::FleetService;
use identity::LeaseSecrets;
use listen::Listener;
use runs::RunsService;

/// Longest time for streams to end at shutdown. What it cuts off is sent again to the next coordinator, which waits for this one.
const GRACE: std::time::Duration = std::time::Duration::from_secs(1);

/// An error of the server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The transport failed.
    #[error("the server failed")]
    Transport(#[from] tonic::transport::Error),
    /// The response cache cannot be read.
    #[error(transparent)]
    Answers(#[from] ApiError),
    /// The reflection service does not accept the file descriptors.
    #[error("the reflection service cannot be built")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Where the server listens, and how it knows its peers.
#[derive(Debug)]
pub struct Endpoints {
    /// Sources of connections.
    pub listeners: Vec<Listener>,
    /// Which role may do what.
    pub access: Arc<AccessControl>,
    /// The secrets of leases.
    pub leases: LeaseSecrets,
}

impl Endpoints {
    /// What the workers and clients of this process reach, over no socket, and where.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub(crate) fn of_this_process() -> anyhow::Result<(Self, CoordinatorAddress)> {
        let (listener, address) = Listener::in_process();
        let access = Arc::new(AccessControl::default());
        let leases = LeaseSecrets::of_process()?;
        Ok((Self { listeners: vec![listener], access, leases }, address))
    }
}

/// Serves the coordinator and its LLM gateway at `endpoints` until `shutdown` completes; then asks streams to end and waits
/// up to `GRACE` for that.
pub async fn run(
    endpoints: Endpoints,
    coordinator: Arc<Coordinator>,
    answers: impl Into<AnswerStore>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServerError> {
    run_with(endpoints, coordinator, answers, Limits::default(), shutdown).await
}

/// Like [`run`], with other limits of incoming data.
pub async fn run_with(
    endpoints: Endpoints,
    coordinator: Arc<Coordinator>,
    answers: impl Into<AnswerStore>,
    limits: impl Into<Limits>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServerError> {
    let Endpoints { listeners, access, leases } = endpoints;
    let AnswerStore { answers, verdicts } = answers.into();
    let limits = limits.into();
    let streams = limits.streams;
    let (drain, draining) = watch::channel(false);
    coordinator.use_verdicts(verdicts).await;
    let (gateway, gateway_shutdown) = GatewayHandle::open(
        Arc::clone(&coordinator.llm),
        Arc::clone(&coordinator.metrics),
        answers,
        coordinator.owner.clone(),
    )
    .await?;
    let fleet = FleetService {
        coordinator: Arc::clone(&coordinator),
        gateway,
        draining: draining.clone(),
        limits: streams,
        leases: Arc::new(leases),
    };
    let submissions = Arc::new(Semaphore::new(self::runs::SUBMISSIONS));
    let clients =
        RunsService { coordinator: Arc::clone(&coordinator), draining, submissions, limits: streams };
    let served = serve((listeners, access), (fleet, clients), limits, &coordinator, drain, shutdown).await;
    gateway_shutdown.close(GRACE).await;
    coordinator.close().await;
    served
}

async fn serve(
    (listeners, access): (Vec<Listener>, Arc<AccessControl>),
    (fleet, clients): (FleetService, RunsService),
    limits: Limits,
    reaper: &Arc<Coordinator>,
    drain: watch::Sender<bool>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServerError> {
    let fleet = FleetServer::new(fleet)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let clients = RunsServer::new(clients)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<FleetServer<FleetService>>().await;
    reporter.set_serving::<RunsServer<RunsService>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut stopping = drain.subscribe();
    let peers = Peers::new(limits.connections);
    let connections =
        listeners.into_iter().map(|listener| listener.connections(Arc::clone(&access), Arc::clone(&peers)));
    let connections = stream::select_all(connections.collect::<Vec<_>>());
    let serving = server()
        .max_concurrent_streams(limits.connections.connection_requests)
        .http2_max_header_list_size(limits.connections.header_bytes)
        .layer(LimitRequests)
        .layer(AccessLayer(access))
        .add_service(fleet)
        .add_service(clients)
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(connections, async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        });
    tokio::pin!(serving, shutdown);
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = &mut shutdown => {}
        () = reaper.reap_leases() => {}
    }
    reporter.set_not_serving::<FleetServer<FleetService>>().await;
    reporter.set_not_serving::<RunsServer<RunsService>>().await;
    drain.send_replace(true);
    match tokio::time::timeout(GRACE, serving).await {
        Ok(ended) => Ok(ended?),
        // A client that does not close its connection: it ends with this process.
        Err(_) => Ok(()),
    }
}
