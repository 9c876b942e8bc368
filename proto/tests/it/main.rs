//! The wire from outside: messages made to hurt.

mod hostile;
