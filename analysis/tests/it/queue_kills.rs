//! Many processes on one queue, killed at random: every item is done exactly once.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use analysis::queue::{Answer, Choice, Item, Queue, QueueError, Rule, Terms, Weights};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

const ITEMS: usize = 10_000;
const PROCESSES: usize = 8;
const KILLS: usize = 60;

/// Tells a process of this test that it is one: the folder of the queue.
const FOLDER: &str = "QUEUE_TEST_FOLDER";

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn open(folder: &Path) -> Queue {
    Queue::open(&folder.join("queue.db")).unwrap()
}

/// Claims, answers, and notes each item whose answer was taken, until nothing is left.
#[test]
#[ignore = "a process of the test below"]
fn a_process() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut queue = open(&folder);
    let name = std::process::id().to_string();
    // A number may come again for another process.
    let log = folder.join(format!("{name}.done"));
    let mut log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    let choice =
        Choice { holder: name, count: 10, lease_s: 2.0, rule: Rule::Score, weights: Weights::default() };
    loop {
        let claimed = queue.claim(&choice, now()).unwrap();
        if claimed.is_empty() {
            let stats = queue.stats(now()).unwrap();
            if stats.queued + stats.leased == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        for item in claimed {
            match queue.answer(&item.run_id, &item.record_id, item.token, Answer::Done(Some(0.1)), now()) {
                Ok(()) => log.write_all(format!("{}\n", item.record_id).as_bytes()).unwrap(),
                // Too slow: another process has claimed it.
                Err(QueueError::NotLeased { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["queue_kills::a_process", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn each_item_is_done_exactly_once_by_processes_that_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(dir.path());
    let terms =
        Terms { risk: 1.0, probability: 0.9, expected_time: 1.0, wait: 0.0, kev: false, explore: 0.0 };
    let items: Vec<Item> = (0..ITEMS)
        .map(|place| Item {
            run_id: "r".to_owned(),
            record_id: place.to_string(),
            policy_id: format!("p{}", place % 7),
            terms: Terms { risk: (place % 100) as f64, ..terms },
        })
        .collect();
    assert_eq!(queue.enqueue(&items, 1000, now()).unwrap(), ITEMS as u64);

    let mut random = Pcg64Mcg::seed_from_u64(5);
    let mut processes: Vec<Child> = (0..PROCESSES).map(|_| start(dir.path())).collect();
    let mut kills = 0;
    while kills < KILLS {
        std::thread::sleep(Duration::from_millis(random.random_range(10..120)));
        let victim = random.random_range(0..PROCESSES);
        if processes[victim].try_wait().unwrap().is_some() {
            break;
        }
        processes[victim].kill().unwrap();
        processes[victim].wait().unwrap();
        processes[victim] = start(dir.path());
        kills += 1;
    }
    for process in &mut processes {
        assert!(process.wait().unwrap().success());
    }
    assert!(kills > 5, "the work was done after {kills} kills: nothing was tried");

    let stats = queue.stats(now()).unwrap();
    assert_eq!(
        (stats.done, stats.queued, stats.leased, stats.dead),
        (i64::try_from(ITEMS).unwrap(), 0, 0, 0)
    );
    let mut done = HashSet::new();
    let mut twice = vec![];
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "done") {
            let text = std::fs::read_to_string(path).unwrap();
            twice.extend(text.lines().filter(|id| !done.insert((*id).to_owned())).map(str::to_owned));
        }
    }
    assert!(twice.is_empty(), "done twice: {twice:?}");
    // A process killed between its answer and its note leaves one note out, never one twice.
    assert!(done.len() + kills >= ITEMS, "{} of {ITEMS} noted, {kills} kills", done.len());
    println!("{ITEMS} items, {PROCESSES} processes, {kills} kills: {} noted, none twice", done.len());
}
