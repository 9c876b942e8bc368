//! `job_ttl_after_finished`: finished Jobs are removed.
//!
//! # What it checks
//! A `Job` without `ttlSecondsAfterFinished`, and a `CronJob` whose job template has one (kube-linter
//! `job-ttl-seconds-after-finished`).
//!
//! # Why
//! Finished Jobs and their pods stay for ever unless something removes them (Kubernetes documentation, *Automatic Cleanup
//! for Finished Jobs*). A `CronJob` removes its own by its history limits, which a second clock undercuts.
//!
//! # Repair
//! A `Job` gets the configured time; a `CronJob`'s job template loses its own.
//!
//! # Example
//! ```yaml
//! kind: Job, spec: {template: …}                                  # before
//! kind: Job, spec: {template: …, ttlSecondsAfterFinished: 3600}   # after
//! ```

use domain::config::RulesConfig;
use domain::outcome::Caution;
use domain::pointer::Pointer;
use domain::policy::PolicyId;
use serde_json::{Value, json};

use super::contract::{Check, Finding, Fix, Policy, Severity};
use super::scope::{Scope, To, any_container, may};
use crate::edit::Editor;
use crate::k8s::View;

pub(super) struct JobTtlAfterFinished;

const CHECK: Check = Check {
    id: "job-ttl-seconds-after-finished",
    severity: Severity::Warning,
    remedy: "Set ttlSecondsAfterFinished on a standalone Job; leave it out of a CronJob's job template.",
};

const STANDALONE: &str = "Standalone Job does not specify ttlSecondsAfterFinished";
const MANAGED: &str = "Managed Job specifies ttlSecondsAfterFinished which might conflict with successfulJobsHistoryLimit and failedJobsHistoryLimit from CronJob that have default values. Final behaviour is determined by the strictest parameter, and therefore, setting ttlSecondsAfterFinished at the job level can result with unexpected behaviour with regard to finished jobs removal";
const KEY: &str = "ttlSecondsAfterFinished";

fn standalone() -> Pointer {
    Pointer::of(["spec", KEY])
}

/// The places of a managed Job's time: in the job's spec, or, in a `CronJob` that lost that level, beside the template.
fn managed(view: &View<'_>) -> impl Iterator<Item = Pointer> {
    let places =
        [Pointer::of(["spec", "jobTemplate", "spec", KEY]), Pointer::of(["spec", "jobTemplate", KEY])];
    let root = view.value;
    places.into_iter().filter(|place| place.resolve(root).is_some_and(|value| !value.is_null()))
}

fn is_set(view: &View<'_>) -> bool {
    standalone().resolve(view.value).is_some_and(|value| !value.is_null())
}

const SCOPE: Scope = Scope {
    containers: any_container,
    may: &[
        may(
            "/spec/ttlSecondsAfterFinished",
            &[To::If("a number above 0 (or as configured), in a Job without a legal one", |site| {
                let configured = i64::from(site.rules.job_ttl_seconds);
                let is_time = |seconds: i64| seconds > 0 || seconds == configured;
                site.before.kind() == "Job"
                    && site.change.was.and_then(Value::as_u64).is_none()
                    && site.change.is.and_then(Value::as_i64).is_some_and(is_time)
            })],
        ),
        may("/spec/jobTemplate/spec/ttlSecondsAfterFinished", &[OF_CRON_JOB]),
        may("/spec/jobTemplate/ttlSecondsAfterFinished", &[OF_CRON_JOB]),
    ],
    companion: None,
};

const OF_CRON_JOB: To =
    To::If("removed from a CronJob", |site| site.before.kind() == "CronJob" && site.change.is.is_none());

impl Policy for JobTtlAfterFinished {
    fn id(&self) -> PolicyId {
        PolicyId::JobTtlAfterFinished
    }

