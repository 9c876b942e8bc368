//! Logs on stderr, as text or as JSON.

use std::fmt::Write as _;
use std::io::{self, Write};

use clap::{ArgAction, Args, ValueEnum};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::{Identity, Layer, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::output::Paint;
use crate::traces::{Exporting, Traces, TracesError};
use crate::{env, escape, progress};

/// How much is logged and how; flatten it into a command line.
#[derive(Debug, Clone, Default, Args)]
pub struct Logs {
    /// Log more: -v what happens, -vv how, -vvv everything
    #[arg(short, long, action = ArgAction::Count, global = true, conflicts_with = "quiet", help_heading = "Logging")]
    pub verbose: u8,
    /// Log errors only, and show no progress
    #[arg(short, long, global = true, help_heading = "Logging")]
    pub quiet: bool,
    /// How log records are written to stderr
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT", help_heading = "Logging")]
    pub log_format: LogFormat,
}

/// How log records are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter in the environment is not one.
    #[error("environment variable {} is not a log filter", env::RUST_LOG)]
    Filter(#[source] ParseError),
    /// Spans cannot be sent to the collector.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// Something else already took the logs.
    #[error("logs are already taken")]
    Taken(#[source] TryInitError),
}

impl Logs {
    /// Begins to log. `ours` are the crates that `-v` speaks of; others stay one level quieter.
    pub fn start(&self, ours: &[&str]) -> Result<(), TelemetryError> {
        self.begin(self.level_filter(ours)?, None::<Identity>)
    }

    /// Begins to log, and to send the spans of `ours` to the collector if one is named, as those of `program`. Keep what
    /// it gives until the end: dropped, it sends what is left.
    pub fn start_traced(
        &self,
        ours: &[&str],
        traces: &Traces,
        program: &'static str,
    ) -> Result<Option<Exporting>, TelemetryError> {
        let Some((layer, exporting)) = traces.open(program)? else {
            return self.start(ours).map(|()| None);
        };
        // Every span of ours, however much is logged.
        let spans = Targets::new().with_targets(ours.iter().map(|name| (*name, LevelFilter::INFO)));
        self.begin(self.level_filter(ours)?, Some(layer.with_filter(spans)))?;
        Ok(Some(exporting))
    }

    fn level_filter(&self, ours: &[&str]) -> Result<Targets, TelemetryError> {
        let wanted = env::process(env::RUST_LOG).filter(|text| !text.is_empty());
        wanted.unwrap_or_else(|| self.filter(ours)).parse().map_err(TelemetryError::Filter)
    }

    fn begin(
        &self,
        filter: Targets,
        spans: Option<impl Layer<Registry> + Send + Sync>,
    ) -> Result<(), TelemetryError> {
        let format = self.log_format;
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(Paint::stderr().is_enabled())
            .with_writer(move || AsideBar(format));
        let registry = tracing_subscriber::registry().with(spans);
        match self.log_format {
            LogFormat::Text => registry.with(lines.with_filter(filter)).try_init(),
            LogFormat::Json => registry.with(lines.json().flatten_event(true).with_filter(filter)).try_init(),
        }
        .map_err(TelemetryError::Taken)
    }

    /// The filter that the flags ask for.
    fn filter(&self, ours: &[&str]) -> String {
        let levels = ["error", "warn", "info", "debug", "trace"];
        let level = if self.quiet { 0 } else { usize::from(self.verbose.min(3)) + 1 };
        let word = |level: usize| levels.get(level).copied().unwrap_or("trace");
        let mut filter = word(level.saturating_sub(usize::from(level > 1))).to_owned();
        for name in ours {
            let _ = write!(filter, ",{name}={}", word(level));
        }
        filter
    }
}

/// stderr, with the progress bar out of the way while a record is written; what acts on a terminal is escaped.
struct AsideBar(LogFormat);

impl Write for AsideBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let record = String::from_utf8_lossy(bytes);
        let record = match self.0 {
            LogFormat::Text => escape::laid_out(&record),
            LogFormat::Json => escape::json(&record),
        };
        progress::aside(|| io::stderr().lock().write_all(record.as_bytes()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_speak_of_our_crates_first() {
        let logs = |verbose, quiet| Logs { verbose, quiet, log_format: LogFormat::Text };
        assert_eq!(logs(0, false).filter(&["a"]), "warn,a=warn");
        assert_eq!(logs(0, true).filter(&["a"]), "error,a=error");
        assert_eq!(logs(1, false).filter(&["a", "b"]), "warn,a=info,b=info");
        assert_eq!(logs(2, false).filter(&["a"]), "info,a=debug");
        assert_eq!(logs(9, false).filter(&["a"]), "debug,a=trace");
        for verbose in 0..4 {
            assert!(logs(verbose, false).filter(&["a"]).parse::<Targets>().is_ok());
        }
    }
}
