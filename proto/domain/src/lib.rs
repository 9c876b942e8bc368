#![doc = include_str!("../README.md")]

pub mod answer;
pub mod budget;
pub mod config;
pub mod ids;
pub mod outcome;
pub mod patch;
pub mod pointer;
pub mod policy;
pub mod published;
pub mod record;
pub mod run;
pub mod secret;
pub mod strict_json;
pub mod tally;
#[cfg(feature = "testing")]
pub mod testing;
