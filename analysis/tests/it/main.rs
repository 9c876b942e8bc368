//! The binary from outside, on small runs made here and on those of the paper.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod buckets;
mod cite;
mod export;
mod failures;
mod figures;
mod forms;
mod head_to_head;
mod help;
mod metrics;

mod packet;
mod paper_files;
mod parity;
mod places;
mod queue_kills;
mod report;
mod rollout;
#[path = "../../../proto/results/tests/it/s3_server.rs"]
mod s3_server;
mod servers;
mod support;
