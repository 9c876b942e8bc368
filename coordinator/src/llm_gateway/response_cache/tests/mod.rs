//! Tests of the response cache: what is kept, served and refused, and how long opening takes.

use std::sync::Arc;

use domain::answer::{Answer, Finish};
use domain::budget::{Charge, Tier, Usage, Usd};
use domain::ids::{AnswerKey, RunId};
use rusqlite::Connection;

use super::*;

mod postgres;
mod proxy;
mod suite;

use suite::{apply, call};

mod on_disk {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "other stores may be missing")]
    fn empty() -> Option<(ResponseCache, tempfile::TempDir)> {
        let folder = tempfile::tempdir().unwrap();
        Some((ResponseCache::open(&folder.path().join("answers.sqlite")).unwrap(), folder))
    }

    suite::answers_suite!(empty());
    suite::answers_suite!(@tests empty(); calls_of_each_run_are_counted_while_they_are_under_way);

    #[test]
    fn what_is_stored_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.sqlite");
        suite::what_is_stored_stays(|| ResponseCache::open(&path).unwrap());
    }

    #[test]
    fn a_call_outlives_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.sqlite");
        suite::a_call_outlives_its_process(|| ResponseCache::open(&path).unwrap());
        assert_eq!(names(folder.path()), ["answers.sqlite"], "no lock is left");
    }

    #[test]
    fn concurrent_results_of_a_call_count_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.sqlite");
        suite::concurrent_results_of_a_call_count_once(|| ResponseCache::open(&path).unwrap());
    }
}

mod in_memory {
    use super::*;

    suite::answers_suite!(Some((ResponseCache::in_memory().unwrap(), ())));
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let name = |file: std::io::Result<std::fs::DirEntry>| file.unwrap().file_name().into_string().unwrap();
    std::fs::read_dir(folder).unwrap().map(name).collect()
}

/// Writes results in one batch.
fn insert_all(store: &ResponseCache, batch: impl IntoIterator<Item = CacheWrite>) -> Vec<Counted> {
    apply(store, &batch.into_iter().map(StoreWrite::End).collect::<Vec<_>>())
}

fn key(number: u64) -> AnswerKey {
    AnswerKey::of(&number.to_le_bytes())
}

fn run_id() -> RunId {
    RunId::new("r").unwrap()
}

fn entry(text: &str, created_at_ms: u64) -> CacheEntry {
    let usage = Usage { prompt: 60, completion: 30, reasoning: 5, cached: 7, total: 95, estimated: 35 };
    CacheEntry {
        answer: Arc::new(Answer {
            content: text.to_owned(),
            finish: Finish::Other("tool".to_owned()),
            usage,
            charge: Charge { billed: Some(Usd::from_ticks(37_756_000)), tier: Tier::Flex },
            model: "grok-4".to_owned(),
        }),
        provider: "grok".to_owned(),
        model: "grok".to_owned(),
        created_at_ms,
        replaces_before_ms: None,
    }
}

fn insert(key: AnswerKey, entry: CacheEntry) -> CacheWrite {
    let usage = entry.answer.usage;
    let spent = LlmUsage { calls: 1, usage, cost: Usd::from_f64(0.5), ..LlmUsage::default() };
    CacheWrite { run_id: run_id(), spent, entry: Some((key, entry)), failure: None, call: None }
}

fn found(store: &(impl Answers + ?Sized), key: AnswerKey) -> Option<String> {
    let mut found = store.look_up(&[key]).unwrap();
    found.pop().unwrap().1.map(|stored| stored.answer.content.clone())
}

fn spent(store: &(impl Answers + ?Sized)) -> LlmUsage {
    let asked = [RunId::new("another").unwrap(), run_id()];
    let totals = store.spent_of(&asked).unwrap();
    assert_eq!(totals[0], (asked[0].clone(), LlmUsage::default()));
    totals[1].1
}

#[test]
fn what_was_kept_is_there_for_the_next_process_and_is_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/answers.sqlite");
    let store = ResponseCache::open(&path).unwrap();
    insert_all(&store, [insert(key(1), entry("one", 10))]);
    drop(store);
    assert_eq!(names(path.parent().unwrap()), ["answers.sqlite"], "all of it is in one file");
    let store = ResponseCache::open(&path).unwrap();
    assert_eq!((found(&store, key(1)).as_deref(), spent(&store).calls), (Some("one"), 1));
}

#[test]
fn a_worker_that_ended_with_its_process_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.sqlite");
    let store = ResponseCache::open(&path).unwrap().with_workers_of_this_process();
    apply(&store, &[StoreWrite::Begin(call(1))]);
    drop(store);
    // Taking it up changes nothing of that.
    for _ in 0..2 {
        let next = ResponseCache::open(&path).unwrap();
        assert_eq!(next.take_up_calls(&[]).unwrap(), [OrphanedCall { call: call(1), may_return: false }]);
    }
}

