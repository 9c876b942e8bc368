//! Charts and overlays that Helm and kustomize render: `--helm CHART`, `--kustomize DIR`.
//!
//! *Owns* what a program rendered, and for each document of it which file it comes from, where that is sure. *Never* guesses a
//! file: a document without a sure one is said to be of its chart or overlay.

mod args;
mod buildable;
mod built;
mod helm;
mod kustomize;
mod source;

pub(super) use args::BuildArgs;
pub(super) use buildable::{Buildable, without_places};
pub(super) use built::{Build, Origin, value_of};
pub(super) use source::Source;
