//! gRPC service `Fleet`, for workers: `Join`, `Work`, `LlmCalls`, `CommitShard`, `GetVerdicts`, `PutVerdicts`.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use cli_support::traces;
use domain::ids::{DocumentHash, WorkerName};
use proto::convert::{BadMessage, LeaseHolder, PartHeader, VERDICTS, verdict_from_wire, verdict_to_wire};
use proto::secret::SharedSecret;
use proto::status::{ApiError, ErrorReason, check_version};
use proto::v1;
use proto::v1::commit_shard_request::Message;

use super::identity::{self, LeaseSecrets};
use super::{llm_stream, work_stream};
use crate::llm_gateway::GatewayHandle;
use crate::refusals::ending;
use crate::run::Coordinator;
use crate::run::commit::Committed;
use crate::server::connections::{PeerConnection, PeerKey};
use crate::server::roles;
use crate::server::stream_limits::{StreamLimits, timed_upload, within};

/// The service `Fleet`.
#[derive(Debug, Clone)]
pub(crate) struct FleetService {
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) gateway: GatewayHandle,
    /// Turns true when the coordinator shuts down.
    pub(crate) draining: watch::Receiver<bool>,
    pub(crate) limits: StreamLimits,
    /// The secrets that prove a worker's leases.
    pub(crate) leases: Arc<LeaseSecrets>,
}

#[tonic::async_trait]
impl v1::fleet_server::Fleet for FleetService {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let peer = roles::connection(request.extensions()).map_or(PeerKey::Unknown, PeerConnection::key);
        let join = request.into_inner();
        let version = env!("CARGO_PKG_VERSION");
        check_version(join.protocol_version, ("worker", &join.version), ("coordinator", version))?;
        if *self.draining.borrow() {
            return Err(ending().into());
        }
        let worker = WorkerName::new(join.worker)
            .map_err(|error| ApiError::from(BadMessage::new("join.worker", error)))?;
        let session = identity::session()?;
        let worker = self.coordinator.reserve_name(worker, session, peer.to_string())?;
        tracing::info!(%worker, version = join.version, slots = join.slots, "a worker joined");
        Ok(Response::new(v1::JoinResponse {
            worker: worker.into(),
            protocol_version: proto::PROTOCOL_VERSION,
            version: version.to_owned(),
            session: session.expose().to_vec(),
        }))
    }

    type WorkStream = Pin<Box<dyn Stream<Item = Result<v1::WorkResponse, Status>> + Send>>;

    async fn work(
        &self,
        request: Request<Streaming<v1::WorkRequest>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let stream = work_stream::serve(
            Arc::clone(&self.coordinator),
            Arc::clone(&self.leases),
            request.into_inner(),
            self.draining.clone(),
            self.limits,
        );
        Ok(Response::new(Box::pin(stream)))
    }

    type LlmCallsStream = Pin<Box<dyn Stream<Item = Result<v1::LlmCallsResponse, Status>> + Send>>;

    async fn llm_calls(
        &self,
        request: Request<Streaming<v1::LlmCallsRequest>>,
    ) -> Result<Response<Self::LlmCallsStream>, Status> {
        let stream = llm_stream::serve(
            (Arc::clone(&self.coordinator), self.gateway.clone()),
            request.into_inner(),
            self.draining.clone(),
            self.limits,
        );
        Ok(Response::new(Box::pin(stream)))
    }

    async fn commit_shard(
        &self,
        request: Request<Streaming<v1::CommitShardRequest>>,
    ) -> Result<Response<v1::CommitShardResponse>, Status> {
        let context = request.metadata().get(traces::TRACEPARENT);
        let context = context.and_then(|context| context.to_str().ok().map(str::to_owned));
        let sender = roles::sender(request.extensions());
        let mut stream = request.into_inner();
        let first = within(self.limits.first_message, "the header of the part", stream.message()).await?;
        let first = first.and_then(|request| request.message);
        let Some(Message::Header(header)) = first else {
            return Err(
                ApiError::from(BadMessage::new("message", "the first message must be the header")).into()
            );
        };
        let session = SharedSecret::from_slice(&header.session).unwrap_or_default();
        let header = PartHeader::try_from(header).map_err(ApiError::from)?;
        self.coordinator.check_session(&header.worker, session)?;
        self.leases.check(&header.key)?;
        let chunks = stream.map(|request| match request.map(|request| request.message) {
            Ok(Some(Message::Chunk(chunk))) => Ok(chunk),
            Ok(_) => Err(ApiError::from(BadMessage::new("message", "only chunks may follow the header"))),
            Err(status) => Err(ApiError::new(
                ErrorReason::DamagedPart,
                format!("the upload broke off: {}", status.message()),
            )),
        });
        let chunks = Box::pin(timed_upload(chunks, self.limits));
        let key = &header.key;
        let span = tracing::info_span!("commit", run = %key.run_id, shard = %key.shard, token = %key.token);
        if let Some(context) = context {
            traces::follow(&span, &context);
        }
        let committed = self.coordinator.commit(header, chunks, sender).instrument(span).await?;
        Ok(Response::new(v1::CommitShardResponse { already: committed == Committed::Already }))
    }

    async fn get_verdicts(
        &self,
        request: Request<v1::GetVerdictsRequest>,
    ) -> Result<Response<v1::GetVerdictsResponse>, Status> {
        let v1::GetVerdictsRequest { holder, documents } = request.into_inner();
        let holder = self.holder(holder)?;
        check_count(documents.len())?;
        let texts: Vec<DocumentHash> = documents
            .iter()
            .map(|document| <[u8; 32]>::try_from(document.as_slice()).map(DocumentHash::from_bytes))
            .collect::<Result<_, _>>()
            .map_err(|_| ApiError::from(BadMessage::new("documents", "must be hashes of 32 bytes")))?;
        let found = self.coordinator.verdicts(&holder, texts).await?;
        let verdicts = found.iter().map(|(text, verdict)| verdict_to_wire(text, verdict)).collect();
        Ok(Response::new(v1::GetVerdictsResponse { verdicts }))
    }

    async fn put_verdicts(
        &self,
        request: Request<v1::PutVerdictsRequest>,
    ) -> Result<Response<v1::PutVerdictsResponse>, Status> {
        let v1::PutVerdictsRequest { holder, verdicts } = request.into_inner();
        let holder = self.holder(holder)?;
        check_count(verdicts.len())?;
        let verdicts = verdicts.iter().map(verdict_from_wire).collect::<Result<Vec<_>, _>>();
        self.coordinator.put_verdicts(&holder, verdicts.map_err(ApiError::from)?).await?;
        Ok(Response::new(v1::PutVerdictsResponse {}))
    }
}

impl FleetService {
    /// The sender of a message, which proves its session and its lease.
    fn holder(&self, holder: Option<v1::LeaseHolder>) -> Result<LeaseHolder, ApiError> {
        let holder = LeaseHolder::try_from(holder)?;
        self.coordinator.check_session(&holder.worker, holder.session)?;
        self.leases.check(&holder.key)?;
        Ok(holder)
    }
}

fn check_count(verdicts: usize) -> Result<(), ApiError> {
    if verdicts <= VERDICTS {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorReason::TooLarge,
        format!("a message may name {VERDICTS} verdicts at most, this one has {verdicts}"),
    ))
}
