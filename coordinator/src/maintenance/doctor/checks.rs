//! Checks of a run, one function each.

use std::collections::BTreeSet;
use std::path::PathBuf;

use domain::config::RunConfig;
use domain::ids::PartHash;
use domain::run::RunState;
use results::audit::{Audit, Faults, audit};
use results::corpus_copy::check_corpus;
use results::layout::{CORPUS_FILE, RUN_FILE, is_part};
use results::scan::Part;

use super::report::Check;
use super::subject::{ExpectedPart, Subject, committed};
use crate::database::Trouble;

/// Most findings that are listed; the rest is only counted.
const LISTED: usize = 5;

const RUN_AGAIN: &str = "run the same corpus and configuration again under another --run-id";

/// Checks that the server of the ledger, where there is one, cannot forget what it acknowledges.
pub(super) fn engine(subject: &Subject) -> Option<Check> {
    const NAME: &str = "engine";
    let engine = subject.engine.as_ref()?;
    Some(match &engine.facts {
        Err(Trouble::Unavailable(reason) | Trouble::Unusable(reason)) => {
            Check::failed(NAME, reason, "see that it runs, and that the URL names it")
        }
        Ok(facts) => {
            let dangers: Vec<String> =
                facts.dangers(engine.seen.as_ref()).iter().map(ToString::to_string).collect();
            Check::of(NAME, &dangers, facts.summary(), "change the configuration of the server")
        }
    })
}

/// Checks that the ledger opens and contains the run.
pub(super) fn ledger(subject: &Subject) -> Check {
    const NAME: &str = "ledger";
    match &subject.ledger {
        None => Check::skipped(NAME, "the run has none: it was imported, or its ledger is elsewhere"),
        Some(Err(error)) => {
            Check::failed(NAME, error.to_string(), "restore it from a copy, or use another state folder")
        }
        Some(Ok(recorded)) => match &recorded.entry {
            None => Check::failed(NAME, "the run is not in it", "delete the folder if it is not needed"),
            Some(_) => Check::ok(
                NAME,
                format!(
                    "{}, {} leased so far",
                    subject.state_word(),
                    counted(recorded.shards.len(), "shard")
                ),
            ),
        },
    }
}

/// Checks that `run.json` can be read and is consistent with itself and with the ledger.
pub(super) fn run_file(subject: &Subject) -> Check {
    const NAME: &str = "run.json";
    let due = matches!(subject.state(), None | Some(RunState::Finished | RunState::Cancelled));
    let file = match &subject.run_file {
        Ok(file) => file,
        Err(_) if !due => return Check::skipped(NAME, "it is written when the run ends"),
        Err(error) => return Check::failed(NAME, error.to_string(), RUN_AGAIN),
    };
    let mut wrong = Vec::new();
    let mut differs = |what: &str, found: String, expected: String| {
        if found != expected {
            wrong.push(format!("{what} is {found}, should be {expected}"));
        }
    };
    differs("run_id", file.run_id.to_string(), subject.place.run_id.to_string());
    differs("config_hash", file.config_hash.to_string(), file.config.hash().to_string());
    let rows: u64 = file.parts.iter().map(|part| part.rows).sum();
    differs("the sum of counts", file.counts.values().sum::<u64>().to_string(), rows.to_string());
    if file.state == RunState::Finished {
        differs("records", file.records.to_string(), rows.to_string());
    }
    if let Some((entry, shards)) = subject.recorded() {
        let mut tally = domain::tally::Tally::default();
        shards.iter().filter_map(|shard| shard.part.as_ref()).for_each(|part| tally.add(&part.tally));
        differs("state", file.state.as_str().to_owned(), entry.state.as_str().to_owned());
        differs("records", file.records.to_string(), entry.plan.records.to_string());
        differs("corpus_hash", file.corpus_hash.to_string(), entry.plan.corpus_hash.to_string());
        differs("config_hash", file.config_hash.to_string(), entry.plan.config_hash.to_string());
        differs("counts", format!("{:?}", file.counts), format!("{:?}", tally.counts()));
        let recorded = entry.run_file.filter(|_| entry.state == RunState::Finished);
        if recorded.is_some() && recorded != subject.run_file_hash {
            wrong.push("it is not the one with which the run was finished".to_owned());
        }
    }
    let parts = counted(file.parts.len(), "part");
    Check::of(NAME, &wrong, format!("{}, {parts}", counted(file.records, "record")), RUN_AGAIN)
}

/// Checks that the plan and the shards are consistent.
pub(super) fn plan(subject: &Subject) -> Check {
    const NAME: &str = "plan";
    let Some((entry, shards)) = subject.recorded() else {
        return Check::skipped(NAME, "there is no ledger");
    };
    let plan = &entry.plan;
    let mut wrong = Vec::new();
    if plan.run_id != subject.place.run_id {
        wrong.push(format!("it belongs to run {}", plan.run_id));
    }
    if RunConfig::hash(&plan.config) != plan.config_hash {
        wrong.push("its configuration does not have the recorded hash".to_owned());
    }
    let rows: u64 = committed(shards).iter().map(|part| part.rows).sum();
    if rows > plan.records {
        wrong.push(format!("{rows} rows are committed of {} records", plan.records));
    }
    if matches!(entry.state, RunState::Finishing | RunState::Finished) && rows != plan.records {
        wrong.push(format!(
            "the run is {}, {rows} of {} records are committed",
            entry.state.as_str(),
            plan.records
        ));
    }
    for shard in shards.iter().filter(|shard| shard.token.0 == 0 || shard.attempt == 0) {
        wrong.push(format!("shard {:?} was never leased and has an entry", shard.shard));
    }
    Check::of(NAME, &shortened(wrong), format!("{rows} of {} records are committed", plan.records), RUN_AGAIN)
}

