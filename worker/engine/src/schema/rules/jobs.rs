//! Jobs and cron jobs.

use std::collections::BTreeSet;

use super::cron;
use super::errors::Errors;
use super::meta::{self, Naming};
use super::node::Node;
use super::pod::{self, Template};
use super::text;

const MOST_PARALLEL: i64 = 100_000;
const MANY_COMPLETIONS: i64 = 100_000;
const FEW_PARALLEL: i64 = 10_000;

/// The labels that the server gives to the pods of a job: the name in the first two, the job's id in the others.
const NAME_LABELS: &[&str] = &["job-name", "batch.kubernetes.io/job-name"];
const ID_LABELS: &[&str] = &["controller-uid", "batch.kubernetes.io/controller-uid"];

/// A Job.
pub(crate) fn job(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation());
    let (spec, metadata) = (object.get("spec"), object.get("metadata"));
    let prefix = metadata.get("generateName");
    let generated = meta::generated_name(prefix.str());
    let name = if metadata.get("name").is_empty() && !prefix.is_empty() {
        generated.as_str()
    } else {
        metadata.get("name").str()
    };
    let template = spec.get("template");
    if spec.get("manualSelector").is_true() {
        manual_selector(errors, &spec, &template);
    } else {
        generated_selector(errors, &spec, &template, name);
    }
    job_spec(errors, &spec, true);
    let completions = spec.get("completions").number();
    if is_indexed(&spec) && completions > 0 {
        let host = format!("{name}-{}", completions - 1);
        if !text::label(&host).is_empty() {
            errors.invalid_text(
                &metadata.get("name"),
                name,
                &format!("will not able to create pod with invalid DNS label: {host}"),
            );
        }
    }
    // A job without labels gets those of its pods.
    let (own, pods) = (metadata.get("labels"), template.get("metadata"));
    if own.is_empty() {
        let given = pods.get("labels");
        meta::labels(errors, &own.in_place_of(&given));
        if given.is_set() && !spec.get("manualSelector").is_true() {
            errors.check_text(&own, name, text::label_value);
        }
    }
}

fn manual_selector(errors: &mut Errors, spec: &Node<'_, '_>, template: &Node<'_, '_>) {
    let selector = spec.get("selector");
    let metadata = template.get("metadata");
    if !selector.is_set() {
        errors.required(&selector, "");
    }
    let is_right = meta::selector(errors, &selector);
    let is_match = selector.is_set() && meta::matches(&selector, &metadata.get("labels"));
    if is_right && !is_match {
        meta::mismatch(errors, template);
    }
}

/// Without a manual selector the server selects by the job's id, which no one can know beforehand.
fn generated_selector(errors: &mut Errors, spec: &Node<'_, '_>, template: &Node<'_, '_>, name: &str) {
    let metadata = template.get("metadata");
    let labels = metadata.get("labels");
    for key in NAME_LABELS {
        let label = labels.key(key);
        if labels.fields().is_some_and(|fields| fields.contains_key(*key)) && label.str() != name {
            errors.invalid(&label.in_place_of(&labels), &format!("must be '{name}'"));
        }
    }
    for key in ID_LABELS {
        if labels.fields().is_some_and(|fields| fields.contains_key(*key)) {
            errors.invalid(&labels.key(key).in_place_of(&labels), "must be the uid of the job");
        }
    }
    // Pods get the name as a label.
    let has_both =
        NAME_LABELS.iter().all(|key| labels.fields().is_some_and(|fields| fields.contains_key(*key)));
    if !has_both {
        errors.check_text(&template.get("labels"), name, text::label_value);
    }
    let selector = spec.get("selector");
    let is_right = meta::selector(errors, &selector);
    if !is_right {
        return;
    }
    // Of the server's labels, only the name is known.
    let matches_generated = selector
        .get("matchLabels")
        .pairs()
        .all(|(key, value)| NAME_LABELS.contains(&key) && value.str() == name)
        && selector.get("matchExpressions").entries().all(|requirement| {
            let key = requirement.get("key").str();
            let is_named = requirement.get("values").texts().any(|value| value == name);
            let (is_name, is_id) = (NAME_LABELS.contains(&key), ID_LABELS.contains(&key));
            match requirement.get("operator").str() {
                "In" => is_name && is_named,
                "NotIn" => !is_name || !is_named,
                "Exists" => is_name || is_id,
                _ => !is_name && !is_id,
            }
        });
    if !matches_generated {
        errors.invalid(&selector, "`selector` not auto-generated");
    }
    let own = selector.get("matchLabels").pairs().all(|(key, value)| {
        (NAME_LABELS.contains(&key) && !labels.key(key).is_set() && value.str() == name)
            || (labels.fields().is_some_and(|fields| fields.contains_key(key))
                && labels.key(key).str() == value.str())
    });
    if !own {
        meta::mismatch(errors, template);
    }
}

