//! `analysis sql`.

use std::io::Read as _;

use anyhow::Context as _;
use cli_support::Exit;
use cli_support::failure::WithHint as _;

use crate::cli;
use crate::commands::input::load;
use crate::commands::print::show;
use crate::metrics::sql::{self, SqlError};

/// Maximum length of a statement in bytes.
const MOST: u64 = 1 << 20;

pub(crate) fn run(args: &cli::Sql) -> anyhow::Result<Exit> {
    let mut statement = args.statement.clone();
    if statement == "-" {
        statement.clear();
        std::io::stdin()
            .take(MOST)
            .read_to_string(&mut statement)
            .context("cannot read the query from stdin")?;
    }
    let answer = sql::ask(&load(&args.input.paths)?, &statement);
    let figures = match answer {
        Err(error @ (SqlError::Refused(_) | SqlError::Changes { .. })) => Err(error).hint(
            "the rows are the table outcomes: select policy_id, avg(accepted) from outcomes group by policy_id",
        )?,
        other => other?,
    };
    show(&figures, &args.print)
}
