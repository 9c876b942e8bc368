//! Exports spans to an OpenTelemetry collector, and propagates their context between processes.

mod export;

use clap::Args;

pub use export::{Exporting, TRACEPARENT, TracesError, carried, follow};

/// Where spans go; flatten it into a command line.
#[derive(Debug, Clone, Default, Args)]
pub struct Traces {
    /// Send spans of shards, commits and ledger steps to an OpenTelemetry collector (OTLP over gRPC), e.g.
    /// <http://127.0.0.1:4317>
    #[arg(long, global = true, value_name = "URL", value_parser = collector, help_heading = "Logging")]
    otlp: Option<String>,
}

impl Traces {
    /// The layer that records spans, and the exporter that sends them; `None` without an address.
    pub(crate) fn open(
        &self,
        program: &'static str,
    ) -> Result<Option<(export::Layer, Exporting)>, TracesError> {
        self.otlp.as_deref().map(|url| export::open(url, program)).transpose()
    }
}

/// Reads the address of a collector.
fn collector(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").filter(|rest| !rest.is_empty());
    let why = "has to be http://HOST:PORT: a collector on this machine or in this network, in plain text";
    rest.map(|_| text.to_owned()).ok_or_else(|| why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_collector_is_checked() {
        assert_eq!(collector("http://127.0.0.1:4317").as_deref(), Ok("http://127.0.0.1:4317"));
        for wrong in ["", "http://", "127.0.0.1:4317", "https://far.away:4317"] {
            assert!(collector(wrong).is_err(), "{wrong}");
        }
    }
}
