//! Follows a run with a progress bar or lines on stderr.

use cli_support::output;
use cli_support::progress::{Progress, Standing};
use proto::convert::RunStatus;

use domain::ids::RunId;
use domain::run::RunState;

use crate::client::Client;
use crate::view::llm_line;

/// Follows a run to its end. Prints each problem once.
///
/// # Errors
/// When the coordinator cannot be reached, and when the run failed.
pub(crate) async fn follow(client: &mut Client, run_id: &RunId, quiet: bool) -> anyhow::Result<RunStatus> {
    let mut progress: Option<Progress> = None;
    let mut printed: Option<String> = None;
    let status = client
        .follow(run_id, |status| {
            let progress = progress.get_or_insert_with(|| {
                if quiet {
                    Progress::silent()
                } else {
                    Progress::start("records", Some(status.records), status.tally.records)
                }
            });
            progress.update(&standing(status));
            if status.trouble != printed {
                if let Some(trouble) = &status.trouble {
                    output::say(&format!("run {run_id}: {trouble}"));
                }
                printed.clone_from(&status.trouble);
            }
        })
        .await?;
    if status.state == RunState::Failed {
        let why = status.trouble.as_deref().unwrap_or("its coordinator does not say why");
        anyhow::bail!("run {run_id} failed: {why}");
    }
    Ok(status)
}

fn standing(status: &RunStatus) -> Standing {
    let tally = &status.tally;
    Standing {
        done: tally.records,
        counts: vec![
            ("accepted", tally.accepted),
            ("rejected", tally.rejected),
            ("to review", tally.needs_review),
            ("workers", u64::from(status.workers)),
        ],
        note: llm_line::line(status).unwrap_or_default(),
    }
}