#[test]
fn a_killed_process_leaves_its_calls_and_its_lock_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.sqlite");
    let store = ResponseCache::open(&path).unwrap();
    apply(&store, &[StoreWrite::Begin(call(1)), StoreWrite::Begin(call(2))]);
    let locks = folder.path().join("answers.sqlite.processes");
    let lock = locks.join(names(&locks).pop().unwrap());
    drop(store);
    // As a process leaves it that was killed.
    std::fs::create_dir(&locks).unwrap();
    std::fs::write(&lock, "").unwrap();
    let file = Connection::open(&path).unwrap();
    file.execute("UPDATE calls SET key = x'00' WHERE call = 2", []).unwrap();
    let next = ResponseCache::open(&path).unwrap();
    assert_eq!(next.take_up_calls(&[]).unwrap(), [OrphanedCall { call: call(1), may_return: true }]);
    assert!(!lock.exists() && names(&locks).len() == 1, "its own is left");
    let left = |table: &str| {
        let count = format!("SELECT count(*) FROM {table}");
        file.query_row(&count, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((left("calls"), left("processes")), (1, 1), "and no damaged row");
}

#[test]
fn a_damaged_answer_is_missing_and_is_replaced() {
    let damages: [&str; 4] = [
        "UPDATE answers SET content = substr(content, 1, length(content) - 3)",
        "UPDATE answers SET content = zeroblob(20)",
        "UPDATE answers SET finish = 'stop'",
        "UPDATE answers SET total_tokens = 1",
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.sqlite");
    let store = ResponseCache::open(&path).unwrap();
    suite::a_damaged_answer_is_missing_and_is_replaced(&store, &damages, |statement| {
        Connection::open(&path).unwrap().execute_batch(statement).unwrap();
    });
}

#[test]
fn a_damaged_verdict_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.sqlite");
    let store = ResponseCache::open(&path).unwrap();
    suite::a_damaged_verdict_is_missing(&store, || {
        Connection::open(&path).unwrap().execute("UPDATE verdicts SET verdict = '{'", []).unwrap();
    });
}

#[test]
fn a_row_under_another_key_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.sqlite");
    let store = ResponseCache::open(&path).unwrap();
    insert_all(&store, [insert(key(1), entry("one", 10))]);
    let theirs = Connection::open(&path).unwrap();
    theirs.execute("UPDATE answers SET key = ?1", [key(2).as_bytes()]).unwrap();
    assert_eq!(found(&store, key(2)), None);
}

#[test]
fn what_is_no_store_of_answers_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    drop(crate::ledger::SqliteLedger::open(&path).unwrap());
    let error = ResponseCache::open(&path).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, CacheError::Unusable { .. }), "{text}");
    assert!(text.contains("ledger.sqlite") && text.contains("--answers"), "{text}");
}

#[test]
fn answers_go_out_and_come_in_and_overwrite_nothing() {
    let from = ResponseCache::in_memory().unwrap();
    insert_all(&from, (0..1200).map(|number| insert(key(number), entry(&format!("a {number}\n"), number))));
    let mut lines = Vec::new();
    assert_eq!(export(&from, &mut lines).unwrap(), (1200, 0));
    let text = String::from_utf8(lines.clone()).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((first["key"].as_str().unwrap().len(), &first["content"]), (64, &"a 0\n".into()));
    assert_eq!(first["usage"]["total"], 95);

    let into = ResponseCache::in_memory().unwrap();
    insert_all(&into, [insert(key(7), entry("mine", 1))]);
    assert_eq!(import(&into, &mut lines.as_slice()).unwrap(), Imported { new: 1199, known: 1 });
    assert_eq!(found(&into, key(7)).as_deref(), Some("mine"));
    let looked = into.look_up(&[key(1199)]).unwrap();
    assert_eq!(looked, from.look_up(&[key(1199)]).unwrap());
    assert_eq!(into.by_model(&Selection::default()).unwrap()[0].answers, 1200);
    assert_eq!(import(&into, &mut lines.as_slice()).unwrap(), Imported { new: 0, known: 1200 });
}

#[test]
fn a_line_that_is_no_answer_is_named_and_costs_no_other() {
    let from = ResponseCache::in_memory().unwrap();
    insert_all(&from, [insert(key(1), entry("one", 10))]);
    let mut good = Vec::new();
    export(&from, &mut good).unwrap();
    let good = String::from_utf8(good).unwrap();
    let bad = [
        "{\"key\": 1}\n".to_owned(),
        good.replace("\"one\"", "\"  \""),
        good.replace("\"tool\"", "\"length\""),
        good.replace(&key(1).to_string(), "abc"),
    ];
    for bad in bad {
        let store = ResponseCache::in_memory().unwrap();
        let text = format!("{good}\n{bad}{good}");
        let error = import(&store, &mut text.as_bytes()).unwrap_err();
        assert!(matches!(error, ImportError::Line { line: 3, .. }), "{error}");
        assert_eq!(found(&store, key(1)).as_deref(), Some("one"));
    }
}

