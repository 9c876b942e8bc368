//! Versions of the tables: migrations, and the refusal of tables that a newer program made.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::errors::{EngineResult, trouble};
use crate::database::Trouble;

/// How often a migration is tried that another program disturbs.
const TRIES: u32 = 5;

/// Tables of one kind.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Name of the kind.
    pub(crate) name: &'static str,
    /// One script per version; never changed once released.
    pub(crate) migrations: &'static [&'static str],
}

impl Layout {
    /// Migrates the tables in the schema of the session to the newest version; refuses those of a newer program.
    pub(crate) async fn migrate(&self, client: &mut Client, schema: &str) -> EngineResult<()> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_to_migrate(client, schema).await {
                // Another program makes the same tables at this moment.
                Err(Failure::Sql(error)) if tries < TRIES && is_disturbed(&error) => {}
                Err(Failure::Sql(error)) => return Err(trouble(&error)),
                Err(Failure::Refused(reason)) => return Err(Trouble::Unusable(reason)),
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Whether the tables were ever made in the schema of the session.
    pub(crate) async fn exists(&self, client: &Client) -> EngineResult<bool> {
        let exists = client.query_one("SELECT to_regclass('layouts') IS NOT NULL", &[]).await;
        if !exists.and_then(|row| row.try_get::<_, bool>(0)).map_err(|error| trouble(&error))? {
            return Ok(false);
        }
        let found = client.query_opt("SELECT 1 FROM layouts WHERE name = $1", &[&self.name]).await;
        Ok(found.map_err(|error| trouble(&error))?.is_some())
    }

    /// Refuses tables of another version, older ones too.
    pub(crate) async fn check(&self, client: &Client, schema: &str) -> EngineResult<()> {
        let exists =
            client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&format!("{schema}.layouts")]).await;
        let exists: bool = exists.and_then(|row| row.try_get(0)).map_err(|error| trouble(&error))?;
        let version = if exists {
            let found = client.query_opt("SELECT version FROM layouts WHERE name = $1", &[&self.name]).await;
            let found = found.map_err(|error| trouble(&error))?;
            found.map(|row| row.try_get(0)).transpose().map_err(|error| trouble(&error))?.unwrap_or(0)
        } else {
            0
        };
        self.refuse_newer(version).map_err(Trouble::Unusable)?;
        if version < self.newest() {
            return Err(Trouble::Unusable(format!(
                "its {} has layout version {version}, this program writes {}: start a coordinator on it once to migrate it",
                self.name,
                self.newest()
            )));
        }
        Ok(())
    }

    async fn try_to_migrate(&self, client: &mut Client, schema: &str) -> Result<(), Failure> {
        let transaction = client.transaction().await?;
        // Without it, a role that may not make schemas could not use one that is there.
        let known = transaction.query_one("SELECT to_regnamespace($1) IS NOT NULL", &[&schema]).await?;
        if !known.try_get::<_, bool>(0)? {
            transaction.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
        }
        transaction
            .batch_execute(
                "CREATE TABLE IF NOT EXISTS layouts (name text PRIMARY KEY, version integer NOT NULL)",
            )
            .await?;
        transaction.batch_execute("LOCK TABLE layouts IN EXCLUSIVE MODE").await?;
        let found =
            transaction.query_opt("SELECT version FROM layouts WHERE name = $1", &[&self.name]).await?;
        let version: i32 = found.map(|row| row.try_get(0)).transpose()?.unwrap_or(0);
        self.refuse_newer(version).map_err(Failure::Refused)?;
        if version == self.newest() {
            return Ok(());
        }
        for script in self.migrations.iter().skip(usize::try_from(version).unwrap_or(0)) {
            transaction.batch_execute(script).await?;
        }
        transaction
            .execute(
                "INSERT INTO layouts VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET version = excluded.version",
                &[&self.name, &self.newest()],
            )
            .await?;
        Ok(transaction.commit().await?)
    }

    fn refuse_newer(&self, version: i32) -> Result<(), String> {
        if version <= self.newest() {
            return Ok(());
        }
        Err(format!(
            "its {} has layout version {version}, this program supports up to {}: use a newer program",
            self.name,
            self.newest()
        ))
    }

    fn newest(&self) -> i32 {
        i32::try_from(self.migrations.len()).unwrap_or(i32::MAX)
    }
}

enum Failure {
    Sql(tokio_postgres::Error),
    Refused(String),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

fn is_disturbed(error: &tokio_postgres::Error) -> bool {
    [
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_SCHEMA,
        SqlState::DUPLICATE_TABLE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::INTERNAL_ERROR,
    ]
    .iter()
    .any(|state| error.code() == Some(state))
}
