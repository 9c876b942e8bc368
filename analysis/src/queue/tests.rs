//! States, tokens, orders.

use super::*;
use crate::schedule::{Terms, Weights};

fn item(record: &str, policy: &str, risk: f64) -> Item {
    let terms = Terms { risk, probability: 0.9, expected_time: 10.0, wait: 0.0, kev: false, explore: 0.0 };
    Item { run_id: "r".to_owned(), record_id: record.to_owned(), policy_id: policy.to_owned(), terms }
}

fn choice(rule: Rule, count: u32) -> Choice {
    Choice { holder: "h".to_owned(), count, lease_s: 60.0, rule, weights: Weights::default() }
}

fn queue() -> (tempfile::TempDir, Queue) {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(&dir.path().join("queue.db")).unwrap();
    (dir, queue)
}

fn ids(claimed: &[Claimed]) -> Vec<&str> {
    claimed.iter().map(|item| item.record_id.as_str()).collect()
}

#[test]
fn rules_choose_who_is_next() {
    for (rule, order) in [
        (Rule::Score, ["b", "c", "a"]),
        (Rule::Risk, ["b", "c", "a"]),
        (Rule::Fifo, ["a", "c", "b"]),
        (Rule::Learnt, ["b", "c", "a"]),
    ] {
        let (_dir, mut queue) = queue();
        queue.enqueue(&[item("a", "p", 40.0)], 3, 0.0).unwrap();
        queue.enqueue(&[item("c", "p", 60.0)], 3, 1.0).unwrap();
        queue.enqueue(&[item("b", "p", 85.0)], 3, 2.0).unwrap();
        assert_eq!(ids(&queue.claim(&choice(rule, 9), 3.0).unwrap()), order, "{rule:?}");
        assert!(queue.claim(&choice(rule, 9), 4.0).unwrap().is_empty());
    }
}

#[test]
fn waiting_makes_up_for_risk() {
    let (_dir, mut queue) = queue();
    queue.enqueue(&[item("old", "p", 40.0)], 3, 0.0).unwrap();
    queue.enqueue(&[item("new", "p", 85.0)], 3, 5.0 * 3600.0).unwrap();
    // Scores: 3.6 + 5 hours of waiting, against 7.65.
    assert_eq!(ids(&queue.claim(&choice(Rule::Score, 1), 5.0 * 3600.0).unwrap()), ["old"]);
}

#[test]
fn an_item_ends_done_failed_or_dead() {
    let (_dir, mut queue) = queue();
    queue.enqueue(&[item("a", "p", 3.0), item("b", "p", 2.0), item("c", "p", 1.0)], 2, 0.0).unwrap();
    let claimed = queue.claim(&choice(Rule::Risk, 3), 1.0).unwrap();
    for (item, answer) in claimed.iter().zip([Answer::Done(Some(5.0)), Answer::Refused, Answer::Failed]) {
        queue.answer("r", &item.record_id, item.token, answer, 2.0).unwrap();
    }
    let again = queue.claim(&choice(Rule::Risk, 3), 3.0).unwrap();
    assert_eq!((ids(&again), again[0].attempt, again[0].token), (vec!["c"], 2, 2));
    queue.answer("r", "c", 2, Answer::Failed, 4.0).unwrap();
    let stats = queue.stats(5.0).unwrap();
    assert_eq!((stats.done, stats.failed, stats.dead, stats.queued, stats.leased), (1, 1, 1, 0, 0));
    // Finished items keep their state when they are enqueued again.
    assert_eq!(queue.enqueue(&[item("a", "p", 3.0)], 2, 6.0).unwrap(), 0);
    assert!(queue.claim(&choice(Rule::Risk, 3), 7.0).unwrap().is_empty());
}

