//! What a failed call means: for its record, whose fault it may not be, and for its run, which it may end.
//!
//! The worker has classified the failure ([`FailureKind`]); the gateway sees the calls of all workers, and so what happened
//! to the others meanwhile.

use domain::answer::{CallOutcome, FailureKind};
use domain::ids::RunId;
use llm::limit::Seconds;
use proto::convert::CallResult;

use super::rate_limit::{DIFFERENT, DIFFERENT_OF_PROVEN, Health, RateLimiter};
use super::spend_limit::{QuestionCounts, SpendTracker};
use super::state::GatewayState;

/// Time without a request after which a run counts as idle, and its wait as begun anew.
const IDLE: Seconds = 120.0;

/// Outcome of a call, for its record and its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The call is an answer, or the failure is that of its record.
    Settled,
    /// The failure is not held against the record: no other call has succeeded meanwhile.
    AskAgain,
    /// It ends the run, for this reason.
    Stop(String),
}

impl GatewayState {
    /// Notes what a call says about the provider.
    pub(super) fn observe(limiter: &mut RateLimiter, now: Seconds, probe: bool, ended: Option<&CallResult>) {
        let others = limiter.tickets();
        let health = &mut limiter.health;
        let Some(CallResult { key, outcome, .. }) = ended else {
            if probe {
                health.probe_ended(now);
            }
            return;
        };
        match outcome {
            CallOutcome::Answered(answer) if answer.is_whole() => health.answered(now),
            CallOutcome::Answered(_)
            | CallOutcome::Failed { kind: FailureKind::Prompt | FailureKind::Form, .. } => {
                health.refused_prompt();
            }
            CallOutcome::Throttled { retry_after, reason, .. } => {
                health.throttled(now, retry_after.map(|wait| wait.as_secs_f64()), reason);
            }
            CallOutcome::Failed { kind: FailureKind::Passing, reason, .. } => {
                health.failed(now, *key, reason, others);
            }
            CallOutcome::Failed { reason, .. } => health.failed_unknown(now, *key, reason),
            CallOutcome::Unsent => {
                if probe {
                    health.probe_unsent(now);
                }
                return;
            }
        }
        if probe {
            health.probe_ended(now);
        }
    }

    /// Judges the result of a call, which is counted already.
    pub(super) fn judge(&mut self, now: Seconds, ended: &CallResult) -> Verdict {
        let Some(tracker) = self.trackers.get_mut(&ended.run_id) else { return Verdict::Settled };
        let limiter = tracker.policy.as_ref().and_then(|policy| self.pools.get(&policy.pool));
        let idle = Health::default();
        let health = limiter.map_or(&idle, |limiter| &limiter.health);
        if let CallOutcome::Answered(answer) = &ended.outcome
            && answer.is_whole()
        {
            tracker.questions.answered += 1;
            tracker.questions.called += 1;
            // The answer is kept, because it was paid for: a run that allows it goes on from there.
            return tracker.mismatch(&answer.model).map_or(Verdict::Settled, Verdict::Stop);
        }
        // An answer that is cut off was served and paid for as well.
        if let CallOutcome::Failed { model, .. } = &ended.outcome
            && let Some(reason) = tracker.mismatch(model)
        {
            return Verdict::Stop(reason);
        }
        let verdict = match &ended.outcome {
            CallOutcome::Answered(_) | CallOutcome::Unsent => Verdict::Settled,
            CallOutcome::Throttled { .. } => ask_again(health.none_answered_within(ended.tries)),
            CallOutcome::Failed { kind, reason, .. } => {
                of_failure(now, *kind, reason, ended.tries, tracker, health)
            }
        };
        if verdict == Verdict::Settled && ended.last {
            tracker.questions.failed += 1;
            if let Some(reason) = above_share(tracker) {
                return Verdict::Stop(reason);
            }
        }
        if tracker.halted.is_some() && !is_of_prompt(&ended.outcome) && verdict == Verdict::Settled {
            // The record is asked again when the run goes on.
            return Verdict::AskAgain;
        }
        verdict
    }

    /// Stops the runs for which no call has succeeded for too long.
    pub(super) fn halt_unanswered(&mut self, now: Seconds) {
        let due = |(run_id, tracker): (&RunId, &SpendTracker)| {
            let until = self.gives_up_at(tracker)?;
            let health = &self.pools.get(&tracker.policy.as_ref()?.pool)?.health;
            let (since, words) = health.unanswered()?;
            // Those questions are settled instead.
            if now < until || is_theirs(now, since, tracker, health) {
                return None;
            }
            let minutes = tracker.policy.as_ref()?.outage_s / 60.0;
            let reason = format!(
                "no call has been answered for {minutes:.0} min, the longest that proposer.outage_minutes allows: {words}"
            );
            Some((run_id.clone(), reason))
        };
        let halted: Vec<_> = self.trackers.iter().filter_map(due).collect();
        for (run_id, reason) in halted {
            self.halt(now, &run_id, &reason);
        }
    }

