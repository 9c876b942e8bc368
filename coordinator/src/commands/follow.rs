//! Follows a run with a progress bar or lines on stderr.

use std::time::{Duration, Instant};

use cli_support::escape::one_line;
use cli_support::output;
use cli_support::progress::{Progress, Standing};
use proto::convert::RunStatus;
use tokio::sync::watch;

use domain::ids::RunId;
use domain::run::RunState;

use crate::client::Client;
use crate::view::status_table::NO_WORKER;
use crate::view::{judge_line, llm_line};

/// Between two updates of the progress while nothing changes.
const TICK: Duration = Duration::from_secs(1);

/// Between two lines about the same wait, whose words may change with every call.
const WAIT_EVERY: Duration = Duration::from_secs(60);

/// Follows a run to its end. Prints each problem once, and what the run waits for.
///
/// # Errors
/// When the coordinator cannot be reached, and when the run failed.
pub(crate) async fn follow(client: &mut Client, run_id: &RunId, quiet: bool) -> anyhow::Result<RunStatus> {
    // A coordinator that is away is waited for below.
    if !quiet
        && let Ok(workers) = client.workers().await
        && workers.is_empty()
        && client.status(run_id).await.is_ok_and(|status| !status.state.has_ended())
    {
        output::say(NO_WORKER);
    }
    shown(client, run_id, quiet, WorkersOf::Others).await
}

/// As [`follow`], of a run whose coordinator and workers are of this process: what stops it ends the command, which says why.
pub(crate) async fn follow_own(
    client: &mut Client,
    run_id: &RunId,
    quiet: bool,
) -> anyhow::Result<RunStatus> {
    shown(client, run_id, quiet, WorkersOf::ThisProcess).await
}

/// Whose the workers of a run are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WorkersOf {
    ThisProcess,
    Others,
}

async fn shown(
    client: &mut Client,
    run_id: &RunId,
    quiet: bool,
    workers: WorkersOf,
) -> anyhow::Result<RunStatus> {
    let says_trouble = workers == WorkersOf::Others;
    let mut view = View { run_id, quiet, progress: None, says_trouble, trouble: None, wait: None };
    let (updates, mut latest) = watch::channel(None);
    let following = client.follow(run_id, |status| {
        updates.send_replace(Some(status.clone()));
    });
    tokio::pin!(following);
    let mut ticks = tokio::time::interval(TICK);
    let status = loop {
        tokio::select! {
            biased;
            ended = &mut following => break ended?,
            changed = latest.changed() => if changed.is_err() { continue },
            _ = ticks.tick() => {}
        }
        if let Some(status) = &*latest.borrow_and_update() {
            view.show(status, Instant::now());
        }
    };
    view.show(&status, Instant::now());
    if status.state == RunState::Failed {
        let why = status.trouble.as_deref().unwrap_or("its coordinator does not say why");
        anyhow::bail!("run {run_id} failed: {why}");
    }
    Ok(status)
}

/// What has been shown of a run.
struct View<'v> {
    run_id: &'v RunId,
    quiet: bool,
    progress: Option<Progress>,
    /// Whether a problem is said here.
    says_trouble: bool,
    trouble: Option<String>,
    /// When a wait was printed last; `None`: the run does not wait.
    wait: Option<Instant>,
}

impl View<'_> {
    fn show(&mut self, status: &RunStatus, now: Instant) {
        let progress = self.progress.get_or_insert_with(|| {
            if self.quiet {
                Progress::silent()
            } else {
                Progress::start("records", Some(status.records), status.tally.records)
            }
        });
        progress.update(&standing(status));
        if status.trouble != self.trouble {
            if let Some(trouble) = status.trouble.as_ref().filter(|_| self.says_trouble) {
                output::say(&format!("run {}: {trouble}", self.run_id));
            }
            self.trouble.clone_from(&status.trouble);
        }
        if let Some(line) = self.wait_line(status, now) {
            output::say(&line);
        }
    }

    /// The line about a wait that has begun, lasts or is over, if one is due.
    fn wait_line(&mut self, status: &RunStatus, now: Instant) -> Option<String> {
        let by_model = status.model.as_ref().and_then(|model| model.waits_for.as_deref());
        let wait = judge_line::wait(status).or(by_model);
        let wait = wait.filter(|_| !status.state.has_ended() && status.trouble.is_none());
        match (wait, self.wait) {
            (None, None) => None,
            (None, Some(_)) => {
                self.wait = None;
                let goes_on = status.trouble.is_none() && !status.state.has_ended();
                goes_on.then(|| format!("run {}: {}", self.run_id, goes_on_again(status)))
            }
            (Some(_), Some(printed)) if now.duration_since(printed) < WAIT_EVERY => None,
            (Some(reason), _) => {
                self.wait = Some(now);
                Some(format!("run {} waits: {}", self.run_id, one_line(reason)))
            }
        }
    }
}

/// What is said when a wait is over.
fn goes_on_again(status: &RunStatus) -> &'static str {
    if status.judge.is_some() { "it goes on" } else { "calls are answered again" }
}

pub(super) fn standing(status: &RunStatus) -> Standing {
    let tally = &status.tally;
    // Records are done shard by shard; until then the questions show that the run moves.
    let answered = status.model.as_ref().map(|model| {
        (model.calls + model.reused).saturating_sub(model.failed).saturating_sub(model.throttled)
    });
    let questions = answered.map(|answered| ("questions answered", answered));
    let questions = questions.into_iter();
    Standing {
        done: tally.records,
        counts: questions
            .chain([
                ("accepted", tally.accepted),
                ("rejected", tally.rejected),
                ("to review", tally.needs_review),
                ("workers", u64::from(status.workers)),
            ])
            .collect(),
        note: llm_line::line(status).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use proto::convert::LlmStatus;

    use super::*;
    use crate::view::status_table::tests::run;

    fn waiting(reason: Option<&str>) -> RunStatus {
        let model = LlmStatus { waits_for: reason.map(str::to_owned), ..LlmStatus::default() };
        RunStatus { model: Some(model), ..run("r", RunState::Running, 0) }
    }

    /// The view of a command that was told to be quiet.
    fn quiet_view(run_id: &RunId) -> View<'_> {
        View { run_id, quiet: true, progress: None, says_trouble: true, trouble: None, wait: None }
    }

    #[test]
    fn a_wait_is_said_when_it_begins_from_time_to_time_and_when_it_is_over() {
        let run_id = RunId::new("r").unwrap();
        let mut view = quiet_view(&run_id);
        let start = Instant::now();
        let mut line =
            |second: u64, reason| view.wait_line(&waiting(reason), start + Duration::from_secs(second));
        assert_eq!(line(0, None), None);
        assert_eq!(line(1, Some("503\u{1b}[2J")).as_deref(), Some("run r waits: 503\\u{1b}[2J"));
        assert_eq!(line(2, Some("504")), None, "words change from call to call");
        assert_eq!(line(61, Some("504")).as_deref(), Some("run r waits: 504"));
        assert_eq!(line(62, None).as_deref(), Some("run r: calls are answered again"));
        assert_eq!(line(63, None), None);
    }

    #[test]
    fn a_run_that_stopped_does_not_wait() {
        let run_id = RunId::new("r").unwrap();
        let mut view = quiet_view(&run_id);
        assert!(view.wait_line(&waiting(Some("503")), Instant::now()).is_some());
        let stopped = RunStatus { trouble: Some("no answer for 30 min".to_owned()), ..waiting(None) };
        assert_eq!(view.wait_line(&stopped, Instant::now()), None, "the trouble says it");
    }
}