/// A `CronJob`.
pub(crate) fn cron_job(errors: &mut Errors, object: &Node<'_, '_>) {
    meta::object(errors, object, Naming::SUBDOMAIN.with_generation());
    let spec = object.get("spec");
    let schedule = spec.get("schedule");
    if errors.needs(&schedule) {
        if let Err(problem) = cron::parse(schedule.str()) {
            errors.invalid(&schedule, &problem);
        }
        if schedule.str().contains("TZ") {
            errors.invalid(&schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
        }
    }
    errors.not_negative(&spec.get("startingDeadlineSeconds"));
    time_zone(errors, &spec.get("timeZone"));
    errors.one_of_or_default(&spec.get("concurrencyPolicy"), &["Allow", "Forbid", "Replace"]);
    let template = spec.get("jobTemplate");
    let job = template.get("spec");
    job_spec(errors, &job, false);
    if job.get("selector").is_set() {
        errors.invalid(&job.get("selector"), "`selector` will be auto-generated");
    }
    if job.get("manualSelector").is_true() {
        errors.unsupported(&job.get("manualSelector"), &["nil", "false"]);
    }
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        errors.not_negative(&spec.get(field));
    }
    let metadata = object.get("metadata");
    let (name, prefix) = (metadata.get("name"), metadata.get("generateName"));
    // The controller adds 11 characters to the name.
    if name.str().len() > 52 || (name.is_empty() && prefix.str().len() + 5 > 52) {
        errors.invalid(&name, "must be no more than 52 characters");
    }
}

fn time_zone(errors: &mut Errors, zone: &Node<'_, '_>) {
    let Some(name) = zone.text() else { return };
    if name.is_empty() {
        return errors.invalid(zone, "timeZone must be nil or non-empty string");
    }
    let is_part = |part: &str| {
        !["", ".", ".."].contains(&part)
            && !part.starts_with('-')
            && part.len() <= 14
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte))
    };
    if !name.split('/').all(is_part) {
        return errors.invalid(zone, &format!("unknown time zone {name}"));
    }
    if name.eq_ignore_ascii_case("Local") {
        errors.invalid(
            zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        );
    }
    if name != "Local" && !cron::is_zone(name) {
        errors.invalid(zone, &format!("unknown time zone {name}"));
    }
}

fn is_indexed(spec: &Node<'_, '_>) -> bool {
    spec.get("completionMode").str() == "Indexed"
}