    /// When a run stops unless a call is answered; `None` where it does not wait.
    fn gives_up_at(&self, tracker: &SpendTracker) -> Option<Seconds> {
        let policy = tracker.policy.as_ref().filter(|_| tracker.halted.is_none() && tracker.waiting > 0)?;
        let (since, _) = self.pools.get(&policy.pool)?.health.unanswered()?;
        Some(since.max(tracker.asking_since) + policy.outage_s)
    }

    /// When the next run stops unless a call is answered.
    pub(super) fn next_give_up(&self, now: Seconds) -> Option<Seconds> {
        // One that is past stays as it is until its questions are settled.
        let all = self.trackers.values().filter_map(|tracker| self.gives_up_at(tracker));
        all.filter(|at| *at > now).min_by(f64::total_cmp)
    }
}

impl SpendTracker {
    /// A request of the run has arrived or ended.
    pub(super) fn note_activity(&mut self, now: Seconds) {
        if self.waiting + self.calling == 0 && now - self.active_at > IDLE {
            self.asking_since = now;
        }
        self.active_at = now;
    }

    /// Whether the run makes requests, some of which may wait in their workers before a retry.
    pub(super) fn is_asking(&self, now: Seconds) -> bool {
        self.waiting + self.calling > 0 || now - self.active_at <= IDLE
    }

    /// The run was submitted again: what failed before may have been mended.
    pub(super) fn begin_anew(&mut self, now: Seconds) {
        self.questions = QuestionCounts::default();
        (self.asking_since, self.active_at) = (now, now);
    }
}

const fn ask_again(again: bool) -> Verdict {
    if again { Verdict::AskAgain } else { Verdict::Settled }
}

const fn is_of_prompt(outcome: &CallOutcome) -> bool {
    matches!(outcome, CallOutcome::Failed { kind: FailureKind::Prompt, .. } | CallOutcome::Answered(_))
}

fn of_failure(
    now: Seconds,
    kind: FailureKind,
    reason: &str,
    tries: u32,
    tracker: &SpendTracker,
    health: &Health,
) -> Verdict {
    match kind {
        FailureKind::Prompt => Verdict::Settled,
        // The worker asks again in another form, which is another question.
        FailureKind::Form => Verdict::AskAgain,
        FailureKind::Account => Verdict::Stop(reason.to_owned()),
        FailureKind::Key if tracker.questions.called == 0 => Verdict::Stop(reason.to_owned()),
        FailureKind::Key | FailureKind::Unknown => {
            let answered = tracker.spent.answered();
            let different = if answered < DIFFERENT as u64 { DIFFERENT } else { DIFFERENT_OF_PROVEN };
            let reason = reason.trim_end_matches('.');
            if health.is_unknown_of(different) {
                Verdict::Stop(format!(
                    "{reason}; {different} different questions in a row failed like this, and none was answered between"
                ))
            } else if health.is_unknown_enough() && answered == 0 {
                Verdict::Stop(format!("{reason}; no call of the run was answered"))
            } else {
                ask_again(health.none_answered_within(tries) && !health.is_unknown_enough())
            }
        }
        FailureKind::Passing => {
            let theirs = health.unanswered().is_some_and(|(since, _)| is_theirs(now, since, tracker, health));
            ask_again(health.none_answered_within(tries) && !theirs)
        }
    }
}

/// Whether the failures are those of the last few questions of a run that was answered before: nothing else would tell, so
/// they have the time of a question, and not that of an outage.
fn is_theirs(now: Seconds, since: Seconds, tracker: &SpendTracker, health: &Health) -> bool {
    let retry_s = tracker.policy.as_ref().map_or(f64::INFINITY, |policy| policy.retry_s);
    health.is_of_few_questions()
        && tracker.waiting + tracker.calling < DIFFERENT as u64
        && tracker.spent.answered() > 0
        && now - since >= retry_s
}

fn above_share(tracker: &SpendTracker) -> Option<String> {
    let share = tracker.policy.as_ref()?.max_failed_share;
    let QuestionCounts { answered, failed, .. } = tracker.questions;
    let reasons = tracker.failures.listed();
    let most = reasons.first().map_or_else(String::new, |(reason, _)| format!("; most often: {reason}"));
    tracker.questions.is_above(share).then(|| {
        format!(
            "{failed} of {} questions failed, more than the {} % that proposer.max_failed_share allows{most}",
            answered + failed,
            (share * 1000.0).round() / 10.0
        )
    })
}