#[test]
fn who_lost_a_lease_cannot_answer() {
    let (_dir, mut queue) = queue();
    queue.enqueue(&[item("a", "p", 1.0)], 3, 0.0).unwrap();
    let first = queue.claim(&choice(Rule::Risk, 1), 0.0).unwrap().remove(0);
    assert_eq!(queue.stats(61.0).unwrap().expired, 1);
    let second = queue.claim(&choice(Rule::Risk, 1), 61.0).unwrap().remove(0);
    assert_eq!((second.token, second.attempt), (first.token + 1, 2));
    let late = queue.answer("r", "a", first.token, Answer::Done(None), 62.0).unwrap_err();
    assert!(late.to_string().contains("is not leased under token 1"), "{late}");
    queue.answer("r", "a", second.token, Answer::Done(None), 63.0).unwrap();
    assert!(queue.answer("r", "a", second.token, Answer::Done(None), 64.0).is_err(), "done twice");
}

#[test]
fn age_outlives_enqueueing_again() {
    let (_dir, mut queue) = queue();
    assert_eq!(queue.enqueue(&[item("a", "p", 1.0)], 3, 0.0).unwrap(), 1);
    assert_eq!(queue.enqueue(&[item("a", "p", 2.0)], 3, 100.0).unwrap(), 0);
    assert_eq!(queue.stats(100.0).unwrap().oldest_s, Some(100.0));
    assert!((queue.claim(&choice(Rule::Risk, 1), 100.0).unwrap()[0].risk - 2.0).abs() < 1e-12);
}

#[test]
fn answers_teach() {
    let (_dir, mut queue) = queue();
    let mut items = vec![item("good", "good", 50.0), item("bad", "bad", 51.0)];
    items.extend((0..20).map(|n| item(&format!("g{n:02}"), "good", 90.0)));
    items.extend((0..20).map(|n| item(&format!("b{n:02}"), "bad", 90.0)));
    queue.enqueue(&items, 1, 0.0).unwrap();
    for claimed in queue.claim(&choice(Rule::Risk, 40), 1.0).unwrap() {
        let answer = if claimed.policy_id == "good" { Answer::Done(Some(60.0)) } else { Answer::Failed };
        queue.answer("r", &claimed.record_id, claimed.token, answer, 2.0).unwrap();
    }
    assert_eq!(ids(&queue.claim(&choice(Rule::Learnt, 2), 3.0).unwrap()), ["good", "bad"]);
}

#[test]
fn another_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queue.db");
    drop(Queue::open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 9).unwrap();
    assert!(matches!(Queue::open(&path), Err(QueueError::Version { found: 9, wanted: 1 })));
    std::fs::write(&path, "no database at all, but long enough to be looked at as one").unwrap();
    assert!(matches!(Queue::open(&path), Err(QueueError::Foreign(_))));
}

#[test]
fn a_file_that_is_no_queue_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other.sqlite");
    let connection = rusqlite::Connection::open(&other).unwrap();
    connection.execute_batch("CREATE TABLE answers (key TEXT); INSERT INTO answers VALUES ('a')").unwrap();
    drop(connection);
    for (name, content) in
        [("run.json", &b"{\"run_id\": \"r\"}"[..]), ("short", b"S"), ("part.parquet", b"PAR1....PAR1")]
    {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    for name in ["run.json", "short", "part.parquet", "other.sqlite"] {
        let path = dir.path().join(name);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let before = (std::fs::read(&path).unwrap(), std::fs::metadata(&path).unwrap().permissions());
        let error = Queue::open(&path).unwrap_err().to_string();
        assert!(error.contains("is not a queue, and stays as it is"), "{name}: {error}");
        let after = (std::fs::read(&path).unwrap(), std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(after, before, "{name}");
    }
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert!(left <= 5, "{left} files: nothing is put beside what is seen at once to be no queue");
    let missing = Queue::open(&dir.path().join("no/such/queue.db")).unwrap_err().to_string();
    assert!(missing.contains("no/such/queue.db; check its folder"), "{missing}");
    std::fs::write(dir.path().join("empty.db"), b"").unwrap();
    Queue::open(&dir.path().join("empty.db")).unwrap();
    Queue::open(&dir.path().join("empty.db")).unwrap();
}
