//! The files from outside: hostile detections, and the columns of results.

#[cfg(feature = "remote")]
mod buckets;
mod hostile;
mod hostile_parts;
#[cfg(feature = "remote")]
mod s3_server;
mod schema;