/// Checks that the run's copy of its corpus is the planned one.
pub(super) async fn corpus(subject: &Subject) -> Check {
    const NAME: &str = "corpus";
    let Some(path) = corpus_path(subject) else {
        return match subject.run_file.as_ref() {
            Ok(file) if file.imported_from.is_some() => Check::skipped(NAME, "an imported run may have none"),
            _ => Check::failed(NAME, "it is missing", "submit the run again, which stores the corpus again"),
        };
    };
    let expected = subject.recorded().map(|(entry, _)| (entry.plan.records, entry.plan.corpus_hash));
    let expected =
        expected.or_else(|| subject.run_file.as_ref().ok().map(|file| (file.records, file.corpus_hash)));
    let checked = tokio::task::spawn_blocking(move || check_corpus(&path)).await;
    match checked {
        Err(error) => Check::failed(NAME, error.to_string(), ""),
        Ok(Err(error)) => {
            Check::failed(NAME, error.to_string(), "submit the run again, which stores the corpus again")
        }
        Ok(Ok(found)) => match expected {
            Some((records, hash)) if (records, hash) != (found.records, found.corpus_hash) => Check::failed(
                NAME,
                format!(
                    "{} records with hash {}, planned were {records} with {hash}",
                    found.records, found.corpus_hash
                ),
                "submit the run again, which stores the corpus again",
            ),
            _ => Check::ok(NAME, format!("{}, hash as planned", counted(found.records, "record"))),
        },
    }
}

/// Checks that every part is there and unchanged, and that its rows are the records, each once.
pub(super) async fn parts(subject: &Subject) -> Vec<Check> {
    let Some(expected) = subject.expected_parts() else {
        return vec![
            Check::skipped("parts", "neither ledger nor run.json lists them"),
            Check::skipped("rows", "neither ledger nor run.json lists the parts"),
        ];
    };
    let folder = subject.place.folder.clone();
    let listed = expected.clone();
    let damaged = tokio::task::spawn_blocking(move || {
        let wrong: Vec<String> =
            listed.iter().filter_map(|part| damage(&folder.join(&part.key), part)).collect();
        wrong
    })
    .await
    .unwrap_or_else(|error| vec![error.to_string()]);
    let whole = damaged.is_empty();
    let fine = match expected.len() {
        0 => "none is committed yet".to_owned(),
        parts => format!("{}, length and hash as committed", counted(parts, "part")),
    };
    let mut checks = vec![Check::of("parts", &shortened(damaged), fine, RUN_AGAIN)];
    if whole {
        checks.extend(rows(subject, &expected).await);
    } else {
        checks.push(Check::skipped("rows", "not all parts can be read"));
    }
    checks
}

/// Damage of a part's file, if any. Blocks on the disk.
fn damage(path: &std::path::Path, part: &ExpectedPart) -> Option<String> {
    let length = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Some(format!("{} is missing", part.key));
        }
        Err(error) => return Some(format!("{} cannot be read: {error}", part.key)),
        Ok(metadata) => metadata.len(),
    };
    if part.bytes.is_some_and(|bytes| bytes != length) {
        return Some(format!("{} has {length} bytes, committed were {}", part.key, part.bytes.unwrap_or(0)));
    }
    let hashed = std::fs::File::open(path).and_then(|file| {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file)?;
        Ok(PartHash::from_bytes(*hasher.finalize().as_bytes()))
    });
    match hashed {
        Err(error) => Some(format!("{} cannot be read: {error}", part.key)),
        Ok(hash) if hash != part.hash => {
            Some(format!("{} has changed since it was committed: its hash differs", part.key))
        }
        Ok(_) => None,
    }
}

/// Checks the rows: exactly the records, each at its place; counts and fingerprint as recorded.
async fn rows(subject: &Subject, expected: &[ExpectedPart]) -> Vec<Check> {
    let parts: Vec<Part> =
        expected.iter().map(|part| Part::File(subject.place.folder.join(&part.key))).collect();
    let corpus = corpus_path(subject);
    let compared = corpus.is_some();
    let audited = tokio::task::spawn_blocking(move || {
        let with = audit(parts.clone(), corpus.as_deref());
        // An unreadable corpus is reported by its own check.
        with.or_else(|_| audit(parts, None))
    })
    .await;
    let found = match audited {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return vec![Check::failed("rows", error.to_string(), RUN_AGAIN)],
        Err(error) => return vec![Check::failed("rows", error.to_string(), "")],
    };
    vec![coverage(subject, expected, &found), records(&found, compared), outcome(subject, &found)]
}

