//! API servers as judges of documents: which release, at which depth, and what one answers.

mod depth;
mod release;
mod verdict;

pub use depth::SchemaDepth;
pub use release::{KubernetesRelease, UnknownRelease};
pub use verdict::{
    InvalidIdentity, ServerAnswer, ServerAnswers, ServerCause, ServerClass, ServerIdentity, ServerVerdict,
};
