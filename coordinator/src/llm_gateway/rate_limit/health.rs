//! Whether the provider of a pool answers: calls without an answer in a row, an outage, and when one call tries again.
//!
//! *Invariant*: during an outage at most one call is permitted at a time, a probe. The first sign of the provider, an answer,
//! a 429 or the refusal of a prompt, ends the outage.

use domain::ids::AnswerKey;
use llm::limit::Seconds;

/// Failed calls in a row that begin an outage.
const OUTAGE_CALLS: u32 = 5;

/// Different questions after which a failure is not one of a question.
pub(crate) const DIFFERENT: usize = 3;

/// As many where the provider has answered a run before: of a share of failures that the run survives a few come in a row
/// by chance.
pub(crate) const DIFFERENT_OF_PROVEN: usize = 12;

/// Calls that failed for an unknown reason in a row after which nothing more is expected, if there are no other questions.
const UNKNOWN_CALLS: u32 = 9;

/// Until the first probe; doubled for each further one.
const FIRST_PROBE: Seconds = 1.0;

/// Longest time between two probes.
const LONGEST_PROBE: Seconds = 30.0;

/// Time without an answer after which that is shown.
const SILENCE: Seconds = 15.0;

/// Shortest wait that a provider asks for and that is shown.
const SHOWN_WAIT: Seconds = 5.0;

/// When the next call may start, as far as an outage decides it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NextCall {
    Now,
    At(Seconds),
    /// When the probe under way has ended.
    AfterProbe,
}

