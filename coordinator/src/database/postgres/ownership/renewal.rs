//! Renews the ownership lease while the coordinator is the owner.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::deadline::{OwnerDeadline, boot_ms};
use super::{Epoch, LeaseTimes};
use crate::database::postgres::{Engine, Session};

/// The ownership of a coordinator. Dropping it ends the renewals, and the lease runs out; [`Self::release`] ends it at once.
#[derive(Debug)]
pub(crate) struct OwnerLease {
    engine: Arc<Engine>,
    epoch: Epoch,
    deadline: OwnerDeadline,
    lost: watch::Receiver<bool>,
    renewals: JoinHandle<()>,
}

impl Drop for OwnerLease {
    fn drop(&mut self) {
        self.renewals.abort();
        self.deadline.end();
    }
}

impl OwnerLease {
    pub(super) fn start(
        engine: Arc<Engine>,
        epoch: Epoch,
        deadline: OwnerDeadline,
        times: LeaseTimes,
    ) -> Self {
        let (deposed, lost) = watch::channel(false);
        let renewals = tokio::spawn(renew(Arc::clone(&engine), epoch, deadline.clone(), times, deposed));
        Self { engine, epoch, deadline, lost, renewals }
    }

    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Until when the coordinator may act.
    pub(crate) fn deadline(&self) -> OwnerDeadline {
        self.deadline.clone()
    }

    /// The server, for what only the owner may do: each transaction is fenced by the epoch.
    pub(crate) fn fenced_engine(&self) -> Arc<Engine> {
        Arc::new(self.engine.fenced_by(self.epoch))
    }

    /// Renews no more, as if the process stood still.
    #[cfg(test)]
    pub(super) fn stop_renewals(&self) {
        self.renewals.abort();
    }

    /// Waits until another coordinator has taken over.
    pub(crate) async fn deposed(&self) {
        let mut lost = self.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Gives the lease back, so that a standby takes over at once. A failure is harmless: the lease runs out.
    pub(crate) async fn release(self, patience: std::time::Duration) {
        self.renewals.abort();
        self.deadline.end();
        let released = async {
            let session = self.engine.open(Instant::now()).await?;
            let give = "UPDATE owner_lease SET until = '-infinity' WHERE epoch = $1";
            session
                .client
                .execute(give, &[&self.epoch.0])
                .await
                .map_err(|error| crate::database::postgres::trouble(&error))
        };
        if !matches!(timeout(patience, released).await, Ok(Ok(_))) {
            tracing::debug!("the ownership of the ledger was not given back; it ends by itself");
        }
    }
}

/// Why the server may give no answer.
const SILENT: &str = "no answer; it may wait for a standby that is not connected (synchronous_standby_names)";

/// Renews the lease of an epoch until another coordinator has taken over.
async fn renew(
    engine: Arc<Engine>,
    epoch: Epoch,
    deadline: OwnerDeadline,
    times: LeaseTimes,
    deposed: watch::Sender<bool>,
) {
    let mut session = None;
    loop {
        let begun = Instant::now();
        let asked = boot_ms();
        match timeout(times.ttl, renew_once(&engine, &mut session, epoch, times)).await {
            Ok(Ok(true)) => deadline.extend(asked, times.ttl.saturating_sub(times.margin)),
            Ok(Ok(false)) => {
                deadline.end();
                deposed.send_replace(true);
                return;
            }
            failed => {
                session = None;
                let reason =
                    failed.map_or_else(|_| SILENT.to_owned(), |failed| failed.err().unwrap_or_default());
                if !deadline.is_ahead() {
                    tracing::warn!(
                        reason,
                        "the ownership of the ledger cannot be renewed: no call of a model is permitted until it is"
                    );
                }
            }
        }
        tokio::time::sleep_until(begun + times.renew).await;
    }
}

/// Renews the lease once; returns whether the epoch is still the newest.
async fn renew_once(
    engine: &Engine,
    session: &mut Option<Session>,
    epoch: Epoch,
    times: LeaseTimes,
) -> Result<bool, String> {
    let open = match session.take().filter(|session| !session.client.is_closed()) {
        Some(open) => open,
        None => engine.open(Instant::now()).await.map_err(|trouble| trouble.to_string())?,
    };
    let open = session.insert(open);
    let renewed = open
        .client
        .execute(
            "UPDATE owner_lease SET until = clock_timestamp() + make_interval(secs => $2) WHERE epoch = $1",
            &[&epoch.0, &times.ttl.as_secs_f64()],
        )
        .await;
    renewed.map(|rows| rows == 1).map_err(|error| error.to_string())
}
