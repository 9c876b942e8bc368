//! From a slice of the corpus to its outcomes: one row a record, whatever the record holds.
//!
//! *Owns* the way of a record: parse → propose → verify → row. *Invariant*: total. A bad record, or a bug in a policy,
//! is a row with an `error_kind`; it never ends a run or harms a neighbour.

mod desk;
mod model;
mod progress;
mod treated;

use std::panic::{AssertUnwindSafe, catch_unwind};

use domain::config::RunConfig;
use domain::ids::{ShardIndex, WorkerName};
use domain::outcome::{ErrorKind, Outcome};
use domain::record::{Problem, Slice};
use engine::document::Document;
use engine::template;

use desk::Desk;
pub(crate) use model::{lay_out, question, run_slice_by_model};
pub(crate) use progress::{Progress, Settled};

/// What every record of a slice shares.
#[derive(Debug, Clone)]
pub struct Context {
    /// The run's configuration.
    pub config: RunConfig,
    /// The shard.
    pub shard: ShardIndex,
    /// How many times the shard has been leased, this time included.
    pub attempt: u32,
    /// Who works.
    pub worker: WorkerName,
}

/// Makes one outcome for every record by the rules, in the order of the slice. Blocks: run it off the async runtime.
pub fn run_slice(slice: &Slice, context: &Context) -> Vec<Outcome> {
    run_slice_while(slice, context, || true).unwrap_or_default()
}

/// Like [`run_slice`], but asks before each record whether to go on; `None` when the answer was no.
pub fn run_slice_while(slice: &Slice, context: &Context, go_on: impl Fn() -> bool) -> Option<Vec<Outcome>> {
    let mut desk = Desk::new(slice, &context.config);
    slice.records.iter().map(|record| go_on().then(|| desk.outcome(record, context))).collect()
}

/// The first placeholder of a template that was never rendered, as a reason that a person can act on.
pub(crate) fn unrendered(document: &Document) -> Option<String> {
    let found = template::unrendered(document);
    let (pointer, text) = found.first()?;
    let text: String = text.chars().take(80).collect();
    let more = if found.len() > 1 { format!(" and {} more places", found.len() - 1) } else { String::new() };
    Some(format!("unrendered template: {pointer} is {text:?}{more}; render the template and detect again"))
}

/// Runs `work`; a panic becomes a problem of the record.
fn contained<T>(doing: &str, work: impl FnOnce() -> T) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Problem {
        kind: ErrorKind::Internal,
        message: format!("a bug of the harness while {doing}; please report the record"),
    })
}

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod tests;
