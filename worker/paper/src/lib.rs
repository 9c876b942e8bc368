#![doc = include_str!("../README.md")]

pub mod gates;
mod propose;

pub use propose::{Source, propose, prune};
