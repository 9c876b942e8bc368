//! Errors of a server, by what can be done about them.

use tokio_postgres::error::SqlState;

use crate::database::Trouble;

/// Result of a use of a server.
pub(crate) type EngineResult<T> = Result<T, Trouble>;

/// Class of the error with which a transaction of a replaced coordinator fails.
const DEPOSED: &str = "KA";

/// Whether another coordinator has taken over.
pub(crate) fn is_deposed(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with(DEPOSED))
}

/// Whether the session is of no use after this error: it broke, or its server ends or is no longer the primary.
pub(crate) fn is_lost(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else { return true };
    code.code().starts_with("57P")
        || code.code().starts_with("08")
        || *code == SqlState::READ_ONLY_SQL_TRANSACTION
}

/// Classifies an error by what the caller can do about it.
pub(crate) fn trouble(error: &tokio_postgres::Error) -> Trouble {
    let reason = described(error);
    let Some(code) = error.code() else { return Trouble::Unavailable(reason) };
    match code.code().get(..2) {
        Some(DEPOSED) => Trouble::Unusable("another coordinator has taken over".to_owned()),
        Some("28") => {
            Trouble::Unusable(format!("{reason}: check user and password (PGPASSWORD or --ledger-file)"))
        }
        Some("3D") => Trouble::Unusable(format!("{reason}: create it (createdb), or name another one")),
        Some("53") => {
            Trouble::Unavailable(format!("{reason}: make room on the server, or close other sessions"))
        }
        Some("42") if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            Trouble::Unusable(format!("{reason}: give the user the right to create a schema in its database"))
        }
        Some("42" | "22" | "23") => Trouble::Unusable(reason),
        _ => Trouble::Unavailable(reason),
    }
}

/// The error with its causes.
pub(super) fn described(error: &tokio_postgres::Error) -> String {
    if let Some(known) = error.as_db_error() {
        return format!("{} ({})", known.message(), known.code().code());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
