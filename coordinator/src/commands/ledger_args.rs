//! Flags that name the PostgreSQL server of the ledger.

use std::path::PathBuf;

use crate::database::postgres::{AddressError, EngineAddress};

/// Which PostgreSQL server holds the ledger; none: the ledger is a file in the state folder.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct LedgerArgs {
    /// PostgreSQL server that holds the ledger, as `postgres://USER@HOST/DATABASE`; its password comes from the environment
    /// variable PGPASSWORD [default: a file in the state folder]
    #[arg(long, value_name = "URL", conflicts_with = "ledger_file")]
    ledger: Option<String>,
    /// File that holds the URL of --ledger, with or without the password
    #[arg(long, value_name = "FILE")]
    ledger_file: Option<PathBuf>,
    /// Authority (PEM) of the certificate of the PostgreSQL server; needed where the server is on another machine
    #[arg(long, value_name = "FILE")]
    ledger_ca: Option<PathBuf>,
}

impl LedgerArgs {
    /// The server, if one is named.
    pub(crate) fn address(&self) -> Result<Option<EngineAddress>, AddressError> {
        let ca = self.ledger_ca.as_deref();
        match (&self.ledger, &self.ledger_file) {
            (Some(url), _) => EngineAddress::of_url(url, ca).map(Some),
            (None, Some(file)) => EngineAddress::of_file(file, ca).map(Some),
            (None, None) => Ok(None),
        }
    }
}
