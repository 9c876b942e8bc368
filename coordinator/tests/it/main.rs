//! Integration tests of the coordinator: command line, services, recovery.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod access;
mod addresses;
mod answers;
mod batches;
mod buckets;
mod bundle;
mod cli;
mod command;
#[cfg(all(debug_assertions, unix))]
mod crash;
mod doctor;
mod engine;
#[cfg(all(debug_assertions, unix))]
mod failures;
mod fleet;
mod help;
mod hostile;
mod hostile_peers;
mod in_flight;
mod judges;
mod keys;
mod layout;
mod life;
mod limits;
mod live_page;
mod llm_stream;
mod model;
mod older_release;
mod outage;
mod parameters;
#[path = "../../src/database/postgres/test_server.rs"]
mod postgres_server;
#[cfg(unix)]
mod private;
mod probe;
mod process;
mod provider;
mod reasons;
mod replies;
mod resume;
#[path = "../../../proto/results/tests/it/s3_server.rs"]
mod s3_server;
mod scanners;
mod served;
mod standby;
mod support;
mod traces;
mod untrusted;
