//! The arguments of the command line, by the commands that take them.

#![expect(clippy::doc_markdown, reason = "help texts are read in a terminal")]

mod args;
mod command;
mod head_to_head;
mod paper;
mod queue;
mod report;
mod rollout;
mod runs;

pub(crate) use args::{Print, Runs};
pub(crate) use command::{Cli, Command};
pub(crate) use head_to_head::{Agreement, Context, Deceptive, Escapes, Power};
pub(crate) use paper::{
    Baselines, Calibration, CrossVersion, DetectorEval, Fairness, MultiSeed, Paper, Throughput,
};
pub(crate) use queue::{Order, QueueCommand, Queued};
pub(crate) use report::{FigureForm, Report};
pub(crate) use rollout::{Compare, Packet, Page, Queue, Risk, Schedule, Simulate, Sweep, Weighted};
pub(crate) use runs::{
    Ablation, Cite, CiteForm, Diff, Ended, Export, Failures, Fingerprint, Metrics, ProbeReport, Significance,
    TaxonomyTable, Tokens,
};