#[test]
fn what_is_pruned_is_gone_and_the_rest_stays() {
    let store = ResponseCache::in_memory().unwrap();
    let other = CacheEntry { model: "other".to_owned(), ..entry("young", 100) };
    let young = insert(key(3), entry("young", 100));
    insert_all(&store, [insert(key(1), entry("old", 10)), insert(key(2), other), young]);
    let old = Selection { before_ms: Some(50), model: None };
    assert_eq!(store.by_model(&old).unwrap()[0].answers, 1);
    assert_eq!(store.prune(&old).unwrap(), 1);
    let model = Selection { before_ms: None, model: Some("other".to_owned()) };
    assert_eq!(store.prune(&model).unwrap(), 1);
    assert_eq!((found(&store, key(1)), found(&store, key(2))), (None, None));
    let names_itself = Selection { before_ms: Some(1000), model: Some("grok-4".to_owned()) };
    assert_eq!(store.prune(&names_itself).unwrap(), 1);
    assert_eq!(store.by_model(&Selection::default()).unwrap(), []);
}

/// Two hundred thousand answers: opening loads none of them, and the first question is answered at once. Prints how long
/// that took; `cargo test -p coordinator --release answers -- --ignored --nocapture` shows it.
#[test]
#[ignore = "writes 300 MB"]
fn two_hundred_thousand_answers_are_opened_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.sqlite");
    let store = ResponseCache::open(&path).unwrap();
    let begun = std::time::Instant::now();
    for batch in 0..200_u64 {
        let batch: Vec<CacheWrite> = (batch * 1000..(batch + 1) * 1000)
            .map(|number| {
                // Text that does not compress to nothing.
                let text: String = (0..24).map(|part| key(number * 100 + part).to_string()).collect();
                insert(key(number), entry(&text, number))
            })
            .collect();
        insert_all(&store, batch);
    }
    println!("written in {:?}, {} bytes", begun.elapsed(), std::fs::metadata(&path).unwrap().len());
    drop(store);
    let begun = std::time::Instant::now();
    let store = ResponseCache::open(&path).unwrap();
    assert_eq!(spent(&store).calls, 200_000);
    assert!(found(&store, key(199_999)).is_some());
    println!("opened, and the first answer found, in {:?}", begun.elapsed());
    let begun = std::time::Instant::now();
    for first in (0..200_000).step_by(1000) {
        let keys: Vec<AnswerKey> = (first..first + 1000).map(key).collect();
        assert!(store.look_up(&keys).unwrap().iter().all(|(_, found)| found.is_some()));
    }
    println!("all of them found in {:?}", begun.elapsed());
}

#[test]
fn a_file_of_a_release_that_did_not_estimate_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.sqlite");
    drop(ResponseCache::open(&path).unwrap());
    let file = Connection::open(&path).unwrap();
    let whole = |usage: Usage| {
        let mut entry = entry("kept", 5);
        let answer = Arc::make_mut(&mut entry.answer);
        // Earlier releases knew no charge.
        (answer.usage, answer.charge) = (usage, Charge::default());
        entry
    };
    let counted = Usage { prompt: 3, completion: 4, total: 7, ..Usage::default() };
    rows::write(&file, &key(1), &whole(counted), "r").unwrap();
    file.execute_batch(
        "ALTER TABLE spend ADD COLUMN cost_usd REAL NOT NULL DEFAULT 0; ALTER TABLE spend DROP COLUMN cost_ticks; \
         INSERT INTO spend VALUES ('r', 1, 0, 0, 0, 3, 4, 0, 0, 7, 0, 0, 1.5); \
         ALTER TABLE answers DROP COLUMN billed_ticks; ALTER TABLE answers DROP COLUMN tier; \
         ALTER TABLE answers DROP COLUMN estimated_tokens; ALTER TABLE spend DROP COLUMN estimated_tokens; \
         ALTER TABLE spend DROP COLUMN unpriced_calls; DROP TABLE failures; DROP TABLE scanned_runs; DROP TABLE judged_runs; DROP TABLE verdicts; DROP TABLE servers; \
         DROP TABLE batch_lines; DROP TABLE batches; DROP TABLE calls; DROP TABLE processes; PRAGMA user_version = 2",
    )
    .unwrap();
    drop(file);

    let store = ResponseCache::open(&path).unwrap();
    let found = store.look_up(&[key(1)]).unwrap().pop().unwrap().1.expect("its checksum holds");
    assert_eq!(found.answer.usage, counted);
    assert_eq!(
        spent(&store),
        LlmUsage { calls: 1, usage: counted, cost: Usd::from_f64(1.5), ..LlmUsage::default() }
    );
    // An estimate is a part of the checksum.
    let estimated = whole(Usage { estimated: 7, ..counted });
    let file = Connection::open(&path).unwrap();
    rows::write(&file, &key(2), &estimated, "r").unwrap();
    let read = || store.look_up(&[key(2)]).unwrap().pop().unwrap().1;
    assert_eq!(read().unwrap().answer.usage.estimated, 7);
    file.execute("UPDATE answers SET estimated_tokens = 0 WHERE key = ?1", [key(2).as_bytes()]).unwrap();
    assert_eq!(read(), None);
}

