//! The structural gate: decoding the embedded schemas, and judging documents of common sizes.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use domain::api_server::KubernetesRelease;
use domain::config::Limits;
use engine::document::Document;
use engine::schema::Structural;

/// A Deployment of some 5 KB: three containers with probes, environment, mounts and security settings.
fn deployment() -> Document {
    let mut yaml = String::from(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: shop\n  namespace: retail\n  labels: {app: shop, tier: web}\n\
         spec:\n  replicas: 3\n  selector:\n    matchLabels: {app: shop}\n  template:\n    metadata:\n      labels: {app: shop, tier: web}\n\
         \x20   spec:\n      serviceAccountName: shop\n      securityContext: {runAsNonRoot: true, fsGroup: 1000}\n      volumes:\n",
    );
    for name in ["data", "config", "tmp"] {
        yaml.push_str("      - name: ");
        yaml.push_str(name);
        yaml.push_str("\n        emptyDir: {sizeLimit: 1Gi}\n");
    }
    yaml.push_str("      containers:\n");
    for name in ["web", "cache", "sidecar"] {
        yaml.push_str("      - name: ");
        yaml.push_str(name);
        yaml.push_str(
            "\n        image: registry.example.org/retail/shop:1.2.3\n        imagePullPolicy: IfNotPresent\n        args: [--listen, ':8080', --verbose]\n\
             \x20       ports:\n        - {name: http, containerPort: 8080, protocol: TCP}\n\
             \x20       resources:\n          requests: {cpu: 100m, memory: 128Mi}\n          limits: {cpu: 500m, memory: 256Mi}\n\
             \x20       securityContext:\n          allowPrivilegeEscalation: false\n          readOnlyRootFilesystem: true\n          capabilities: {drop: [ALL]}\n\
             \x20       livenessProbe:\n          httpGet: {path: /healthz, port: http}\n          periodSeconds: 10\n\
             \x20       readinessProbe:\n          httpGet: {path: /ready, port: 8080}\n          periodSeconds: 5\n\
             \x20       volumeMounts:\n        - {name: data, mountPath: /var/lib/shop}\n        - {name: config, mountPath: /etc/shop, readOnly: true}\n        - {name: tmp, mountPath: /tmp}\n\
             \x20       env:\n",
        );
        for variable in ["DATABASE", "QUEUE", "SEARCH", "PAYMENT", "MAIL", "METRICS"] {
            yaml.push_str("        - name: ");
            yaml.push_str(variable);
            yaml.push_str("_URL\n          value: https://service.retail.svc.cluster.local:8443\n");
        }
    }
    assert!((4_000..6_000).contains(&yaml.len()), "{} bytes", yaml.len());
    Document::parse(&yaml, &Limits::default()).expect("the document of this bench is YAML")
}

fn schema(criterion: &mut Criterion) {
    let bytes = include_bytes!("../schemas/kubernetes-1.37.json.gz");
    criterion.bench_function("decode the embedded schemas", |bencher| {
        bencher.iter(|| {
            Structural::decode(black_box(bytes), KubernetesRelease::NEWEST)
                .expect("the embedded schemas decode")
        });
    });
    let document = deployment();
    let structural = Structural::newest();
    assert!(structural.validate(&document.value, &[]).passes());
    criterion.bench_function("validate a 5 KB deployment", |bencher| {
        bencher.iter(|| structural.validate(black_box(&document.value), &[]));
    });
}

criterion_group!(benches, schema);
criterion_main!(benches);
