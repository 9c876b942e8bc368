//! Exports spans by OTLP over gRPC.
//!
//! *Owns* the exporter and a small runtime of its own, so that the last spans are sent even when the program's runtime has ended.
//! *Never* blocks the program: when the collector is unreachable, spans are dropped.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use tokio::runtime::Runtime;
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::Registry;

/// The name of the message header that carries a span's context (W3C Trace Context).
pub const TRACEPARENT: &str = "traceparent";

/// How long the end of the program waits for the last spans to leave.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// The layer that takes spans.
pub(super) type Layer = OpenTelemetryLayer<Registry, Tracer>;

/// Sends spans as long as it lives; dropped, it sends what is left.
#[derive(Debug)]
pub struct Exporting {
    provider: SdkTracerProvider,
    /// The exporter's connection lives on it.
    _runtime: Runtime,
}

impl Drop for Exporting {
    fn drop(&mut self) {
        // What cannot be sent is said in the log by the exporter itself.
        let _ = self.provider.shutdown_with_timeout(LAST_SPANS);
    }
}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The exporter's runtime cannot start.
    #[error("the exporter of spans cannot start")]
    Runtime(#[source] std::io::Error),
    /// The exporter does not take the address.
    #[error("spans cannot be sent there")]
    Exporter(#[source] ExporterBuildError),
}

/// The layer that takes spans, and what sends them to the collector at `url`.
pub(super) fn open(url: &str, program: &'static str) -> Result<(Layer, Exporting), TracesError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("otlp")
        .enable_all()
        .build()
        .map_err(TracesError::Runtime)?;
    let entered = runtime.enter();
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(url.to_owned()).build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter.map_err(TracesError::Exporter)?)
        .with_resource(Resource::builder().with_service_name(program).build())
        .build();
    drop(entered);
    let layer = tracing_opentelemetry::layer()
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_tracer(provider.tracer(program));
    Ok((layer, Exporting { provider, _runtime: runtime }))
}

/// What another process needs to put its spans under `span`; `None` when spans go nowhere.
pub fn carried(span: &Span) -> Option<String> {
    let context = span.context();
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut fields = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut fields);
    fields.remove(TRACEPARENT)
}

/// Puts `span` under the span of another process. What cannot be read is passed over: it only orders a picture.
pub fn follow(span: &Span, carried: &str) {
    let fields = HashMap::from([(TRACEPARENT.to_owned(), carried.to_owned())]);
    let context = TraceContextPropagator::new().extract(&fields);
    // Without a collector there is no such context.
    let _ = span.set_parent(context);
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn a_span_of_another_process_is_followed() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let (here, there) = (tracing::info_span!("here"), tracing::info_span!("there"));
            let context = carried(&here).unwrap();
            follow(&there, &context);
            let trace = |span: &Span| carried(span).unwrap()[..35].to_owned();
            assert_eq!(trace(&there), trace(&here));
            assert_ne!(carried(&there).unwrap(), context, "a span of its own");
            let other = tracing::info_span!("other");
            follow(&other, "00-nonsense");
            assert_ne!(trace(&other), trace(&here));
        });
    }

    #[test]
    fn without_a_collector_nothing_is_carried() {
        let span = tracing::info_span!("here");
        assert_eq!(carried(&span), None);
        follow(&span, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!(carried(&span), None);
    }
}
