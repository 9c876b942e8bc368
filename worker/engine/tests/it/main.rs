//! The engine from outside: policies and gates over the published runs, and properties over inputs made to break them.

mod policies;
mod properties;
mod schema;
mod verdicts;
