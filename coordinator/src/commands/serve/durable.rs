//! What outlives a coordinator: in files of the state folder, or in a PostgreSQL server that several coordinators share.

use std::io::{ErrorKind, Write as _};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use cli_support::failure::WithHint as _;
use cli_support::output;
use results::store::{Store, StoreError};

use super::args::Args;
use crate::database::Trouble;
use crate::database::postgres::ownership::{
    Candidate, Holder, LeaseTimes, OwnerLease, acquire, prepare, shared_value,
};
use crate::database::postgres::{Engine, Trust};
use crate::ledger::state_folder::{ENGINE_FILE, LEDGER_FILE, StateFolder};
use crate::ledger::{Ledger, LedgerError, PostgresLedger};
use crate::llm_gateway::response_cache::{
    ANSWERS_FILE, AnswerStore, PostgresAnswers, ResponseCache, random_name,
};
use crate::run::OwnerDeadline;
use crate::server::identity::LeaseSecrets;

/// File of a state folder with its identity.
const IDENTITY_FILE: &str = "coordinator-id";

/// File of the store of results that tells it from others.
const STORE_MARK: &str = ".store-id";

/// Ledger, answers and the secrets of leases.
pub(super) struct Durable {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) answers: AnswerStore,
    pub(super) leases: LeaseSecrets,
    pub(super) owner: OwnerDeadline,
}

impl Durable {
    /// In files of the state folder, whose lock excludes other coordinators.
    pub(super) fn in_folder(args: &Args, state: &StateFolder) -> anyhow::Result<Self> {
        if state.join(ENGINE_FILE).exists() {
            let refused: anyhow::Result<_> =
                Err(anyhow::anyhow!("the ledger of {} is in a PostgreSQL server", args.state.display()));
            return refused.hint("name the server (--ledger or --ledger-file), or use another state folder");
        }
        let answers = args.answers.clone().unwrap_or_else(|| state.join(ANSWERS_FILE));
        Ok(Self {
            ledger: Arc::new(state.ledger()?),
            answers: Arc::new(ResponseCache::open(&answers)?).into(),
            leases: LeaseSecrets::of_state(&state.join(""))?,
            owner: OwnerDeadline::unlimited(),
        })
    }
}

/// A PostgreSQL server that holds what outlives the coordinators.
pub(super) struct Shared {
    engine: Arc<Engine>,
    candidate: Candidate,
}

impl Shared {
    /// The server that the arguments name, if they name one. A state folder belongs to one server, or to none.
    pub(super) async fn open(
        args: &Args,
        state: &StateFolder,
        store: &Store,
    ) -> anyhow::Result<Option<Self>> {
        let Some(address) = args.ledger.address()? else { return Ok(None) };
        let (file, record) = (state.join(LEDGER_FILE), state.join(ENGINE_FILE));
        if file.exists() {
            let refused: anyhow::Result<_> =
                Err(anyhow::anyhow!("{} has a ledger of its own in {LEDGER_FILE}", args.state.display()));
            return refused.hint("use another state folder with --ledger");
        }
        let trust = Trust::open(&record, args.engine_may_forget)
            .with_context(|| format!("cannot read {}: delete it if it is damaged", record.display()))?;
        output::say(&format!("ledger and answers are in {address}"));
        if state.join(ANSWERS_FILE).exists() {
            output::say(&format!(
                "warning: the answers in {} are not used: those of a ledger in PostgreSQL are beside it",
                state.join(ANSWERS_FILE).display()
            ));
        }
        let engine = Arc::new(Engine::new(address, trust));
        prepare(&engine).await.map_err(|trouble| LedgerError::of(engine.place(), trouble))?;
        check_store(&engine, store).await?;
        let candidate = Candidate {
            identity: identity(state)?,
            name: name(),
            place: args.place(&args.listen),
            times: LeaseTimes::default(),
        };
        Ok(Some(Self { engine, candidate }))
    }

    /// Waits until this coordinator is the owner.
    pub(super) async fn acquire(&self) -> anyhow::Result<OwnerLease> {
        let waiting = |holder: &Holder| {
            output::say(&format!(
                "standby: {} at {} is the owner; this coordinator takes over when it ends",
                holder.name, holder.place
            ));
        };
        let lease = acquire(&self.engine, &self.candidate, waiting).await;
        Ok(lease.map_err(|trouble| self.failed(trouble))?)
    }

    /// What the owner works on.
    pub(super) async fn durable(&self, lease: &OwnerLease) -> anyhow::Result<Durable> {
        let engine = lease.fenced_engine();
        let key = shared_value(&self.engine, "lease key", &LeaseSecrets::new_key()?).await;
        let key = key.map_err(|trouble| self.failed(trouble))?;
        Ok(Durable {
            ledger: Arc::new(PostgresLedger::open(Arc::clone(&engine)).await?),
            answers: AnswerStore::of(Arc::new(PostgresAnswers::open(engine).await?)),
            leases: LeaseSecrets::of_key(&key)?,
            owner: lease.deadline(),
        })
    }

    fn failed(&self, trouble: Trouble) -> LedgerError {
        LedgerError::of(self.engine.place(), trouble)
    }
}

/// The identity of this coordinator: a random text in its state folder. The lock of the folder shows that no other process uses it.
fn identity(state: &StateFolder) -> anyhow::Result<String> {
    let path = state.join(IDENTITY_FILE);
    match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let new = random_name()?;
            let mut file = tempfile::NamedTempFile::new_in(state.join(""))?;
            file.write_all(new.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(new)
        }
        read => read.with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The name of this coordinator, for people.
fn name() -> String {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("process {} on {machine}", std::process::id())
}

/// Refuses a store of results that is not the one of the other coordinators: what one has committed, the next could not find.
async fn check_store(engine: &Engine, store: &Store) -> anyhow::Result<()> {
    let absent = |error: &StoreError| matches!(error, StoreError::Missing { .. });
    let mark = match store.get(STORE_MARK).await {
        Err(error) if absent(&error) => {
            let mark = Bytes::from(random_name()?);
            store.put_if_absent(STORE_MARK, mark).await?;
            store.get(STORE_MARK).await?
        }
        found => found?,
    };
    let known = shared_value(engine, "store of results", &mark).await;
    let known = known.map_err(|trouble| LedgerError::of(engine.place(), trouble))?;
    if known == mark {
        return Ok(());
    }
    let refused: anyhow::Result<()> = Err(anyhow::anyhow!(
        "the runs of this ledger have their results in another place than {}",
        store.location()
    ));
    refused.hint("give --out the bucket or shared folder that the other coordinators use")
}
