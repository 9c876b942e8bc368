#![doc = include_str!("../README.md")]

mod asked;
mod batch;
mod batches;
mod config;
mod documents;
mod failure;
mod folder;
mod launch;
mod lines;
mod message;
mod pool;
mod program;
mod running;
mod scratch;
mod starter;
mod stderr_tail;

pub use asked::Asked;
pub use batches::{BatchMember, Batches};
pub use config::{AnswerPlace, ProgramConfig, ProgramError, Programs, Protocol};
pub use failure::{Failure, Stop};
pub use launch::{Confinement, confinement, supervise};
pub use message::{Answer, Question, Usage};
pub use pool::Proposers;
pub use program::{Program, Working};
