//! Collects the questions of a slice, to give many of them to one process.
//!
//! *Invariant*: a batch holds questions of one slice alone, so that its end depends on no other shard. Which batch a record is
//! in depends on the questions that wait together, not on the order in which they came.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::asked::Asked;
use crate::batch::ask_all;
use crate::config::{AnswerPlace, POLICY, ProgramConfig};
use crate::documents::Key;
use crate::failure::Stop;
use crate::message::Question;
use crate::program::Program;

/// The batches of a slice. A batch is started when all members wait for an answer: no more questions can join it then.
#[derive(Debug)]
pub struct Batches(Arc<Collector>);

#[derive(Debug)]
struct Collector {
    program: Arc<Program>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Members that may ask a question yet before they wait.
    busy: usize,
    waiting: Vec<Waiting>,
    runtime: Option<Handle>,
}

/// A question and who waits for its answer.
struct Waiting {
    question: Question,
    stop: Stop,
    reply: oneshot::Sender<(Asked, Busy)>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.question.id.fmt(formatter)
    }
}

/// Who asks questions, one after the other.
#[derive(Debug)]
pub struct BatchMember {
    collector: Arc<Collector>,
    busy: Option<Busy>,
}

impl Batches {
    /// Of a slice, for which this program proposes.
    pub fn of(program: &Arc<Program>) -> Self {
        Self(Arc::new(Collector { program: Arc::clone(program), state: Mutex::default() }))
    }

    /// A member. Questions wait for those of all members: join all before the first asks, and drop those that are done.
    pub fn join(&self) -> BatchMember {
        BatchMember { collector: Arc::clone(&self.0), busy: Some(Busy::of(&self.0)) }
    }
}

impl BatchMember {
    /// Asks the program: by itself, or, where a process takes many records, together with the other members.
    pub async fn ask(&mut self, question: Question, stop: Stop) -> Asked {
        let program = &self.collector.program;
        if !program.config().takes_many() {
            return Arc::clone(program).ask(question, stop).await;
        }
        if let Some(refused) = program.refusal(&question) {
            return refused;
        }
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.collector.state();
            state.runtime = Some(Handle::current());
            state.waiting.push(Waiting { question, stop, reply });
        }
        self.busy = None;
        match answer.await {
            Ok((asked, busy)) => {
                self.busy = Some(busy);
                asked
            }
            // Stopped before it was asked, or the runtime ends.
            Err(_) => Asked::STOPPED,
        }
    }
}

/// Counts a member as busy. Dropping it starts the batches if it was the last one.
#[derive(Debug)]
struct Busy(Arc<Collector>);

impl Busy {
    fn of(collector: &Arc<Collector>) -> Self {
        collector.state().busy += 1;
        Self(Arc::clone(collector))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let (waiting, runtime) = {
            let mut state = self.0.state();
            state.busy = state.busy.saturating_sub(1);
            if state.busy > 0 || state.waiting.is_empty() {
                return;
            }
            (std::mem::take(&mut state.waiting), state.runtime.clone())
        };
        if let Some(runtime) = runtime {
            // Ends by itself when the slice stops.
            runtime.spawn(start(Arc::clone(&self.0), waiting));
        }
    }
}

impl Collector {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts questions together into batches, and starts them all; the budget of the program says how many run.
async fn start(collector: Arc<Collector>, waiting: Vec<Waiting>) {
    let program = Arc::clone(&collector.program);
    // Reads documents.
    let batches = tokio::task::spawn_blocking(move || together(program.config(), waiting));
    for batch in batches.await.unwrap_or_default() {
        tokio::spawn(run(Arc::clone(&collector), batch));
    }
}

async fn run(collector: Arc<Collector>, batch: Vec<Waiting>) {
    let Some(stop) = batch.first().map(|waiting| Arc::clone(&waiting.stop)) else { return };
    let program = Arc::clone(&collector.program);
    let Some(permit) = program.permit(&stop).await else { return };
    let (questions, replies): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|waiting| (waiting.question, waiting.reply)).unzip();
    let asked = tokio::task::spawn_blocking(move || {
        let asked = ask_all(program.starter(), &questions, &stop);
        drop(permit);
        asked
    });
    let asked = asked.await.unwrap_or_default();
    // All are busy before the first can wait again.
    let replies: Vec<_> = replies.into_iter().map(|reply| (reply, Busy::of(&collector))).collect();
    for ((reply, busy), asked) in replies.into_iter().zip(asked) {
        // A reply that cannot be sent ends the turn of its member as well.
        drop(reply.send((asked, busy)));
    }
}

/// Those that one process may be given: of one policy where the command names it, and no two documents that cannot be told
/// apart in one file.
fn together(config: &ProgramConfig, waiting: Vec<Waiting>) -> Vec<Vec<Waiting>> {
    let (by_policy, by_document) = (config.names(POLICY), config.answer == AnswerPlace::Documents);
    let mut groups: BTreeMap<(String, usize), Vec<Waiting>> = BTreeMap::new();
    let mut alone = Vec::new();
    let mut seen: HashMap<(String, Key), usize> = HashMap::new();
    let mut waiting = waiting;
    waiting.sort_by(|one, other| one.question.id.cmp(&other.question.id));
    for one in waiting {
        let policy = if by_policy { one.question.policy_id.clone() } else { String::new() };
        let mut layer = 0;
        if by_document {
            let Some(key) = Key::of(&one.question.manifest_yaml) else {
                alone.push(vec![one]);
                continue;
            };
            let times = seen.entry((policy.clone(), key)).or_default();
            layer = *times;
            *times += 1;
        }
        groups.entry((policy, layer)).or_default().push(one);
    }
    let most = config.records_per_process as usize;
    let mut batches = Vec::new();
    for (_, mut group) in groups {
        while group.len() > most {
            let rest = group.split_off(most);
            batches.push(std::mem::replace(&mut group, rest));
        }
        batches.push(group);
    }
    batches.extend(alone);
    batches
}