#[test]
fn a_poisoned_file_heals_when_it_is_opened_and_takes_what_is_honest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.sqlite");
    let absurd = Usage { total: i64::MAX as u64, prompt: 3, completion: 4, ..Usage::default() };
    let poison = |key: AnswerKey| {
        let mut entry = entry("poison", 5);
        Arc::make_mut(&mut entry.answer).usage = absurd;
        (key, entry)
    };
    drop(ResponseCache::open(&path).unwrap());
    let file = Connection::open(&path).unwrap();
    file.execute(
        "INSERT INTO spend VALUES \
         ('r', 1, -4, 0, 0, 3, 4, 0, 0, 9223372036854775807, -1, 9223372036854775807, 9223372036854775807), \
         ('another', 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 15000000000)",
        [],
    )
    .unwrap();
    rows::write(&file, &key(1), &poison(key(1)).1, "r").unwrap();
    drop(file);

    let store = ResponseCache::open(&path).unwrap();
    let all = store.spent_of(&[run_id(), RunId::new("another").unwrap()]).unwrap();
    assert_eq!((all[0].1.failed, all[0].1.usage.total), (0, 1 << 53));
    assert_eq!((all[0].1.usage.estimated, all[0].1.unpriced, all[0].1.cost), (0, 1 << 53, Usd::MOST));
    assert_eq!((all[1].1.usage.total, all[1].1.cost), (5, Usd::from_f64(1.5)));
    let found = store.look_up(&[key(1)]).unwrap().pop().unwrap().1.unwrap();
    assert_eq!(found.answer.usage, absurd.of_one_call());
    assert_eq!(store.by_model(&Selection::default()).unwrap()[0].tokens, Usage::MOST);
    // What an honest provider answers afterwards is counted, whatever stands there.
    insert_all(&store, [insert(key(2), entry("honest", 6))]);
    assert_eq!(store.spent_of(&[run_id()]).unwrap()[0].1.calls, 2);
    drop(store);
    assert_eq!(ResponseCache::open(&path).unwrap().spent_of(&[run_id()]).unwrap()[0].1.calls, 2);
}

/// What a record costs a call: six thousand calls in batches of ten, with two thousand under way, without records and with them.
/// `cargo test -p coordinator a_record_costs -- --ignored --nocapture` prints it.
#[test]
#[ignore = "measures"]
fn a_record_costs_little() {
    const CALLS: u64 = 6000;
    const UNDER_WAY: u64 = 2000;
    for (records, name) in [(false, "results alone"), (true, "records and results")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.sqlite");
        let store = ResponseCache::open(&path).unwrap();
        let begin = |number| records.then(|| StoreWrite::Begin(call(number)));
        for first in (0..UNDER_WAY).step_by(1000) {
            apply(&store, &(first..first + 1000).filter_map(begin).collect::<Vec<_>>());
        }
        let (clock, before, written) = (std::time::Instant::now(), cpu_ms(), written_bytes());
        for first in (0..CALLS).step_by(10) {
            let begins = (UNDER_WAY + first..UNDER_WAY + first + 10).filter_map(begin);
            // Calls end in another order than they began in.
            let ends = (first..first + 10).map(|place| {
                let number = place / UNDER_WAY * UNDER_WAY + place % UNDER_WAY * 7 % UNDER_WAY;
                let text: String = (0..12).map(|part| key(number * 100 + part).to_string()).collect();
                let call = records.then(|| CallId::new(number));
                StoreWrite::End(CacheWrite { call, ..insert(key(number), entry(&text, number)) })
            });
            apply(&store, &begins.chain(ends).collect::<Vec<_>>());
        }
        let (took, cpu) = (clock.elapsed(), cpu_ms() - before);
        let (cpu_us, bytes) = (cpu * 1000 / CALLS, (written_bytes() - written) / CALLS);
        println!("{name}: {took:?}, {cpu_us} us of CPU and {bytes} bytes written a call");
        assert_eq!(spent(&store).calls, CALLS);
    }
}

/// CPU time of this process, in ms.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

/// Bytes that this process has written to files.
fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}