    fn checks(&self) -> &'static [Check] {
        &[CHECK]
    }

    fn scope(&self) -> &'static Scope {
        &SCOPE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Finding> {
        let finding = |message: &str, pointer| Finding {
            policy: self.id(),
            check: CHECK.id,
            message: message.to_owned(),
            pointer,
        };
        match view.kind() {
            "Job" if !is_set(view) => vec![finding(STANDALONE, view.nearest(standalone()))],
            "CronJob" => managed(view).map(|place| finding(MANAGED, place)).collect(),
            _ => Vec::new(),
        }
    }

    fn fix(&self, view: &View<'_>, rules: &RulesConfig) -> Fix {
        let mut editor = Editor::new(view.value);
        match view.kind() {
            "Job" if view.spec().is_none() => {
                Fix::NeedsReview { reason: "the Job has no spec; say what it runs".to_owned() }
            }
            "Job" => {
                if !self.cleared(view, rules).is_empty() {
                    editor.set(&standalone(), json!(rules.job_ttl_seconds));
                }
                Fix::of(editor, [Caution::DeletesFinished])
            }
            "CronJob" => {
                managed(view).for_each(|place| editor.remove(&place));
                Fix::of(editor, [])
            }
            kind => Fix::NotApplicable { reason: format!("a {kind} is neither a Job nor a CronJob") },
        }
    }

    fn cleared(&self, view: &View<'_>, _rules: &RulesConfig) -> Vec<String> {
        let found = self.detect(view).into_iter().map(|finding| finding.message);
        let seconds = standalone().resolve(view.value).filter(|value| !value.is_null());
        let illegal = seconds.filter(|value| view.kind() == "Job" && value.as_u64().is_none());
        found.chain(illegal.map(|value: &Value| format!("{KEY} {value} is no number of seconds"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use domain::record::Neighbours;

    use super::*;
    use crate::testing::{document, fix_of, fixture_holds, messages, review_of};

    const POLICY: JobTtlAfterFinished = JobTtlAfterFinished;

    #[test]
    fn fixtures() {
        fixture_holds(&POLICY);
    }

    #[test]
    fn a_job_gets_a_time_and_keeps_its_own() {
        let job = |spec: &str| document(&format!("kind: Job\nspec: {spec}"));
        let op = |op: &str| json!([{"op": op, "path": "/spec/ttlSecondsAfterFinished", "value": 3600}]);
        assert_eq!(messages(&POLICY, &job("{template: {}}")), [STANDALONE]);
        assert_eq!(fix_of(&POLICY, &job("{template: {}}")), op("add"));
        assert_eq!(fix_of(&POLICY, &job("{ttlSecondsAfterFinished: null}")), op("replace"));
        assert_eq!(fix_of(&POLICY, &job("{ttlSecondsAfterFinished: -5}")), op("replace"));
        let own = job("{ttlSecondsAfterFinished: 0}");
        assert_eq!(messages(&POLICY, &own), Vec::<String>::new());
        assert_eq!(
            POLICY.cleared(&View::new(&own, &Neighbours::Unknown), &RulesConfig::default()),
            Vec::<String>::new()
        );
        assert!(review_of(&POLICY, &document("kind: Job"), &Neighbours::Unknown).contains("no spec"));
    }

    #[test]
    fn a_cron_job_loses_it_in_either_shape() {
        for (job, place) in [
            ("{spec: {ttlSecondsAfterFinished: 60}}", "/spec/jobTemplate/spec/ttlSecondsAfterFinished"),
            ("{template: {}, ttlSecondsAfterFinished: 60}", "/spec/jobTemplate/ttlSecondsAfterFinished"),
        ] {
            let document = document(&format!("kind: CronJob\nspec: {{jobTemplate: {job}}}"));
            assert_eq!(messages(&POLICY, &document), [MANAGED]);
            assert_eq!(fix_of(&POLICY, &document), json!([{"op": "remove", "path": place}]));
        }
    }

    #[test]
    fn other_kinds_are_none_of_its_business() {
        let document = document("kind: Deployment\nspec: {}");
        let fix = POLICY.fix(&View::new(&document, &Neighbours::Unknown), &RulesConfig::default());
        assert!(matches!(fix, Fix::NotApplicable { .. }));
    }
}
