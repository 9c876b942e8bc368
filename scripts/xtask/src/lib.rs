#![doc = include_str!("../README.md")]

pub mod chaos;
pub mod tidy;
mod tokens;
pub mod words;
