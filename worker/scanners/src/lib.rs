#![doc = include_str!("../README.md")]

mod checkov;
mod documents;
mod error;
mod find;
mod kube_linter;
mod kyverno;
mod process;
mod program;
mod renderer;
mod report;
mod tool;

pub use documents::Documents;
pub use error::{Failure, ScannerError};
pub use renderer::{Renderer, RendererError, RendererKind};
pub use report::{Finding, Report, Unjudged, Verdicts};
pub use tool::Tool;
