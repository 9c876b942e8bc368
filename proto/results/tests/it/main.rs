//! The files from outside: hostile detections, and the columns of results.

#![cfg_attr(feature = "remote", expect(clippy::unwrap_used, reason = "tests may panic"))]

#[cfg(feature = "remote")]
mod buckets;
mod hostile;
mod hostile_parts;
#[cfg(feature = "remote")]
mod s3_server;
mod schema;
