//! The wire from outside: messages made to hurt.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod hostile;
