//! Client of the coordinator's cache of verdicts, under one lease.

use domain::api_server::ServerVerdict;
use domain::ids::DocumentHash;
use proto::channel::{Connection, fleet_client};
use proto::convert::{LeaseKey, verdict_from_wire, verdict_to_wire};
use proto::v1;
use tokio::sync::watch;

use crate::remote::Identity;

/// Looks verdicts up and stores them as the holder of a lease. What fails is left out: the server is asked instead.
#[derive(Debug, Clone)]
pub(crate) struct CacheClient {
    connection: Connection,
    joined: watch::Receiver<Option<Identity>>,
    key: LeaseKey,
}

impl CacheClient {
    pub(crate) const fn new(
        connection: Connection,
        joined: watch::Receiver<Option<Identity>>,
        key: LeaseKey,
    ) -> Self {
        Self { connection, joined, key }
    }

    fn holder(&self) -> Option<v1::LeaseHolder> {
        let identity = self.joined.borrow().clone()?;
        Some(v1::LeaseHolder {
            key: Some(self.key.clone().into()),
            worker: identity.worker.as_str().to_owned(),
            session: identity.session.expose().to_vec(),
        })
    }

    /// The verdict about a text, where the run's server gave it before.
    pub(super) async fn get(&self, text: &DocumentHash) -> Option<ServerVerdict> {
        let documents = vec![text.as_bytes().to_vec()];
        let request = v1::GetVerdictsRequest { holder: Some(self.holder()?), documents };
        let found = fleet_client(self.connection.clone()).get_verdicts(request).await;
        let found = found.inspect_err(|status| tracing::debug!(%status, "cannot look up a verdict")).ok()?;
        let verdicts = found.into_inner().verdicts.into_iter();
        let (_, verdict) =
            verdicts.filter_map(|verdict| verdict_from_wire(&verdict).ok()).find(|(of, _)| of == text)?;
        Some(verdict)
    }

    /// Stores verdicts; returns whether they are durable.
    pub(super) async fn put(&self, verdicts: &[(DocumentHash, ServerVerdict)]) -> bool {
        let Some(holder) = self.holder() else { return false };
        let verdicts = verdicts.iter().map(|(text, verdict)| verdict_to_wire(text, verdict)).collect();
        let request = v1::PutVerdictsRequest { holder: Some(holder), verdicts };
        let put = fleet_client(self.connection.clone()).put_verdicts(request).await;
        put.inspect_err(|status| tracing::debug!(%status, "cannot store verdicts")).is_ok()
    }
}