/// What calls wait for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Waiting<'h> {
    /// Calls fail; one at a time tries again.
    Outage { since: Seconds, words: &'h str },
    /// The provider asks to wait.
    AskedToWait { until: Seconds, words: &'h str },
    /// Calls are made, and none is answered; empty words: none has failed.
    Unanswered { since: Seconds, words: &'h str },
}

/// Health of the provider of a pool.
#[derive(Debug, Default)]
pub(crate) struct Health {
    row: Option<Row>,
    outage: Option<Outage>,
    /// When the last call was answered, or the first one of those in flight started.
    quiet_since: Seconds,
}

/// Calls without an answer since the last answer.
#[derive(Debug)]
struct Row {
    since: Seconds,
    calls: u32,
    /// The last ones of them, that showed no sign of the provider.
    passing: u32,
    /// Different questions of these, up to [`DIFFERENT_OF_PROVEN`].
    questions: Vec<AnswerKey>,
    /// Calls that failed for an unknown reason.
    unknown: u32,
    unknown_questions: Vec<AnswerKey>,
    /// When and until when the provider asked to wait.
    asked: Option<(Seconds, Seconds)>,
    /// The provider's words about the last call.
    words: String,
}

#[derive(Debug)]
struct Outage {
    since: Seconds,
    probing: bool,
    probes: u32,
    next_probe: Seconds,
}

fn note(questions: &mut Vec<AnswerKey>, key: AnswerKey) {
    if questions.len() < DIFFERENT_OF_PROVEN && !questions.contains(&key) {
        questions.push(key);
    }
}

impl Health {
    /// When the next call may start.
    pub(super) fn next_call(&self, now: Seconds) -> NextCall {
        match &self.outage {
            Some(outage) if outage.probing => NextCall::AfterProbe,
            Some(outage) if now < outage.next_probe => NextCall::At(outage.next_probe),
            Some(_) | None => NextCall::Now,
        }
    }

    /// A call starts, `others` are in flight; returns whether it is a probe.
    pub(super) fn start(&mut self, now: Seconds, others: u64) -> bool {
        if others == 0 {
            self.quiet_since = now;
        }
        match &mut self.outage {
            Some(outage) => {
                outage.probing = true;
                outage.probes = outage.probes.saturating_add(1);
                true
            }
            None => false,
        }
    }

    /// A probe has ended, with whatever result, or was not made.
    pub(crate) fn probe_ended(&mut self, now: Seconds) {
        if let Some(outage) = &mut self.outage {
            outage.probing = false;
            let wait = FIRST_PROBE * f64::from(1_u32 << outage.probes.min(10));
            outage.next_probe = now + wait.min(LONGEST_PROBE);
        }
    }

    /// A probe was not made: the next one may start at once.
    pub(crate) fn probe_unsent(&mut self, now: Seconds) {
        if let Some(outage) = &mut self.outage {
            (outage.probing, outage.next_probe) = (false, now);
            outage.probes = outage.probes.saturating_sub(1);
        }
    }

    /// A call was answered.
    pub(crate) fn answered(&mut self, now: Seconds) {
        (self.row, self.outage, self.quiet_since) = (None, None, now);
    }

    /// The provider refused a prompt: it is there.
    pub(crate) fn refused_prompt(&mut self) {
        self.outage = None;
        if let Some(row) = &mut self.row {
            row.passing = 0;
            row.questions.clear();
        }
    }

    /// The provider refused a call because of a limit, and asks to wait for so long.
    pub(crate) fn throttled(&mut self, now: Seconds, wait: Option<Seconds>, words: &str) {
        self.refused_prompt();
        let row = self.row(now, words);
        row.calls = row.calls.saturating_add(1);
        row.asked = wait.map(|wait| (now, now + wait));
    }

    /// A call failed with no sign of the provider; `others` are in flight.
    pub(crate) fn failed(&mut self, now: Seconds, key: AnswerKey, words: &str, others: u64) {
        let row = self.row(now, words);
        row.calls = row.calls.saturating_add(1);
        row.passing = row.passing.saturating_add(1);
        row.asked = None;
        note(&mut row.questions, key);
        // One question that always fails must not hold up others that are being answered.
        let is_out = row.passing >= OUTAGE_CALLS && (row.questions.len() >= DIFFERENT || others == 0);
        if is_out && self.outage.is_none() {
            self.outage =
                Some(Outage { since: now, probing: false, probes: 0, next_probe: now + FIRST_PROBE });
        }
    }

    /// A call failed for an unknown reason.
    pub(crate) fn failed_unknown(&mut self, now: Seconds, key: AnswerKey, words: &str) {
        self.refused_prompt();
        let row = self.row(now, words);
        row.calls = row.calls.saturating_add(1);
        row.unknown = row.unknown.saturating_add(1);
        row.asked = None;
        note(&mut row.unknown_questions, key);
    }

    /// Forgets what was seen, where the cause may have been removed. The next call may start at once.
    pub(crate) fn forget(&mut self, now: Seconds) {
        self.row = None;
        if let Some(outage) = &mut self.outage {
            (outage.since, outage.next_probe, outage.probes) = (now, now, 0);
        }
    }

    fn row(&mut self, now: Seconds, words: &str) -> &mut Row {
        let row = self.row.get_or_insert_with(|| Row {
            since: now,
            calls: 0,
            passing: 0,
            questions: Vec::new(),
            unknown: 0,
            unknown_questions: Vec::new(),
            asked: None,
            words: String::new(),
        });
        words.clone_into(&mut row.words);
        row
    }

    /// Since when calls have been made and none was answered, where one was refused or failed, and the last words.
    pub(crate) fn unanswered(&self) -> Option<(Seconds, &str)> {
        self.row.as_ref().map(|row| (row.since, row.words.as_str()))
    }

    /// Whether no call was answered since the first of the last `tries` calls of a question.
    pub(crate) fn none_answered_within(&self, tries: u32) -> bool {
        self.row.as_ref().is_some_and(|row| row.calls >= tries)
    }

    /// Whether only few questions fail, as they would if the failure belonged to them.
    pub(crate) fn is_of_few_questions(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.passing > 0 && row.questions.len() < DIFFERENT)
    }

    /// Whether so many different questions, at most [`DIFFERENT_OF_PROVEN`], failed for an unknown reason, with no answer
    /// between.
    pub(crate) fn is_unknown_of(&self, different: usize) -> bool {
        self.row.as_ref().is_some_and(|row| row.unknown_questions.len() >= different)
    }

    /// Whether calls have failed for an unknown reason so often that no further question will tell more.
    pub(crate) fn is_unknown_enough(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.unknown >= UNKNOWN_CALLS)
    }

    /// What calls wait for; `in_flight` are under way.
    pub(crate) fn waiting(&self, now: Seconds, in_flight: u64) -> Option<Waiting<'_>> {
        let Some(row) = &self.row else {
            let since = self.quiet_since;
            let silent = in_flight > 0 && now - since >= SILENCE;
            return silent.then_some(Waiting::Unanswered { since, words: "" });
        };
        let words = row.words.as_str();
        if let Some(outage) = &self.outage {
            return Some(Waiting::Outage { since: outage.since.min(row.since), words });
        }
        if let Some((from, until)) = row.asked
            && until - from >= SHOWN_WAIT
            && until > now
        {
            return Some(Waiting::AskedToWait { until, words });
        }
        (now - row.since >= SILENCE).then_some(Waiting::Unanswered { since: row.since, words })
    }

    /// Whether the provider is out, and only probes start.
    #[cfg(test)]
    pub(crate) const fn is_out(&self) -> bool {
        self.outage.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> AnswerKey {
        AnswerKey::of(&[number])
    }

    fn out() -> Health {
        let mut health = Health::default();
        for number in 0..5 {
            health.failed(10.0, key(number), "503", 0);
        }
        assert!(health.is_out());
        health
    }

    #[test]
    fn a_few_failures_are_no_outage_and_an_answer_begins_anew() {
        let mut health = Health::default();
        for round in 0..10 {
            for number in 0..4 {
                health.failed(f64::from(round), key(number), "503", 0);
            }
            assert_eq!(health.next_call(f64::from(round)), NextCall::Now);
            health.answered(f64::from(round));
        }
        assert!(!health.is_out() && health.unanswered().is_none());
    }

    #[test]
    fn one_question_that_always_fails_is_no_outage_while_others_are_in_flight() {
        let mut health = Health::default();
        for _ in 0..20 {
            health.failed(1.0, key(1), "504", 3);
        }
        assert!(!health.is_out());
        health.failed(1.0, key(1), "504", 0);
        assert!(health.is_out(), "alone it cannot be told from an outage");
        assert!(health.is_of_few_questions());
    }

    #[test]
    fn probes_are_single_and_come_ever_more_slowly() {
        let mut health = out();
        let (mut now, mut waits) = (10.0, Vec::new());
        for _ in 0..8 {
            let NextCall::At(at) = health.next_call(now) else { panic!("{health:?}") };
            waits.push(at - now);
            now = at;
            assert_eq!(health.next_call(now), NextCall::Now);
            assert!(health.start(now, 0), "it is a probe");
            assert_eq!(health.next_call(now + 1000.0), NextCall::AfterProbe);
            health.failed(now, key(1), "503", 0);
            health.probe_ended(now);
        }
        assert_eq!(waits, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
        health.start(now, 0);
        health.probe_unsent(now);
        assert_eq!(health.next_call(now), NextCall::Now, "a permit that was not used is given again");
    }

    #[test]
    fn any_sign_of_the_provider_ends_an_outage() {
        let signs: [fn(&mut Health); 4] = [
            |health| health.answered(20.0),
            Health::refused_prompt,
            |health| health.throttled(20.0, None, "429"),
            |health| health.failed_unknown(20.0, key(1), "418"),
        ];
        for sign in signs {
            let mut health = out();
            health.start(20.0, 0);
            sign(&mut health);
            health.probe_ended(20.0);
            assert_eq!(health.next_call(20.0), NextCall::Now);
        }
    }

    #[test]
    fn what_is_waited_for_is_known() {
        let mut health = Health::default();
        assert_eq!(health.waiting(100.0, 0), None);
        health.start(100.0, 0);
        assert_eq!(health.waiting(114.0, 1), None);
        assert_eq!(health.waiting(115.0, 1), Some(Waiting::Unanswered { since: 100.0, words: "" }));
        health.answered(116.0);
        assert_eq!(health.waiting(117.0, 1), None);
        health.throttled(120.0, Some(2.0), "slow");
        assert_eq!(health.waiting(121.0, 0), None, "a short wait is usual");
        assert_eq!(health.waiting(135.0, 0), Some(Waiting::Unanswered { since: 120.0, words: "slow" }));
        health.throttled(140.0, Some(3600.0), "a day");
        assert_eq!(health.waiting(141.0, 0), Some(Waiting::AskedToWait { until: 3740.0, words: "a day" }));
        let health = out();
        assert_eq!(health.waiting(11.0, 0), Some(Waiting::Outage { since: 10.0, words: "503" }));
    }
}
