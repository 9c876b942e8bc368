//! `--otlp`: spans reach a collector in one trace for each shard over both processes; a missing collector has no effect.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::support::{detections, run};

/// A collector that stores the spans.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        self.0.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn spans_of_a_run(corpus: &Path, out: &Path) -> Vec<Span> {
    let collector = Collector::default();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
    tokio::spawn(service.serve_with_incoming(TcpListenerStream::new(listener)));
    let (corpus, out) = (corpus.to_owned(), out.to_owned());
    let running = move || run(&corpus, &out, &["--shard-size", "10", "--workers", "1", "--otlp", &url]);
    tokio::task::spawn_blocking(running).await.unwrap();
    std::mem::take(&mut *collector.0.lock().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_is_one_trace_over_worker_and_coordinator() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = folder.path().join("detections.json");
    detections(&corpus, 30);
    let spans = spans_of_a_run(&corpus, &folder.path().join("out")).await;
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (&*span.span_id, span)).collect();
    let parent = |span: &Span| by_id.get(&*span.parent_span_id).map_or("", |parent| parent.name.as_str());
    assert_eq!(named("shard").len(), 3, "{:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
    assert!(named("shard").iter().all(|span| span.parent_span_id.is_empty()));
    for (name, under) in [("compute", "shard"), ("send", "shard"), ("commit", "send"), ("put", "commit")] {
        assert_eq!(named(name).len(), 3, "{name}");
        assert!(named(name).iter().all(|span| parent(span) == under), "{name}");
    }
    let steps = named("ledger");
    assert_eq!(steps.iter().filter(|span| parent(span) == "commit").count(), 3);
    assert_eq!(steps.iter().filter(|span| parent(span) == "lease").count(), 3);
    assert_eq!(named("finish").len(), 1);
    let shard = named("shard")[0];
    let keys: Vec<&str> = shard.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert!(["run", "shard", "token"].iter().all(|key| keys.contains(key)), "{keys:?}");
}

#[test]
fn a_missing_collector_costs_only_the_spans() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = folder.path().join("detections.json");
    detections(&corpus, 20);
    let out = folder.path().join("out");
    let plain = run(&corpus, &out, &[]);
    // A port without a listener.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let traced = run(&corpus, &out, &["--otlp", &url]);
    assert_eq!(traced["fingerprint"], plain["fingerprint"]);
}
