//! Spans to an OpenTelemetry collector, and their context from process to process.
//!
//! A build with the feature `otlp` takes `--otlp URL`. Any other has no such flag, sends nothing and carries nothing.

#[cfg(not(feature = "otlp"))]
mod none;
#[cfg(feature = "otlp")]
mod otlp;

#[cfg(not(feature = "otlp"))]
pub use none::{Exporting, Traces, TracesError, carried, follow};
#[cfg(feature = "otlp")]
pub use otlp::{Exporting, Traces, TracesError, carried, follow};

/// The name of the message header that carries a span's context (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";
