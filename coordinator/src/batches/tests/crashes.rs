//! The life cycle of batches under crashes at every step, lost answers, and batches that end early. Simulated: time is a number.

use std::collections::{BTreeMap, BTreeSet};

use llm::batch::{BatchId, Counts, FileId, Mark, RemoteBatch, RemoteStatus};

use crate::batches::lifecycle::{self, Patience, Step};
use crate::batches::record::Phase;

const PATIENCE: Patience = Patience { unseen_ms: 5_000, window_ms: 600_000, cancels: true };

/// How long a new batch may be missing from the list.
const UNLISTED_MS: u64 = 4_000;

/// A batch at the provider.
struct AtProvider {
    mark: Mark,
    lines: Vec<u32>,
    created_ms: u64,
    takes_ms: u64,
    listed_ms: u64,
    /// How it ends, and how many of its lines are answered until then.
    ending: (RemoteStatus, usize),
}

/// The provider: what it works on costs money.
#[derive(Default)]
struct Provider {
    files: BTreeMap<FileId, Vec<u32>>,
    batches: Vec<AtProvider>,
    paid: BTreeMap<u32, u32>,
}

impl Provider {
    fn create(&mut self, input: &FileId, mark: &Mark, now: u64, random: &mut fastrand::Rng) {
        let lines = self.files[input].clone();
        let (status, answered) = match random.u32(0..5) {
            0 => (RemoteStatus::Expired, random.usize(0..=lines.len())),
            1 => (RemoteStatus::Failed, random.usize(1..=lines.len())),
            _ => (RemoteStatus::Completed, lines.len()),
        };
        for line in &lines[..answered] {
            *self.paid.entry(*line).or_default() += 1;
        }
        self.batches.push(AtProvider {
            mark: mark.clone(),
            lines,
            created_ms: now,
            takes_ms: random.u64(1_000..60_000),
            listed_ms: now + random.u64(0..UNLISTED_MS),
            ending: (status, answered),
        });
    }

    fn shown(&self, index: usize, now: u64) -> RemoteBatch {
        let batch = &self.batches[index];
        let ended = now >= batch.created_ms + batch.takes_ms;
        let completed = if ended { batch.ending.1 as u64 } else { 0 };
        let output = (ended && batch.ending.1 > 0).then(|| FileId::new(format!("out-{index}")).unwrap());
        RemoteBatch {
            id: BatchId::new(format!("batch-{index}")).unwrap(),
            status: if ended { batch.ending.0 } else { RemoteStatus::Underway },
            output,
            errors: None,
            counts: Counts { total: batch.lines.len() as u64, completed, failed: 0 },
            mark: Some(batch.mark.clone()),
            words: String::new(),
        }
    }

    fn index(id: &str) -> usize {
        id.split_once('-').unwrap().1.parse().unwrap()
    }

    fn answers(&self, file: &FileId) -> &[u32] {
        let batch = &self.batches[Self::index(file.as_str())];
        &batch.lines[..batch.ending.1]
    }

    fn find(&self, mark: &Mark, now: u64) -> Vec<RemoteBatch> {
        let listed = (0..self.batches.len()).rev();
        let listed = listed.filter(|index| self.batches[*index].listed_ms <= now);
        listed.map(|index| self.shown(index, now)).filter(|batch| batch.mark.as_ref() == Some(mark)).collect()
    }
}

/// A client of the provider with what it has on its disk.
struct World {
    random: fastrand::Rng,
    provider: Provider,
    now: u64,
    /// How often one of a hundred steps ends in a crash.
    crashes: u32,
    answered: BTreeSet<u32>,
    numbers: u32,
    creations: u32,
    crashed: u32,
}

impl World {
    /// Whether the process ends here.
    fn crashes(&mut self) -> bool {
        let crashes = self.random.u32(0..100) < self.crashes;
        self.crashed += u32::from(crashes);
        crashes
    }

    /// A name that nothing else has.
    fn name(&mut self) -> String {
        self.numbers += 1;
        format!("n{}", self.numbers)
    }

    /// Brings a batch of these lines to its end, through crashes; the lines without an answer remain.
    fn batch(&mut self, lines: &[u32]) -> Phase {
        let mark = Mark::new(self.name()).unwrap();
        let mut phase = Phase::Ready;
        for _ in 0..10_000 {
            self.now += self.random.u64(10..3_000);
            let step = lifecycle::next(&phase, false, true, &PATIENCE, self.now);
            if step == Step::Nothing {
                return phase;
            }
            if self.crashes() {
                continue;
            }
            if let Some(next) = self.perform(&mut phase, step, &mark, lines)
                && !self.crashes()
            {
                phase = next;
            }
        }
        panic!("{phase:?} has no end");
    }