fn coverage(subject: &Subject, expected: &[ExpectedPart], found: &Audit) -> Check {
    let recorded: u64 = expected.iter().map(|part| part.rows).sum();
    let mut wrong = Vec::new();
    if recorded != found.rows {
        wrong.push(format!("{} rows, {recorded} are recorded", found.rows));
    }
    push_faults(&mut wrong, "positions occur twice", &found.repeated);
    let records = subject.recorded().map(|(entry, _)| entry.plan.records);
    let records = records.or_else(|| subject.run_file.as_ref().ok().map(|file| file.records)).unwrap_or(0);
    if subject.state() == Some(RunState::Finished) {
        push_faults(&mut wrong, "positions are missing", &found.missing);
        if found.end != records {
            wrong.push(format!("the rows end at {}, the records at {records}", found.end));
        }
    } else if found.end > records {
        wrong.push(format!("a row has position {}, beyond the {records} records", found.end - 1));
    }
    let fine = match found.rows {
        0 => "none is committed yet".to_owned(),
        rows => format!("{}, each at its place, no duplicates", counted(rows, "row")),
    };
    Check::of("rows", &wrong, fine, RUN_AGAIN)
}

fn records(found: &Audit, compared: bool) -> Check {
    let mut wrong = Vec::new();
    push_faults(
        &mut wrong,
        "rows are not of the record that the corpus has at their position",
        &found.misplaced,
    );
    if compared {
        let twice = match found.ids_repeated.count {
            0 => String::new(),
            count => format!("; the corpus itself has {count} ids more than once"),
        };
        return Check::of(
            "records",
            &wrong,
            format!("each row names the record of the corpus{twice}"),
            RUN_AGAIN,
        );
    }
    push_faults(&mut wrong, "record ids occur twice", &found.ids_repeated);
    Check::of("records", &wrong, "no record id occurs twice".to_owned(), RUN_AGAIN)
}

/// Checks that counts and fingerprint of the rows are those on record.
fn outcome(subject: &Subject, found: &Audit) -> Check {
    const NAME: &str = "outcome";
    let mut wrong = Vec::new();
    let mut compared = Vec::new();
    if let Ok(file) = &subject.run_file
        && subject.state().is_some_and(RunState::has_ended)
    {
        compared.push("counts as in run.json");
        if file.counts != found.statuses {
            wrong.push(format!("{RUN_FILE} counts {:?}, the rows are {:?}", file.counts, found.statuses));
        }
    }
    let print = found.fingerprint.to_string();
    let recorded = subject.recorded().and_then(|(entry, _)| entry.fingerprint.clone());
    if let Some(recorded) = recorded {
        compared.push("fingerprint as in the ledger");
        if recorded != print {
            wrong.push(format!("the fingerprint is {print}, the ledger has {recorded}"));
        }
    }
    if compared.is_empty() {
        let state = subject.state_word();
        return Check::skipped(
            NAME,
            format!("counts and fingerprint are recorded when the run ends: it is {state}"),
        );
    }
    Check::of(NAME, &wrong, format!("{}; fingerprint {print}", compared.join(", ")), RUN_AGAIN)
}

/// Checks that the folder holds no unreferenced files.
pub(super) fn orphans(subject: &Subject) -> Check {
    const NAME: &str = "orphans";
    let mut found = unreferenced(subject);
    found.extend(subject.unfinished.iter().map(|path| path.display().to_string()));
    if subject.active {
        let fine = format!("{} objects are being uploaded, or were left by lost leases", found.len());
        return Check::ok(NAME, if found.is_empty() { "none".to_owned() } else { fine });
    }
    let remedy = "`coordinator doctor --repair` deletes them";
    Check::of(NAME, &shortened(found), "none".to_owned(), remedy)
}

/// Parts in the run's folder that neither ledger nor `run.json` names.
pub(super) fn unreferenced(subject: &Subject) -> Vec<String> {
    // Without a list of the run's parts, none is an orphan.
    let Some(expected) = subject.expected_parts() else { return Vec::new() };
    let known: BTreeSet<&str> = expected.iter().map(|part| part.key.as_str()).collect();
    let objects = subject.objects.iter().map(|object| object.key.as_str());
    objects.filter(|key| is_part(key) && !known.contains(key)).map(str::to_owned).collect()
}

fn corpus_path(subject: &Subject) -> Option<PathBuf> {
    Some(subject.place.folder.join(CORPUS_FILE)).filter(|path| path.is_file())
}

fn push_faults(wrong: &mut Vec<String>, what: &str, faults: &Faults) {
    if faults.count > 0 {
        wrong.push(format!("{} {what}, e.g. {}", faults.count, faults.examples.join(", ")));
    }
}

/// A number with its noun.
fn counted(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The first [`LISTED`] findings, and the number of the rest.
fn shortened(mut findings: Vec<String>) -> Vec<String> {
    let more = findings.len().saturating_sub(LISTED);
    findings.truncate(LISTED);
    if more > 0 {
        findings.push(format!("and {more} more"));
    }
    findings
}
