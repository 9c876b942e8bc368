//! Programs, good and hostile, from outside.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod batch;
mod folder;
mod hostile;
mod kyverno;
mod lines;
mod support;
