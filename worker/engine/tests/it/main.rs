//! The engine from outside: policies and gates over the published runs and against kube-linter, and properties over inputs made to break them.

mod explanations;
mod full_catalogue;
mod growth;
mod inverse;
mod kube_linter;
mod policies;
mod properties;
mod schema;
mod scopes;
mod secrets;
mod verdicts;
