#![doc = include_str!("../README.md")]

pub mod detect;
pub mod difference;
pub mod document;
pub mod edit;
pub mod exceptions;
pub mod fragment;
pub mod inverse;
pub mod k8s;
pub mod policies;
pub mod propose;
pub mod rewrite;
pub mod schema;
pub mod steps;
pub mod template;
#[cfg(test)]
mod testing;
pub mod verify;
pub mod yaml;
