//! Metrics common to all server processes: resource usage of the process, and the names in a registry.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::usage::Usage;

/// What the process uses, as Prometheus' own clients name it.
#[derive(Debug, Default)]
pub struct Process {
    cpu_seconds: Counter<f64, AtomicU64>,
    resident: Gauge,
    peak: Gauge,
}

impl Process {
    /// Adds the metrics to `registry`, which must not have a prefix.
    pub fn register(registry: &mut Registry) -> Self {
        let process = Self::default();
        registry.register_with_unit(
            "process_cpu",
            "CPU time of the process",
            Unit::Seconds,
            process.cpu_seconds.clone(),
        );
        registry.register_with_unit(
            "process_resident_memory",
            "Memory that the process holds",
            Unit::Bytes,
            process.resident.clone(),
        );
        registry.register_with_unit(
            "process_peak_resident_memory",
            "Most memory that the process has held",
            Unit::Bytes,
            process.peak.clone(),
        );
        process
    }

    /// Looks at the process now.
    pub fn update(&self) {
        let Some(usage) = Usage::of_this_process() else { return };
        let before = self.cpu_seconds.get();
        if usage.cpu_s > before {
            self.cpu_seconds.inc_by(usage.cpu_s - before);
        }
        self.resident.set(bytes(usage.rss_mb));
        self.peak.set(bytes(usage.peak_rss_mb));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a machine's memory fits into 63 bits")]
fn bytes(megabytes: f64) -> i64 {
    (megabytes * 1e6) as i64
}

/// The registry as text.
pub fn text(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing into a text cannot fail.
    let _ = encode(&mut text, registry);
    text
}

/// The reference table of what `text` shows, as Markdown: a row for each name.
pub fn reference(text: &str) -> String {
    let mut table = "| name | kind | meaning |\n| --- | --- | --- |\n".to_owned();
    let described = |line: &str, what: &str| {
        let (name, rest) = line.strip_prefix(what)?.split_once(' ')?;
        Some((name.to_owned(), rest.to_owned()))
    };
    for line in text.lines() {
        let Some((name, meaning)) = described(line, "# HELP ") else { continue };
        let kind = text
            .lines()
            .filter_map(|line| described(line, "# TYPE "))
            .find_map(|(known, kind)| (known == name).then_some(kind))
            .unwrap_or_default();
        let name = if kind == "counter" { format!("{name}_total") } else { name };
        let _ = writeln!(table, "| `{name}` | {kind} | {} |", meaning.trim_end_matches('.'));
    }
    table
}