    /// Performs a step; `None`: it failed, or the process ended before its result was recorded.
    fn perform(&mut self, phase: &mut Phase, step: Step, mark: &Mark, lines: &[u32]) -> Option<Phase> {
        match step {
            Step::Upload => {
                let file = FileId::new(self.name()).unwrap();
                self.provider.files.insert(file.clone(), lines.to_vec());
                Some(lifecycle::uploaded(file))
            }
            Step::Create { input } => {
                *phase = lifecycle::creating(input.clone(), self.now);
                if self.crashes() {
                    return None;
                }
                match self.random.u32(0..10) {
                    // It never arrives, and nothing says so.
                    0 => return None,
                    1 => return Some(lifecycle::refused(phase)),
                    _ => {}
                }
                self.creations += 1;
                self.provider.create(&input, mark, self.now, &mut self.random);
                // The answer is lost.
                if self.random.u32(0..5) == 0 {
                    return None;
                }
                let shown = self.provider.shown(self.provider.batches.len() - 1, self.now);
                Some(lifecycle::created(phase, &shown, self.now))
            }
            Step::Find => {
                let list = self.provider.find(mark, self.now);
                let (next, surplus) = lifecycle::found(phase, &list, &PATIENCE, self.now);
                assert!(surplus.is_empty(), "a batch was created twice");
                Some(next)
            }
            Step::Look => {
                let index = Provider::index(phase.remote().unwrap().as_str());
                Some(lifecycle::looked(phase, &self.provider.shown(index, self.now)))
            }
            Step::Cancel => panic!("within its window"),
            Step::Collect => {
                let Phase::Ended { files, .. } = &*phase else { panic!("{phase:?}") };
                let lines: Vec<u32> =
                    files.iter().flat_map(|file| self.provider.answers(file).to_vec()).collect();
                // Each line is durable by itself.
                for line in lines {
                    if !self.answered.contains(&line) && self.crashes() {
                        return None;
                    }
                    self.answered.insert(line);
                }
                Some(lifecycle::collected(phase))
            }
            Step::Drop | Step::Nothing => panic!("{step:?} after {phase:?}"),
        }
    }
}

#[test]
fn every_line_is_paid_for_once_whatever_dies() {
    let (mut crashed, mut creations) = (0, 0);
    for seed in 0..2_000 {
        let mut world = World {
            random: fastrand::Rng::with_seed(seed),
            provider: Provider::default(),
            now: 1_000_000,
            crashes: (seed % 30) as u32,
            answered: BTreeSet::new(),
            numbers: 0,
            creations: 0,
            crashed: 0,
        };
        let all: Vec<u32> = (0..world.random.u32(1..40)).collect();
        let mut rounds = 0;
        while world.answered.len() < all.len() {
            let missing: Vec<u32> =
                all.iter().copied().filter(|line| !world.answered.contains(line)).collect();
            assert!(world.batch(&missing).as_str() == "done", "seed {seed}");
            rounds += 1;
            assert!(rounds < 100, "seed {seed}");
        }
        assert!(
            world.provider.paid.values().all(|paid| *paid == 1),
            "seed {seed}: {:?}",
            world.provider.paid
        );
        assert_eq!(world.provider.paid.len(), all.len(), "seed {seed}");
        (crashed, creations) = (crashed + world.crashed, creations + world.creations);
    }
    assert!(crashed > 5_000 && creations > 2_000, "{crashed} crashes, {creations} creations");
}

#[test]
fn what_another_process_was_collecting_is_freed_and_a_lost_file_too() {
    let next = |phase: &Phase, is_mine, has_file| lifecycle::next(phase, is_mine, has_file, &PATIENCE, 0);
    assert_eq!(next(&Phase::Gathering, true, true), Step::Nothing);
    assert_eq!(next(&Phase::Gathering, false, true), Step::Drop);
    assert_eq!(next(&Phase::Ready, false, true), Step::Upload);
    assert_eq!(next(&Phase::Ready, false, false), Step::Drop);
}

fn submitted(at_ms: u64) -> Phase {
    let (input, remote) = (FileId::new("f").unwrap(), BatchId::new("b").unwrap());
    Phase::Submitted { input, remote, at_ms, looks: 0, cancelled: false }
}

fn shown(status: RemoteStatus, completed: u64) -> RemoteBatch {
    RemoteBatch {
        id: BatchId::new("b").unwrap(),
        status,
        output: None,
        errors: None,
        counts: Counts { total: 9, completed, failed: 0 },
        mark: None,
        words: String::new(),
    }
}

#[test]
fn a_batch_whose_window_is_over_is_cancelled_once_if_the_configuration_says_so() {
    let phase = submitted(1_000);
    let at = |phase: &Phase, now, cancels| {
        lifecycle::next(phase, false, false, &Patience { cancels, ..PATIENCE }, now)
    };
    assert_eq!(at(&phase, 601_000, true), Step::Look);
    assert_eq!(at(&phase, 601_001, true), Step::Cancel);
    assert_eq!(at(&phase, 601_001, false), Step::Look);
    let cancelled = lifecycle::cancelled(&phase, &shown(RemoteStatus::Underway, 0));
    assert_eq!(at(&cancelled, 601_001, true), Step::Look);
}

#[test]
fn a_finished_batch_that_names_no_file_is_looked_at_again_but_not_for_ever() {
    let mut phase = submitted(0);
    for _ in 0..20 {
        phase = lifecycle::looked(&phase, &shown(RemoteStatus::Completed, 9));
        assert_eq!(phase.as_str(), "submitted");
    }
    assert_eq!(lifecycle::looked(&phase, &shown(RemoteStatus::Completed, 9)).as_str(), "ended");
    assert_eq!(
        lifecycle::looked(&submitted(0), &shown(RemoteStatus::Completed, 0)).as_str(),
        "ended",
        "no answers"
    );
}

#[test]
fn of_two_batches_with_one_mark_the_older_counts() {
    let creating = lifecycle::creating(FileId::new("f").unwrap(), 0);
    let named = |id: &str| RemoteBatch { id: BatchId::new(id).unwrap(), ..shown(RemoteStatus::Underway, 0) };
    let list = [named("newer"), named("older")];
    let (phase, surplus) = lifecycle::found(&creating, &list, &PATIENCE, 10);
    assert_eq!(phase.remote().unwrap().as_str(), "older");
    assert_eq!((surplus.len(), surplus[0].id.as_str()), (1, "newer"));
}