/// The spec of a job. That of a cron job's template has no defaults yet.
fn job_spec(errors: &mut Errors, spec: &Node<'_, '_>, has_defaults: bool) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        errors.not_negative(&spec.get(field));
    }
    if spec.get("maxFailedIndexes").is_set() && !spec.get("backoffLimitPerIndex").is_set() {
        errors.required(&spec.get("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    let manager = spec.get("managedBy");
    if manager.is_set() {
        meta::domain_path(errors, &manager);
        errors.at_most_bytes(&manager, 63);
    }
    completion_mode(errors, spec, has_defaults);
    let failure = spec.get("podFailurePolicy");
    if failure.is_set() {
        failure_policy(errors, spec, &failure);
    }
    let success = spec.get("successPolicy");
    if success.is_set() {
        if is_indexed(spec) {
            success_policy(errors, &success, spec.get("completions").number());
        } else {
            errors.invalid(&success, "requires indexed completion mode");
        }
    }
    let replacement: &[&str] =
        if failure.is_set() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    errors.one_of(&spec.get("podReplacementPolicy"), replacement);
    let template = spec.get("template");
    pod::template(errors, &template, Template::default());
    restart_policy(errors, &template, failure.is_set());
}

fn restart_policy(errors: &mut Errors, template: &Node<'_, '_>, has_failure_policy: bool) {
    let pods = template.get("spec");
    let policy = pods.get("restartPolicy");
    match policy.str() {
        "" | "Always" => errors.required(&policy, "valid values: \"OnFailure\", \"Never\""),
        "Never" => {}
        "OnFailure" => {
            if has_failure_policy {
                errors.invalid(&policy, "only \"Never\" is supported when podFailurePolicy is specified");
            }
        }
        _ => errors.unsupported(&policy, &["OnFailure", "Never"]),
    }
}

fn completion_mode(errors: &mut Errors, spec: &Node<'_, '_>, has_defaults: bool) {
    let (completions, parallel) = (spec.get("completions"), spec.get("parallelism"));
    let (per_index, most_failed) = (spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes"));
    errors.one_of(&spec.get("completionMode"), &["NonIndexed", "Indexed"]);
    match spec.get("completionMode").text().unwrap_or("NonIndexed") {
        "NonIndexed" => {
            for field in [&per_index, &most_failed] {
                if field.is_set() {
                    errors.invalid(field, "requires indexed completion mode");
                }
            }
            return;
        }
        "Indexed" => {}
        _ => return,
    }
    // Without either, the server makes it one completion.
    let is_one = has_defaults && !parallel.is_set();
    if !completions.is_set() && !is_one {
        errors.required(&completions, "when completion mode is Indexed");
    }
    if parallel.number() > MOST_PARALLEL {
        errors.invalid(
            &parallel,
            &format!("must be less than or equal to {MOST_PARALLEL} when completion mode is Indexed"),
        );
    }
    let count = completions.int().or_else(|| is_one.then_some(1));
    if let (Some(count), Some(failed)) = (count, most_failed.int())
        && failed > count
    {
        errors.invalid(&most_failed, "must be less than or equal to completions");
    }
    if most_failed.number() > MOST_PARALLEL {
        errors.invalid(&most_failed, &format!("must be less than or equal to {MOST_PARALLEL}"));
    }
    if count.is_some_and(|count| count > MANY_COMPLETIONS) && per_index.is_set() {
        if !most_failed.is_set() {
            errors.required(
                &most_failed,
                &format!("must be specified when completions is above {MANY_COMPLETIONS}"),
            );
        }
        for field in [&parallel, &most_failed] {
            if field.number() > FEW_PARALLEL {
                errors.invalid(
                    field,
                    &format!(
                        "must be less than or equal to {FEW_PARALLEL} when completions are above {MANY_COMPLETIONS} and used with backoff limit per index"
                    ),
                );
            }
        }
    }
}

fn failure_policy(errors: &mut Errors, spec: &Node<'_, '_>, policy: &Node<'_, '_>) {
    let rules = policy.get("rules");
    errors.at_most_entries(&rules, 20);
    let template = spec.get("template");
    let pods = template.get("spec");
    let is_container = |name: &str| {
        ["containers", "initContainers"]
            .iter()
            .any(|list| pods.get(list).entries().any(|container| container.get("name").str() == name))
    };
    for rule in rules.entries() {
        let (action, codes, conditions) =
            (rule.get("action"), rule.get("onExitCodes"), rule.get("onPodConditions"));
        match action.str() {
            "" => errors.required(&action, "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"),
            "FailIndex" => {
                if !spec.get("backoffLimitPerIndex").is_set() {
                    errors.invalid(&action, "requires the backoffLimitPerIndex to be set");
                }
            }
            _ => errors.one_of(&action, &["Count", "FailIndex", "FailJob", "Ignore"]),
        }
        if codes.is_set() {
            exit_codes(errors, &codes, is_container);
        }
        errors.at_most_entries(&conditions, 20);
        for condition in conditions.entries() {
            errors.check(&condition.get("type"), text::qualified);
            errors.one_of_or_default(&condition.get("status"), &["False", "True", "Unknown"]);
        }
        if codes.is_set() && !conditions.is_empty() {
            errors.invalid(&rule, "specifying both OnExitCodes and OnPodConditions is not supported");
        }
        if !codes.is_set() && conditions.is_empty() {
            errors.invalid(&rule, "specifying one of OnExitCodes and OnPodConditions is required");
        }
    }
}

fn exit_codes(errors: &mut Errors, codes: &Node<'_, '_>, is_container: impl Fn(&str) -> bool) {
    let (operator, name, values) = (codes.get("operator"), codes.get("containerName"), codes.get("values"));
    if operator.is_empty() {
        errors.required(&operator, "valid values: [\"In\" \"NotIn\"]");
    }
    errors.one_of_or_default(&operator, &["In", "NotIn"]);
    if name.text().is_some_and(|name| !is_container(name)) {
        errors.invalid(&name, "must be one of the container or initContainer names in the pod template");
    }
    if values.is_empty() {
        errors.invalid(&values, "at least one value is required");
    }
    errors.at_most_entries(&values, 255);
    let mut seen = BTreeSet::new();
    let (mut last, mut is_ordered) = (i64::MIN, true);
    for value in values.entries() {
        let code = value.number();
        if operator.str() == "In" && code == 0 {
            errors.invalid_as(&value, code, "must not be 0 for the In operator");
        }
        if !seen.insert(code) {
            errors.duplicate(&value);
        }
        is_ordered &= last <= code;
        last = code;
    }
    if !is_ordered {
        errors.invalid(&values, "must be ordered");
    }
}

fn success_policy(errors: &mut Errors, policy: &Node<'_, '_>, completions: i64) {
    let rules = policy.get("rules");
    if rules.is_empty() {
        errors.required(&rules, "at least one rules must be specified when the successPolicy is specified");
    }
    errors.at_most_entries(&rules, 20);
    for rule in rules.entries() {
        let (count, indexes) = (rule.get("succeededCount"), rule.get("succeededIndexes"));
        if !count.is_set() && !indexes.is_set() {
            errors.required(&rule, "at least one of succeededCount or succeededIndexes must be specified");
        }
        errors.at_most_bytes(&indexes, 64 << 10);
        let total = indexes.text().map(|text| index_count(text, completions));
        if let Some(Err(problem)) = &total {
            errors.invalid(&indexes, &format!("error parsing succeededIndexes: {problem}"));
        }
        if !count.is_set() {
            continue;
        }
        errors.not_negative(&count);
        if count.number() > completions {
            errors.invalid(
                &count,
                &format!("must be less than or equal to {completions} (the number of specified completions)"),
            );
        }
        let total = total.map(Result::unwrap_or_default);
        if let Some(total) = total.filter(|total| count.number() > *total) {
            errors.invalid(
                &count,
                &format!(
                    "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
                ),
            );
        }
    }
}

/// How many indexes `1,3-5` names: in rising order, and below `completions`.
fn index_count(text: &str, completions: i64) -> Result<i64, String> {
    let read = |text: &str| {
        let index: i64 =
            text.parse().map_err(|_| format!("cannot convert string to integer for index: \"{text}\""))?;
        if index >= completions { Err(format!("too large index: \"{text}\"")) } else { Ok(index) }
    };
    let (mut total, mut last) = (0_i64, None);
    for interval in text.split(',').filter(|_| !text.is_empty()) {
        let (first, end) = match interval.split_once('-') {
            Some((_, end)) if end.contains('-') => {
                return Err(format!(
                    "the fragment \"{interval}\" violates the requirement that an index interval can have at most two parts separated by '-'"
                ));
            }
            Some((first, end)) => (read(first)?, read(end)?),
            None => (read(interval)?, read(interval)?),
        };
        if first > end && interval.contains('-') || (interval.contains('-') && first == end) {
            return Err(format!("non-increasing order, previous: {first}, current: {end}"));
        }
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        total = total.saturating_add(end.saturating_sub(first).saturating_add(1));
        last = Some(end);
    }
    Ok(total)
}
