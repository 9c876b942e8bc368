//! Takes the ownership lease when it is free, and waits for it while another coordinator has it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::{Client, Row};

use super::deadline::{OwnerDeadline, boot_ms};
use super::{Epoch, LAYOUT, LeaseTimes, OwnerLease};
use crate::database::Trouble;
use crate::database::postgres::{Engine, EngineResult, Session, trouble};

/// How long a server that is not available is waited for before that is an error. A standby waits for it again.
const PATIENCE: Duration = Duration::from_secs(15);

/// A coordinator that would be the owner.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// What no other coordinator has while this one runs. One of the same identity that ran before has ended, and its lease with it.
    pub(crate) identity: String,
    /// Its name, for people.
    pub(crate) name: String,
    /// Where it listens as the owner.
    pub(crate) place: String,
    pub(crate) times: LeaseTimes,
}

/// The owner of the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) epoch: Epoch,
    pub(crate) name: String,
    pub(crate) place: String,
    /// Until when its lease lasts without a renewal; zero: it has ended.
    pub(crate) left: Duration,
    identity: String,
}

impl Holder {
    /// Whether the lease keeps this candidate out.
    fn excludes(&self, candidate: &Candidate) -> bool {
        self.left > Duration::ZERO && self.identity != candidate.identity
    }

    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let left_ms: i64 = row.try_get(3)?;
        Ok(Self {
            epoch: Epoch(row.try_get(0)?),
            name: row.try_get(1)?,
            place: row.try_get(2)?,
            left: Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)),
            identity: row.try_get(4)?,
        })
    }
}

const HOLDER: &str = "SELECT epoch, name, place,
    CASE WHEN until <= clock_timestamp() THEN 0
         ELSE ceil(extract(epoch FROM until - clock_timestamp()) * 1000)::bigint END,
    identity
    FROM owner_lease";

/// Makes the tables of the ownership where they are missing.
///
/// # Errors
/// `Unusable` when the server cannot be used; `Unavailable` when it cannot be reached for some seconds.
pub(crate) async fn prepare(engine: &Engine) -> EngineResult<()> {
    let mut session = engine.open(Instant::now() + PATIENCE).await?;
    LAYOUT.migrate(&mut session.client, engine.schema()).await
}

/// Waits until this coordinator is the owner. `waiting` is called whenever another one has the lease that had it not before.
///
/// # Errors
/// `Unusable` when the server cannot be used. One that is not available is waited for.
pub(crate) async fn acquire(
    engine: &Arc<Engine>,
    candidate: &Candidate,
    mut waiting: impl FnMut(&Holder),
) -> EngineResult<OwnerLease> {
    let times = candidate.times;
    let (mut session, mut seen) = (None, None);
    loop {
        let asked = boot_ms();
        match look(engine, &mut session, candidate).await {
            Ok(Claim::Taken(epoch)) => {
                let deadline = OwnerDeadline::passed();
                deadline.extend(asked, times.ttl.saturating_sub(times.margin));
                return Ok(OwnerLease::start(Arc::clone(engine), epoch, deadline, times));
            }
            Ok(Claim::Held(holder)) => {
                if seen != Some(holder.epoch) {
                    seen = Some(holder.epoch);
                    waiting(&holder);
                }
            }
            Err(Trouble::Unavailable(reason)) => {
                tracing::warn!(reason, "cannot look who owns the ledger; trying again");
                session = None;
            }
            Err(unusable @ Trouble::Unusable(_)) => return Err(unusable),
        }
        tokio::time::sleep(times.poll).await;
    }
}

async fn look(engine: &Engine, session: &mut Option<Session>, candidate: &Candidate) -> EngineResult<Claim> {
    let open = match session.take().filter(|session| !session.client.is_closed()) {
        Some(open) => open,
        None => engine.open(Instant::now() + PATIENCE).await?,
    };
    let open = session.insert(open);
    // Without a lock: a standby that only looks writes nothing.
    match holder(&open.client).await? {
        Some(holder) if holder.excludes(candidate) => Ok(Claim::Held(holder)),
        _ => claim(open, candidate).await.map_err(Trouble::Unavailable),
    }
}

/// The owner at this server; `None`: there is none now.
///
/// # Errors
/// As any use of the server.
pub(crate) async fn owner(engine: &Engine) -> EngineResult<Option<Holder>> {
    let session = engine.open(Instant::now()).await?;
    if !LAYOUT.exists(&session.client).await? {
        return Ok(None);
    }
    Ok(holder(&session.client).await?.filter(|holder| holder.left > Duration::ZERO))
}

/// The holder that the lease names, whether or not it has ended; `None`: no coordinator has ever held it.
pub(super) async fn holder(client: &Client) -> EngineResult<Option<Holder>> {
    let found = client.query_one(HOLDER, &[]).await.and_then(|row| Holder::of(&row));
    let found = found.map_err(|error| trouble(&error))?;
    Ok(Some(found).filter(|holder| holder.epoch > Epoch(0)))
}

enum Claim {
    Taken(Epoch),
    Held(Holder),
}

/// Takes the lease if it is free. An error means that it may have been taken: its epoch then ends unused.
async fn claim(session: &Session, candidate: &Candidate) -> Result<Claim, String> {
    let client = &session.client;
    let tried = async {
        client.batch_execute("BEGIN").await?;
        let holder = Holder::of(&client.query_one(&format!("{HOLDER} FOR UPDATE"), &[]).await?)?;
        if holder.excludes(candidate) {
            client.batch_execute("ROLLBACK").await?;
            return Ok(Claim::Held(holder));
        }
        let ttl = candidate.times.ttl.as_secs_f64();
        let taken = client
            .query_one(
                "UPDATE owner_lease SET epoch = epoch + 1, name = $1, place = $2, identity = $4,
                    until = clock_timestamp() + make_interval(secs => $3) RETURNING epoch",
                &[&candidate.name, &candidate.place, &ttl, &candidate.identity],
            )
            .await?;
        let epoch: i64 = taken.try_get(0)?;
        // Waits for the transactions of the owner before.
        client.execute("UPDATE ownership SET epoch = $1", &[&epoch]).await?;
        Ok::<_, tokio_postgres::Error>(Claim::Taken(Epoch(epoch)))
    };
    match tried.await {
        Ok(Claim::Taken(epoch)) => session.commit().await.map(|()| Claim::Taken(epoch)),
        Ok(held) => Ok(held),
        Err(error) => {
            let reason = error.to_string();
            // A session that cannot roll back is opened again by the caller.
            let _ = client.batch_execute("ROLLBACK").await;
            Err(reason)
        }
    }
}
