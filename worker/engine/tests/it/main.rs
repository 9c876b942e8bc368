//! The engine from outside: policies and gates over the published runs, and properties over inputs made to break them.

mod growth;
mod policies;
mod properties;
mod schema;
mod scopes;
mod secrets;
mod verdicts;
